use super::darken::Darken;
use crate::error::{Error, Result};
use crate::loss::SmoothnessLoss;
use crate::photo::{FoundPhotos, find_photos_except, open_photo, photo_size};
use burn::config::Config;
use image::{DynamicImage, Rgb32FImage};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Configuration of what a step uses of a photograph. Random choices are made again each time.
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct SamplingConfig {
    /// Width and height in pixels of a random crop, at most 32768 each. Without it whole photographs
    /// are used, one at a time, as published.
    pub crop: Option<[usize; 2]>,
    /// Whether to flip half of the photographs, at random, left to right.
    #[config(default = false)]
    pub flip: bool,
    /// Darkens ordinary photographs.
    pub darken: Option<Darken>,
}

/// The largest side of a crop, in pixels.
const MAX_CROP: usize = 1 << 15;

impl SamplingConfig {
    /// Refuses settings that are out of range.
    pub(crate) fn check(&self) -> Result<()> {
        let least = SmoothnessLoss::MIN_SIZE;
        if let Some([width, height]) = self.crop
            && (width.min(height) < least || width.max(height) > MAX_CROP)
        {
            let reason = format!(
                "is {width}×{height}, must be from {least}×{least} to {MAX_CROP}×{MAX_CROP} pixels"
            );
            return Err(Error::setting("crop", reason));
        }
        self.darken
            .as_ref()
            .map_or(Ok(()), Darken::check)
            .map_err(|error| error.in_section("darken"))
    }

    /// The sampling with these settings and a seed.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where a setting is out of its range.
    pub(crate) fn init(&self, seed: u64) -> Result<Sampling> {
        self.check()?;
        Ok(Sampling { config: self.clone(), seed })
    }
}

/// Seeded sampling: the same seed, epoch and photograph give the same sample.
#[derive(Clone, Debug)]
pub(crate) struct Sampling {
    config: SamplingConfig,
    seed: u64,
}

impl Sampling {
    /// A random number generator for one photograph in one epoch.
    fn random(&self, epoch: usize, index: u32) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream((epoch as u64) << 32 | u64::from(index));
        random
    }

    /// The order in which an epoch goes through `count` photographs.
    fn order(&self, epoch: usize, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut self.random(epoch, u32::MAX));
        order
    }

    /// A sample of a photograph that is at least as large as the crop.
    fn sample(&self, photo: &DynamicImage, epoch: usize, index: usize) -> Rgb32FImage {
        let mut random = self.random(epoch, index as u32);
        let mut image = match self.config.crop {
            Some([width, height]) => {
                let [width, height] = [width as u32, height as u32];
                let left = random.random_range(0..=photo.width() - width);
                let top = random.random_range(0..=photo.height() - height);
                photo.crop_imm(left, top, width, height).into_rgb32f()
            }
            None => photo.to_rgb32f(),
        };
        if self.config.flip && random.random() {
            image::imageops::flip_horizontal_in_place(&mut image);
        }
        if let Some(darken) = &self.config.darken {
            darken.darken(&mut image, &mut random);
        }
        image
    }

    /// The smallest width and height that a photograph may have.
    fn least_size(&self) -> [usize; 2] {
        self.config.crop.unwrap_or([SmoothnessLoss::MIN_SIZE; 2])
    }
}

/// Called once for each photograph that is left out, with the reason.
pub(crate) type OnRefused = Arc<dyn Fn(Error) + Send + Sync>;

/// The photographs that training reads. Several are decoded each time they are used; a single one is
/// kept in memory.
pub(crate) struct PhotoSet {
    photos: Vec<PathBuf>,
    /// The photograph, where there is only one.
    kept: Option<Arc<DynamicImage>>,
    sampling: Sampling,
    /// Photographs that turned out to be unreadable.
    refused: Mutex<HashSet<usize>>,
    on_refused: OnRefused,
}

impl PhotoSet {
    /// All usable photographs in a folder and its subfolders, except those in the folder `except`;
    /// or the one photograph that the path names.
    ///
    /// Reads all headers, and decodes photographs until one is usable, so that what cannot be
    /// trained on is refused before anything is written.
    pub(crate) fn open(
        source: &Path,
        except: Option<&Path>,
        sampling: Sampling,
        on_refused: OnRefused,
    ) -> Result<Self> {
        let mut set = Self {
            photos: Vec::new(),
            kept: None,
            sampling,
            refused: Mutex::default(),
            on_refused,
        };
        let least_size = set.sampling.least_size();
        let FoundPhotos { photos, unreadable } = match source.is_file() {
            true => FoundPhotos { photos: vec![source.to_owned()], unreadable: Vec::new() },
            false => find_photos_except(source, except)?,
        };
        set.photos = photos;
        let on_refused = &set.on_refused;
        unreadable.into_iter().for_each(|error| on_refused(error));
        if let [photo] = &set.photos[..] {
            // What is wrong with it is the error, not that there is no other.
            fits(photo, least_size)?;
            set.kept = Some(open(photo, least_size)?.into());
            return Ok(set);
        }
        let found = set.photos.len();
        set.photos.retain(|photo| fits(photo, least_size).map_err(|e| on_refused(e)).is_ok());
        match (0..set.len()).any(|index| set.read(index).is_some()) {
            true => Ok(set),
            false => Err(Error::read(
                source,
                format!("none of the {found} photographs in it can be used"),
            )),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.photos.len()
    }

    pub(crate) fn path(&self, index: usize) -> &Path {
        &self.photos[index]
    }

    /// The order in which an epoch goes through the photographs.
    pub(crate) fn order(&self, epoch: usize) -> Vec<usize> {
        self.sampling.order(epoch, self.len())
    }

    /// An epoch's sample of a photograph, unless it cannot be read.
    pub(crate) fn sample(&self, epoch: usize, index: usize) -> Option<Rgb32FImage> {
        Some(self.sampling.sample(self.read(index)?.as_ref(), epoch, index))
    }

    /// At most `count` photographs, evenly spaced, whole, scaled down to at most `side` pixels, and
    /// darkened where that is configured. One that cannot be read is replaced by the next.
    pub(crate) fn reduced(&self, count: usize, side: u32) -> Vec<(PathBuf, Rgb32FImage)> {
        let count = count.min(self.len());
        let mut reduced = Vec::with_capacity(count);
        let mut next = 0;
        for place in 0..count {
            next = next.max(place * self.len() / count);
            while let Some(path) = self.photos.get(next) {
                let photo = self.read(next);
                next += 1;
                if let Some(photo) = photo {
                    reduced.push((path.clone(), self.reduce(&photo, next - 1, side)));
                    break;
                }
            }
        }
        reduced
    }

    fn reduce(&self, photo: &DynamicImage, index: usize, side: u32) -> Rgb32FImage {
        let mut image = match photo.width().max(photo.height()) <= side {
            true => photo.to_rgb32f(),
            false => photo.thumbnail(side, side).into_rgb32f(),
        };
        if let Some(darken) = &self.sampling.config.darken {
            darken.darken(&mut image, &mut self.sampling.random(0, index as u32));
        }
        image
    }

    /// The names of all photographs, one per line: the data of a run are the same if these are.
    pub(crate) fn names(&self) -> String {
        self.photos.iter().map(|photo| format!("{}\n", photo.display())).collect()
    }

    /// Whether none of the photographs could be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.refused().len() == self.photos.len()
    }

    fn refused(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, index: usize) -> Option<Arc<DynamicImage>> {
        if self.kept.is_some() {
            return self.kept.clone();
        }
        if self.refused().contains(&index) {
            return None;
        }
        match open(&self.photos[index], self.sampling.least_size()) {
            Ok(photo) => Some(photo.into()),
            Err(error) => {
                if self.refused().insert(index) {
                    (self.on_refused)(error);
                }
                None
            }
        }
    }
}

/// Reads a photograph, and refuses one that is too small or that `enhance` would refuse.
fn open(path: &Path, least_size: [usize; 2]) -> Result<DynamicImage> {
    let pixels = open_photo(path)?.pixels;
    if matches!(pixels, DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_)) {
        let kind = format!("{:?}", pixels.color());
        return Err(Error::read(path, Error::PixelFormat { kind }));
    }
    // The file may have changed since its header was read.
    large_enough(path, (pixels.width(), pixels.height()), least_size)?;
    Ok(pixels)
}

/// Refuses a photograph that is missing or too small, by its header.
fn fits(photo: &Path, least_size: [usize; 2]) -> Result<()> {
    large_enough(photo, photo_size(photo)?, least_size)
}

fn large_enough(photo: &Path, (width, height): (u32, u32), least: [usize; 2]) -> Result<()> {
    let [least_width, least_height] = least;
    if (width as usize) < least_width || (height as usize) < least_height {
        return Err(Error::read(
            photo,
            format!("is {width}×{height} pixels, smaller than {least_width}×{least_height}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    fn sampling(config: SamplingConfig) -> Sampling {
        config.init(5).unwrap()
    }

    /// A picture in which all pixels differ.
    fn picture() -> DynamicImage {
        RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 0])).into()
    }

    #[test]
    fn crops_are_parts_and_the_same_for_the_same_seed() {
        let sampling = sampling(SamplingConfig::new().with_crop(Some([7, 5])));
        let mut places = HashSet::new();
        for epoch in 0..50 {
            let part = sampling.sample(&picture(), epoch, 3);
            assert_eq!(part.dimensions(), (7, 5));
            assert_eq!(part, sampling.sample(&picture(), epoch, 3));
            let corner = part.get_pixel(0, 0).0.map(|v| (v * 255.0).round() as u32);
            assert_eq!(part, picture().crop_imm(corner[0], corner[1], 7, 5).into_rgb32f());
            places.insert(corner);
        }
        assert!(places.len() > 40, "{}", places.len());
    }

    #[test]
    fn half_of_them_are_flipped() {
        let sampling = sampling(SamplingConfig::new().with_flip(true));
        let turned = (0..200)
            .filter(|&epoch| sampling.sample(&picture(), epoch, 0).get_pixel(0, 0).0[0] > 0.1)
            .count();
        assert!((70..130).contains(&turned), "{turned}");
    }

    #[test]
    fn every_epoch_has_another_order_of_all() {
        let sampling = sampling(SamplingConfig::new());
        let mut first = sampling.order(1, 20);
        assert_ne!(first, sampling.order(2, 20));
        assert_eq!(first, sampling.order(1, 20));
        first.sort();
        assert_eq!(first, Vec::from_iter(0..20));
    }

    #[test]
    fn a_crop_out_of_range_is_refused() {
        for crop in [[0, 40], [40, usize::MAX]] {
            let refused = SamplingConfig::new().with_crop(Some(crop)).init(1).unwrap_err();
            assert!(refused.to_string().contains("`crop`"), "{refused}");
        }
    }
}
