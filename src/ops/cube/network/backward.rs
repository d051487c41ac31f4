//! The gradient with respect to a layer's input.

use super::super::tile::Row;
use super::convolution::{
    COEFFICIENTS, COLUMNS, Convolution, PLANE, ROWS, STRIPS, Size, Strip, convolve, load_weights,
    place,
};
use super::moments::{PASSED, Passed, add_lanes, add_strips, add_tiles};
use super::norm::{Norm, NormPlace};
use burn_cubecl::cubecl::{self, prelude::*};

/// What comes between a layer's activations and its convolution's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Between {
    Nothing,
    Relu,
    NormRelu,
}

/// What else is added to the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Added {
    None,
    /// What the target holds already.
    Target,
    /// The gradient with respect to the layer's own activations.
    Gradient,
}

/// What a layer's backward pass is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Backward {
    /// The transposed convolution.
    pub(super) conv: Convolution,
    /// Whether the gradient with respect to the input is wanted, and not only that with respect to the convolution's
    /// result.
    pub(super) wanted: bool,
    /// What follows the layer's convolution.
    pub(super) undone: Between,
    pub(super) added: Added,
    /// Whether the layer's input comes out of a normalization, for whose gradient sums are wanted.
    pub(super) normalized_before: bool,
}

/// The gradient with respect to a layer's input, given the one with respect to its activations. That with respect to
/// its convolution's result is written, too, if it is another one.
///
/// `passed` are the sums of the tiles for the layer's own normalization, `passed_before` those for the one before.
#[cube(launch_unchecked)]
pub(super) fn input_gradient(
    gradient: &[f32],
    result: &[f32],
    passed: &[f32],
    parameters: &[f32],
    statistics: &[f32],
    result_before: &[f32],
    of_result: &mut [f32],
    of_input: &mut [f32],
    passed_before: &mut [f32],
    size: Size,
    weights: usize,
    norm: NormPlace,
    norm_before: NormPlace,
    tiles: usize,
    epsilon: f32,
    #[comptime] kernel: Backward,
) {
    let conv = comptime!(kernel.conv);
    let (inputs, outputs) = comptime!((conv.inputs, conv.outputs));
    let group = comptime!(conv.group());
    let area = size.area();
    let strip = Strip::new(conv);
    let share = 1.0f32 / (f32::cast_from(area) * f32::cast_from(size.batch));

    let mut sums = Array::<Row>::new(comptime!(group * ROWS));
    #[unroll]
    for index in 0..comptime!(group * ROWS) {
        sums[index] = Row::new(0.0f32);
    }
    let mut shared = Shared::<[f32]>::new_slice(comptime!(conv.floats()));
    let coefficients = comptime!(conv.coefficients_at());
    for first in range_stepped(0usize, inputs, comptime!(conv.planes())) {
        let planes = usize::min(comptime!(conv.planes()), inputs - first);
        sync_cube();
        if comptime!(kernel.undone == Between::NormRelu) {
            add_tiles(passed, &mut shared, first, planes, tiles, conv);
            sync_cube();
            if (UNIT_POS as usize) < planes {
                let channel = first + UNIT_POS as usize;
                let at = coefficients + UNIT_POS as usize * COEFFICIENTS;
                let all = add_lanes(&shared, UNIT_POS as usize, conv);
                let norm = Norm::of(statistics, parameters, &norm, channel, epsilon, inputs);
                norm.store(&mut shared, at);
                let means = Passed { sum: all.sum * share, product: all.product * share };
                means.store(&mut shared, at + 4);
            }
            sync_cube();
        }
        for at in range_stepped(UNIT_POS as usize, planes * PLANE, comptime!(conv.units())) {
            let place = place(at, &strip, &size);
            let from = (strip.n * inputs + first + at / PLANE) * area + place.pixel;
            let mut value = gradient[from];
            if comptime!(kernel.undone != Between::Nothing) {
                if comptime!(kernel.undone == Between::NormRelu) {
                    let at = coefficients + at / PLANE * COEFFICIENTS;
                    let norm = Norm::load(&shared, at);
                    let normal = norm.normal(result[from]);
                    let means = shared[at + 4] + normal * shared[at + 5];
                    value = (norm.pass(normal, value) - means) * norm.scale * norm.rate;
                } else {
                    value = select(result[from] <= 0.0, 0.0f32, value);
                }
                if place.inside && place.of_tile && strip.first_output == 0 {
                    of_result[from] = value;
                }
            }
            shared[at] = select(place.inside, value, 0.0f32);
        }
        if comptime!(kernel.wanted) {
            load_weights(parameters, &mut shared, &strip, weights, first, planes, conv);
            sync_cube();
            convolve(&shared, &strip, planes, &mut sums, conv);
        }
    }
    sync_cube();
    #[unroll]
    for o in 0..comptime!(if kernel.wanted { group } else { 0 }) {
        let output = usize::min(strip.output() + o, comptime!(outputs - 1));
        let own = strip.output() + o < outputs;
        let mut sum = 0.0f32;
        let mut product = 0.0f32;
        let norm = if comptime!(kernel.normalized_before) {
            Norm::of(statistics, parameters, &norm_before, output, epsilon, outputs)
        } else {
            Norm { mean: 0.0f32, rate: 1.0f32, scale: 1.0f32, shift: 0.0f32 }
        };
        #[unroll]
        for y in 0..ROWS {
            #[unroll]
            for x in 0..COLUMNS {
                let image_y = strip.y() + comptime!(y as i32);
                let image_x = strip.x() + comptime!(x as i32);
                if own && image_y < size.height && image_x < size.width {
                    let pixel = (image_y * size.width + image_x) as usize;
                    let to = (strip.n * outputs + output) * area + pixel;
                    let mut value = sums[comptime!(o * ROWS + y)].extract(x);
                    if comptime!(kernel.added == Added::Target) {
                        value += of_input[to];
                    } else if comptime!(kernel.added == Added::Gradient) {
                        value += gradient[to];
                    }
                    of_input[to] = value;
                    if comptime!(kernel.normalized_before) {
                        let normal = norm.normal(result_before[to]);
                        let passed = norm.pass(normal, value);
                        sum += passed;
                        product += passed * normal;
                    }
                }
            }
        }
        if comptime!(kernel.normalized_before) {
            let to = ((strip.own + o) * STRIPS + strip.index) * PASSED;
            Passed { sum, product }.store(&mut shared, to);
        }
    }
    if comptime!(kernel.normalized_before) {
        sync_cube();
        add_strips(&shared, passed_before, &strip, tiles, conv);
    }
}
