//! The launches of training.

use super::buffers::{empty, like, linear, words};
use super::limits::workgroup;
use super::pack;
use super::smoothness::{self, Constants};
use crate::ops::packed::padded;
use crate::ops::{MOST_PACKED, Weighting};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// The loss; with gradients with respect to input and illumination, if they are wanted.
pub(crate) fn smoothness(
    input: CubeTensor,
    illumination: CubeTensor,
    weighting: Weighting,
    gradients: bool,
) -> (CubeTensor, Option<[CubeTensor; 2]>) {
    let [input, illumination] = [input, illumination].map(into_contiguous);
    let client = input.client.clone();
    let [batch, _, height, width] = input.meta.shape().dims();
    let [rows, columns] = smoothness::TILE;
    let count = [width.div_ceil(columns), height.div_ceil(rows), batch];
    let constants = Constants::new(weighting);
    let loss = empty(&input, [1]);
    let losses = client.empty(count.iter().product::<usize>() * size_of::<f32>());
    // A kernel needs something in the place of what it does not touch.
    let nothing = || empty(&input, [1]);
    let (input_gradient, light_gradient) = match gradients {
        true => (like(&input), like(&input)),
        false => (nothing(), nothing()),
    };
    let converted = gradients && !constants.per_pixel;
    let color_gradient = if converted { like(&input) } else { nothing() };
    let first_gradient = if converted { &color_gradient } else { &input_gradient };
    let [x, y, z] = count.map(|count| count as u32);
    // SAFETY: the kernel keeps to pixels of the images, of which the gradients have as many, and there is a loss
    // for each workgroup.
    unsafe {
        smoothness::tiles::launch_unchecked(
            &client,
            CubeCount::Static(x, y, z),
            workgroup(smoothness::WORKERS, smoothness::FLOATS),
            words(&input.handle),
            words(&illumination.handle),
            words(&losses),
            words(&first_gradient.handle),
            words(&light_gradient.handle),
            batch as i32,
            height as i32,
            width as i32,
            (-0.5 / (weighting.sigma * weighting.sigma)) as f32,
            constants,
            gradients,
        );
    }
    let triples = if converted { batch * height * width } else { 0 };
    let target = if converted { input_gradient.handle.clone() } else { nothing().handle };
    // SAFETY: a unit with a triple has it in both gradients; they are checked by the length of the target.
    unsafe {
        smoothness::finish::launch_unchecked(
            &client,
            linear(1 + triples.div_ceil(smoothness::ADDERS)),
            workgroup(smoothness::ADDERS, smoothness::ADDERS),
            words(&losses),
            words(&loss.handle),
            words(&color_gradient.handle),
            words(&target),
            constants,
        );
    }
    (loss, gradients.then_some([input_gradient, light_gradient]))
}

/// The first `count` tensors in one vector. See [`PackOps`](crate::ops::PackOps).
pub(crate) fn pack(tensors: [CubeTensor; MOST_PACKED], count: usize) -> CubeTensor {
    let tensors: Vec<_> = tensors.into_iter().take(count).map(into_contiguous).collect();
    let counts = tensors.iter().map(|tensor| padded(tensor.meta.shape().num_elements()));
    let total = counts.sum();
    let target = empty(&tensors[0], [total]);
    // SAFETY: the kernel keeps to the sources' lengths, and the target has room for all of them.
    unsafe {
        pack::pack::launch_unchecked(
            &target.client,
            linear(total.div_ceil(pack::WORKERS)),
            workgroup(pack::WORKERS, 0),
            tensors.iter().map(|tensor| words(&tensor.handle)).collect(),
            words(&target.handle),
        );
    }
    target
}
