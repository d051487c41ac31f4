use super::alternation::AlternationConfig;
use super::data::{Darken, SamplingConfig};
use super::optimizer::OptimizerConfig;
use crate::error::{Cause, Error, Result};
use crate::loss::SciLossConfig;
use crate::model::{CascadeConfig, Method, SciCascadeConfig, SciPlusPlusCascadeConfig};
use burn::config::Config;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The most bytes of a configuration's file.
const MAX_FILE_SIZE: u64 = 1 << 20;

/// Configuration of [`train`](crate::train::train()). The defaults are the published ones of SCI;
/// [`with_method`](Self::with_method) gives those of SCI++.
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct TrainingConfig {
    /// The folder of dark photographs, subfolders included.
    pub data: PathBuf,
    /// The folder of validation photographs. By default, up to 16 of `data` are used.
    pub validation: Option<PathBuf>,
    /// The model, and with it the method. [`with_method`](Self::with_method) also sets what depends on it.
    #[config(default = "CascadeConfig::new(Method::Sci)")]
    pub model: CascadeConfig,
    /// The loss, in SCI++ that of the estimator.
    #[config(default = "SciLossConfig::new()")]
    pub loss: SciLossConfig,
    /// The optimizer.
    #[config(default = "OptimizerConfig::new()")]
    pub optimizer: OptimizerConfig,
    /// How SCI++ trains estimator and calibrator in turn. Only for SCI++.
    #[config(default = "AlternationConfig::new()")]
    pub alternation: AlternationConfig,
    /// What is used of each photograph.
    #[config(default = "SamplingConfig::new()")]
    pub sampling: SamplingConfig,
    /// Number of photographs in each step, on each device. At least 1; above 1 only with a crop, and
    /// at most 2³⁰ pixels in all.
    #[config(default = 1)]
    pub batch_size: usize,
    /// Number of passes over all photographs. At least 1, below 2³². It determines how bright the
    /// results of SCI are: the authors' checkpoints are from after 500 to 1000 steps, that of SCI++ from
    /// after 3500.
    #[config(default = 100)]
    pub epochs: usize,
    /// The mean luminance of the enhanced validation photographs, in `(0, 1)`, at which the training
    /// ends. Its result is the checkpoint that comes closest to it.
    pub stop_at_luminance: Option<f64>,
    /// Determines the initial weights, the order of the photographs and the places of the crops.
    /// Below 2⁵³.
    #[config(default = 0)]
    pub seed: u64,
}

impl TrainingConfig {
    /// The same configuration for a method: model, alternation and the limit of the gradient, which SCI++
    /// does not have, become the published ones, whatever they were. Everything else that is published is the
    /// same in both.
    pub fn with_method(self, method: Method) -> Self {
        let max_gradient_norm = match method {
            Method::Sci => OptimizerConfig::new().max_gradient_norm,
            Method::SciPlusPlus => None,
        };
        Self {
            model: CascadeConfig::new(method),
            optimizer: self.optimizer.with_max_gradient_norm(max_gradient_norm),
            alternation: AlternationConfig::new(),
            ..self
        }
    }

    /// Reads a configuration from a JSON file, such as a run's `config.json`. Settings that the file
    /// does not have get their defaults.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the file is missing, not a regular file, not UTF-8, or larger than 1 MiB;
    /// [`Error::Malformed`] where it is not JSON or has a setting that does not exist or has another type.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = crate::file::read(path, MAX_FILE_SIZE)?;
        let text = String::from_utf8(text).map_err(|error| Error::read(path, error))?;
        Self::parse(&text).map_err(|reason| Error::malformed(path, "configuration", reason))
    }

    fn parse(text: &str) -> Result<Self, Cause> {
        let given: Value = serde_json::from_str(text)?;
        if !given.is_object() {
            return Err("it is not an object with settings".into());
        }
        let method = given.pointer("/model/method").map(Method::deserialize).transpose();
        let method = method.map_err(|error| format!("setting `model.method`: {error}"))?;
        let defaults = Self::new(PathBuf::new()).with_method(method.unwrap_or_default());
        let mut settings = to_value(&defaults);
        if given.pointer("/sampling/darken").is_some_and(Value::is_object) {
            settings["sampling"]["darken"] = to_value(&Darken::new([0.0; 2]));
        }
        overlay(&mut settings, given, "")?;
        // By itself, since an enum tells nothing of where in a variant the fault is.
        let model = settings["model"].clone();
        match &defaults.model {
            CascadeConfig::Sci(_) => read::<SciCascadeConfig>(model, "model.").map(drop),
            CascadeConfig::SciPlusPlus(_) => {
                read::<SciPlusPlusCascadeConfig>(model, "model.").map(drop)
            }
        }?;
        let config: Self = read(settings, "")?;
        // A number beyond the range of a setting's type has become infinite, which JSON does not have.
        match read::<Self>(to_value(&config), "") {
            Ok(_) => Ok(config),
            Err(error) => {
                let setting =
                    error.split_once("`: ").map_or(error.as_str(), |(setting, _)| setting);
                Err(format!("{setting}`: the number is too large").into())
            }
        }
    }

    /// Writes the configuration as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a configuration becomes JSON");
        crate::file::write(path.as_ref(), format!("{text}\n").as_bytes())
    }

    /// Refuses settings that are out of range.
    pub(super) fn check(&self) -> Result<()> {
        let refused = |setting: &str, reason: &str| Err(Error::setting(setting, reason));
        if self.data.as_os_str().is_empty() {
            return refused("data", "is missing, must be a folder of photographs");
        }
        if self.epochs == 0 || self.epochs as u64 >= MAX_EPOCHS {
            let reason = format!("is {}, must be at least 1 and below {MAX_EPOCHS}", self.epochs);
            return refused("epochs", &reason);
        }
        if self.batch_size == 0 {
            return refused("batch_size", "is 0, must be at least 1");
        }
        self.sampling.check().map_err(|error| error.in_section("sampling"))?;
        self.optimizer.check().map_err(|error| error.in_section("optimizer"))?;
        let loss = self.loss.init().map_err(|error| error.in_section("loss"))?;
        self.model.check().map_err(|error| error.in_section("model"))?;
        self.alternation.init(loss).map_err(|error| error.in_section("alternation"))?;
        match &self.model {
            CascadeConfig::Sci(_) if self.alternation != AlternationConfig::new() => {
                let defaults = to_value(&AlternationConfig::new());
                let differs = difference(&to_value(&self.alternation), &defaults, "alternation");
                let (setting, ours, _) = differs.expect("configurations that differ");
                return refused(&setting, &format!("is {ours}, which only SCI++ has a use for"));
            }
            CascadeConfig::SciPlusPlus(model)
                if model.stages < 2 && !self.alternation.estimator_only =>
            {
                let reason = "is 1, must be at least 2 (or `alternation.estimator_only` true), \
                              since the first stage has no calibrator";
                return refused("model.stages", reason);
            }
            _ => {}
        }
        match self.sampling.crop {
            None if self.batch_size > 1 => {
                let reason = "above 1 needs `sampling.crop`, since photographs differ in size";
                return refused("batch_size", reason);
            }
            Some([width, height]) if self.batch_size > MAX_PIXELS / (width * height) => {
                let reason = format!(
                    "is {}: so many crops of {width}×{height} have more than {MAX_PIXELS} pixels",
                    self.batch_size
                );
                return refused("batch_size", &reason);
            }
            _ => {}
        }
        if self.seed >= 1 << 53 {
            return refused("seed", "must be below 9007199254740992");
        }
        match self.stop_at_luminance {
            Some(target) if !(target > 0.0 && target < 1.0) => {
                refused("stop_at_luminance", &format!("is {target}, must be between 0 and 1"))
            }
            _ => Ok(()),
        }
    }

    /// The first setting in which `other` differs, and its value in both. The number of epochs may
    /// differ: a run can be continued for longer.
    pub(super) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let plain = |path: &PathBuf| path.components().collect::<PathBuf>();
        let comparable = |config: &Self| Self {
            data: plain(&config.data),
            validation: config.validation.as_ref().map(plain),
            epochs: self.epochs,
            ..config.clone()
        };
        // Of two methods everything else differs too.
        let [ours, theirs] = [self, other].map(|config| config.model.method());
        if ours != theirs {
            return Some(("model.method".to_owned(), ours.to_string(), theirs.to_string()));
        }
        difference(&to_value(&comparable(self)), &to_value(&comparable(other)), "")
    }
}

/// The generator of random numbers has 32 bits for the epoch.
const MAX_EPOCHS: u64 = 1 << 32;

/// The most pixels of a batch: 12 GiB in 32-bit floating point RGB.
const MAX_PIXELS: usize = 1 << 30;

fn to_value(config: &impl Serialize) -> Value {
    serde_json::to_value(config).expect("a configuration becomes JSON")
}

/// A configuration from its settings, with an error that names the one at fault.
fn read<T: DeserializeOwned>(settings: Value, section: &str) -> Result<T, String> {
    serde_path_to_error::deserialize(settings)
        .map_err(|error| format!("setting `{section}{}`: {}", error.path(), error.inner()))
}

/// Replaces settings by those in `given`.
fn overlay(settings: &mut Value, given: Value, name: &str) -> Result<(), String> {
    match (settings, given) {
        (Value::Object(settings), Value::Object(given)) => {
            for (key, value) in given {
                let name = join(name, &key);
                let setting =
                    settings.get_mut(&key).ok_or_else(|| format!("no setting `{name}`"))?;
                overlay(setting, value, &name)?;
            }
        }
        (setting, given) => *setting = given,
    }
    Ok(())
}

fn difference(left: &Value, right: &Value, name: &str) -> Option<(String, String, String)> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => left
            .iter()
            .find_map(|(key, value)| difference(value, right.get(key)?, &join(name, key))),
        _ if left == right => None,
        _ => Some((name.to_owned(), left.to_string(), right.to_string())),
    }
}

fn join(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TrainingConfig {
        let sampling = SamplingConfig::new()
            .with_crop(Some([600, 400]))
            .with_darken(Some(Darken::new([2.0, 4.0])));
        TrainingConfig::new("photos".into()).with_sampling(sampling).with_seed(3)
    }

    /// Found by the fuzz target `configuration`, as the next one.
    #[test]
    fn a_number_that_is_too_large_for_its_setting_is_refused() {
        let text = r#"{"sampling": {"darken": {"stops": [2.0, 1e48]}}}"#;
        let error = TrainingConfig::parse(text).unwrap_err().to_string();
        assert_eq!(error, "setting `sampling.darken.stops[1]`: the number is too large");
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let mut config = TrainingConfig::new("photos".into());
        for value in [0.12158562222114068, 5e-324, f64::MAX, 1.0 / 3.0] {
            config.loss.smoothness.sigma = value;
            let text = serde_json::to_string_pretty(&config).unwrap();
            assert_eq!(TrainingConfig::parse(&text).unwrap(), config);
        }
    }

    #[test]
    fn a_configuration_can_be_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        config().write(&path).unwrap();
        assert_eq!(TrainingConfig::read(&path).unwrap(), config());
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let parsed = TrainingConfig::parse(r#"{"data": "photos", "loss": {"fidelity_weight": 2}}"#);
        let loss = SciLossConfig::new().with_fidelity_weight(2.0);
        assert_eq!(parsed.unwrap(), TrainingConfig::new("photos".into()).with_loss(loss));
        let parsed =
            TrainingConfig::parse(r#"{"sampling": {"darken": {"stops": [2, 4]}}}"#).unwrap();
        assert_eq!(parsed.sampling.darken, Some(Darken::new([2.0, 4.0])));
    }

    #[test]
    fn each_method_has_its_own_defaults() {
        let parsed = TrainingConfig::parse(r#"{"data": "photos", "model": {"method": "sci++"}}"#);
        let plus_plus = TrainingConfig::new("photos".into()).with_method(Method::SciPlusPlus);
        assert_eq!(parsed.unwrap(), plus_plus);
        assert_eq!(plus_plus.optimizer.max_gradient_norm, None);
        assert_eq!(plus_plus.model, SciPlusPlusCascadeConfig::new().into());
        let text = serde_json::to_string(&plus_plus).unwrap();
        assert_eq!(TrainingConfig::parse(&text).unwrap(), plus_plus);
        let back = plus_plus.with_method(Method::Sci);
        assert_eq!(back, TrainingConfig::new("photos".into()));
        let parsed = TrainingConfig::parse(r#"{"data": "photos", "model": {"stages": 4}}"#);
        assert_eq!(parsed.unwrap().model, SciCascadeConfig::new().with_stages(4).into());
    }

    #[test]
    fn settings_that_do_not_exist_are_named() {
        let refused = |text: &str| TrainingConfig::parse(text).unwrap_err().to_string();
        let message = refused(r#"{"data": "photos", "loss": {"fidelity": 2}}"#);
        assert_eq!(message, "no setting `loss.fidelity`");
        let message = refused(r#"{"sampling": {"darken": {"stops": [2, 4], "iso": 3}}}"#);
        assert_eq!(message, "no setting `sampling.darken.iso`");
        let message = refused(r#"{"optimizer": {"learning_rate": "fast"}}"#);
        assert!(message.starts_with("setting `optimizer.learning_rate`"), "{message}");
        for wrong in ["\"many\"", "2.5", "-1", "true", "null"] {
            let message = refused(&format!(r#"{{"model": {{"stages": {wrong}}}}}"#));
            assert!(message.starts_with("setting `model.stages`"), "{message}");
        }
        let message = refused(r#"{"model": {"method": "sci++", "estimator": {"method": "sci+"}}}"#);
        assert!(message.starts_with("setting `model.estimator.method`"), "{message}");
        let message = refused(r#"{"model": {"method": "sci", "increment": {}}}"#);
        assert_eq!(message, "no setting `model.increment`");
        let message = refused(r#"{"model": {"method": "sci+"}}"#);
        assert!(message.starts_with("setting `model.method`"), "{message}");
        assert!(refused("[1]").contains("not an object"));
        assert!(!refused("{").contains('\n'));
    }

    #[test]
    fn another_training_is_told_by_the_setting() {
        let other = config().with_optimizer(OptimizerConfig::new().with_learning_rate(1e-3));
        let (name, ours, theirs) = config().difference(&other).unwrap();
        assert_eq!([&*name, &*ours, &*theirs], ["optimizer.learning_rate", "0.0003", "0.001"]);
        assert_eq!(config().difference(&config().with_epochs(1)), None);
        let other = config().with_method(Method::SciPlusPlus);
        let (name, ours, theirs) = config().difference(&other).unwrap();
        assert_eq!([&*name, &*ours, &*theirs], ["model.method", "sci", "sci++"]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let whole = config().with_sampling(SamplingConfig::new());
        let darken = SamplingConfig::new().with_darken(Some(Darken::new([3.0, 2.0])));
        let rate = OptimizerConfig::new().with_learning_rate(-1.0);
        let weight = SciLossConfig::new().with_fidelity_weight(f64::NAN);
        for (config, name) in [
            (TrainingConfig::new(PathBuf::new()), "data"),
            (config().with_epochs(0), "epochs"),
            (config().with_batch_size(0), "batch_size"),
            (whole.with_batch_size(2), "batch_size"),
            (config().with_epochs(usize::MAX), "epochs"),
            (config().with_batch_size(usize::MAX), "batch_size"),
            (
                config().with_sampling(SamplingConfig::new().with_crop(Some([1, 1]))),
                "sampling.crop",
            ),
            (config().with_sampling(darken), "sampling.darken.stops"),
            (config().with_optimizer(rate), "optimizer.learning_rate"),
            (config().with_loss(weight), "loss.fidelity_weight"),
            (config().with_model(SciCascadeConfig::new().with_stages(0).into()), "model.stages"),
            (
                config().with_model(SciPlusPlusCascadeConfig::new().with_stages(1).into()),
                "model.stages",
            ),
            (
                config().with_alternation(AlternationConfig::new().with_estimator_only(true)),
                "alternation.estimator_only",
            ),
            (
                config()
                    .with_method(Method::SciPlusPlus)
                    .with_alternation(AlternationConfig::new().with_cycle(0)),
                "alternation.cycle",
            ),
            (config().with_stop_at_luminance(Some(1.5)), "stop_at_luminance"),
            (config().with_seed(u64::MAX), "seed"),
        ] {
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(&format!("`{name}`")), "{message}");
        }
    }
}
