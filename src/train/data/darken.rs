use crate::error::{Error, Result};
use burn::config::Config;
use image::{DynamicImage, Rgb32FImage, RgbImage};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::StandardNormal;

/// Turns ordinary photographs into low-light ones, for training without a low-light data set: reduces
/// the exposure in linear light, adds sensor noise and quantizes to 8 bits.
///
/// The noise is Gaussian with variance `shot_noise · signal + read_noise²` in linear light (the model
/// of Foi et al., *Practical Poissonian-Gaussian noise modeling*, 2008), independent for each sample.
///
/// ```
/// let darken = sci_burn::train::Darken::new([2.0, 4.0]);
/// let bright = sci_burn::image::DynamicImage::new_rgb8(30, 20);
/// let dark = darken.apply(&bright, 7)?;
/// assert_eq!(dark, darken.apply(&bright, 7)?);
/// # Ok::<(), sci_burn::Error>(())
/// ```
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct Darken {
    /// The range of the reduction of exposure, in stops; each stop halves the light. The reduction is
    /// drawn uniformly from the range. Each in `[0, 16]`.
    pub stops: [f32; 2],
    /// The variance of shot noise at full signal: one over the number of electrons that a pixel can
    /// hold. In `[0, 1]`.
    #[config(default = 1e-4)]
    pub shot_noise: f32,
    /// The standard deviation of read noise, relative to full signal. In `[0, 1]`.
    #[config(default = 5e-4)]
    pub read_noise: f32,
}

impl Darken {
    /// Darkens a photograph. The same seed gives the same result.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where a setting is out of its range.
    pub fn apply(&self, photo: &DynamicImage, seed: u64) -> Result<RgbImage> {
        self.check()?;
        let mut image = photo.to_rgb32f();
        self.darken(&mut image, &mut ChaCha8Rng::seed_from_u64(seed));
        Ok(DynamicImage::from(image).into_rgb8())
    }

    pub(crate) fn check(&self) -> Result<()> {
        let [least, greatest] = self.stops;
        let refused = |setting, reason: String| Err(Error::setting(setting, reason));
        if !(0.0 <= least && least <= greatest && greatest <= 16.0) {
            let reason = format!("is {least} to {greatest}, must rise within 0 to 16 stops");
            return refused("stops", reason);
        }
        for (setting, value) in [("shot_noise", self.shot_noise), ("read_noise", self.read_noise)] {
            if !(0.0..=1.0).contains(&value) {
                return refused(setting, format!("is {value}, must be within 0 to 1"));
            }
        }
        Ok(())
    }

    /// Darkens samples in `[0, 1]` and rounds them to one of 256 levels.
    pub(super) fn darken(&self, image: &mut Rgb32FImage, random: &mut impl Rng) {
        let [least, greatest] = self.stops;
        let stops = least + (greatest - least) * random.random::<f32>();
        let exposure = (-stops).exp2();
        let read_variance = self.read_noise * self.read_noise;
        for sample in image.iter_mut() {
            let signal = to_linear(*sample) * exposure;
            let deviation = (self.shot_noise * signal + read_variance).sqrt();
            let noise: f32 = random.sample(StandardNormal);
            let level = (to_srgb((signal + deviation * noise).clamp(0.0, 1.0)) * 255.0).round();
            *sample = level / 255.0;
        }
    }
}

/// The transfer functions of sRGB (IEC 61966-2-1).
fn to_linear(value: f32) -> f32 {
    match value {
        value if value <= 0.04045 => value / 12.92,
        value => ((value + 0.055) / 1.055).powf(2.4),
    }
}

fn to_srgb(value: f32) -> f32 {
    match value {
        value if value <= 0.003_130_8 => value * 12.92,
        value => 1.055 * value.powf(1.0 / 2.4) - 0.055,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noiseless(stops: f32) -> Darken {
        Darken::new([stops; 2]).with_shot_noise(0.0).with_read_noise(0.0)
    }

    fn gray(level: u8) -> DynamicImage {
        RgbImage::from_pixel(64, 64, image::Rgb([level; 3])).into()
    }

    #[test]
    fn no_stops_and_no_noise_change_nothing() {
        for level in 0..=255 {
            let same = noiseless(0.0).apply(&gray(level), 1).unwrap();
            assert!(same.iter().all(|&sample| sample == level), "{level}");
        }
    }

    #[test]
    fn a_stop_halves_the_light() {
        // Worked by hand: level 188 is linear 0.5029, half of that is level 137.
        let dark = noiseless(1.0).apply(&gray(188), 1).unwrap();
        assert!(dark.iter().all(|&sample| sample == 137), "{:?}", dark.get_pixel(0, 0));
    }

    #[test]
    fn the_noise_has_the_configured_variance() {
        let darken = Darken::new([2.0; 2]).with_shot_noise(1e-3).with_read_noise(5e-3);
        let dark = darken.apply(&gray(188), 3).unwrap();
        let linear: Vec<f32> =
            dark.iter().map(|&level| to_linear(f32::from(level) / 255.0)).collect();
        let mean = linear.iter().sum::<f32>() / linear.len() as f32;
        let variance = linear.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / linear.len() as f32;
        let signal = to_linear(188.0 / 255.0) / 4.0;
        assert!((mean / signal - 1.0).abs() < 0.01, "{mean} {signal}");
        let expected = 1e-3 * signal + 25e-6;
        assert!((variance / expected - 1.0).abs() < 0.1, "{variance} {expected}");
    }

    #[test]
    fn the_seed_decides() {
        let darken = Darken::new([2.0, 4.0]);
        let dark = |seed| darken.apply(&gray(120), seed).unwrap();
        assert_eq!(dark(5), dark(5));
        assert_ne!(dark(5), dark(6));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (darken, name) in [
            (Darken::new([3.0, 2.0]), "stops"),
            (Darken::new([f32::NAN, 2.0]), "stops"),
            (Darken::new([1.0, 2.0]).with_read_noise(-1.0), "read_noise"),
        ] {
            let message = darken.apply(&gray(1), 0).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
