//! Makes dark photographs bright.
//!
//! ```text
//! cargo run --release --example enhance -- dark.png -o bright.png
//! cargo run --release --example enhance -- --preset difficult -o results photos more/*.jpg
//! ```

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use sci_burn::{
    Enhancer, Error, Job, Plan, PngCompression, Preset, Result, SaveOptions, open_device,
    open_photo, plan_jobs, save_photo_with,
};
use std::path::PathBuf;
use std::process::ExitCode;

/// Makes dark photographs bright.
#[derive(Parser)]
struct Options {
    /// Photographs, or folders of them.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// The result of one photograph, or the folder for the results.
    #[arg(short, long)]
    output: PathBuf,
    /// Which weights of this crate to use: easy, medium or difficult, for ever darker photographs.
    #[arg(short, long, default_value_t)]
    preset: Preset,
    /// Other weights: .pt, .safetensors or .bpk.
    #[arg(short, long, conflicts_with = "preset")]
    weights: Option<PathBuf>,
    /// What computes: cpu, ndarray, wgpu, vulkan, metal or cuda.
    #[arg(short, long, default_value = "cpu")]
    device: String,
    /// The quality of JPEGs, from 1 to 100.
    #[arg(long, default_value_t = 95, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// How hard PNGs are compressed, always without loss: fast, default or best.
    #[arg(long, default_value_t)]
    compression: PngCompression,
    /// Replace results that exist already.
    #[arg(short, long)]
    force: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Enhances everything that can be, and returns whether that was everything.
fn run(options: &Options) -> Result<bool> {
    let Plan { jobs, refused } = plan_jobs(&options.inputs, &options.output)?;
    let device = open_device(&options.device)?;
    let enhancer = match &options.weights {
        Some(weights) => Enhancer::from_file(weights, &device)?,
        None => Enhancer::from_preset(options.preset, &device),
    };

    let style = ProgressStyle::with_template(
        "{bar:30} {pos}/{len} photographs, {per_sec}, {eta} left  {wide_msg}",
    );
    let bar = ProgressBar::new(jobs.len() as u64).with_style(style.expect("a valid template"));
    for error in &refused {
        eprintln!("error: {error}");
    }
    let mut failed = 0;
    for job in &jobs {
        bar.set_message(job.input.display().to_string());
        if let Err(error) = enhance(&enhancer, job, options) {
            bar.suspend(|| eprintln!("error: {}", describe(job, &error)));
            failed += 1;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    match jobs.as_slice() {
        [job] if refused.is_empty() && failed == 0 => println!("{}", job.output.display()),
        [_] if refused.is_empty() => {}
        _ => {
            let done = jobs.len() - failed;
            if done > 0 {
                println!("{done} photographs enhanced, in {}", options.output.display());
            }
            if failed > 0 {
                eprintln!("error: {failed} photographs failed");
            }
        }
    }
    Ok(failed == 0 && refused.is_empty())
}

/// The error in one line that names the photograph. Most errors do so themselves.
fn describe(job: &Job, error: &Error) -> String {
    let (name, message) = (job.input.display().to_string(), error.to_string());
    if message.contains(&name) { message } else { format!("{name}: {message}") }
}

fn enhance(enhancer: &Enhancer, job: &Job, options: &Options) -> Result<()> {
    let refused = |reason: String| Error::Write { path: job.output.clone(), reason };
    if job.output.exists() && !options.force {
        return Err(refused("it exists already (--force replaces it)".to_owned()));
    }
    let bright = enhancer.enhance_photo(&open_photo(&job.input)?)?;
    if let Some(folder) = job.output.parent() {
        std::fs::create_dir_all(folder).map_err(|error| refused(error.to_string()))?;
    }
    let save = SaveOptions::new().with_quality(options.quality);
    save_photo_with(&bright, &job.output, &save.with_compression(options.compression))
}
