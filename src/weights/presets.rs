use super::format;
use crate::error::Error;
use crate::model::{IlluminationEstimator, IlluminationEstimatorConfig, Method};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Weights that are part of this crate: those that the authors of SCI released, and one set trained with this
/// crate. The repository's `assets/presets/README.md` has the figures of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// The authors' weights for photographs that are a little dark.
    PublishedEasy,
    /// The authors' weights for photographs taken in poor light. The default.
    #[default]
    PublishedMedium,
    /// The authors' weights for photographs taken in the dark.
    PublishedDifficult,
    /// The authors' weights of SCI++, the second paper.
    PublishedPlusPlus,
    /// Trained with this crate as SCI++. Over dark photographs with ground truths, by which it was chosen, it
    /// has the best figures in most respects.
    PlusPlus,
}

/// The weights in a preset's folder.
macro_rules! weights {
    ($folder:literal) => {
        include_bytes!(concat!("../../assets/presets/", $folder, "/estimator.safetensors"))
    };
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 5] = [
        Self::PublishedEasy,
        Self::PublishedMedium,
        Self::PublishedDifficult,
        Self::PublishedPlusPlus,
        Self::PlusPlus,
    ];

    /// The preset's name, in lower case with hyphens: `published-medium`, for example.
    pub fn name(self) -> &'static str {
        match self {
            Self::PublishedEasy => "published-easy",
            Self::PublishedMedium => "published-medium",
            Self::PublishedDifficult => "published-difficult",
            Self::PublishedPlusPlus => "published-plus-plus",
            Self::PlusPlus => "plus-plus",
        }
    }

    /// The method that the weights belong to.
    pub fn method(self) -> Method {
        match self {
            Self::PublishedEasy | Self::PublishedMedium | Self::PublishedDifficult => Method::Sci,
            Self::PublishedPlusPlus | Self::PlusPlus => Method::SciPlusPlus,
        }
    }

    /// An estimator with these weights.
    ///
    /// # Panics
    ///
    /// If the device fails.
    pub fn estimator(self, device: &Device) -> IlluminationEstimator {
        let bytes: &[u8] = match self {
            Self::PublishedEasy => weights!("published-easy"),
            Self::PublishedMedium => weights!("published-medium"),
            Self::PublishedDifficult => weights!("published-difficult"),
            Self::PublishedPlusPlus => weights!("published-plus-plus"),
            Self::PlusPlus => weights!("plus-plus"),
        };
        let config = IlluminationEstimatorConfig::new().with_method(self.method());
        config
            .load_stored(format::embedded(bytes), Path::new(self.name()), device)
            .expect("embedded weights fit the published configuration")
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::argument("preset", format!("is `{name}`, must be one of {known}"))
        })
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn all_can_be_loaded_and_differ() {
        let weights = Preset::ALL.map(|preset| {
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
            preset.estimator(&Device::flex()).output_conv.weight.val().into_data()
        });
        for (index, one) in weights.iter().enumerate() {
            assert!(weights[..index].iter().all(|other| other != one), "{}", Preset::ALL[index]);
        }
    }

    #[test]
    fn files_have_the_same_names_as_messages() {
        for preset in Preset::ALL {
            let json = format!("\"{preset}\"");
            assert_eq!(serde_json::to_string(&preset).unwrap(), json);
            assert_eq!(serde_json::from_str::<Preset>(&json).unwrap(), preset);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let message = "hard".parse::<Preset>().unwrap_err().to_string();
        assert!(message.contains("`hard`") && message.contains("published-medium"), "{message}");
    }
}
