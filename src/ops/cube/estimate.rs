//! The illumination estimator in one launch: a workgroup computes a tile of the picture, layer by layer in its
//! memory. A unit computes strips in registers, so that it loads a value once for several products.
//!
//! The weights are constants of the kernel, so every estimator has kernels of its own: they load nothing but
//! pixels.

use super::format::{Format, read_pixel};
use super::tile::{COLUMNS, ROWS, Row, Tile};
use crate::ops::{FoldedEstimator, Weights};
use burn_cubecl::cubecl::{self, prelude::*};
use std::sync::Arc;

/// An estimator's weights as constants of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    /// In the order in which they are applied.
    layers: Vec<Layer>,
}

/// The weights of a convolution. Constants of a kernel are compared by their bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layer {
    inputs: usize,
    outputs: usize,
    /// `[outputs, inputs, 3, 3]`
    weights: Arc<[u32]>,
    biases: Arc<[u32]>,
}

impl Network {
    pub(crate) fn new(estimator: &FoldedEstimator) -> Self {
        Self { layers: estimator.layers.iter().map(Layer::new).collect() }
    }

    /// Layers, and the pixels that are seen to each side.
    pub(crate) fn reach(&self) -> usize {
        self.layers.len()
    }

    pub(crate) fn channels(&self) -> usize {
        self.layers[0].outputs
    }

    /// A program's constants are numbers.
    pub(crate) fn is_finite(&self) -> bool {
        let finite = |bits: &u32| f32::from_bits(*bits).is_finite();
        self.layers.iter().all(|layer| layer.weights.iter().chain(&*layer.biases).all(finite))
    }

    /// The weights of all layers, which are as many products in a kernel for each pixel of a strip.
    pub(crate) fn weights(&self) -> usize {
        self.layers.iter().map(|layer| layer.weights.len()).sum()
    }

    /// The convolution of a layer, counted from 1; the last one is that to the illumination.
    fn layer(&self, layer: usize) -> Layer {
        self.layers[layer - 1].clone()
    }
}

impl Layer {
    fn new(Weights { weight, bias }: &Weights) -> Self {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
        let outputs = bias.len();
        let inputs = weight.len() / (outputs * 9).max(1);
        Self { inputs, outputs, weights: bits(weight), biases: bits(bias) }
    }

    fn weight(&self, output: usize, input: usize, tap: usize) -> f32 {
        f32::from_bits(self.weights[(output * self.inputs + input) * 9 + tap])
    }

    fn bias(&self, output: usize) -> f32 {
        f32::from_bits(self.biases[output])
    }
}

/// What a kernel is made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Estimate {
    pub(crate) network: Network,
    pub(crate) tile: Tile,
    pub(crate) source: Format,
}

/// Where a tile is.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Place {
    /// Row and column of the tile's first pixel.
    pub(super) top: i32,
    pub(super) left: i32,
    /// The size of the image.
    pub(super) height: i32,
    pub(super) width: i32,
    /// The index of the image's first pixel in the source, and from there to the one below it.
    pub(super) first: i32,
    pub(super) pitch: i32,
}

#[cube]
impl Place {
    pub(super) fn contains(&self, y: i32, x: i32) -> bool {
        y >= 0 && y < self.height && x >= 0 && x < self.width
    }

    /// The index of a pixel of the image in the source.
    pub(super) fn index(&self, y: i32, x: i32) -> usize {
        (self.first + y * self.pitch + x) as usize
    }
}

/// The last convolution at this unit's strip of a tile: three channels of `ROWS` rows. Needs all units.
#[cube]
pub(super) fn estimate(
    source: &[u32],
    area: usize,
    shared: &mut [f32],
    place: &Place,
    sums: &mut Array<Row>,
    #[comptime] kernel: Estimate,
) {
    let tile = comptime!(kernel.tile);
    let reach = comptime!(kernel.network.reach());
    load(source, area, shared, place, comptime!(kernel.source), tile);
    sync_cube();
    #[unroll]
    for before in 0..comptime!(reach - 1) {
        let layer = comptime!(before + 1);
        feature_layer(shared, place, layer, comptime!(kernel.network.layer(layer)), tile);
    }
    let at = strip_start(reach, tile);
    convolve(&*shared, at, sums, comptime!(kernel.network.layer(reach)), tile);
}

/// Loads the image's part for a tile; zeros outside the image.
#[cube]
fn load(
    source: &[u32],
    area: usize,
    shared: &mut [f32],
    place: &Place,
    #[comptime] format: Format,
    #[comptime] tile: Tile,
) {
    let pitch = comptime!(tile.pitch());
    let plane = comptime!(tile.plane());
    let reach = comptime!(tile.reach as i32);
    let mut color = Array::<f32>::new(3usize);
    for at in range_stepped(UNIT_POS as usize, plane, comptime!(tile.units())) {
        let y = place.top + i32::cast_from(at / pitch) - reach;
        let x = place.left + i32::cast_from(at % pitch) - reach;
        // There may be room for more than the tile and its border, which a sample's source does not have.
        let within = at / pitch < comptime!(tile.outer_rows())
            && at % pitch < comptime!(tile.outer_columns());
        let inside = within && place.contains(y, x);
        let pixel = select(inside, place.index(y, x), 0usize);
        read_pixel(source, area, pixel, &mut color, format);
        #[unroll]
        for c in 0..3 {
            shared[at + comptime!(c * plane)] = select(inside, color[c], 0.0f32);
        }
    }
}

/// Computes the features of a layer in place of those of the layer before it. Outside the image they are zero:
/// the padding of the next layer.
#[cube]
fn feature_layer(
    shared: &mut [f32],
    place: &Place,
    #[comptime] layer: usize,
    #[comptime] convolution: Layer,
    #[comptime] tile: Tile,
) {
    let pitch = comptime!(tile.pitch());
    let plane = comptime!(tile.plane());
    let channels = comptime!(convolution.outputs);
    // The pixel above and left of the strip's first one.
    let at = strip_start(layer, tile);
    let own = (UNIT_POS as usize) < comptime!(tile.strips(layer));
    let mut features = Array::<Row>::new(comptime!(channels * ROWS));
    if own {
        convolve(&*shared, at, &mut features, comptime!(convolution.clone()), tile);
    }
    sync_cube();
    if own {
        #[unroll]
        for y in 0..ROWS {
            let row = i32::cast_from(at / pitch) + comptime!(y as i32 + 1 - tile.reach as i32);
            #[unroll]
            for x in 0..COLUMNS {
                let column =
                    i32::cast_from(at % pitch) + comptime!(x as i32 + 1 - tile.reach as i32);
                let inside = place.contains(place.top + row, place.left + column);
                #[unroll]
                for c in 0..channels {
                    let to = at + comptime!((y + 1) * pitch + x + 1 + c * plane);
                    let mut feature = relu(features[comptime!(c * ROWS + y)].extract(x));
                    if comptime!(layer > 1) {
                        feature += shared[to];
                    }
                    shared[to] = select(inside, feature, 0.0f32);
                }
            }
        }
    }
    sync_cube();
}

/// The positive part; a NaN stays one.
#[cube]
pub(super) fn relu(value: f32) -> f32 {
    select(value < 0.0, 0.0f32, value)
}

/// The nearest value from `least` to 1; a NaN stays one.
#[cfg(feature = "train")]
#[cube]
pub(super) fn clamp(value: f32, least: f32) -> f32 {
    select(value < least, least, select(value > 1.0, 1.0f32, value))
}

/// The pixel above and left of this unit's strip of a layer; units without one repeat the last.
#[cube]
pub(super) fn strip_start(#[comptime] layer: usize, #[comptime] tile: Tile) -> usize {
    let columns = comptime!(tile.strip_columns(layer));
    let strip = usize::min(UNIT_POS as usize, comptime!(tile.strips(layer) - 1));
    let row = strip / columns * ROWS + comptime!(layer - 1);
    let column = strip % columns * COLUMNS + comptime!(layer - 1);
    row * comptime!(tile.pitch()) + column
}

/// A 3×3 convolution at a strip, with the pixel above and left of it: `ROWS` rows of sums for each output.
#[cube]
fn convolve(
    shared: &[f32],
    at: usize,
    sums: &mut Array<Row>,
    #[comptime] layer: Layer,
    #[comptime] tile: Tile,
) {
    let outputs = comptime!(layer.outputs);
    #[unroll]
    for o in 0..outputs {
        #[unroll]
        for y in 0..ROWS {
            sums[comptime!(o * ROWS + y)] = Row::new(f32::new(comptime!(layer.bias(o))));
        }
    }
    #[unroll]
    for i in 0..comptime!(layer.inputs) {
        #[unroll]
        for row in 0..comptime!(ROWS + 2) {
            let start = at + comptime!(i * tile.plane() + row * tile.pitch());
            let taps = taps(shared, start);
            // The rows of the strip that this one contributes to.
            #[unroll]
            for y in 0..ROWS {
                if comptime!(row >= y && row < y + 3) {
                    #[unroll]
                    for tap in 0..3 {
                        #[unroll]
                        for o in 0..outputs {
                            let weight =
                                f32::new(comptime!(layer.weight(o, i, (row - y) * 3 + tap)));
                            sums[comptime!(o * ROWS + y)] += Row::new(weight) * taps[tap];
                        }
                    }
                }
            }
        }
    }
}

/// What a row of a strip is multiplied with, from the pixel left of it on: the pixels to the left of its own,
/// its own, and those to the right.
#[cube]
pub(super) fn taps(values: &[f32], start: usize) -> Array<Row> {
    let mut taps = Array::<Row>::new(3usize);
    #[unroll]
    for x in 0..comptime!(COLUMNS + 2) {
        let value = values[start + x];
        #[unroll]
        for tap in 0..3 {
            if comptime!(x >= tap && x < tap + COLUMNS) {
                let mut row = taps[tap];
                row.insert(comptime!(x - tap), value);
                taps[tap] = row;
            }
        }
    }
    taps
}
