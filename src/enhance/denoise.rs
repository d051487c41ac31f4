use crate::error::{Error, Result, brief};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Whether noise is filtered out of the result.
///
/// Brightening lifts the noise of a dark photograph with the light. An edge-preserving filter (a guided
/// filter, He et al., 2013, of 5×5 pixels, for luminance and color) takes away what is less than the noise
/// at each pixel: that of the dark photograph, which is estimated from it (after Immerkær, 1996), times what
/// the pixel was amplified by. Where there is no noise, or nothing was amplified, nothing is changed.
///
/// Written as text it is `off`, `auto` or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Denoise {
    /// As published.
    #[default]
    Off,
    /// As strong as the noise that is estimated.
    Auto,
    /// As strong as for so many times the noise that is estimated, in `[0, 10]`.
    Strength(f32),
}

impl Denoise {
    pub(super) fn check(self) -> Result<Self> {
        match self {
            Self::Strength(strength) if !(0.0..=10.0).contains(&strength) => {
                Err(Error::argument("denoise", format!("is {strength}, must be from 0 to 10")))
            }
            denoise => Ok(denoise),
        }
    }

    /// How many times the noise that is estimated.
    pub(super) fn factor(self) -> f32 {
        match self {
            Self::Off => 0.0,
            Self::Auto => 1.0,
            Self::Strength(strength) => strength,
        }
    }
}

impl Display for Denoise {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::Auto => formatter.write_str("auto"),
            Self::Strength(strength) => write!(formatter, "{strength}"),
        }
    }
}

/// Parses `off`, `auto` or a strength. [`Error::Argument`] if the text is none of these, or the strength is out
/// of its range.
impl FromStr for Denoise {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            number => match number.parse() {
                Ok(strength) => Self::Strength(strength).check(),
                Err(_) => {
                    let reason = format!("is `{}`, must be off, auto or a strength", brief(text));
                    Err(Error::argument("denoise", reason))
                }
            },
        }
    }
}

/// As text, as it is printed.
impl Serialize for Denoise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From text, as it is parsed.
impl<'de> Deserialize<'de> for Denoise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_and_serialized_as_it_is_read() {
        for denoise in [Denoise::Off, Denoise::Auto, Denoise::Strength(0.5)] {
            assert_eq!(denoise.to_string().parse::<Denoise>().unwrap(), denoise);
            let json = serde_json::to_string(&denoise).unwrap();
            assert_eq!(serde_json::from_str::<Denoise>(&json).unwrap(), denoise);
        }
        for text in ["", "much", "-1", "11", "NaN"] {
            let message = text.parse::<Denoise>().unwrap_err().to_string();
            assert!(message.starts_with("argument `denoise`: is "), "{message}");
        }
    }
}
