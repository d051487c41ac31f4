//! The operations in Burn's tensor functions: what runs where there is no kernel, and what the kernels
//! are tested against.

#[cfg(all(test, feature = "flex", feature = "train"))]
use super::network::ConvNetwork;
use super::{Rendering, Weighting};
use crate::metrics::LUMINANCE;
use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm_train, conv2d};
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Tensor, TensorData};

/// The illumination that an image is divided by, and the result: [`Rendering::pixel`] for whole images.
///
/// # Shapes
/// - all: `[batch, 3, height, width]`
pub(crate) fn render(
    image: Tensor<4>,
    illumination: Tensor<4>,
    rendering: Rendering,
) -> [Tensor<4>; 2] {
    let illumination = match rendering.kept {
        true => illumination.max_dim(1).repeat_dim(1, 3),
        false => illumination,
    };
    let illumination = match rendering.strength {
        1.0 => illumination,
        strength => illumination * strength + (1.0 - strength),
    };
    let bright = match rendering.kept {
        true => exposed(image.clone(), illumination.clone(), rendering),
        false => {
            let bright = (image.clone() / illumination.clone()).clamp(0.0, 1.0);
            bright.clone() * factor(bright, rendering)
        }
    };
    match rendering.has_filter() {
        true => [illumination, denoise(image, bright, rendering.noise)],
        false => [illumination, bright],
    }
}

/// What the curve multiplies values in `[0, 1]` by.
fn factor(value: Tensor<4>, rendering: Rendering) -> Tensor<4> {
    match rendering.has_curve() {
        true => ((value + Rendering::TOE) / (1.0 + Rendering::TOE)).powf_scalar(rendering.power()),
        false => value.ones_like(),
    }
}

/// [`Rendering::exposed`] and [`Rendering::scale`] for whole images, which the illumination divides.
fn exposed(image: Tensor<4>, illumination: Tensor<4>, rendering: Rendering) -> Tensor<4> {
    let most = image.clone().max_dim(1);
    let divided = (most.clone() / illumination.slice_dim(1, 0..1)).clamp(0.0, 1.0);
    let bright = divided.clone() * factor(divided, rendering);
    let scale = (bright + Rendering::SRGB_SHIFT) / (most.clamp_min(0.0) + Rendering::SRGB_SHIFT);
    let shift = (scale.clone() - 1.0) * Rendering::SRGB_SHIFT;
    (scale * image + shift).clamp(0.0, 1.0)
}

/// A guided filter (He et al., 2013) of radius 2, for the luminance and for the two color differences
/// red − luminance and blue − luminance. The luminance is its own guide, and so are the two differences
/// together, which shrink by the same factor, so that hues stay.
///
/// Fluctuations of a variance below `ε` are averaged away. `ε` follows the noise that there is: that of the
/// dark image, times what it was amplified by. That is found from the means of a window, since it cannot be
/// seen at a pixel which is black by chance. Where nothing was amplified `ε` is 0, and the filter the
/// identity.
///
/// # Shapes
/// - `dark`, `bright`, output: `[batch, 3, height, width]`
pub(crate) fn denoise(dark: Tensor<4>, bright: Tensor<4>, noise: f32) -> Tensor<4> {
    let [red, green, blue] = LUMINANCE;
    let planes = |image: Tensor<4>| -> [Tensor<4>; 3] {
        image.split(1, 1).try_into().expect("an image has three channels")
    };
    let luminance = |[r, g, b]: [Tensor<4>; 3]| r * red + g * green + b * blue;
    let dark = luminance(planes(dark));
    let [r, g, b] = planes(bright);
    let luma = luminance([r.clone(), g, b.clone()]);
    let epsilon = {
        let seen = Rendering::DEVIATIONS * noise;
        let dark = window_mean(dark).clamp_min(Rendering::LEAST_SIGNAL * noise);
        let gain = (window_mean(luma.clone()) / dark).clamp_min(1.0);
        (gain.square() - 1.0) * (seen * seen)
    };
    let differences = [r - luma.clone(), b - luma.clone()];
    let [reds, blues] = guided(differences, epsilon.clone() * Rendering::COLOR_FACTOR);
    let [luma] = guided([luma], epsilon);
    let greens = reds.clone() * (-red / green) + blues.clone() * (-blue / green);
    let channels = [reds, greens, blues].map(|difference| difference + luma.clone());
    Tensor::cat(channels.to_vec(), 1).clamp(0.0, 1.0)
}

/// The means of windows of 5×5 pixels, as far as they are in the image.
fn window_mean(plane: Tensor<4>) -> Tensor<4> {
    [2, 3].into_iter().fold(plane, |plane, dim| {
        let mut shape = [1; 4];
        shape[dim] = plane.dims()[dim];
        let ones = Tensor::ones(shape, (&plane.device(), plane.dtype()));
        let counts = window_sum(ones, dim, 2);
        window_sum(plane, dim, 2) / counts
    })
}

/// The sums over windows that reach so far to each side along a dimension, as far as they are in the image.
///
/// Burn's pooling of windows that overlap is wrong on some GPUs (0.22.1 on wgpu, where widths are multiples
/// of 4).
pub(crate) fn window_sum(plane: Tensor<4>, dim: usize, reach: usize) -> Tensor<4> {
    let size = plane.dims()[dim];
    // What is further away is outside.
    let reach = reach.min(size);
    let mut padding = [(0, 0); 4];
    padding[dim] = (reach, reach);
    let padded = plane.pad(padding, PadMode::Constant(0.0));
    let shifted = (0..=2 * reach).map(|start| padded.clone().narrow(dim, start, size));
    shifted.reduce(|sum, part| sum + part).expect("a window has a middle")
}

/// Planes filtered with themselves as the guide, all by the same factor: that of the sum of their variances.
fn guided<const N: usize>(planes: [Tensor<4>; N], epsilon: Tensor<4>) -> [Tensor<4>; N] {
    let sum = |planes: [Tensor<4>; N]| {
        let squares = planes.into_iter().map(|plane| plane.square());
        squares.reduce(|sum, square| sum + square).expect("there are planes")
    };
    let averages = planes.clone().map(window_mean);
    let variance = (window_mean(sum(planes.clone())) - sum(averages.clone())).clamp_min(0.0);
    let slope = variance.clone() / (variance + epsilon + Rendering::LEAST_VARIANCE);
    let mean_slope = window_mean(slope.clone());
    let mut averages = averages.into_iter();
    planes.map(|plane| {
        let average = averages.next().expect("one for each plane");
        mean_slope.clone() * plane + window_mean(average.clone() - slope.clone() * average)
    })
}

/// See [`functions::conv3x3`](super::functions::conv3x3).
pub(super) fn conv3x3(image: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    conv2d(image, weight, Some(bias), ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
}

/// See [`functions::conv_network`](super::functions::conv_network).
#[cfg(all(test, feature = "flex", feature = "train"))]
pub(super) fn conv_network(
    image: Tensor<4>,
    parameters: Tensor<1>,
    network: &ConvNetwork,
) -> (Tensor<4>, Tensor<1>) {
    let part = |place: std::ops::Range<usize>| parameters.clone().slice(place);
    let mut activations: Vec<Tensor<4>> = vec![];
    let mut statistics = vec![];
    for (index, layer) in network.layers.iter().enumerate() {
        let kernels = part(layer.weights()).reshape([layer.outputs, layer.inputs, 3, 3]);
        let input = activations.last().unwrap_or(&image).clone();
        let result = conv3x3(input, kernels, part(layer.biases()));
        if index + 1 == network.layers.len() {
            activations.push(result);
            break;
        }
        let residual = layer.residual.map(|from| activations[from].clone());
        activations.push(match (layer.norm(), residual) {
            (Some(norm), residual) => {
                let [scales, shifts] = norm.map(part);
                let epsilon = network.epsilon.into();
                let (output, moments) = norm_relu(result, scales, shifts, residual, epsilon);
                statistics.extend(moments);
                output
            }
            (None, Some(residual)) => residual + relu(result),
            (None, None) => relu(result),
        });
    }
    let result = activations.pop().expect("a network has at least one layer");
    let statistics = match statistics.is_empty() {
        true => Tensor::zeros([0], &image.device()),
        false => Tensor::cat(statistics, 0),
    };
    (network.output.of(image, result), statistics)
}

/// See [`functions::reflectance`](super::functions::reflectance).
pub(super) fn reflectance(image: Tensor<4>, illumination: Tensor<4>) -> Tensor<4> {
    (image / illumination).clamp(0.0, 1.0)
}

/// See [`functions::loss`](super::functions::loss).
pub(super) fn loss(
    input: Tensor<4>,
    illumination: Tensor<4>,
    weighting: Weighting,
) -> (Tensor<1>, Tensor<1>) {
    let squares = (illumination.clone() - input.clone()).square();
    let fidelity = squares.mean_dim(3).mean();
    let smoothness = smoothness(input, illumination, weighting);
    let terms = Tensor::cat(vec![fidelity.clone(), smoothness.clone()], 0);
    let loss = match weighting.fidelity {
        0.0 => smoothness,
        weight => fidelity * weight + smoothness,
    };
    (loss, terms.detach())
}

/// See [`functions::pack`](super::functions::pack).
#[cfg(feature = "train")]
pub(super) fn pack(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    let padded = tensors.into_iter().flat_map(|tensor| {
        let [count] = tensor.dims();
        let missing = super::packed::padded(count) - count;
        let zeros =
            (missing > 0).then(|| Tensor::zeros([missing], (&tensor.device(), tensor.dtype())));
        std::iter::once(tensor).chain(zeros)
    });
    Tensor::cat(padded.collect(), 0)
}

/// See [`functions::norm_relu`](super::functions::norm_relu).
pub(super) fn norm_relu(
    image: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    epsilon: f64,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let normalized = batch_norm_train(image, weight, bias, epsilon);
    let result = relu(normalized.output);
    let result = match residual {
        Some(residual) => residual + result,
        None => result,
    };
    (result, [normalized.mean, normalized.variance])
}

/// Converts colors: each three values `c` to `c · matrix + offset`. The three are a pixel's channels
/// if `per_pixel`, and otherwise neighbors in memory.
///
/// # Shapes
/// - `image`, output: `[batch, 3, height, width]`
pub(crate) fn convert_colors(
    image: Tensor<4>,
    matrix: [[f32; 3]; 3],
    offset: [f32; 3],
    per_pixel: bool,
) -> Tensor<4> {
    let device = image.device();
    let [batch, channels, height, width] = image.dims();
    let matrix = Tensor::<2>::from_data(TensorData::from(matrix), &device);
    let offset = Tensor::<1>::from_floats(offset, &device);
    if per_pixel {
        let pixels = image.reshape([batch, channels, height * width]);
        let converted = matrix.transpose().unsqueeze::<3>().matmul(pixels);
        (converted + offset.reshape([1, 3, 1])).reshape([batch, channels, height, width])
    } else {
        let triples = image.reshape([batch * height * width, channels]);
        (triples.matmul(matrix) + offset.unsqueeze()).reshape([batch, channels, height, width])
    }
}

/// Rows down and columns to the right, from one pixel of a pair to the other. Each of the 24
/// neighbors is one of these or its opposite.
const PAIRS: [(usize, isize); 12] = [
    (0, 1),
    (0, 2),
    (1, -2),
    (1, -1),
    (1, 0),
    (1, 1),
    (1, 2),
    (2, -2),
    (2, -1),
    (2, 0),
    (2, 1),
    (2, 2),
];

/// The smoothness: the sum over the pairs of pixels.
fn smoothness(input: Tensor<4>, illumination: Tensor<4>, weighting: Weighting) -> Tensor<1> {
    let Weighting { matrix, offset, per_pixel, sigma, .. } = weighting;
    let color = convert_colors(input, matrix, offset, per_pixel);
    PAIRS
        .iter()
        .map(|&pair| smoothness_of(pair, &color, &illumination, sigma))
        .reduce(|sum, pair| sum + pair)
        .expect("there are twelve pairs")
}

/// The mean over all places where both pixels of the pair are in the image, counted twice: once from
/// each of them.
fn smoothness_of(
    pair: (usize, isize),
    color: &Tensor<4>,
    illumination: &Tensor<4>,
    sigma: f64,
) -> Tensor<1> {
    let distance = difference(color, pair).square().sum_dim(1);
    let weight = (distance * (-0.5 / (sigma * sigma))).exp();
    let change = difference(illumination, pair).abs().sum_dim(1);
    (weight * change).mean() * 2.0
}

/// `image[y + down, x + right] − image[y, x]` wherever both are in the image.
fn difference(image: &Tensor<4>, (down, right): (usize, isize)) -> Tensor<4> {
    let [batch, channels, height, width] = image.dims();
    let columns = right.unsigned_abs();
    let (left_start, right_start) = if right < 0 { (columns, 0) } else { (0, columns) };
    let part = |top: usize, left: usize| {
        let rows = top..top + height - down;
        image.clone().slice([0..batch, 0..channels, rows, left..left + width - columns])
    };
    part(down, right_start) - part(0, left_start)
}
