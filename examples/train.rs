//! Trains SCI or SCI++ on a folder of night photographs.
//!
//! ```text
//! cargo run --release --features train --example train -- --data photos --out run --crop 600x400 --stop-at-luminance 0.42
//! cargo run --release --features train --example train -- --out run --resume
//! cargo run --release --features train --example train -- --data photos --out run --method sci++ --estimator-only
//! ```

mod common;

use clap::Parser;
use common::Result;
use common::training::{Follower, Following};
use sci_burn::burn::train::ExecutionStrategy;
use sci_burn::model::Method;
use sci_burn::train::{Darken, EpochMetrics, Run, TrainingConfig, train};
use sci_burn::{Error, open_device};
use std::path::PathBuf;
use std::process::ExitCode;

/// Trains SCI or SCI++ on a folder of night photographs.
#[derive(Parser)]
struct Options {
    /// The folder of photographs, subfolders included.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Photographs to judge the training by; without it some of the data are.
    #[arg(long)]
    validation: Option<PathBuf>,
    /// The folder for the run's files.
    #[arg(short, long)]
    out: PathBuf,
    /// Go on with the run in that folder.
    #[arg(long)]
    resume: bool,
    /// With --resume: continue from the checkpoint of this epoch, and drop later ones.
    #[arg(long, value_name = "N", requires = "resume")]
    from_epoch: Option<usize>,
    /// Do not draw previews into the run's folder.
    #[arg(long)]
    no_previews: bool,
    /// Settings from a file, such as another run's config.json; options given here come on top.
    #[arg(long)]
    config: Option<PathBuf>,
    /// What to train: sci or sci++ (without it sci, or that of the file).
    #[arg(long)]
    method: Option<Method>,
    /// Train only the estimator of SCI++, which is all that enhancing needs: the same one, several times
    /// faster. Calibrator and increment keep their initial weights.
    #[arg(long)]
    estimator_only: bool,
    /// How often to go through all photographs.
    #[arg(long)]
    epochs: Option<usize>,
    /// Photographs a step; above 1 needs --crop.
    #[arg(long)]
    batch_size: Option<usize>,
    /// Use a random part of each photograph, of this many pixels.
    #[arg(long, value_name = "WxH", value_parser = common::size)]
    crop: Option<[usize; 2]>,
    /// Turn every second photograph left to right, at random.
    #[arg(long)]
    flip: bool,
    /// Make ordinary photographs dark: a random number of stops from this range.
    #[arg(long, value_name = "A..B", value_parser = stops)]
    darken: Option<[f32; 2]>,
    /// Step size of the optimizer.
    #[arg(long)]
    lr: Option<f64>,
    /// Stages of the cascade.
    #[arg(long)]
    stages: Option<usize>,
    /// Decides everything random.
    #[arg(long)]
    seed: Option<u64>,
    /// End when the enhanced validation photographs have this mean luminance, in (0, 1).
    #[arg(long)]
    stop_at_luminance: Option<f64>,
    /// What computes: cpu, ndarray, wgpu, vulkan, metal, cuda or rocm.
    #[arg(short, long, default_value = "cpu")]
    device: String,
    /// Show Burn's dashboard.
    #[cfg(feature = "tui")]
    #[arg(long)]
    tui: bool,
}

fn main() -> ExitCode {
    common::exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let config = config(options)?;
    let device = open_device(&options.device)?;
    let run = match (options.resume, options.from_epoch) {
        (true, Some(epoch)) => Run::resume(&options.out).from_epoch(epoch),
        (true, None) => Run::resume(&options.out),
        (false, _) => Run::new(&options.out),
    };
    let follower = Follower::new(Following {
        previews: (!options.no_previews).then(|| options.out.clone()),
        target: config.stop_at_luminance,
        quiet: dashboard(options),
    });
    let monitor = follower.monitor();
    #[cfg(feature = "tui")]
    let monitor = if dashboard(options) { monitor.with_dashboard() } else { monitor };
    let trained = train(&config, &run, ExecutionStrategy::SingleDevice(device), &monitor);
    let trained = trained.map_err(hint);
    match (follower.finish(), &trained) {
        // Both are worth knowing.
        (Err(error), Err(_)) => common::complain(error),
        (followed, _) => followed?,
    }
    let trained = trained?;
    if trained.interrupted {
        return Err("interrupted; --resume continues from the last completed epoch".into());
    }
    let Some(metrics) = trained.metrics else {
        common::say(common::shown(&options.out.join("model.safetensors")));
        return Ok(());
    };
    let EpochMetrics { epoch, luminance, clipped, .. } = metrics;
    common::say(format_args!(
        "{}: from epoch {epoch}, mean luminance {luminance:.3}, {:.2} % clipped",
        common::shown(&options.out.join("model.safetensors")),
        clipped * 100.0
    ));
    Ok(())
}

/// Whether Burn's dashboard is shown.
#[cfg_attr(not(feature = "tui"), expect(unused_variables))]
fn dashboard(options: &Options) -> bool {
    #[cfg(feature = "tui")]
    return options.tui;
    #[cfg(not(feature = "tui"))]
    false
}

/// Adds the option that helps.
fn hint(error: Error) -> common::Failure {
    match error {
        Error::RunExists { .. } => format!("{error} (--resume continues it)").into(),
        Error::NotFinite { checkpoint: Some(_), .. } => {
            format!("{error} (--resume --from-epoch N continues from a checkpoint)").into()
        }
        error => error.into(),
    }
}

/// The settings of a file or of the run that is resumed, with the given options on top.
fn config(options: &Options) -> Result<TrainingConfig> {
    let file = match (&options.config, options.resume) {
        (Some(file), _) => Some(file.clone()),
        (None, true) => Some(options.out.join("config.json")),
        (None, false) => None,
    };
    let mut config = match (file, &options.data) {
        (Some(file), _) => {
            let config = TrainingConfig::read(&file)?;
            let method = config.model.method();
            if let Some(asked) = options.method.filter(|asked| *asked != method) {
                let file = common::shown(&file);
                let (is, asked) = (method.title(), asked.title());
                return Err(format!("{file} is for {is}, not for {asked} (--method)").into());
            }
            config
        }
        (None, Some(data)) => {
            TrainingConfig::new(data.clone()).with_method(options.method.unwrap_or_default())
        }
        (None, None) => {
            return Err("a folder of photographs is needed (--data)".into());
        }
    };
    let darken = options.darken.map(Darken::new);
    config.data = options.data.clone().unwrap_or(config.data);
    config.validation = options.validation.clone().or(config.validation);
    config.epochs = options.epochs.unwrap_or(config.epochs);
    config.batch_size = options.batch_size.unwrap_or(config.batch_size);
    config.sampling.crop = options.crop.or(config.sampling.crop);
    config.sampling.flip |= options.flip;
    config.sampling.darken = darken.or(config.sampling.darken);
    config.optimizer.learning_rate = options.lr.unwrap_or(config.optimizer.learning_rate);
    if let Some(stages) = options.stages {
        config.model = config.model.with_stages(stages);
    }
    if options.estimator_only && config.model.method() != Method::SciPlusPlus {
        return Err("--estimator-only needs --method sci++: in SCI all is trained together".into());
    }
    config.alternation.estimator_only |= options.estimator_only;
    config.seed = options.seed.unwrap_or(config.seed);
    config.stop_at_luminance = options.stop_at_luminance.or(config.stop_at_luminance);
    Ok(config)
}

/// As `2..4`.
fn stops(text: &str) -> Result<[f32; 2], String> {
    common::pair(text, "..")
        .ok_or_else(|| "expected the least and the greatest, such as 2..4".to_owned())
}
