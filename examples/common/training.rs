//! Following a training: its progress, its previews and Ctrl-C.

use super::{Failure, Result, note, preview, say, stop, style};
use indicatif::ProgressBar;
use sci_burn::image::DynamicImage;
use sci_burn::photo::{PngCompression, SaveOptions, save_photo_with};
use sci_burn::train::{EpochMetrics, Monitor, Preview, TrainingEvent};
use std::io::{IsTerminal, stderr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How a training is followed.
#[derive(Default)]
pub struct Following {
    /// The run's folder, where previews are to be drawn into it.
    pub previews: Option<PathBuf>,
    /// The luminance that the curve of the previews marks.
    pub target: Option<f64>,
    /// Whether a dashboard has the terminal, so that nothing may be printed until the end.
    pub quiet: bool,
}

/// Follows a training: with a bar in a terminal, elsewhere with a line for each epoch.
pub struct Follower(Arc<Mutex<Progress>>);

impl Follower {
    /// The first Ctrl-C stops the training, the second one ends the process.
    pub fn new(following: Following) -> Self {
        let progress = Progress { following, stop: stop::on_ctrl_c(), ..Progress::default() };
        Self(Arc::new(Mutex::new(progress)))
    }

    /// The monitor for the training.
    pub fn monitor(&self) -> Monitor {
        let progress = self.0.clone();
        let previews = self.0.lock().unwrap().following.previews.is_some();
        Monitor::new(move |event| progress.lock().unwrap().tell(event)).with_previews(if previews {
            PREVIEWS
        } else {
            0
        })
    }

    /// Ends the display, and returns what went wrong in it.
    pub fn finish(self) -> Result<()> {
        let mut progress = self.0.lock().unwrap();
        if let Some(bar) = progress.bar.take() {
            bar.finish_and_clear();
        }
        progress.following.quiet = false;
        for line in std::mem::take(&mut progress.later) {
            note(line);
        }
        progress.failure.take().map_or(Ok(()), Err)
    }
}

/// The number of photographs in a preview.
const PREVIEWS: usize = 4;

#[derive(Default)]
struct Progress {
    following: Following,
    /// Whether Ctrl-C was pressed.
    stop: Arc<AtomicBool>,
    /// What ended the training from here.
    failure: Option<Failure>,
    /// Messages to be printed when the terminal is free.
    later: Vec<String>,
    history: Vec<EpochMetrics>,
    bar: Option<ProgressBar>,
    /// The number of photographs in each epoch.
    photos: usize,
    epoch: usize,
    epochs: usize,
    luminance: Option<f64>,
    epoch_began: Option<Instant>,
}

impl Progress {
    fn tell(&mut self, event: TrainingEvent) -> ControlFlow<()> {
        match event {
            TrainingEvent::LeftOut(error) => self.print(format!("left out: {error}")),
            TrainingEvent::MetricsLost { path, epochs, .. } => {
                let path = super::shown(&path);
                self.print(format!("{path}: the metrics of {epochs} epochs are lost"));
            }
            TrainingEvent::Started { epoch, epochs, photos, history, .. } => {
                (self.epoch, self.epochs, self.photos) = (epoch, epochs, photos);
                self.history = history;
                self.epoch_began = Some(Instant::now());
                if let Some(run) = &self.following.previews {
                    remove_previews(run, epoch);
                }
                if stderr().is_terminal() && !self.following.quiet {
                    let bar = ProgressBar::new((epochs * photos) as u64);
                    bar.set_style(style("{prefix} {bar:20} {msg}, {rate} images/s, {eta} left"));
                    bar.set_position(((epoch - 1) * photos) as u64);
                    bar.reset_eta();
                    self.bar = Some(bar);
                }
            }
            TrainingEvent::Step { photos, loss, .. } => self.step(photos, loss),
            TrainingEvent::Epoch { metrics, previews, .. } => {
                self.epoch(&metrics);
                self.history.push(metrics);
                if let Err(error) = self.draw(metrics.epoch, &previews) {
                    self.failure = Some(error);
                    return ControlFlow::Break(());
                }
            }
            _ => {}
        }
        match self.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Draws the preview of an epoch into the run's folder.
    fn draw(&self, epoch: usize, previews: &[Arc<Preview>]) -> Result<()> {
        let Some(run) = &self.following.previews else { return Ok(()) };
        let folder = run.join("previews");
        std::fs::create_dir_all(&folder).map_err(|error| super::unwritable(&folder, error))?;
        let picture = preview::draw(previews, &self.history, self.following.target);
        let path = folder.join(format!("epoch-{epoch:03}.png"));
        // One for each epoch, most of which nobody looks at.
        let options = SaveOptions::new().with_compression(PngCompression::Fast);
        Ok(save_photo_with(&DynamicImage::from(picture).into(), path, &options)?)
    }

    fn step(&self, photos: usize, loss: f64) {
        let Some(bar) = &self.bar else { return };
        bar.set_prefix(match self.epochs {
            1 => String::new(),
            epochs => format!("epoch {}/{epochs}", self.epoch),
        });
        let luminance = self.luminance.map(|value| format!(", luminance {value:.3}"));
        bar.set_message(format!(
            "image {photos}/{}, loss {loss:.4}{}",
            self.photos,
            luminance.unwrap_or_default()
        ));
        bar.set_position(((self.epoch - 1) * self.photos + photos) as u64);
    }

    fn epoch(&mut self, metrics: &EpochMetrics) {
        if self.bar.is_none() && !self.following.quiet {
            let seconds = self.epoch_began.map_or(0.0, |began| began.elapsed().as_secs_f64());
            say(format_args!(
                "epoch {}/{}: {}{}{}luminance {:.3}, clipped {:.2} %, color cast {:.1} %, {:.1} \
                 images/s",
                metrics.epoch,
                self.epochs,
                part("loss", metrics.loss),
                part("gradient", metrics.gradient_norm),
                part("calibrator loss", metrics.calibrator_loss),
                metrics.luminance,
                metrics.clipped * 100.0,
                metrics.color_cast * 100.0,
                self.photos as f64 / seconds
            ));
        }
        self.luminance = Some(metrics.luminance);
        self.epoch = metrics.epoch + 1;
        self.epoch_began = Some(Instant::now());
    }

    /// Above the bar, if there is one.
    fn print(&mut self, line: String) {
        match &self.bar {
            _ if self.following.quiet => self.later.push(line),
            Some(bar) => bar.suspend(|| note(line)),
            None => note(line),
        }
    }
}

/// A number of an epoch that has it, for a line of several.
fn part(name: &str, value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{name} {value:.4}, "))
}

/// Removes previews of epochs that a resumed run makes again.
fn remove_previews(run: &Path, first: usize) {
    for entry in std::fs::read_dir(run.join("previews")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let epoch = name.strip_prefix("epoch-").and_then(|name| name.strip_suffix(".png"));
        if epoch.and_then(|epoch| epoch.parse().ok()).is_some_and(|epoch: usize| epoch >= first) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}
