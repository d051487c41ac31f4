//! One layer, forward.

use super::super::estimate::relu;
use super::super::tile::Row;
use super::convolution::{
    COEFFICIENTS, COLUMNS, Convolution, PLANE, ROWS, Size, Strip, convolve, load_weights, place,
};
use super::moments::{join_lanes, join_tiles, measure};
use super::norm::{Norm, NormPlace};
use super::output::{Form, finish};
use burn_cubecl::cubecl::{self, prelude::*};

/// What a layer is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// The image.
    Image,
    /// The result of the convolution before, which becomes activations where it is loaded.
    Results { normalized: bool, residual: bool },
}

/// What a layer is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Forward {
    pub(super) conv: Convolution,
    pub(super) source: Source,
    /// Whether the result will be normalized.
    pub(super) measured: bool,
    /// What the network makes of the result, if this is its last layer.
    pub(super) output: Option<Form>,
}

impl Forward {
    fn normalized(self) -> bool {
        matches!(self.source, Source::Results { normalized: true, .. })
    }

    fn activated(self) -> bool {
        self.source != Source::Image
    }

    fn residual(self) -> bool {
        matches!(self.source, Source::Results { residual: true, .. })
    }
}

/// The convolution of an image, or of the activations before, which are written, too: `relu(norm(source)) + residual`.
///
/// `moments_before` are those of the source's tiles, whose means and variances go to `statistics`; `moments` are those
/// of the result's. The network's output is made of `image` and `result`. Images and results are
/// `[batch, channels, height, width]`.
#[cube(launch_unchecked)]
pub(super) fn apply_layer(
    source: &[f32],
    residual: &[f32],
    moments_before: &[f32],
    parameters: &[f32],
    image: &[f32],
    activations: &mut [f32],
    result: &mut [f32],
    moments: &mut [f32],
    statistics: &mut [f32],
    output: &mut [f32],
    size: Size,
    weights: usize,
    biases: usize,
    norm: NormPlace,
    tiles: usize,
    epsilon: f32,
    least: f32,
    #[comptime] kernel: Forward,
) {
    let conv = comptime!(kernel.conv);
    let (inputs, outputs) = comptime!((conv.inputs, conv.outputs));
    let group = comptime!(conv.group());
    let area = size.area();
    let strip = Strip::new(conv);

    let mut sums = Array::<Row>::new(comptime!(group * ROWS));
    #[unroll]
    for o in 0..group {
        let bias = parameters[biases + usize::min(strip.output() + o, comptime!(outputs - 1))];
        #[unroll]
        for y in 0..ROWS {
            sums[comptime!(o * ROWS + y)] = Row::new(bias);
        }
    }
    let mut shared = Shared::<[f32]>::new_slice(comptime!(conv.floats()));
    let coefficients = comptime!(conv.coefficients_at());
    for first in range_stepped(0usize, inputs, comptime!(conv.planes())) {
        let planes = usize::min(comptime!(conv.planes()), inputs - first);
        sync_cube();
        if comptime!(kernel.normalized()) {
            join_tiles(moments_before, &mut shared, first, planes, tiles, conv);
            sync_cube();
            if (UNIT_POS as usize) < planes {
                let channel = first + UNIT_POS as usize;
                let all = join_lanes(&shared, UNIT_POS as usize, conv);
                let (mean, variance) = (all.mean, all.variance());
                Norm::new(mean, variance, parameters, &norm, channel, epsilon)
                    .store(&mut shared, coefficients + UNIT_POS as usize * COEFFICIENTS);
                if CUBE_POS == 0 {
                    statistics[norm.statistics + channel] = mean;
                    statistics[norm.statistics + inputs + channel] = variance;
                }
            }
            sync_cube();
        }
        for at in range_stepped(UNIT_POS as usize, planes * PLANE, comptime!(conv.units())) {
            let place = place(at, &strip, &size);
            let from = (strip.n * inputs + first + at / PLANE) * area + place.pixel;
            let mut value = source[from];
            if comptime!(kernel.activated()) {
                if comptime!(kernel.normalized()) {
                    let norm = Norm::load(&shared, coefficients + at / PLANE * COEFFICIENTS);
                    value = norm.activate(value);
                } else {
                    value = relu(value);
                }
                if comptime!(kernel.residual()) {
                    value += residual[from];
                }
                if place.inside && place.of_tile && strip.first_output == 0 {
                    activations[from] = value;
                }
            }
            shared[at] = select(place.inside, value, 0.0f32);
        }
        load_weights(parameters, &mut shared, &strip, weights, first, planes, conv);
        sync_cube();
        convolve(&shared, &strip, planes, &mut sums, conv);
    }
    #[unroll]
    for y in 0..ROWS {
        #[unroll]
        for x in 0..COLUMNS {
            let image_y = strip.y() + comptime!(y as i32);
            let image_x = strip.x() + comptime!(x as i32);
            if image_y < size.height && image_x < size.width {
                let pixel = (image_y * size.width + image_x) as usize;
                #[unroll]
                for o in 0..group {
                    if strip.output() + o < outputs {
                        let to = (strip.n * outputs + strip.output() + o) * area + pixel;
                        let value = sums[comptime!(o * ROWS + y)].extract(x);
                        result[to] = value;
                        if comptime!(kernel.output.is_some()) {
                            let form = comptime!(kernel.output.expect("it was asked for"));
                            output[to] = finish(image[to], value, least, form);
                        }
                    }
                }
            }
        }
    }
    if comptime!(kernel.measured) {
        measure(&sums, &mut shared, moments, &strip, &size, tiles, conv);
    }
}
