use super::batch::{Batch, LoadingError, Origin};
use super::photos::PhotoSet;
use crate::error::Error;
use crate::photo::images_to_tensor;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use image::Rgb32FImage;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

/// Reads the batches of an epoch in background threads.
///
/// In Burn's own loaders the order of the photographs depends on how many epochs ran before and on
/// which thread is faster, and a hundred batches are queued. Here the order depends on seed and epoch
/// only, so that a resumed run sees what an uninterrupted one would have seen, and each thread is at
/// most two batches ahead.
pub(crate) struct PhotoLoader {
    set: Arc<PhotoSet>,
    /// The part of each epoch's order that this loader reads: the share of one of several devices.
    share: Range<usize>,
    /// Whether a photograph that cannot be read is replaced by another one rather than left out.
    /// Several devices must make the same number of steps.
    replaces: bool,
    /// Which steps of the training, counted from 1, are made. The photographs of the others are not read.
    made: Made,
    batch_size: usize,
    threads: usize,
    device: Device,
    first_epoch: usize,
    epochs_begun: AtomicUsize,
}

type Made = Arc<dyn Fn(usize) -> bool + Send + Sync>;

impl PhotoLoader {
    /// A loader whose next epoch is `first_epoch`.
    pub(crate) fn new(
        set: Arc<PhotoSet>,
        batch_size: usize,
        first_epoch: usize,
        device: &Device,
    ) -> Self {
        // Reading is faster than computing, so few threads are enough.
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            share: 0..set.len(),
            set,
            replaces: false,
            made: Arc::new(|_| true),
            batch_size,
            threads: threads.clamp(1, 4),
            device: device.clone(),
            first_epoch,
            epochs_begun: AtomicUsize::new(0),
        }
    }

    /// Lets every epoch have the same number of photographs, whichever of them can be read.
    pub(crate) fn with_replacements(self) -> Self {
        Self { replaces: true, ..self }
    }

    /// Leaves out the steps of the training, counted from 1, that `made` is false for.
    pub(crate) fn with_steps(self, made: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
        Self { made: Arc::new(made), ..self }
    }

    /// The step of the training, from 1, that a batch of an epoch is for.
    fn iteration(&self, epoch: usize, batch: usize) -> usize {
        (epoch - 1) * self.share.len().div_ceil(self.batch_size) + batch + 1
    }

    fn with(&self, share: Range<usize>, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            set: self.set.clone(),
            share,
            replaces: self.replaces,
            made: self.made.clone(),
            batch_size: self.batch_size,
            threads: self.threads,
            device: device.clone(),
            first_epoch: self.first_epoch,
            epochs_begun: AtomicUsize::new(0),
        })
    }
}

impl DataLoader<Batch> for PhotoLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        let epoch = self.first_epoch + self.epochs_begun.fetch_add(1, Ordering::Relaxed);
        let order: Arc<[usize]> = self.set.order(epoch).into();
        let batches = self.share.len().div_ceil(self.batch_size);
        // The numbers of the batches that are read, in order.
        let wanted: Arc<[usize]> =
            (0..batches).filter(|&batch| (self.made)(self.iteration(epoch, batch))).collect();
        let readers = (0..self.threads)
            .map(|thread| {
                let (sender, receiver) = sync_channel(1);
                let (set, order, threads) = (self.set.clone(), order.clone(), self.threads);
                let (share, batch_size) = (self.share.clone(), self.batch_size);
                let (wanted, replaces) = (wanted.clone(), self.replaces);
                std::thread::spawn(move || {
                    let places = Vec::from_iter(share);
                    let batches = Vec::from_iter(places.chunks(batch_size));
                    for &batch in wanted.iter().skip(thread).step_by(threads) {
                        let places = batches[batch];
                        let samples = places.iter().filter_map(|&place| match replaces {
                            true => read_or_replace(&set, epoch, &order, place),
                            false => read(&set, epoch, order[place]),
                        });
                        // The receiver is gone when training ends early.
                        if sender.send(samples.collect()).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        Box::new(Epoch { loader: self, epoch, readers, wanted, next: 0, steps: 0, done: 0 })
    }

    fn num_items(&self) -> usize {
        self.share.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        self.with(self.share.clone(), device)
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        self.with(self.share.start + start..self.share.start + end, &self.device)
    }
}

/// A sample of a photograph, with the photograph's path.
type Sample = (PathBuf, Rgb32FImage);

/// The sample of a photograph, unless it cannot be read.
fn read(set: &PhotoSet, epoch: usize, index: usize) -> Option<Sample> {
    Some((set.path(index).to_owned(), set.sample(epoch, index)?))
}

/// The sample of the photograph at a place of the epoch's order, or of the next one that can be read.
fn read_or_replace(set: &PhotoSet, epoch: usize, order: &[usize], place: usize) -> Option<Sample> {
    let (before, after) = order.split_at(place);
    after.iter().chain(before).find_map(|&index| read(set, epoch, index))
}

struct Epoch<'a> {
    loader: &'a PhotoLoader,
    epoch: usize,
    readers: Vec<Receiver<Vec<Sample>>>,
    /// The numbers of the batches that the readers read, in order.
    wanted: Arc<[usize]>,
    /// Which of them is next.
    next: usize,
    steps: usize,
    /// Photographs processed, including those that could not be read or were left out.
    done: usize,
}

impl Iterator for Epoch<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let total = self.loader.share.len();
        while let Some(&batch) = self.wanted.get(self.next) {
            let reader = &self.readers[self.next % self.readers.len()];
            self.next += 1;
            self.done = ((batch + 1) * self.loader.batch_size).min(total);
            let samples = match reader.recv() {
                Ok(samples) => samples,
                Err(error) => return Some(Err(DatasetError::new(error))),
            };
            if samples.is_empty() {
                continue;
            }
            self.steps += 1;
            let (photos, images): (_, Vec<_>) = samples.into_iter().unzip();
            let iteration = self.loader.iteration(self.epoch, batch);
            let origin = Origin { epoch: self.epoch, step: self.steps, iteration, photos };
            let image = images_to_tensor(&images, |sample| sample, &self.loader.device);
            return Some(Ok(Batch { image, origin, pictured: false }));
        }
        self.done = total;
        // An epoch may have few steps, or none, where some are left out.
        (self.steps == 0 && self.loader.set.is_unreadable()).then(|| {
            self.steps = 1;
            let reason = "no photograph can be read any more";
            Err(LoadingError::wrap(Error::read(self.loader.set.path(0), reason)))
        })
    }
}

impl DataLoaderIterator<Batch> for Epoch<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.loader.share.len(), Some("photographs".to_owned()))
    }
}

/// Validation photographs, kept in memory.
#[derive(Clone)]
pub(crate) struct Held {
    photos: Arc<[(PathBuf, Rgb32FImage)]>,
    /// How many of them are shown in previews.
    pictured: usize,
    device: Device,
}

impl Held {
    pub(crate) fn new(
        photos: Vec<(PathBuf, Rgb32FImage)>,
        pictured: usize,
        device: &Device,
    ) -> Self {
        Self { photos: photos.into(), pictured, device: device.clone() }
    }
}

impl DataLoader<Batch> for Held {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(HeldEpoch { held: self, next: 0 })
    }

    fn num_items(&self) -> usize {
        self.photos.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self { photos: self.photos[start..end].into(), ..self.clone() })
    }
}

struct HeldEpoch<'a> {
    held: &'a Held,
    next: usize,
}

impl Iterator for HeldEpoch<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (path, photo) = self.held.photos.get(self.next)?;
        let pictured = self.next < self.held.pictured;
        self.next += 1;
        let photos = vec![path.clone()];
        let origin = Origin { epoch: 0, step: self.next, iteration: 0, photos };
        let image =
            images_to_tensor(std::slice::from_ref(photo), |sample| sample, &self.held.device);
        Some(Ok(Batch { image, origin, pictured }))
    }
}

impl DataLoaderIterator<Batch> for HeldEpoch<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.next, self.held.photos.len(), Some("photographs".to_owned()))
    }
}
