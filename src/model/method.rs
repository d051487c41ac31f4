use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One of the two published methods. The [module](crate::model) compares them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Method {
    /// The CVPR paper of 2022.
    #[default]
    #[serde(rename = "sci")]
    Sci,
    /// The TPAMI paper of 2025.
    #[serde(rename = "sci++")]
    SciPlusPlus,
}

impl Method {
    /// Both methods.
    pub const ALL: [Self; 2] = [Self::Sci, Self::SciPlusPlus];

    /// The method's name in configurations and on command lines, which is also printed and parsed: `sci`
    /// or `sci++`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sci => "sci",
            Self::SciPlusPlus => "sci++",
        }
    }

    /// The name as the papers write it: `SCI` or `SCI++`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Sci => "SCI",
            Self::SciPlusPlus => "SCI++",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    /// The method of a [name](Self::name).
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| {
            let [sci, plus_plus] = Self::ALL.map(Self::name);
            Error::argument("method", format!("is `{name}`, must be {sci} or {plus_plus}"))
        })
    }
}
