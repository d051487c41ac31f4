//! The running statistics of devices that make a step together. Each starts from the same ones and moves them toward
//! those of its own photographs; the next step starts from the mean of what they come to.
//!
//! Burn's clones of a module share their running statistics, so that two devices would change them at the same time.
//! Instead, each device has its own for a step, and hands the result over as if it were a gradient.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// A module with the same parameters and with running statistics of its own.
pub(super) fn separate<M: Module>(module: &M) -> M {
    module.valid().train()
}

/// Adds a module's running statistics to its gradients.
pub(super) fn hand_over<M: Module>(module: &M, gradients: &mut GradientsParams) {
    struct HandOver<'a>(&'a mut GradientsParams);
    impl ModuleVisitor for HandOver<'_> {
        fn visit_float<const D: usize>(&mut self, statistics: &Param<Tensor<D>>) {
            // All floats but the parameters, of which none is frozen here.
            if !statistics.val().is_require_grad() {
                self.0.register(statistics.id, statistics.val().without_autodiff());
            }
        }
    }

    // Making a copy applies the last update, which Burn still holds back.
    separate(module).visit(&mut HandOver(gradients));
}

/// Takes the sums of what devices handed over out of the gradients, and makes the mean the module's running statistics.
/// `share` is one divided by the number of devices,
/// all of which took part: the data loader sees to it.
pub(super) fn receive<M: Module>(module: M, gradients: &mut GradientsParams, share: f64) -> M {
    struct Receive<'a>(&'a mut GradientsParams, f64);
    impl ModuleMapper for Receive<'_> {
        fn map_float<const D: usize>(&mut self, statistics: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if statistics.val().is_require_grad() {
                return statistics;
            }
            match self.0.remove::<D>(statistics.id) {
                Some(sum) => statistics.map(|_| Tensor::from_inner(sum * self.1)),
                None => statistics,
            }
        }
    }

    module.map(&mut Receive(gradients, share))
}
