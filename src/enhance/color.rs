use crate::error::{Error, Result, brief};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// What becomes of the colors of a photograph.
///
/// SCI estimates an illumination for each of the three channels. Written as text it is `per-channel` or
/// `kept`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Color {
    /// Each channel is divided by its own illumination, as published. That takes away a part of the
    /// light's color, and of the things' colors with it: red cloth becomes pale, an orange light yellow.
    #[default]
    PerChannel,
    /// All three channels are divided by one illumination, the greatest of the three. Since no channel is
    /// greater than it, none is clipped. What this and the curve of a [`Tone`](super::Tone) make of the
    /// greatest channel, the other two follow as they would if there had been that much more of the same
    /// light: the encoding of sRGB is taken into account, by which the proportions of dark values are
    /// others than those of bright ones. Values below 0.04 are treated as the brighter ones are: nearly
    /// black colors keep their hue and become paler.
    Kept,
}

impl Display for Color {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::PerChannel => "per-channel",
            Self::Kept => "kept",
        })
    }
}

/// Parses `per-channel` or `kept`. [`Error::Argument`] if the text is neither.
impl FromStr for Color {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "per-channel" => Ok(Self::PerChannel),
            "kept" => Ok(Self::Kept),
            _ => {
                let reason = format!("is `{}`, must be per-channel or kept", brief(text));
                Err(Error::argument("color", reason))
            }
        }
    }
}

/// As text, as it is printed.
impl Serialize for Color {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From text, as it is parsed.
impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_and_serialized_as_it_is_read() {
        for color in [Color::PerChannel, Color::Kept] {
            assert_eq!(color.to_string().parse::<Color>().unwrap(), color);
            let json = serde_json::to_string(&color).unwrap();
            assert_eq!(serde_json::from_str::<Color>(&json).unwrap(), color);
        }
        let message = "vivid".parse::<Color>().unwrap_err().to_string();
        assert_eq!(message, "argument `color`: is `vivid`, must be per-channel or kept");
    }
}
