//! The illumination estimator in one launch: a workgroup computes a tile of the picture, layer by layer in its
//! memory. A unit computes strips in registers, so that it loads a value once for several products.
//!
//! Weights that stay are constants of the kernel, so every estimator has kernels of its own: they load nothing but
//! pixels. Those that change, are too many for a program, or are no numbers, are in a buffer.

use super::format::{Format, read_pixel};
use super::tile::{COLUMNS, ROWS, Row, Tile};
use crate::ops::{FoldedEstimator, Weights};
use burn_cubecl::cubecl::{self, prelude::*};
use std::sync::Arc;

/// The most products with weights that are written out in a kernel: more would take seconds to compile.
const MOST_PRODUCTS: usize = 700;

/// An estimator's layers, as a kernel is made for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    /// In the order in which they are applied.
    pub(super) layers: Vec<Layer>,
}

/// A convolution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layer {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Where its parameters begin in the buffer of all: weights, `[outputs, inputs, 3, 3]`, and biases.
    pub(super) first: usize,
    /// The same as constants, if they are. Constants of a kernel are compared by their bits.
    constants: Option<Arc<[u32]>>,
}

impl Network {
    pub(crate) fn new(estimator: &FoldedEstimator) -> Self {
        let weights = estimator.layers.iter().map(|layer| layer.weight.len());
        let constant = !estimator.changing
            && weights.sum::<usize>() <= MOST_PRODUCTS
            && estimator.layers.iter().all(Weights::is_finite);
        Self::with_constants(estimator, constant)
    }

    /// One whose parameters are in a buffer.
    pub(super) fn in_buffer(estimator: &FoldedEstimator) -> Self {
        Self::with_constants(estimator, false)
    }

    fn with_constants(estimator: &FoldedEstimator, constant: bool) -> Self {
        let mut first = 0;
        let layers = estimator.layers.iter().map(|weights| {
            let layer = Layer::new(weights, first, constant);
            first += weights.parameters().count();
            layer
        });
        Self { layers: layers.collect() }
    }

    /// Whether the kernels have all parameters as constants.
    pub(crate) fn is_constant(&self) -> bool {
        self.layers.iter().all(|layer| layer.constants.is_some())
    }

    /// Layers, and the pixels that are seen to each side.
    pub(crate) fn reach(&self) -> usize {
        self.layers.len()
    }

    pub(crate) fn channels(&self) -> usize {
        self.layers[0].outputs
    }

    /// The convolution of a layer, counted from 1; the last one is that to the illumination.
    fn layer(&self, layer: usize) -> Layer {
        self.layers[layer - 1].clone()
    }
}

impl Layer {
    fn new(weights: &Weights, first: usize, constant: bool) -> Self {
        let outputs = weights.bias.len();
        let inputs = weights.weight.len() / (outputs * 9).max(1);
        let constants = constant.then(|| weights.parameters().map(f32::to_bits).collect());
        Self { inputs, outputs, first, constants }
    }

    fn weights(&self) -> usize {
        self.outputs * self.inputs * 9
    }

    /// The place of a weight among the layer's parameters.
    fn weight(&self, output: usize, input: usize, tap: usize) -> usize {
        (output * self.inputs + input) * 9 + tap
    }

    /// The place of a bias among the layer's parameters.
    fn bias(&self, output: usize) -> usize {
        self.weights() + output
    }

    /// A parameter that is a constant, by its place.
    fn constant(&self, place: usize) -> f32 {
        let constants = self.constants.as_ref().expect("only constants are asked for");
        f32::from_bits(constants[place])
    }
}

/// What a kernel is made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Estimate {
    /// `None` where it was applied already, layer by layer.
    pub(crate) network: Option<Network>,
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

/// The last convolution at this unit's strip of a tile: three channels of `ROWS` rows. Needs all units. Where the
/// network was applied already, the sums of that convolution are in the place of the parameters.
#[cube]
pub(super) fn estimate(
    source: &[u32],
    parameters: &[f32],
    area: usize,
    shared: &mut [f32],
    place: &Place,
    sums: &mut Array<Row>,
    #[comptime] kernel: Estimate,
) {
    if comptime!(kernel.network.is_some()) {
        apply(source, parameters, area, shared, place, sums, kernel);
    } else {
        read(parameters, place, sums, comptime!(kernel.tile));
    }
}

/// Applies a network to a tile, up to the last convolution at this unit's strip.
#[cube]
fn apply(
    source: &[u32],
    parameters: &[f32],
    area: usize,
    shared: &mut [f32],
    place: &Place,
    sums: &mut Array<Row>,
    #[comptime] kernel: Estimate,
) {
    let tile = comptime!(kernel.tile);
    let network = comptime!(kernel.network.clone().expect("it is applied"));
    let reach = comptime!(network.reach());
    load(source, area, shared, place, comptime!(kernel.source), tile);
    sync_cube();
    #[unroll]
    for before in 0..comptime!(reach - 1) {
        let layer = comptime!(before + 1);
        let convolution = comptime!(network.layer(layer));
        feature_layer(shared, parameters, place, layer, convolution, tile);
    }
    let at = strip_start(reach, tile);
    convolve(&*shared, parameters, at, sums, comptime!(network.layer(reach)), tile);
}

/// Reads the sums at this unit's strip of a tile of one layer from those of a batch, `[batch, 3, height, width]`.
#[cube]
fn read(batch: &[f32], place: &Place, sums: &mut Array<Row>, #[comptime] tile: Tile) {
    let at = strip_start(1usize, tile);
    let area = (place.height * place.width) as usize;
    #[unroll]
    for y in 0..ROWS {
        let row = place.top + i32::cast_from(at / comptime!(tile.pitch())) + comptime!(y as i32);
        #[unroll]
        for x in 0..COLUMNS {
            let column = i32::cast_from(at % comptime!(tile.pitch())) + comptime!(x as i32);
            let column = place.left + column;
            let pixel = select(place.contains(row, column), place.index(row, column), 0usize);
            #[unroll]
            for c in 0..3 {
                let mut strip = sums[comptime!(c * ROWS + y)];
                strip.insert(x, batch[pixel + c * area]);
                sums[comptime!(c * ROWS + y)] = strip;
            }
        }
    }
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
    parameters: &[f32],
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
        convolve(&*shared, parameters, at, &mut features, comptime!(convolution.clone()), tile);
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
    parameters: &[f32],
    at: usize,
    sums: &mut Array<Row>,
    #[comptime] layer: Layer,
    #[comptime] tile: Tile,
) {
    #[unroll]
    for o in 0..comptime!(layer.outputs) {
        let place = comptime!(layer.bias(o));
        let bias = parameter(parameters, 0usize, comptime!(layer.clone()), place);
        #[unroll]
        for y in 0..ROWS {
            sums[comptime!(o * ROWS + y)] = Row::new(bias);
        }
    }
    if comptime!(layer.constants.is_some()) {
        #[unroll]
        for i in 0..comptime!(layer.inputs) {
            let start = at + comptime!(i * tile.plane());
            add_input(shared, parameters, start, 0usize, sums, comptime!(layer.clone()), i, tile);
        }
    } else {
        for i in 0..comptime!(layer.inputs) {
            let (start, further) = (at + i * comptime!(tile.plane()), i * 9);
            add_input(
                shared,
                parameters,
                start,
                further,
                sums,
                comptime!(layer.clone()),
                0usize,
                tile,
            );
        }
    }
}

/// A parameter of a layer, by its place: a constant, or so many places further on in the buffer.
#[cube]
fn parameter(
    parameters: &[f32],
    further: usize,
    #[comptime] layer: Layer,
    #[comptime] place: usize,
) -> f32 {
    if comptime!(layer.constants.is_some()) {
        f32::new(comptime!(layer.constant(place)))
    } else {
        parameters[further + comptime!(layer.first + place)]
    }
}

/// Adds what an input of a convolution contributes to a strip. Constants are found by the input's number. In a buffer,
/// where inputs are a loop and `input` is 0, they are so many places further on.
#[cube]
fn add_input(
    shared: &[f32],
    parameters: &[f32],
    start: usize,
    further: usize,
    sums: &mut Array<Row>,
    #[comptime] layer: Layer,
    #[comptime] input: usize,
    #[comptime] tile: Tile,
) {
    #[unroll]
    for row in 0..comptime!(ROWS + 2) {
        let taps = taps(shared, start + comptime!(row * tile.pitch()));
        // The rows of the strip that this one contributes to.
        #[unroll]
        for y in 0..ROWS {
            if comptime!(row >= y && row < y + 3) {
                #[unroll]
                for tap in 0..3 {
                    #[unroll]
                    for o in 0..comptime!(layer.outputs) {
                        let place = comptime!(layer.weight(o, input, (row - y) * 3 + tap));
                        let weight =
                            parameter(parameters, further, comptime!(layer.clone()), place);
                        sums[comptime!(o * ROWS + y)] += Row::new(weight) * taps[tap];
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
        insert(&mut taps, values[start + x], 0usize, x);
    }
    taps
}

/// Puts a value of a row, counted from the one left of a strip, where each of three taps takes it from.
#[cube]
pub(super) fn insert(
    taps: &mut Array<Row>,
    value: f32,
    #[comptime] first: usize,
    #[comptime] column: usize,
) {
    #[unroll]
    for tap in 0..3 {
        if comptime!(column >= tap && column < tap + COLUMNS) {
            let mut row = taps[comptime!(first + tap)];
            row.insert(comptime!(column - tap), value);
            taps[comptime!(first + tap)] = row;
        }
    }
}
