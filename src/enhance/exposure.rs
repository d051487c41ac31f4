use crate::error::{Error, Result};
use crate::metrics;
use crate::ops::Lit;
use std::str::FromStr;

/// How far to brighten.
///
/// The published result divides by the whole illumination `i`, which over-exposes photographs that
/// are bright in parts. A strength `s` divides by `1 − s·(1 − i)` instead: 0 gives the photograph
/// back, 1 is the published result, and between them every pixel becomes steadily brighter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Exposure {
    /// The published result.
    #[default]
    Full,
    /// A strength in `[0, 1]`.
    Strength(f32),
    /// The greatest strength with which the result's mean luminance stays at or below this one, in
    /// `(0, 1]`, and at most 1 % of the pixels get a channel of 0.98 or more that had none before.
    /// It is found from a sample of the pixels, so that of a large photograph both are kept to within a
    /// hundredth or so; a photograph that is bright enough stays as it is.
    Auto {
        /// The mean of `0.2126 R + 0.7152 G + 0.0722 B`.
        luminance: f32,
    },
}

impl Exposure {
    /// Bright enough to see everything, and no brighter: what `Auto` is mostly used with.
    pub const AUTO: Self = Self::Auto { luminance: 0.42 };

    pub(super) fn check(self) -> Result<Self> {
        let refused = |value: f32, range: &str| Error::Setting {
            setting: "exposure",
            reason: format!("is {value}, must be {range}"),
        };
        match self {
            Self::Strength(s) if !(0.0..=1.0).contains(&s) => Err(refused(s, "from 0 to 1")),
            Self::Auto { luminance } if !(luminance > 0.0 && luminance <= 1.0) => {
                Err(refused(luminance, "above 0 and at most 1"))
            }
            exposure => Ok(exposure),
        }
    }
}

/// As on a command line: `full`, a strength such as `0.7`, `auto`, or `auto:0.5` with the luminance.
impl FromStr for Exposure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| {
            text.parse().map_err(|_| Error::Setting {
                setting: "exposure",
                reason: format!("is `{text}`, must be full, auto, auto:LUMINANCE or a strength"),
            })
        };
        match text.split_once(':') {
            None if text == "full" => Ok(Self::Full),
            None if text == "auto" => Ok(Self::AUTO),
            Some(("auto", luminance)) => Self::Auto { luminance: number(luminance)? }.check(),
            _ => Self::Strength(number(text)?).check(),
        }
    }
}

/// A pixel counts as clipped from here on, and so many of them may become so.
const CLIPPED: f32 = metrics::CLIPPED as f32;
const MOST_CLIPPED: f32 = 0.01;

/// The strength of [`Exposure::Auto`], from a sample of a photograph.
pub(super) fn strength(sample: &[Lit], target: f32) -> f32 {
    // Both the mean luminance and the share of clipped pixels rise with the strength.
    let allowed = |strength: f32| {
        let [luminance, clipped] = outcome(sample, strength);
        luminance <= target && clipped <= MOST_CLIPPED
    };
    if allowed(1.0) {
        return 1.0;
    }
    // A step of the strength that no eye sees.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..10 {
        let middle = (low + high) / 2.0;
        if allowed(middle) { low = middle } else { high = middle }
    }
    low
}

/// The mean luminance, and the share of pixels that become clipped.
fn outcome(sample: &[Lit], strength: f32) -> [f32; 2] {
    let (mut luminance, mut clipped) = (0.0, 0.0);
    let rest = 1.0 - strength;
    for [[r, g, b], [ir, ig, ib]] in sample {
        let red = (r / (rest + strength * ir)).min(1.0);
        let green = (g / (rest + strength * ig)).min(1.0);
        let blue = (b / (rest + strength * ib)).min(1.0);
        luminance += 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        let was = r.max(*g).max(*b) >= CLIPPED;
        let is = red.max(green).max(blue) >= CLIPPED;
        clipped += f32::from(is && !was);
    }
    let count = sample.len().max(1) as f32;
    [luminance / count, clipped / count]
}

/// Follows [`Exposure::Auto`] through a video, so that the picture does not pump: a strength that
/// moves slowly towards what each frame would have by itself, and at once where the scene changes.
///
/// ```
/// # #[cfg(all(feature = "flex", feature = "presets"))] {
/// use sci_burn::image::Rgb;
/// use sci_burn::{Enhancer, Exposure, Frame, FrameMut, Preset, SteadyExposure};
///
/// let enhancer = Enhancer::from_preset(Preset::Medium, &sci_burn::open_device("cpu")?);
/// let mut steady = SteadyExposure::new(25.0)?;
/// let mut bright = vec![0; 64 * 48 * 3];
/// for dark in [vec![9; 64 * 48 * 3], vec![10; 64 * 48 * 3]] {
///     let dark = Frame::<Rgb<u8>>::new(&dark, 64, 48, 64 * 3)?;
///     let strength = steady.next(enhancer.strength(dark, 0.42)?);
///     let enhancer = enhancer.clone().with_exposure(Exposure::Strength(strength))?;
///     enhancer.enhance_into(dark, FrameMut::new(&mut bright, 64, 48, 64 * 3)?)?;
/// }
/// # }
/// # Ok::<(), sci_burn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SteadyExposure {
    /// The share of the way to the newest strength that one frame goes.
    pace: f32,
    /// The newest strength, and the one that is in use, on the scale of [`stops`].
    newest: Option<[f32; 2]>,
}

impl SteadyExposure {
    /// How long, in seconds, until two thirds of a change have been followed.
    pub const SECONDS: f32 = 1.0;
    /// From one frame to the next, a change of the brightness by so many stops is another scene.
    pub const CUT: f32 = 0.75;

    /// For a video of so many frames a second.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where the rate is not positive and finite.
    pub fn new(frame_rate: f32) -> Result<Self> {
        if !(frame_rate > 0.0 && frame_rate.is_finite()) {
            let reason = format!("is {frame_rate}, must be positive and finite");
            return Err(Error::Setting { setting: "frame_rate", reason });
        }
        let pace = 1.0 - (-1.0 / (frame_rate * Self::SECONDS)).exp();
        Ok(Self { pace, newest: None })
    }

    /// The strength for the next frame, given the one that it would have by itself. Both are in
    /// `[0, 1]`.
    pub fn next(&mut self, strength: f32) -> f32 {
        let newest = stops(strength);
        let used = match self.newest {
            Some([before, used]) if (newest - before).abs() < Self::CUT => {
                used + self.pace * (newest - used)
            }
            _ => newest,
        };
        self.newest = Some([newest, used]);
        strength_of(used)
    }
}

/// By how many stops a strength brightens what has a twentieth of the light: a scale on which equal
/// steps look equal.
fn stops(strength: f32) -> f32 {
    -(1.0 - 0.95 * strength).log2()
}

fn strength_of(stops: f32) -> f32 {
    ((1.0 - (-stops).exp2()) / 0.95).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gray pixels with the same illumination.
    fn sample(levels: &[f32], illumination: f32) -> Vec<Lit> {
        levels.iter().map(|&level| [[level; 3], [illumination; 3]]).collect()
    }

    #[test]
    fn a_photograph_that_may_be_brightened_fully_is() {
        assert_eq!(strength(&sample(&[0.1; 50], 0.5), 0.42), 1.0);
    }

    #[test]
    fn the_luminance_is_reached_and_not_exceeded() {
        // 0.1 / (1 − s·0.9) = 0.4 at s = 0.8333.
        let found = strength(&sample(&[0.1; 50], 0.1), 0.4);
        assert!((0.8333 - 0.002..0.8334).contains(&found), "{found}");
    }

    #[test]
    fn no_more_than_a_hundredth_becomes_clipped() {
        let mut levels = vec![0.01; 96];
        // One is clipped already and does not count, one may become so, the other two may not.
        levels.extend([0.99, 0.8, 0.5, 0.5]);
        let found = strength(&sample(&levels, 0.5), 0.9);
        let [_, clipped] = outcome(&sample(&levels, 0.5), found);
        assert!((clipped - 0.01).abs() < 1e-6, "{clipped}");
        // 0.5 / (1 − s·0.5) = 0.98 at s = 0.9796.
        assert!((0.977..0.9797).contains(&found), "{found}");
    }

    #[test]
    fn what_is_bright_enough_stays_as_it_is() {
        assert_eq!(strength(&sample(&[0.6; 9], 0.7), 0.4), 0.0);
    }

    #[test]
    fn is_read_from_text() {
        let read = |text: &str| text.parse::<Exposure>();
        assert_eq!(read("full").unwrap(), Exposure::Full);
        assert_eq!(read("0.7").unwrap(), Exposure::Strength(0.7));
        assert_eq!(read("auto").unwrap(), Exposure::AUTO);
        assert_eq!(read("auto:0.5").unwrap(), Exposure::Auto { luminance: 0.5 });
        for text in ["", "much", "2", "auto:", "auto:0", "car:0.4"] {
            assert!(read(text).unwrap_err().to_string().contains("`exposure`"), "{text}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for exposure in [
            Exposure::Strength(1.1),
            Exposure::Strength(f32::NAN),
            Exposure::Auto { luminance: 0.0 },
            Exposure::Auto { luminance: f32::NAN },
        ] {
            let message = exposure.check().unwrap_err().to_string();
            assert!(message.starts_with("setting `exposure`: is "), "{message}");
        }
    }

    #[test]
    fn a_fade_is_followed_slowly_and_a_cut_at_once() {
        let mut steady = SteadyExposure::new(25.0).unwrap();
        assert_eq!(steady.next(0.8), 0.8);
        // Flicker is damped.
        let flicker: Vec<f32> =
            (0..50).map(|frame| steady.next(if frame % 2 == 0 { 0.85 } else { 0.75 })).collect();
        let swing = |values: &[f32]| {
            values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
        };
        assert!(swing(&flicker) < 0.01, "{}", swing(&flicker));
        // A fade over two seconds: no frame jumps, and in the end it has been followed.
        let fade: Vec<f32> =
            (0..100).map(|frame| steady.next(0.8 - 0.5 * (frame as f32 / 50.0).min(1.0))).collect();
        assert!(swing(&fade) < 0.02, "{}", swing(&fade));
        assert!((fade[99] - 0.3).abs() < 0.06, "{}", fade[99]);
        // A cut.
        assert!((steady.next(0.9) - 0.9).abs() < 1e-5);
    }
}
