use super::tone::Tone;
use crate::error::{Error, Result, brief};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// How far to brighten.
///
/// The published result divides by the whole illumination, which over-exposes photographs that are
/// bright in parts, and leaves the darkest ones too dark. A [`Tone`] has a strength below the whole
/// illumination for the former and a curve for the latter.
///
/// An exposure is written as text as `full`, `auto`, `auto:0.5` (with a luminance), `0.7` (a strength) or
/// `1:2.2` (a strength and a gamma), both when it is parsed or printed and when it is serialized.
///
/// ```
/// use sci_burn::{Exposure, Tone};
///
/// let exposure: Exposure = "auto:0.5".parse()?;
/// assert_eq!(exposure, Exposure::Auto { luminance: 0.5 });
/// assert_eq!(exposure.to_string(), "auto:0.5");
/// assert_eq!(Exposure::AUTO.to_string(), "auto");
/// let manual: Exposure = "1:2.2".parse()?;
/// assert_eq!(manual, Exposure::Manual(Tone { strength: 1.0, gamma: 2.2 }));
/// # Ok::<(), sci_burn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Exposure {
    /// The published result.
    #[default]
    Full,
    /// A strength and a gamma by hand.
    Manual(Tone),
    /// The tone for which the mean luminance of the result is `luminance`, and at most 1 % of the pixels
    /// become clipped: they get a channel of 0.98 or more and had none before.
    ///
    /// Under a light of one color, the mean of the greatest channel is at most 1.5 times `luminance`, which
    /// is then not reached.
    ///
    /// A photograph that is bright enough stays as it is; where a strength below 1 suffices, there is no
    /// curve; where the greatest [`gamma`](Tone::gamma) does not suffice, the result stays darker. The tone
    /// is found from a sample of at most 4096 pixels spread over the photograph, so for a large one both
    /// limits are kept to within about a hundredth.
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
            Self::Manual(tone) => Ok(Self::Manual(tone.check()?)),
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
            Self::Manual(Tone { strength, gamma: 1.0 }) => write!(formatter, "{strength}"),
            Self::Manual(Tone { strength, gamma }) => write!(formatter, "{strength}:{gamma}"),
            auto if *auto == Self::AUTO => formatter.write_str("auto"),
            Self::Auto { luminance } => write!(formatter, "auto:{luminance}"),
        }
    }
}

/// Parses `full`, `auto`, `auto:LUMINANCE`, a strength or `STRENGTH:GAMMA`. [`Error::Argument`] if the text is none of
/// these, or if a number is out of its range.
impl FromStr for Exposure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |number: &str| {
            number.parse().map_err(|_| {
                let reason = "must be full, auto, auto:LUMINANCE, STRENGTH or STRENGTH:GAMMA";
                Error::argument("exposure", format!("is `{}`, {reason}", brief(text)))
            })
        };
        match text.split_once(':') {
            None if text == "full" => Ok(Self::Full),
            None if text == "auto" => Ok(Self::AUTO),
            Some(("auto", luminance)) => Self::Auto { luminance: number(luminance)? }.check(),
            Some((strength, gamma)) => {
                let (strength, gamma) = (number(strength)?, number(gamma)?);
                Self::Manual(Tone { strength, gamma }).check()
            }
            None => Self::Manual(Tone::from_strength(number(text)?)).check(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_read_from_text() {
        let read = |text: &str| text.parse::<Exposure>();
        assert_eq!(read("full").unwrap(), Exposure::Full);
        assert_eq!(read("0.7").unwrap(), Exposure::Manual(Tone::from_strength(0.7)));
        let tone = Tone { strength: 1.0, gamma: 2.2 };
        assert_eq!(read("1:2.2").unwrap(), Exposure::Manual(tone));
        assert_eq!(read("auto").unwrap(), Exposure::AUTO);
        assert_eq!(read("auto:0.5").unwrap(), Exposure::Auto { luminance: 0.5 });
        for text in [
            "",
            "much",
            "2",
            "auto:",
            "auto:0",
            "auto:much",
            "car:0.4",
            "NaN",
            "1:5",
            "1:0.5",
            "2:2",
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with("argument `exposure`: "), "{text}: {message}");
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
                (0.0..=1.0f32).prop_map(|s| Exposure::Manual(Tone::from_strength(s))),
                (0.0..=1.0f32, 1.0..=4.0f32)
                    .prop_map(|(strength, gamma)| Exposure::Manual(Tone { strength, gamma })),
                (1e-30..=1.0f32).prop_map(|luminance| Exposure::Auto { luminance }),
                any::<f32>().prop_map(|bits| {
                    Exposure::Manual(Tone::from_strength(bits.abs().min(1.0)))
                }),
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
    fn numbers_out_of_range_are_refused() {
        for exposure in [
            Exposure::Manual(Tone::from_strength(1.1)),
            Exposure::Manual(Tone::from_strength(f32::NAN)),
            Exposure::Manual(Tone { strength: 1.0, gamma: 0.9 }),
            Exposure::Manual(Tone { strength: 1.0, gamma: f32::NAN }),
            Exposure::Auto { luminance: 0.0 },
            Exposure::Auto { luminance: f32::NAN },
        ] {
            let message = exposure.check().unwrap_err().to_string();
            assert!(message.starts_with("argument `exposure`: "), "{message}");
        }
    }
}
