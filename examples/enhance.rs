//! Makes dark photographs bright.
//!
//! ```text
//! cargo run --release --example enhance -- dark.png -o bright.png
//! cargo run --release --example enhance -- --preset difficult -o results photos more/*.jpg
//! find photos -name '*.jpg' | cargo run --release --example enhance -- -o results --files-from -
//! ```

mod common;

use clap::Parser;
use common::Result;
use indicatif::ProgressBar;
use sci_burn::photo::{
    Job, Plan, PngCompression, ReadOptions, SaveOptions, open_photo_with, plan_jobs,
    save_photo_with,
};
use sci_burn::{Enhancer, Exposure};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Makes dark photographs bright.
#[derive(Parser)]
struct Options {
    /// Photographs, or folders of them.
    #[arg(required_unless_present = "files_from")]
    inputs: Vec<PathBuf>,
    /// More of them, one a line, from a file or (-) from standard input.
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,
    /// Photographs below this folder keep their place; those of a list do so from where it was made.
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// The result of one photograph, or the folder for the results.
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    network: common::Network,
    /// How far to brighten: full, a strength from 0 to 1, auto or auto:LUMINANCE.
    #[arg(short, long, default_value = "auto")]
    exposure: Exposure,
    /// The quality of JPEGs, from 1 to 100.
    #[arg(long, default_value_t = 95, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// The most memory that the pixels of a photograph may take.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    max_memory: u64,
    /// How hard PNGs are compressed, always without loss: fast, default or best.
    #[arg(long, default_value_t)]
    compression: PngCompression,
    /// Replace results that exist already.
    #[arg(short, long)]
    force: bool,
}

fn main() -> ExitCode {
    common::exit_whole(run(&Options::parse()))
}

/// Enhances everything that can be, and returns whether that was everything.
fn run(options: &Options) -> Result<bool> {
    let mut inputs = options.inputs.clone();
    if let Some(list) = &options.files_from {
        inputs.extend(names(list)?);
    }
    let here = options.files_from.as_ref().map(|_| Path::new(""));
    let root = options.root.as_deref().or(here);
    let Plan { mut jobs, refused } = plan_jobs(&inputs, root, &options.output)?;
    let enhancer = options.network.enhancer()?.with_exposure(options.exposure)?;
    for error in &refused {
        eprintln!("error: {error}");
    }
    let planned = jobs.len();
    let result = jobs.first().map(|job| job.output.display().to_string()).unwrap_or_default();
    jobs.retain(|job| options.force || !job.output.exists());

    let work = Work { enhancer, options, jobs: &jobs, stop: stop_on_ctrl_c() };
    let Outcome { done, failed, stopped } = work.all();
    let skipped = planned - jobs.len();
    match (planned, done, skipped) {
        (1, 1, _) => common::say(format_args!("{result}")),
        (1, _, 1) => common::say(format_args!("{result} exists already (--force replaces it)")),
        _ => {
            let failed = failed + refused.len();
            common::say(format_args!(
                "{done} enhanced, {skipped} skipped since they exist, {failed} failed"
            ));
        }
    }
    if stopped {
        eprintln!("stopped; the same command goes on");
    }
    Ok(failed == 0 && refused.is_empty() && !stopped)
}

/// The lines of a file or of standard input, which are paths in whatever encoding.
fn names(list: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| common::unreadable(list, error);
    let reader: Box<dyn BufRead> = match list.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(BufReader::new(std::fs::File::open(list).map_err(unreadable)?)),
    };
    let lines = reader.split(b'\n').collect::<std::io::Result<Vec<_>>>().map_err(unreadable)?;
    Ok(lines.into_iter().filter(|line| !line.is_empty()).map(path).collect())
}

#[cfg(unix)]
fn path(line: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(line).into()
}

#[cfg(not(unix))]
fn path(line: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&line).trim_end_matches('\r').into()
}

/// Whether the program was asked to end: what has begun is finished, so that nothing is left
/// half-written.
fn stop_on_ctrl_c() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Without a handler it ends at once, as programs do.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed));
    stop
}

struct Work<'a> {
    enhancer: Enhancer,
    options: &'a Options,
    jobs: &'a [Job],
    stop: Arc<AtomicBool>,
}

struct Outcome {
    done: usize,
    failed: usize,
    stopped: bool,
}

impl Work<'_> {
    /// Several photographs beside each other, since most of the time goes into reading and writing
    /// files, which nobody does on more than one core. The cores that are left enhance.
    fn all(&self) -> Outcome {
        let bar = ProgressBar::new(self.jobs.len() as u64);
        let template = "{bar:30} {pos}/{len} photographs, {rate} a second, {eta} left  {wide_msg}";
        bar.set_style(common::style(template));
        let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = cores.min(self.jobs.len()).max(1);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let threads = rayon::ThreadPoolBuilder::new().num_threads(cores / workers);
                    let threads = threads.build().expect("threads can be started");
                    while !self.stop.load(Ordering::Relaxed)
                        && let Some(job) = self.jobs.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        bar.set_message(job.input.display().to_string());
                        if let Err(error) = threads.install(|| self.one(job)) {
                            bar.suspend(|| {
                                eprintln!("error: {}", common::describe(&job.input, &error))
                            });
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                        bar.inc(1);
                    }
                });
            }
        });
        let (finished, failed) = (bar.position() as usize, failed.into_inner());
        bar.finish_and_clear();
        Outcome { done: finished - failed, failed, stopped: finished < self.jobs.len() }
    }

    fn one(&self, job: &Job) -> Result<()> {
        let limit = ReadOptions::new().with_max_bytes(self.options.max_memory << 20);
        let bright = self.enhancer.enhance_photo(&open_photo_with(&job.input, &limit)?)?;
        if let Some(folder) = job.output.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| common::unwritable(&job.output, error))?;
        }
        let save = SaveOptions::new().with_quality(self.options.quality);
        let save = save.with_compression(self.options.compression);
        Ok(save_photo_with(&bright, &job.output, &save)?)
    }
}
