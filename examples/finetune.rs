//! Adapts trained weights to one photograph, or to a folder of them.
//!
//! ```text
//! cargo run --release --features train --example finetune -- night.jpg -o tuned.safetensors --picture before-after.png
//! cargo run --release --features train --example finetune -- photos -o tuned.safetensors --crop 600x400 --steps 300
//! ```

mod common;

use clap::Parser;
use common::Result;
use common::training::{Follower, Following};
use sci_burn::image::{DynamicImage, GenericImage};
use sci_burn::photo::{SaveOptions, find_photos_except, save_photo_with};
use sci_burn::train::{FineTuningConfig, OptimizerConfig, SamplingConfig, fine_tune};
use sci_burn::{Enhancer, Photo, open_photo};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Adapts trained weights to one photograph, or to a folder of them.
#[derive(Parser)]
struct Options {
    /// A photograph, or a folder of them.
    photos: PathBuf,
    /// The new weights: .safetensors or .bpk.
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    network: common::NetworkOptions,
    /// A picture of the (first) photograph: dark, enhanced before and after the tuning.
    #[arg(long)]
    picture: Option<PathBuf>,
    /// Number of steps.
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Step size of the optimizer.
    #[arg(long, default_value_t = 5e-4)]
    lr: f64,
    /// Use a random part of each photograph, of this many pixels.
    #[arg(long, value_name = "WxH", value_parser = common::size)]
    crop: Option<[usize; 2]>,
    /// Decides everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Replace weights and picture that exist already.
    #[arg(short, long)]
    force: bool,
}

fn main() -> ExitCode {
    common::exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    for path in [Some(&options.output), options.picture.as_ref()].into_iter().flatten() {
        common::may_write(path, options.force, &[&options.photos])?;
    }
    weights_name(&options.output)?;
    options.picture.as_deref().map_or(Ok(()), common::may_save)?;
    let photo = options.picture.as_ref().map(|_| first(&options.photos)).transpose()?;
    let (estimator, device) = options.network.open()?;
    let config = FineTuningConfig::new()
        .with_steps(options.steps)
        .with_optimizer(OptimizerConfig::new().with_learning_rate(options.lr))
        .with_sampling(SamplingConfig::new().with_crop(options.crop))
        .with_seed(options.seed);
    let follower = Follower::new(Following::default());
    let tuned =
        fine_tune(estimator.clone(), &options.photos, &config, &device, &follower.monitor());
    follower.finish()?;
    let tuned = tuned?;
    // It may have appeared since the work began.
    common::may_write(&options.output, options.force, &[&options.photos])?;
    tuned.estimator.save(&options.output)?;
    common::say(common::shown(&options.output));
    if tuned.interrupted {
        let steps = tuned.steps;
        return Err(format!(
            "interrupted after {steps} steps, whose weights are kept; --weights continues from them"
        )
        .into());
    }
    let tuned = tuned.estimator;

    let (Some(picture), Some(photo)) = (&options.picture, photo) else { return Ok(()) };
    let dark = DynamicImage::from(photo.pixels.into_rgb8());
    let enhanced = |estimator| Enhancer::new(estimator, &device).enhance(&dark);
    let columns = [dark.clone(), enhanced(estimator)?, enhanced(tuned)?];
    let (width, height) = (dark.width(), dark.height());
    let mut sheet = DynamicImage::new_rgb8(3 * width, height);
    for (place, column) in (0..).zip(&columns) {
        sheet.copy_from(column, place * width, 0).expect("three of them fit");
    }
    save_photo_with(&sheet.into(), picture, &SaveOptions::new().with_replace(options.force))?;
    common::say(common::shown(picture));
    Ok(())
}

/// Refuses weights that could not be written, before they are trained.
fn weights_name(path: &Path) -> Result<()> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors" | "bpk") => Ok(()),
        _ => Err(common::unwritable(path, "unknown extension, expected .safetensors or .bpk")),
    }
}

/// The photograph, or the first in the folder that can be read.
fn first(photos: &Path) -> Result<Photo> {
    if !photos.is_dir() {
        return Ok(open_photo(photos)?);
    }
    let mut opened = find_photos_except(photos, None)?.photos.into_iter().map(open_photo);
    let first = opened.next().expect("a folder of photographs has one");
    Ok(first.or_else(|error| opened.find_map(std::result::Result::ok).ok_or(error))?)
}
