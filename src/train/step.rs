use super::alternation::Alternation;
use super::data::Batch;
use super::metrics::{Pending, PhotoMetrics, StepValues};
use super::optimizer::OptimizerConfig;
use super::statistics;
use super::update::{gradient_norm, update};
use crate::enhance::Enhancer;
use crate::error::Result;
use crate::loss::{LossTerms, SciLoss};
use crate::model::{IlluminationEstimator, SciCascade, SciPlusPlusCascade};
use crate::ops::KernelMemory;
use burn::module::{Module, ModuleDisplay};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::Tensor;
use burn::train::{InferenceStep, Learner, TrainOutput, TrainStep};

impl OptimizerConfig {
    /// A learner that has made no step yet: what [`train`](crate::train::train()) runs, and what a
    /// training loop of your own calls `train_step`, `lr_step` and `optimizer_step` on.
    ///
    /// The network is a [`SciCascade`] or an [`IlluminationEstimator`], with a [`SciLoss`]; or a
    /// [`SciPlusPlusCascade`], with an [`Alternation`], whose batches need
    /// [their iteration](Batch::with_iteration). What a step returns as `item` is still being computed;
    /// `item.wait()?.value` waits for its [`StepValues`]. The published training of SCI++ does not clip:
    /// [`max_gradient_norm`](OptimizerConfig::max_gradient_norm) is to be `None` for it.
    ///
    /// ```
    /// use sci_burn::burn::tensor::Tensor;
    /// use sci_burn::loss::SciLossConfig;
    /// use sci_burn::model::SciCascadeConfig;
    /// use sci_burn::train::{Batch, OptimizerConfig};
    ///
    /// let device = sci_burn::open_device("cpu")?.autodiff();
    /// let cascade = SciCascadeConfig::new().init(&device)?;
    /// let mut learner = OptimizerConfig::new().learner(cascade, SciLossConfig::new().init()?)?;
    /// let output = learner.train_step(Batch::new(Tensor::full([1, 3, 16, 16], 0.1, &device)));
    /// assert!(output.item.wait()?.value.loss > 0.0);
    /// learner.lr_step();
    /// learner.optimizer_step(output.grads);
    /// # Ok::<(), sci_burn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) where a setting is out of its range.
    pub fn learner<N: Trainable>(&self, network: N, loss: N::Loss) -> Result<Learner<Training<N>>> {
        self.learner_for(network, loss, 1)
    }

    /// A learner whose gradients are summed over several devices.
    pub(super) fn learner_for<N: Trainable>(
        &self,
        network: N,
        loss: N::Loss,
        summed_devices: usize,
    ) -> Result<Learner<Training<N>>> {
        self.check()?;
        let max_gradient_norm = self.max_gradient_norm;
        let memory = KernelMemory::hold();
        let training = Training { network, loss, max_gradient_norm, summed_devices, memory };
        Ok(Learner::new(training, self.adam(), self.learning_rate))
    }
}

pub(super) mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::model::SciCascade {}
    impl Sealed for crate::model::SciPlusPlusCascade {}
    impl Sealed for crate::model::IlluminationEstimator {}
}

/// A network that can be trained: a whole cascade, or in fine-tuning the estimator alone.
pub trait Trainable: sealed::Sealed + Module + ModuleDisplay + std::fmt::Display + 'static {
    /// What is minimized.
    type Loss: Clone + std::fmt::Debug + Send + Sync + 'static;

    /// The loss that a step of the training, counted from 1, minimizes.
    ///
    /// # Shapes
    /// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
    ///
    /// # Panics
    /// If height or width is below [`SmoothnessLoss::MIN_SIZE`](crate::loss::SmoothnessLoss::MIN_SIZE).
    fn terms(&self, image: Tensor<4>, iteration: usize, loss: &Self::Loss) -> LossTerms;

    /// Whether that step trains the calibrator and not the estimator.
    fn trains_calibrator(_iteration: usize, _loss: &Self::Loss) -> bool {
        false
    }

    /// Whether that step is made at all.
    fn makes(_iteration: usize, _loss: &Self::Loss) -> bool {
        true
    }

    /// The part that enhances photographs.
    fn estimator(&self) -> &IlluminationEstimator;
}

impl Trainable for SciCascade {
    type Loss = SciLoss;

    /// The sum of the stages' losses (section 3.3 of the first paper).
    fn terms(&self, image: Tensor<4>, _: usize, loss: &SciLoss) -> LossTerms {
        let estimates = self.estimates(image).into_iter();
        sum(estimates.map(|stage| loss.terms(stage.input, stage.illumination)))
            .expect("a cascade has at least one stage")
    }

    fn estimator(&self) -> &IlluminationEstimator {
        &self.estimator
    }
}

impl Trainable for SciPlusPlusCascade {
    type Loss = Alternation;

    /// The loss of the first stage, or the sum of the calibrator's losses of the later ones.
    ///
    /// # Panics
    /// If the calibrator of a cascade of one stage, which has none of it, is to be trained.
    fn terms(&self, image: Tensor<4>, iteration: usize, loss: &Alternation) -> LossTerms {
        let estimate = self.estimator.forward(image.clone());
        if !loss.trains_calibrator(iteration) {
            return loss.estimator.terms(image, estimate);
        }
        // The estimator is not trained by this loss.
        let estimate = estimate.detach();
        let later = self.refine(image.clone(), estimate.clone()).into_iter();
        sum(later.map(|light| loss.calibrator.terms(image.clone(), estimate.clone(), light)))
            .expect("a cascade of one stage has no use for its calibrator")
    }

    fn trains_calibrator(iteration: usize, loss: &Alternation) -> bool {
        loss.trains_calibrator(iteration)
    }

    fn makes(iteration: usize, loss: &Alternation) -> bool {
        loss.makes(iteration)
    }

    fn estimator(&self) -> &IlluminationEstimator {
        &self.estimator
    }
}

impl Trainable for IlluminationEstimator {
    type Loss = SciLoss;

    fn terms(&self, image: Tensor<4>, _: usize, loss: &SciLoss) -> LossTerms {
        let illumination = self.forward(image.clone());
        loss.terms(image, illumination)
    }

    fn estimator(&self) -> &IlluminationEstimator {
        self
    }
}

/// The sum of several losses, if there are any.
fn sum(terms: impl Iterator<Item = LossTerms>) -> Option<LossTerms> {
    terms.reduce(|sum, stage| LossTerms {
        total: sum.total + stage.total,
        terms: sum.terms + stage.terms,
    })
}

/// A network together with what its training step needs. Made by [`OptimizerConfig::learner`].
#[derive(Module, Debug)]
pub struct Training<N: Trainable> {
    /// The network.
    pub network: N,
    #[module(skip)]
    loss: N::Loss,
    max_gradient_norm: Option<f64>,
    /// The number of devices over which the engine sums the gradient, to make it a mean.
    summed_devices: usize,
    /// What a step used is there for the next one.
    #[module(skip)]
    memory: KernelMemory,
}

impl<N: Trainable> TrainStep for Training<N> {
    type Input = Batch;
    type Output = Pending<StepValues>;

    fn step(&self, batch: Batch) -> TrainOutput<Self::Output> {
        let iteration = batch.origin.iteration;
        let together = self.summed_devices > 1;
        let separate = together.then(|| statistics::separate(&self.network));
        let network = separate.as_ref().unwrap_or(&self.network);
        let loss = network.terms(batch.image, iteration, &self.loss);
        let mut gradients = GradientsParams::from_grads(loss.total.backward(), network);
        let norm = gradient_norm(network, &gradients);
        if together {
            statistics::hand_over(network, &mut gradients);
        }
        let [total, terms] = [loss.total, loss.terms].map(Tensor::without_autodiff);
        let values = Tensor::cat(vec![total, terms, norm], 0);
        let trains_calibrator = N::trains_calibrator(iteration, &self.loss);
        let known = StepValues { trains_calibrator, ..StepValues::default() };
        TrainOutput { grads: gradients, item: Pending::new(known, values, batch.origin) }
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        mut gradients: GradientsParams,
    ) -> Self {
        let share = 1.0 / self.summed_devices as f64;
        let training = match self.summed_devices {
            1 => self,
            _ => statistics::receive(self, &mut gradients, share),
        };
        let max_norm = training.max_gradient_norm;
        update(training, optimizer, learning_rate, gradients, share, max_norm)
    }

    fn optimize_multi(
        self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        gradients: MultiGradientsParams,
    ) -> Self {
        // The norm is that of the whole gradient, so the parts are summed first.
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

    /// Enhances the photograph and measures the result.
    fn step(&self, batch: Batch) -> Self::Output {
        let estimator = self.network.estimator().clone();
        let enhancer = Enhancer::of_changing(estimator, &batch.image.device());
        let bright = enhancer.forward(batch.image.clone()).reflectance;
        let values = PhotoMetrics::measure(&batch.image, &bright);
        Pending::new(PhotoMetrics::default(), values, batch.origin)
            .with_pictures(batch.pictured.then_some([batch.image, bright]))
    }
}
