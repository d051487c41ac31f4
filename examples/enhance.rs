//! Brightens dark photographs.
//!
//! ```text
//! cargo run --release --example enhance -- dark.png -o bright.png
//! cargo run --release --example enhance -- --preset published-difficult -o results photos more/*.jpg
//! find photos -name '*.jpg' | cargo run --release --example enhance -- -o results --files-from -
//! cargo run --release --example enhance -- photos -o results --shard 3/16 --report failures-3.csv
//! ```

mod common;

use clap::Parser;
use common::plan::{Job, Plan, plan_jobs};
use common::report::{may_report, remove_report, write_report};
use common::shard::Shard;
use common::{Failed, Result, complain, shown};
use indicatif::ProgressBar;
use rayon::{ThreadPool, ThreadPoolBuilder};
use sci_burn::photo::{ChromaSampling, PngCompression, SaveOptions, save_photo_with};
use sci_burn::{Enhancer, Exposure};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Brightens dark photographs.
#[derive(Parser)]
struct Options {
    /// Photographs, or folders of them.
    #[arg(required_unless_present = "files_from")]
    inputs: Vec<PathBuf>,
    /// Read more paths, one a line, from a file or (-) from standard input.
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,
    /// Keep the folder tree of the photographs below this folder; for a list, the default is the
    /// current folder.
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// The result of one photograph, or the folder for the results.
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    network: common::NetworkOptions,
    /// How far to brighten: full (as published), auto, auto:LUMINANCE, a strength from 0 to 1, or
    /// STRENGTH:GAMMA with a tone curve.
    #[arg(short, long, default_value = "auto")]
    exposure: Exposure,
    #[command(flatten)]
    look: common::LookOptions,
    /// The quality of JPEGs, from 1 to 100.
    #[arg(long, default_value_t = 95, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// The chroma sampling of JPEGs: 444, 422, 440 or 420. The default is that of the photograph,
    /// 444 where it is no JPEG.
    #[arg(long, value_name = "SAMPLING")]
    chroma: Option<ChromaSampling>,
    /// The compression of PNGs, always lossless: fast, default or best.
    #[arg(long, default_value_t)]
    compression: PngCompression,
    #[command(flatten)]
    reading: common::ReadingOptions,
    /// Do one of several shares of the photographs, such as 3/16 on the third of sixteen machines.
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
    /// Write which photographs failed and why to this file, as CSV, when all were tried.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Replace results that exist already.
    #[arg(short, long)]
    force: bool,
}

fn main() -> ExitCode {
    common::exit_whole(run(&Options::parse()))
}

/// Enhances every photograph that can be, and returns whether that was all of them.
fn run(options: &Options) -> Result<bool> {
    let mut inputs = options.inputs.clone();
    if let Some(list) = &options.files_from {
        inputs.extend(common::list::read(list)?);
    }
    let here = options.files_from.as_ref().map(|_| Path::new(""));
    let root = options.root.as_deref().or(here);
    if let Some(report) = &options.report {
        let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
        may_report(report, &inputs)?;
    }
    let Plan { mut jobs, refused } = plan_jobs(&inputs, root, &options.output)?;
    if let Some(shard) = options.shard {
        // By the place below the folder of results, which is the same on every machine. What is refused is
        // refused in every share: a folder that cannot be read may be missing on this machine alone.
        jobs.retain(|job| {
            shard.has(job.output.strip_prefix(&options.output).unwrap_or(&job.output))
        });
    }
    let enhancer = options.look.apply(options.network.enhancer()?, options.exposure)?;
    refused.iter().for_each(|(_, error)| complain(error));

    if let Some(report) = &options.report {
        // That of an earlier run would be taken for this one's, if this is killed.
        remove_report(report)?;
    }
    let work = Work { enhancer, options, jobs: &jobs, stop: common::stop::on_ctrl_c() };
    let Outcome { enhanced, skipped, mut failures, stopped } = work.all()?;
    failures.extend(refused);
    let failed = failures.len();
    match &jobs[..] {
        [job] if enhanced == 1 && failed == 0 => common::say(shown(&job.output)),
        [job] if skipped == 1 && failed == 0 => {
            let result = shown(&job.output);
            common::say(format_args!("{result} exists already (--force replaces it)"));
        }
        _ => common::say(format_args!(
            "{enhanced} enhanced, {skipped} skipped because they exist, {failed} failed"
        )),
    }
    if stopped {
        // Whoever finds a report may take it that all was tried.
        complain("interrupted; the same command continues");
    } else if let Some(report) = &options.report {
        write_report(report, failures)?;
    }
    Ok(failed == 0 && !stopped)
}

struct Work<'a> {
    enhancer: Enhancer,
    options: &'a Options,
    jobs: &'a [Job],
    stop: Arc<AtomicBool>,
}

struct Outcome {
    enhanced: usize,
    skipped: usize,
    /// The photographs that failed, and why.
    failures: Vec<Failed>,
    /// Whether the user ended the work before all of it was done.
    stopped: bool,
}

impl Work<'_> {
    /// Works on several photographs at once, because most of the time goes into decoding and encoding
    /// files, which run on one core each. The other cores enhance.
    fn all(&self) -> Result<Outcome> {
        let (waiting, existing): (Vec<&Job>, Vec<&Job>) =
            self.jobs.iter().partition(|job| self.may_write(job));
        let bar = ProgressBar::new(waiting.len() as u64);
        let template = "{bar:30} {pos}/{len} photographs, {rate} a second, {eta} left  {wide_msg}";
        bar.set_style(common::style(template));
        let [next, enhanced, skipped] = [const { AtomicUsize::new(0) }; 3];
        let failures = Mutex::new(Vec::new());
        let add = |count: &AtomicUsize| count.fetch_add(1, Ordering::Relaxed);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers = cores.min(waiting.len()).max(1);
        let pools =
            (0..workers).map(|_| ThreadPoolBuilder::new().num_threads(cores / workers).build());
        let pools = pools.collect::<Result<Vec<ThreadPool>, _>>()?;
        thread::scope(|scope| {
            for pool in &pools {
                scope.spawn(|| {
                    while !self.stop.load(Ordering::Relaxed)
                        && let Some(job) = waiting.get(add(&next))
                    {
                        bar.set_message(shown(&job.input));
                        match common::guarded(|| pool.install(|| self.one(job))) {
                            Ok(true) => _ = add(&enhanced),
                            Ok(false) => _ = add(&skipped),
                            Err(error) => {
                                let error = common::describe(&job.input, &error);
                                bar.suspend(|| complain(&error));
                                let mut failures = failures.lock().expect("no worker panics");
                                failures.push((job.input.clone(), error.into()));
                            }
                        }
                        bar.inc(1);
                    }
                });
            }
        });
        bar.finish_and_clear();
        let [enhanced, skipped] = [enhanced, skipped].map(AtomicUsize::into_inner);
        let failures = failures.into_inner().expect("no worker panics");
        let skipped = skipped + existing.len();
        let stopped = enhanced + skipped + failures.len() < self.jobs.len();
        Ok(Outcome { enhanced, skipped, failures, stopped })
    }

    fn may_write(&self, job: &Job) -> bool {
        // A link to nowhere is a file that is there, too.
        self.options.force || job.output.symlink_metadata().is_err()
    }

    /// Enhances a photograph, and returns whether the result was written: not if there is one.
    fn one(&self, job: &Job) -> Result<bool> {
        let bright = self.enhancer.enhance_photo(&self.options.reading.open(&job.input)?)?;
        if let Some(folder) = job.output.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| common::unwritable(&job.output, error))?;
        }
        let &Options { quality, chroma, compression, force, .. } = self.options;
        let save = SaveOptions::new().with_quality(quality).with_chroma(chroma);
        let save = save.with_compression(compression).with_replace(force);
        match save_photo_with(&bright, &job.output, &save) {
            // It has appeared since the work began.
            Err(error) if error.io_kind() == Some(ErrorKind::AlreadyExists) => Ok(false),
            saved => Ok(saved.map(|()| true)?),
        }
    }
}
