use crate::error::{Error, Result};
use crate::loss::SciLoss;
use crate::model::SciCascade;
use burn::config::Config;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;

/// The loss of a cascade: the sum of its stages' losses.
///
/// # Shapes
/// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
/// - output: `[1]`
///
/// # Panics
/// If height or width is below [`SmoothnessLoss::MIN_SIZE`](crate::SmoothnessLoss::MIN_SIZE).
pub fn cascade_loss(cascade: &SciCascade, loss: &SciLoss, image: Tensor<4>) -> Tensor<1> {
    let estimates = cascade.estimates(image).into_iter();
    estimates
        .map(|stage| loss.forward(stage.input, stage.illumination))
        .reduce(|sum, stage| sum + stage)
        .expect("a cascade has at least one stage")
}

/// Configuration of an [`Optimiser`]. The defaults are the published ones.
#[derive(Config, Debug, PartialEq)]
pub struct OptimiserConfig {
    /// Step size of Adam. Positive. (Fine-tuning: 5e-4.)
    #[config(default = 3e-4)]
    pub learning_rate: f64,
    /// How slowly Adam's mean gradient follows, in `[0, 1)`.
    #[config(default = 0.9)]
    pub beta_1: f32,
    /// How slowly Adam's mean squared gradient follows, in `[0, 1)`.
    #[config(default = 0.999)]
    pub beta_2: f32,
    /// Added to the root of the mean squared gradient. Positive.
    #[config(default = 1e-8)]
    pub epsilon: f32,
    /// The share of each weight that is added to its gradient. 0 or more.
    #[config(default = 3e-4)]
    pub weight_decay: f32,
    /// The gradient of all parameters together is scaled down to this norm. Positive.
    #[config(default = 5.0)]
    pub max_gradient_norm: f64,
}

impl OptimiserConfig {
    /// An optimiser that has made no step yet.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where a setting is out of its range.
    pub fn init(&self) -> Result<Optimiser> {
        let in_range = [
            ("learning_rate", self.learning_rate > 0.0, "must be positive"),
            ("beta_1", (0.0..1.0).contains(&self.beta_1), "must be in [0, 1)"),
            ("beta_2", (0.0..1.0).contains(&self.beta_2), "must be in [0, 1)"),
            ("epsilon", self.epsilon > 0.0, "must be positive"),
            ("weight_decay", self.weight_decay >= 0.0, "must be 0 or more"),
            ("max_gradient_norm", self.max_gradient_norm > 0.0, "must be positive"),
        ];
        if let Some((setting, _, reason)) = in_range.into_iter().find(|(_, good, _)| !good) {
            return Err(Error::Setting { setting, reason: reason.to_owned() });
        }
        let decay = (self.weight_decay > 0.0).then(|| WeightDecayConfig::new(self.weight_decay));
        let adam = AdamConfig::new()
            .with_beta_1(self.beta_1)
            .with_beta_2(self.beta_2)
            .with_epsilon(self.epsilon)
            .with_weight_decay(decay);
        Ok(Optimiser {
            adam: adam.init(),
            learning_rate: self.learning_rate,
            max_gradient_norm: self.max_gradient_norm,
        })
    }
}

/// Adam with the global gradient norm clipped, as the paper's training has it.
pub struct Optimiser {
    adam: ModuleOptimizer,
    learning_rate: f64,
    max_gradient_norm: f64,
}

/// The gradients of a loss, scaled down to the largest allowed norm.
pub struct ClippedGradients {
    /// A gradient for each parameter that the loss depends on.
    pub gradients: GradientsParams,
    /// Their common norm before clipping, `[1]`. Reading it waits for the device.
    pub norm: Tensor<1>,
}

/// The result of one optimiser step.
#[derive(Clone, Debug)]
pub struct Stepped<M> {
    /// The module with its new weights.
    pub module: M,
    /// The gradient's norm over all parameters before clipping, `[1]`. Reading it waits for the
    /// device.
    pub gradient_norm: Tensor<1>,
}

impl Optimiser {
    /// Differentiates `loss` and clips the gradient.
    ///
    /// # Panics
    /// If the loss was not computed on an autodiff device, or reaches none of the module's parameters.
    pub fn gradients<M: Module>(&self, module: &M, loss: Tensor<1>) -> ClippedGradients {
        let mut gradients = GradientsParams::from_grads(loss.backward(), module);
        let norm = clip(module, &mut gradients, self.max_gradient_norm);
        ClippedGradients { gradients, norm }
    }

    /// Moves the module's weights against the gradients.
    pub fn apply<M: Module>(&mut self, module: M, gradients: GradientsParams) -> M {
        self.adam.step(self.learning_rate, module, gradients)
    }

    /// [`gradients`](Self::gradients), then [`apply`](Self::apply).
    ///
    /// # Panics
    /// As [`gradients`](Self::gradients).
    pub fn step<M: Module>(&mut self, module: M, loss: Tensor<1>) -> Stepped<M> {
        let ClippedGradients { gradients, norm } = self.gradients(&module, loss);
        Stepped { module: self.apply(module, gradients), gradient_norm: norm }
    }
}

/// Scales all gradients by one factor, so that their common norm is at most `max_norm`, and returns
/// the norm that they had (PyTorch's `clip_grad_norm_`). Burn's own clipping takes each tensor by
/// itself.
fn clip<M: Module>(module: &M, gradients: &mut GradientsParams, max_norm: f64) -> Tensor<1> {
    struct SquaredNorm<'a>(&'a GradientsParams, Option<Tensor<1>>);
    impl ModuleVisitor for SquaredNorm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                let squared = gradient.square().sum();
                self.1 = Some(match self.1.take() {
                    Some(sum) => sum + squared,
                    None => squared,
                });
            }
        }
    }
    struct Scale<'a>(&'a mut GradientsParams, Tensor<1>);
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                let factor = self.1.clone().reshape([1; D]);
                self.0.register(param.id, gradient * factor);
            }
        }
    }

    let mut squared = SquaredNorm(gradients, None);
    module.visit(&mut squared);
    let norm = squared.1.expect("a loss that reaches no parameter has no gradient").sqrt();
    // Computed on the device, so that nothing waits for it. The 1e-6 is PyTorch's.
    let factor = (norm.clone() + 1e-6).recip().mul_scalar(max_norm).clamp_max(1.0);
    module.visit(&mut Scale(gradients, factor));
    norm
}
