use super::metrics::{Pending, PhotoMetrics, StepValues};
use crate::enhance::Enhancer;
use crate::error::{Error, Result};
use crate::loss::{LossTerms, SciLoss};
use crate::model::{Estimate, IlluminationEstimator, SciCascade};
use crate::train::data::Batch;
use burn::config::Config;
use burn::module::{Module, ModuleDisplay, ModuleVisitor, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{
    AdamConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer, MultiGradientsParams,
};
use burn::tensor::Tensor;
use burn::train::{InferenceStep, Learner, TrainOutput, TrainStep};

/// Configuration of the optimizer: Adam, with the global norm of the gradient clipped. The defaults
/// are the published ones.
#[derive(Config, Debug, PartialEq)]
pub struct OptimizerConfig {
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

impl OptimizerConfig {
    /// A learner that has made no step yet: what `train` hands to Burn's engine, and what a loop of
    /// one's own calls `train_step`, `lr_step` and `optimizer_step` on.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where a setting is out of its range.
    pub fn learner<N: Trainable>(&self, network: N, loss: SciLoss) -> Result<Learner<Training<N>>> {
        self.learner_for(network, loss, 1)
    }

    /// A learner whose gradients are summed over several devices.
    pub(super) fn learner_for<N: Trainable>(
        &self,
        network: N,
        loss: SciLoss,
        summed_devices: usize,
    ) -> Result<Learner<Training<N>>> {
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
            ("max_gradient_norm", positive(self.max_gradient_norm), "must be positive and finite"),
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
        let max_gradient_norm = self.max_gradient_norm;
        let training = Training { network, loss, max_gradient_norm, summed_devices };
        Ok(Learner::new(training, adam.init(), self.learning_rate))
    }
}

/// A network that the loss of SCI trains: the whole cascade, or for fine-tuning the estimator alone,
/// which is a cascade of one stage.
pub trait Trainable: Module + ModuleDisplay + std::fmt::Display + 'static {
    /// Input and illumination of every stage.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
    fn estimates(&self, image: Tensor<4>) -> Vec<Estimate>;

    /// The part that enhances photographs.
    fn estimator(&self) -> &IlluminationEstimator;
}

impl Trainable for SciCascade {
    fn estimates(&self, image: Tensor<4>) -> Vec<Estimate> {
        self.estimates(image)
    }

    fn estimator(&self) -> &IlluminationEstimator {
        &self.estimator
    }
}

impl Trainable for IlluminationEstimator {
    fn estimates(&self, image: Tensor<4>) -> Vec<Estimate> {
        let illumination = self.forward(image.clone());
        vec![Estimate { input: image, illumination }]
    }

    fn estimator(&self) -> &IlluminationEstimator {
        self
    }
}

/// A network together with what its training step needs. Made by [`OptimizerConfig::learner`].
#[derive(Module, Debug)]
pub struct Training<N: Module> {
    /// The network.
    pub network: N,
    #[module(skip)]
    loss: SciLoss,
    max_gradient_norm: f64,
    /// Over how many devices the engine sums the gradient, so that it can be made their mean.
    summed_devices: usize,
}

impl<N: Trainable> Training<N> {
    /// The loss of the network: the sum of its stages' losses (section 3.3 of the paper).
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
    ///
    /// # Panics
    /// If height or width is below [`SmoothnessLoss::MIN_SIZE`](crate::loss::SmoothnessLoss::MIN_SIZE).
    pub fn loss(&self, image: Tensor<4>) -> LossTerms {
        let estimates = self.network.estimates(image).into_iter();
        estimates
            .map(|stage| self.loss.terms(stage.input, stage.illumination))
            .reduce(|sum, stage| LossTerms {
                total: sum.total + stage.total,
                fidelity: sum.fidelity + stage.fidelity,
                smoothness: sum.smoothness + stage.smoothness,
            })
            .expect("a cascade has at least one stage")
    }
}

impl<N: Trainable> TrainStep for Training<N> {
    type Input = Batch;
    type Output = Pending<StepValues>;

    fn step(&self, batch: Batch) -> TrainOutput<Self::Output> {
        let loss = self.loss(batch.image);
        let gradients = GradientsParams::from_grads(loss.total.backward(), self);
        let norm = gradient_norm(self, &gradients);
        let values = [loss.total, loss.fidelity, loss.smoothness].map(Tensor::detach);
        let values = Tensor::cat([values.to_vec(), vec![norm]].concat(), 0);
        TrainOutput { grads: gradients, item: Pending::new(values, batch.origin) }
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        mut gradients: GradientsParams,
    ) -> Self {
        let share = 1.0 / self.summed_devices as f64;
        clip(&self, &mut gradients, share, self.max_gradient_norm);
        optimizer.step(learning_rate, self, gradients)
    }

    fn optimize_multi(
        self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        gradients: MultiGradientsParams,
    ) -> Self {
        // The norm is that of the whole gradient, so it is brought together first.
        let device = self.devices()[0].clone();
        let mut sum = GradientsAccumulator::new();
        for (gradients, _) in gradients.grads {
            sum.accumulate(&self, gradients.to_device(&device, &self));
        }
        self.optimize(optimizer, learning_rate, sum.grads())
    }
}

impl<N: Trainable> InferenceStep for Training<N> {
    type Input = Batch;
    type Output = Pending<PhotoMetrics>;

    /// How the photograph would come out, enhanced.
    fn step(&self, batch: Batch) -> Self::Output {
        let enhancer = Enhancer::new(self.network.estimator().clone(), &batch.image.device());
        let bright = enhancer.forward(batch.image.clone()).reflectance;
        Pending::new(PhotoMetrics::measure(&batch.image, &bright), batch.origin)
            .with_pictures(batch.pictured.then_some([batch.image, bright]))
    }
}

/// The norm of all gradients together, `[1]`.
fn gradient_norm<M: Module>(module: &M, gradients: &GradientsParams) -> Tensor<1> {
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

    let mut squared = SquaredNorm(gradients, None);
    module.visit(&mut squared);
    squared.1.expect("a loss that reaches no parameter has no gradient").sqrt()
}

/// Multiplies all gradients by `share`, and then by one factor that brings their common norm down to
/// `max_norm` (PyTorch's `clip_grad_norm_`). Burn's own clipping takes each tensor by itself.
fn clip<M: Module>(module: &M, gradients: &mut GradientsParams, share: f64, max_norm: f64) {
    struct Scale<'a>(&'a mut GradientsParams, Tensor<1>);
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                let factor = self.1.clone().reshape([1; D]);
                self.0.register(param.id, gradient * factor);
            }
        }
    }

    // Computed on the device, so that nothing waits for it. The 1e-6 is PyTorch's.
    let norm = gradient_norm(module, gradients) * share;
    let factor = (norm + 1e-6).recip().mul_scalar(max_norm).clamp_max(1.0) * share;
    module.visit(&mut Scale(gradients, factor));
}
