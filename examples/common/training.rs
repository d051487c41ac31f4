//! How a training shows its progress.

use super::{say, style};
use indicatif::ProgressBar;
use sci_burn::train::{EpochMetrics, TrainingEvent, Watch};
use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::Instant;

/// A bar in a terminal, elsewhere a line for each epoch.
pub fn watch() -> Watch {
    let progress = Mutex::new(Progress::default());
    Watch::events(move |event| progress.lock().unwrap().tell(event))
}

#[derive(Default)]
struct Progress {
    bar: Option<ProgressBar>,
    /// Photographs an epoch.
    photos: usize,
    epoch: usize,
    epochs: usize,
    luminance: Option<f64>,
    epoch_began: Option<Instant>,
}

impl Progress {
    fn tell(&mut self, event: TrainingEvent) {
        match event {
            TrainingEvent::LeftOut(error) => self.print(&format!("left out: {error}")),
            TrainingEvent::Started { epoch, epochs, photos } => {
                (self.epoch, self.epochs, self.photos) = (epoch, epochs, photos);
                self.epoch_began = Some(Instant::now());
                if stderr().is_terminal() {
                    let bar = ProgressBar::new((epochs * photos) as u64);
                    bar.set_style(style("{prefix} {bar:20} {msg}, {rate} images/s, {eta} left"));
                    bar.set_position(((epoch - 1) * photos) as u64);
                    bar.reset_eta();
                    self.bar = Some(bar);
                }
            }
            TrainingEvent::Step { photos, loss } => self.step(photos, loss),
            TrainingEvent::Epoch(metrics) => self.epoch(&metrics),
            _ => {}
        }
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
        if self.bar.is_none() {
            let seconds = self.epoch_began.map_or(0.0, |began| began.elapsed().as_secs_f64());
            say(format_args!(
                "epoch {}/{}: loss {:.4}, gradient {:.3}, luminance {:.3}, clipped {:.2} %, color \
                 cast {:.1} %, {:.1} images/s",
                metrics.epoch,
                self.epochs,
                metrics.loss,
                metrics.gradient_norm,
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
    fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
