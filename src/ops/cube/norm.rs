//! Batch normalization with the batch's own statistics, a ReLU, and a residual if there is one; and the
//! gradients. Both take two launches: parts of the sums over all pixels of a channel, then the pixels, where
//! every workgroup adds the parts up again in the same order.

use super::network::relu;
use super::sum::add_up;
use burn_cubecl::cubecl::{self, prelude::*};

/// Units of a workgroup.
pub(super) const WORKERS: usize = 128;
/// Pixels of a unit.
const EACH: usize = 32;
/// Pixels of a workgroup, all of one channel of one image.
pub(super) const CHUNK: usize = WORKERS * EACH;
/// Numbers of a part.
pub(super) const PART: usize = 3;

/// Number, mean, and sum of the squared distances from the mean of each chunk: `[channels, batch, chunks, 3]`.
#[cube(launch_unchecked)]
pub(super) fn statistics_parts(image: &[f32], parts: &mut [f32], area: usize) {
    let (chunk, channel, n) = position();
    let start = (n * CUBE_COUNT_Y as usize + channel) * area;
    let first = chunk * CHUNK;
    let count = usize::min(area - first, CHUNK);
    let mut shared = Shared::<[f32]>::new_slice(WORKERS);
    let mut sum = 0.0f32;
    for at in range_stepped(UNIT_POS as usize, count, WORKERS) {
        sum += image[start + first + at];
    }
    let mean = add_up(&mut shared, sum, WORKERS) / f32::cast_from(count);
    sync_cube();
    let mut squares = 0.0f32;
    for at in range_stepped(UNIT_POS as usize, count, WORKERS) {
        let distance = image[start + first + at] - mean;
        squares += distance * distance;
    }
    let squares = add_up(&mut shared, squares, WORKERS);
    if UNIT_POS == 0 {
        let to = part_index(chunk, channel, n);
        parts[to] = f32::cast_from(count);
        parts[to + 1] = mean;
        parts[to + 2] = squares;
    }
}

/// The normalized images; the first chunk of each channel gives its mean and biased variance as well.
#[cube(launch_unchecked)]
pub(super) fn normalize(
    image: &[f32],
    weight: &[f32],
    bias: &[f32],
    residual: &[f32],
    parts: &[f32],
    result: &mut [f32],
    means: &mut [f32],
    variances: &mut [f32],
    area: usize,
    epsilon: f32,
    #[comptime] added: bool,
) {
    let (chunk, channel, n) = position();
    // The parts, joined in their order (Chan et al., 1979).
    let from = part_index(0usize, channel, 0usize);
    let mut count = parts[from];
    let mut mean = parts[from + 1];
    let mut squares = parts[from + 2];
    for part in 1..CUBE_COUNT_X as usize * CUBE_COUNT_Z as usize {
        let at = from + part * PART;
        let distance = parts[at + 1] - mean;
        let total = count + parts[at];
        let share = parts[at] / total;
        mean += distance * share;
        squares += parts[at + 2] + distance * distance * count * share;
        count = total;
    }
    let variance = squares / count;
    if chunk == 0 && n == 0 && UNIT_POS == 0 {
        means[channel] = mean;
        variances[channel] = variance;
    }
    let inverse = 1.0f32 / f32::sqrt(variance + epsilon);
    let (scale, shift) = (weight[channel], bias[channel]);
    let start = (n * CUBE_COUNT_Y as usize + channel) * area;
    let first = chunk * CHUNK;
    let count = usize::min(area - first, CHUNK);
    for at in range_stepped(UNIT_POS as usize, count, WORKERS) {
        let at = start + first + at;
        // In the same order as in the gradients, so that both cut the same values off.
        let mut value = relu((image[at] - mean) * inverse * scale + shift);
        if comptime!(added) {
            value += residual[at];
        }
        result[at] = value;
    }
}

/// The sums of the gradient that passes the ReLU, and of its product with the normalized images, of each chunk.
#[cube(launch_unchecked)]
pub(super) fn gradient_parts(
    image: &[f32],
    weight: &[f32],
    bias: &[f32],
    means: &[f32],
    variances: &[f32],
    gradient: &[f32],
    parts: &mut [f32],
    area: usize,
    epsilon: f32,
) {
    let (chunk, channel, n) = position();
    let start = (n * CUBE_COUNT_Y as usize + channel) * area;
    let first = chunk * CHUNK;
    let count = usize::min(area - first, CHUNK);
    let mean = means[channel];
    let inverse = 1.0f32 / f32::sqrt(variances[channel] + epsilon);
    let (scale, shift) = (weight[channel], bias[channel]);
    let mut shared = Shared::<[f32]>::new_slice(WORKERS);
    let mut sum = 0.0f32;
    let mut product = 0.0f32;
    for at in range_stepped(UNIT_POS as usize, count, WORKERS) {
        let at = start + first + at;
        let normal = (image[at] - mean) * inverse;
        let passed = passed(normal, scale, shift, gradient[at]);
        sum += passed;
        product += passed * normal;
    }
    let sum = add_up(&mut shared, sum, WORKERS);
    sync_cube();
    let product = add_up(&mut shared, product, WORKERS);
    if UNIT_POS == 0 {
        let to = part_index(chunk, channel, n);
        parts[to] = sum;
        parts[to + 1] = product;
    }
}

/// The gradients with respect to the images; the first chunk of each channel gives those with respect to
/// weight and bias as well.
#[cube(launch_unchecked)]
pub(super) fn gradients(
    image: &[f32],
    weight: &[f32],
    bias: &[f32],
    means: &[f32],
    variances: &[f32],
    gradient: &[f32],
    parts: &[f32],
    image_gradient: &mut [f32],
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    area: usize,
    epsilon: f32,
) {
    let (chunk, channel, n) = position();
    let from = part_index(0usize, channel, 0usize);
    let chunks = CUBE_COUNT_X as usize * CUBE_COUNT_Z as usize;
    let mut sum = parts[from];
    let mut product = parts[from + 1];
    for part in 1..chunks {
        sum += parts[from + part * PART];
        product += parts[from + part * PART + 1];
    }
    if chunk == 0 && n == 0 && UNIT_POS == 0 {
        weight_gradient[channel] = product;
        bias_gradient[channel] = sum;
    }
    let mean = means[channel];
    let inverse = 1.0f32 / f32::sqrt(variances[channel] + epsilon);
    let (scale, shift) = (weight[channel], bias[channel]);
    let share = 1.0f32 / (f32::cast_from(area) * f32::cast_from(CUBE_COUNT_Z));
    let start = (n * CUBE_COUNT_Y as usize + channel) * area;
    let first = chunk * CHUNK;
    let count = usize::min(area - first, CHUNK);
    for at in range_stepped(UNIT_POS as usize, count, WORKERS) {
        let at = start + first + at;
        let normal = (image[at] - mean) * inverse;
        let passed = passed(normal, scale, shift, gradient[at]);
        image_gradient[at] = (passed - (sum + normal * product) * share) * scale * inverse;
    }
}

/// What of a gradient passes the ReLU after a normalized value.
#[cube]
fn passed(normal: f32, scale: f32, shift: f32, gradient: f32) -> f32 {
    select(normal * scale + shift <= 0.0, 0.0f32, gradient)
}

/// This workgroup's chunk, channel and image.
#[cube]
fn position() -> (usize, usize, usize) {
    (CUBE_POS_X as usize, CUBE_POS_Y as usize, CUBE_POS_Z as usize)
}

/// Where a chunk's part is.
#[cube]
fn part_index(chunk: usize, channel: usize, n: usize) -> usize {
    ((channel * CUBE_COUNT_Z as usize + n) * CUBE_COUNT_X as usize + chunk) * PART
}
