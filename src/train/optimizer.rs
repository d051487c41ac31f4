use crate::error::{Error, Result};
use burn::config::Config;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, ModuleOptimizer};

/// Configuration of the optimizer: Adam, with the global norm of the gradient clipped. The defaults
/// are the published ones of SCI.
///
/// SCI++ has two such optimizers, one for the estimator and one for calibrator and increment. They are one here, which
/// keeps its means and its number of steps for each set of parameters that get their gradients together, and leaves
/// parameters without a gradient alone. In a training loop of your own, freezing some parameters makes another set, which
/// starts anew.
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct OptimizerConfig {
    /// Learning rate of Adam. Positive. Fine-tuning uses 5e-4.
    #[config(default = 3e-4)]
    pub learning_rate: f64,
    /// Decay rate of Adam's running mean of the gradient, in `[0, 1)`.
    #[config(default = 0.9)]
    pub beta_1: f32,
    /// Decay rate of Adam's running mean of the squared gradient, in `[0, 1)`.
    #[config(default = 0.999)]
    pub beta_2: f32,
    /// Added to the square root of the mean squared gradient. Positive.
    #[config(default = 1e-8)]
    pub epsilon: f32,
    /// L2 penalty: this multiple of each weight is added to its gradient. 0 or more.
    #[config(default = 3e-4)]
    pub weight_decay: f32,
    /// Maximum norm of the gradient of all parameters together. Positive. `None` for no limit, as in
    /// SCI++, where the authors clip a gradient that is not used any more.
    #[config(default = "Some(5.0)")]
    pub max_gradient_norm: Option<f64>,
}

impl OptimizerConfig {
    /// Refuses settings that are out of range.
    pub(super) fn check(&self) -> Result<()> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let in_range = [
            ("learning_rate", positive(self.learning_rate), "must be positive and finite"),
            ("beta_1", (0.0..1.0).contains(&self.beta_1), "must be in [0, 1)"),
            ("beta_2", (0.0..1.0).contains(&self.beta_2), "must be in [0, 1)"),
            ("epsilon", positive(self.epsilon.into()), "must be positive and finite"),
            (
                "weight_decay",
                (0.0..f32::INFINITY).contains(&self.weight_decay),
                "must be 0 or more",
            ),
            (
                "max_gradient_norm",
                self.max_gradient_norm.is_none_or(positive),
                "must be positive and finite",
            ),
        ];
        if let Some((setting, _, reason)) = in_range.into_iter().find(|(_, good, _)| !good) {
            return Err(Error::setting(setting, reason));
        }
        Ok(())
    }

    /// An optimizer that has made no step yet.
    pub(super) fn adam(&self) -> ModuleOptimizer {
        let decay = (self.weight_decay > 0.0).then(|| WeightDecayConfig::new(self.weight_decay));
        AdamConfig::new()
            .with_beta_1(self.beta_1)
            .with_beta_2(self.beta_2)
            .with_epsilon(self.epsilon)
            .with_weight_decay(decay)
            .init()
    }
}
