//! The launches of training.

use super::buffers::{like, words};
use super::conv3x3::{self, Convolution, WeightGradient};
use super::limits::{MOST_WORKGROUPS, workgroup};
use super::norm;
use super::smoothness::{self, Constants};
use crate::ops::Weighting;
use burn::backend::{DType, Shape};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

/// A contiguous tensor of float32 on the device of another one, not initialized.
fn empty<const D: usize>(tensor: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let (client, device) = (tensor.client.clone(), tensor.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::new(shape), DType::F32)
}

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

/// At least so many workgroups, counted by `CUBE_POS`.
fn linear(count: usize) -> CubeCount {
    let rows = count.div_ceil(MOST_WORKGROUPS);
    CubeCount::Static(count.div_ceil(rows) as u32, rows as u32, 1)
}

/// The images' convolution, or the gradient with respect to them where the kernel is transposed.
pub(crate) fn conv3x3(
    image: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    kernel: Convolution,
) -> CubeTensor {
    let [image, weight] = [image, weight].map(into_contiguous);
    let bias = bias.map_or_else(|| empty(&image, [1]), into_contiguous);
    let [batch, _, height, width] = image.meta.shape().dims();
    let result = empty(&image, [batch, kernel.outputs, height, width]);
    let [rows, columns] = conv3x3::TILE;
    let count =
        [width.div_ceil(columns), height.div_ceil(rows), batch * kernel.parts()].map(|n| n as u32);
    // SAFETY: the kernel keeps to the channels and pixels of images and result, and to the outputs and inputs of
    // the weights.
    unsafe {
        conv3x3::forward::launch_unchecked(
            &image.client,
            CubeCount::Static(count[0], count[1], count[2]),
            workgroup(kernel.units(), kernel.floats()),
            words(&image.handle),
            words(&weight.handle),
            words(&bias.handle),
            words(&result.handle),
            height as i32,
            width as i32,
            kernel,
        );
    }
    result
}

/// A convolution of so many channels, as training has them.
pub(crate) fn convolution(inputs: usize, outputs: usize, transposed: bool) -> Convolution {
    Convolution { inputs, outputs, transposed, biased: !transposed }
}

/// The gradients with respect to a convolution's weights and biases.
pub(crate) fn conv3x3_backward_weight(image: CubeTensor, gradient: CubeTensor) -> [CubeTensor; 2] {
    let [image, gradient] = [image, gradient].map(into_contiguous);
    let client = image.client.clone();
    let [batch, inputs, height, width] = image.meta.shape().dims();
    let [_, outputs, ..] = gradient.meta.shape().dims::<4>();
    let kernel = WeightGradient { inputs, outputs };
    let [rows, columns] = conv3x3::REGION;
    let regions = width.div_ceil(columns) * height.div_ceil(rows);
    let parts = WeightGradient::parts(batch * regions);
    let partial = client.empty(parts * kernel.sums() * size_of::<f32>());
    let [weight, bias] = [empty(&image, [outputs, inputs, 3, 3]), empty(&image, [outputs])];
    // SAFETY: the kernels keep to the images' channels and pixels, and there are as many parts as their
    // workgroups write.
    unsafe {
        conv3x3::weight_gradient_parts::launch_unchecked(
            &client,
            CubeCount::Static(kernel.blocks() as u32, regions as u32, batch as u32),
            workgroup(conv3x3::WALKERS, conv3x3::WALKER_FLOATS),
            words(&image.handle),
            words(&gradient.handle),
            words(&partial),
            height as i32,
            width as i32,
            kernel,
        );
        conv3x3::weight_gradient_sums::launch_unchecked(
            &client,
            linear(kernel.sums().div_ceil(64)),
            workgroup(64, 0),
            words(&partial),
            words(&weight.handle),
            words(&bias.handle),
            parts,
            kernel,
        );
    }
    [weight, bias]
}

/// Normalized images, their mean and variance.
pub(crate) fn norm_relu(
    image: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    residual: Option<CubeTensor>,
    epsilon: f32,
) -> [CubeTensor; 3] {
    let [image, weight, bias] = [image, weight, bias].map(into_contiguous);
    let residual = residual.map(into_contiguous);
    let client = image.client.clone();
    let Chunks { area, count, parts } = Chunks::new(&image);
    let result = like(&image);
    let [mean, variance] = [like(&weight), like(&weight)];
    // SAFETY: the kernels keep to the pixels of their chunk, and there are as many parts as chunks.
    unsafe {
        norm::statistics_parts::launch_unchecked(
            &client,
            count.clone(),
            workgroup(norm::WORKERS, norm::WORKERS),
            words(&image.handle),
            words(&parts),
            area,
        );
        norm::normalize::launch_unchecked(
            &client,
            count,
            workgroup(norm::WORKERS, 0),
            words(&image.handle),
            words(&weight.handle),
            words(&bias.handle),
            words(&residual.as_ref().unwrap_or(&weight).handle),
            words(&parts),
            words(&result.handle),
            words(&mean.handle),
            words(&variance.handle),
            area,
            epsilon,
            residual.is_some(),
        );
    }
    [result, mean, variance]
}

/// The gradients with respect to images, weight and bias.
pub(crate) fn norm_relu_backward(
    image: CubeTensor,
    [weight, bias]: [CubeTensor; 2],
    [mean, variance]: [CubeTensor; 2],
    gradient: CubeTensor,
    epsilon: f32,
) -> [CubeTensor; 3] {
    let [image, gradient] = [image, gradient].map(into_contiguous);
    let [weight, bias, mean, variance] = [weight, bias, mean, variance].map(into_contiguous);
    let client = image.client.clone();
    let Chunks { area, count, parts } = Chunks::new(&image);
    let result = like(&image);
    let [weight_gradient, bias_gradient] = [like(&weight), like(&bias)];
    // SAFETY: the kernels keep to the pixels of their chunk, and there are as many parts as chunks.
    unsafe {
        norm::gradient_parts::launch_unchecked(
            &client,
            count.clone(),
            workgroup(norm::WORKERS, norm::WORKERS),
            words(&image.handle),
            words(&weight.handle),
            words(&bias.handle),
            words(&mean.handle),
            words(&variance.handle),
            words(&gradient.handle),
            words(&parts),
            area,
            epsilon,
        );
        norm::gradients::launch_unchecked(
            &client,
            count,
            workgroup(norm::WORKERS, 0),
            words(&image.handle),
            words(&weight.handle),
            words(&bias.handle),
            words(&mean.handle),
            words(&variance.handle),
            words(&gradient.handle),
            words(&parts),
            words(&result.handle),
            words(&weight_gradient.handle),
            words(&bias_gradient.handle),
            area,
            epsilon,
        );
    }
    [result, weight_gradient, bias_gradient]
}

/// How normalization divides a batch of images.
struct Chunks {
    /// Pixels of an image.
    area: usize,
    count: CubeCount,
    /// Room for the parts of sums.
    parts: burn_cubecl::cubecl::server::Handle,
}

impl Chunks {
    fn new(image: &CubeTensor) -> Self {
        let [batch, channels, height, width] = image.meta.shape().dims();
        let area = height * width;
        let count = [area.div_ceil(norm::CHUNK), channels, batch];
        let parts = count.iter().product::<usize>() * norm::PART * size_of::<f32>();
        let [x, y, z] = count.map(|count| count as u32);
        Self { area, count: CubeCount::Static(x, y, z), parts: image.client.empty(parts) }
    }
}
