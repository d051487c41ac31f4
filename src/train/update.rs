//! The optimizer's step. All parameters that have gradients are one vector in it: clipping and Adam treat every value
//! alike, so that a step is a few operations, however many tensors a network has.

use crate::device::with_autodiff_of;
use crate::ops::functions::{pack, unpack};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use std::collections::HashMap;

/// The norm of all gradients together, `[1]`.
///
/// # Panics
/// If there are none.
pub(super) fn gradient_norm<M: Module>(module: &M, gradients: &GradientsParams) -> Tensor<1> {
    let gradients = Gathered::new(module, gradients).gradients;
    assert!(!gradients.is_empty(), "a loss that reaches no parameter has no gradient");
    norm(pack(gradients))
}

/// Makes a step. Gradients are multiplied by `share`, and then by one factor that brings their common norm down to
/// `max_norm`, if there is one (PyTorch's `clip_grad_norm_`; Burn's own clipping takes each tensor by itself).
pub(super) fn update<M: Module>(
    module: M,
    optimizer: &mut ModuleOptimizer,
    learning_rate: ModuleLearningRate,
    gradients: GradientsParams,
    share: f64,
    max_norm: Option<f64>,
) -> M {
    let Gathered { ids, counts, parameters, gradients } = Gathered::new(&module, &gradients);
    if ids.is_empty() {
        return module;
    }
    let id = together(&ids);
    let mut gradient = pack(gradients);
    if let Some(max_norm) = max_norm {
        // Computed on the device, so that nothing waits for it. The 1e-6 is PyTorch's.
        let norm = norm(gradient.clone()) * share;
        let factor = (norm + 1e-6).recip().mul_scalar(max_norm).clamp_max(1.0) * share;
        gradient = gradient * factor;
    } else if share != 1.0 {
        gradient = gradient * share;
    }
    let mut gradients = GradientsParams::new();
    gradients.register(id, gradient);
    let packed =
        Packed { parameters: Param::initialized(id, Tensor::from_inner(pack(parameters))) };
    let packed = optimizer.step(learning_rate, packed, gradients);
    let values = unpack(packed.parameters.val().inner(), &counts);
    module.map(&mut Replace(ids.into_iter().zip(values).collect()))
}

/// What the optimizer knows parameters by that are trained together. With others they have another state.
fn together(ids: &[ParamId]) -> ParamId {
    // FNV-1a, whose values a checkpoint keeps.
    let mix = |hash: u64, id: &ParamId| (hash ^ id.val()).wrapping_mul(0x0100_0000_01b3);
    ParamId::from(ids.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

fn norm(vector: Tensor<1>) -> Tensor<1> {
    vector.square().sum().sqrt()
}

/// What the optimizer sees: one parameter.
#[derive(Module, Debug)]
struct Packed {
    parameters: Param<Tensor<1>>,
}

/// The parameters of a module that have gradients, in order, without autodiff.
#[derive(Default)]
struct Gathered {
    ids: Vec<ParamId>,
    /// How many values each has.
    counts: Vec<usize>,
    parameters: Vec<Tensor<1>>,
    gradients: Vec<Tensor<1>>,
}

impl Gathered {
    fn new<M: Module>(module: &M, gradients: &GradientsParams) -> Self {
        struct Gather<'a>(Gathered, &'a GradientsParams);
        impl ModuleVisitor for Gather<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let Some(gradient) = self.1.get::<D>(param.id) else { return };
                let parameter = param.val().inner().to_device(&gradient.device());
                let count = parameter.shape().num_elements();
                self.0.ids.push(param.id);
                self.0.counts.push(count);
                self.0.parameters.push(parameter.reshape([count]));
                self.0.gradients.push(gradient.reshape([count]));
            }
        }

        let mut gather = Gather(Self::default(), gradients);
        module.visit(&mut gather);
        gather.0
    }
}

/// Gives parameters new values. Everything else about them stays.
struct Replace(HashMap<ParamId, Tensor<1>>);

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.0.remove(&param.id) else { return param };
        let id = param.id;
        param.map(|old| {
            let new = with_autodiff_of(values.reshape(old.dims()), &old);
            if old.is_distributed() { new.set_distributed(id) } else { new }
        })
    }
}
