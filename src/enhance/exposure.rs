use crate::error::{Error, Result, brief};
use crate::metrics::{self, LUMINANCE};
use crate::ops::Lit;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// How far to brighten.
///
/// The published result divides by the whole illumination `i`, which over-exposes photographs that
/// are bright in parts. A strength `s` divides by `1 − s·(1 − i)` instead: 0 leaves the photograph
/// unchanged, 1 is the published result, and every pixel becomes steadily brighter in between.
///
/// An exposure is written as text as `full`, `auto`, `auto:0.5` (with a luminance) or `0.7` (a
/// strength), both when it is parsed or printed and when it is serialized.
///
/// ```
/// use sci_burn::Exposure;
///
/// let exposure: Exposure = "auto:0.5".parse()?;
/// assert_eq!(exposure, Exposure::Auto { luminance: 0.5 });
/// assert_eq!(exposure.to_string(), "auto:0.5");
/// assert_eq!(Exposure::AUTO.to_string(), "auto");
/// # Ok::<(), sci_burn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Exposure {
    /// The published result.
    #[default]
    Full,
    /// A strength in `[0, 1]`.
    Strength(f32),
    /// The greatest strength for which the mean luminance of the result is at most `luminance`, and at
    /// most 1 % of the pixels become clipped: they get a channel of 0.98 or more and had none before.
    ///
    /// A photograph that is bright enough stays as it is. The strength is found from a sample of at
    /// most 4096 pixels spread over the photograph, so for a large one both limits are kept to within
    /// about a hundredth.
    Auto {
        /// The mean of `0.2126 R + 0.7152 G + 0.0722 B`, in `(0, 1]`.
        luminance: f32,
    },
}

impl Exposure {
    /// [`Exposure::Auto`] with a luminance of 0.42, which suits most photographs.
    pub const AUTO: Self = Self::Auto { luminance: 0.42 };

    pub(super) fn check(self) -> Result<Self> {
        let refused = |value: f32, range: &str| {
            Err(Error::argument("exposure", format!("is {value}, must be {range}")))
        };
        match self {
            Self::Strength(s) if !(0.0..=1.0).contains(&s) => refused(s, "from 0 to 1"),
            Self::Auto { luminance } if !(luminance > 0.0 && luminance <= 1.0) => {
                refused(luminance, "above 0 and at most 1")
            }
            exposure => Ok(exposure),
        }
    }
}

impl Display for Exposure {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => formatter.write_str("full"),
            Self::Strength(strength) => write!(formatter, "{strength}"),
            auto if *auto == Self::AUTO => formatter.write_str("auto"),
            Self::Auto { luminance } => write!(formatter, "auto:{luminance}"),
        }
    }
}

/// Parses `full`, `auto`, `auto:LUMINANCE` or a strength. [`Error::Argument`] if the text is none of
/// these, or if a number is out of its range.
impl FromStr for Exposure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |number: &str| {
            number.parse().map_err(|_| {
                let reason = "must be full, auto, auto:LUMINANCE or a strength";
                Error::argument("exposure", format!("is `{}`, {reason}", brief(text)))
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

/// As text, as it is printed.
impl Serialize for Exposure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From text, as it is parsed.
impl<'de> Deserialize<'de> for Exposure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A pixel with a channel at or above this value is clipped, and at most this share of the pixels may
/// become so.
const CLIPPING_THRESHOLD: f32 = metrics::CLIPPING_THRESHOLD as f32;
const MOST_CLIPPED: f32 = 0.01;

/// The strength of [`Exposure::Auto`], from a sample of a photograph. Pixels with a value that is not
/// finite are left out; without any pixel it is 1.
pub(super) fn strength(sample: &[Lit], target: f32) -> f32 {
    let finite = |pixel: &&Lit| pixel.as_flattened().iter().all(|value| value.is_finite());
    let sample: Vec<Lit> = sample.iter().filter(finite).copied().collect();
    // Both the mean luminance and the share of clipped pixels rise with the strength.
    let allowed = |strength: f32| {
        let [luminance, clipped] = outcome(&sample, strength);
        luminance <= target && clipped <= MOST_CLIPPED
    };
    if allowed(1.0) {
        return 1.0;
    }
    // Ten halvings: to within a thousandth, which is not visible.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..10 {
        let middle = (low + high) / 2.0;
        if allowed(middle) { low = middle } else { high = middle }
    }
    low
}

/// The mean luminance, and the share of pixels that become clipped.
fn outcome(sample: &[Lit], strength: f32) -> [f32; 2] {
    let (mut mean, mut clipped) = (0.0, 0.0);
    let rest = 1.0 - strength;
    for [pixel, illumination] in sample {
        let channel = |c: usize| (pixel[c] / (rest + strength * illumination[c])).min(1.0);
        let bright = [0, 1, 2].map(channel);
        mean += luminance(bright);
        let is_clipped = |[r, g, b]: [f32; 3]| r.max(g).max(b) >= CLIPPING_THRESHOLD;
        clipped += f32::from(is_clipped(bright) && !is_clipped(*pixel));
    }
    let count = sample.len().max(1) as f32;
    [mean / count, clipped / count]
}

/// The luminance of a pixel.
pub(super) fn luminance([red, green, blue]: [f32; 3]) -> f32 {
    LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        for text in ["", "much", "2", "auto:", "auto:0", "auto:much", "car:0.4", "NaN"] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with("argument `exposure`: is "), "{text}: {message}");
        }
        assert!(read(&"x\n".repeat(10_000)).unwrap_err().to_string().len() < 500);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn is_printed_and_serialized_as_it_is_read(
            exposure in prop_oneof![
                Just(Exposure::Full),
                Just(Exposure::AUTO),
                (0.0..=1.0f32).prop_map(Exposure::Strength),
                (1e-30..=1.0f32).prop_map(|luminance| Exposure::Auto { luminance }),
                any::<f32>().prop_map(|bits| Exposure::Strength(bits.abs().min(1.0))),
            ],
        ) {
            prop_assume!(exposure.check().is_ok());
            let text = exposure.to_string();
            prop_assert_eq!(text.parse::<Exposure>().unwrap(), exposure);
            let json = serde_json::to_string(&exposure).unwrap();
            prop_assert_eq!(&json, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<Exposure>(&json).unwrap(), exposure);
        }
    }

    #[test]
    fn a_serialized_exposure_out_of_range_is_refused() {
        for json in ["\"2\"", "\"auto:0\"", "\"\"", "null", "0.5"] {
            assert!(serde_json::from_str::<Exposure>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn pixels_that_are_not_finite_are_left_out() {
        let mut pixels = sample(&[0.1; 9], 0.1);
        let expected = strength(&pixels, 0.4);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            pixels.push([[bad, 0.1, 0.1], [0.1; 3]]);
            pixels.push([[0.1; 3], [0.1, bad, 0.1]]);
        }
        assert_eq!(strength(&pixels, 0.4), expected);
        assert_eq!(strength(&pixels[9..], 0.4), 1.0);
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
            assert!(message.starts_with("argument `exposure`: is "), "{message}");
        }
    }
}
