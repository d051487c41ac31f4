use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How many samples of chroma, which is color without brightness, a JPEG has.
///
/// Most cameras write 4:2:2 or 4:2:0. What is left out then cannot come back by writing more, which
/// takes time and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChromaSampling {
    /// 4:4:4, one for each pixel.
    #[default]
    #[serde(rename = "444")]
    Cs444,
    /// 4:2:2, one for two pixels side by side.
    #[serde(rename = "422")]
    Cs422,
    /// 4:4:0, one for two pixels of which one is above the other: 4:2:2 of a photograph that was
    /// turned on its side.
    #[serde(rename = "440")]
    Cs440,
    /// 4:2:0, one for a square of four pixels.
    #[serde(rename = "420")]
    Cs420,
}

impl ChromaSampling {
    /// All of them, the finest first.
    pub const ALL: [Self; 4] = [Self::Cs444, Self::Cs422, Self::Cs440, Self::Cs420];

    /// Its name: `444`, `422`, `440` or `420`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cs444 => "444",
            Self::Cs422 => "422",
            Self::Cs440 => "440",
            Self::Cs420 => "420",
        }
    }

    /// By the sampling factors, across and down, of a JPEG's components, if these are luma and
    /// chroma. Of a rarer kind, such as 4:1:1, the coarsest that has all of its samples.
    pub(super) fn from_factors(components: &[[u64; 2]]) -> Option<Self> {
        let [luma, blue, red] = components else { return None };
        Some(match [0, 1].map(|side| luma[side] >= 2 * blue[side].max(red[side])) {
            [false, false] => Self::Cs444,
            [true, false] => Self::Cs422,
            [false, true] => Self::Cs440,
            [true, true] => Self::Cs420,
        })
    }

    /// That of the photograph on its side.
    pub(super) fn sideways(self) -> Self {
        match self {
            Self::Cs422 => Self::Cs440,
            Self::Cs440 => Self::Cs422,
            other => other,
        }
    }
}

impl fmt::Display for ChromaSampling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for ChromaSampling {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
            Error::argument("chroma", format!("is `{name}`, must be 444, 422, 440 or 420"))
        })
    }
}
