//! The illumination estimator layer by layer, for networks that are too large for one launch: features are in buffers,
//! and each layer is a launch. A unit computes a strip of a few outputs, so that it loads a value once for several
//! products.
//!
//! Kernels are made for the shape of a layer. Its parameters are in a buffer, so that equal layers share a program.

use super::estimate::{insert, relu};
use super::format::{Format, read_pixel};
use super::tile::{COLUMNS, ROWS, Row, Tile};
use burn_cubecl::cubecl::{self, prelude::*};

/// A convolution and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Convolution {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) after: After,
    /// How the images lie in their buffer that are the inputs of the first layer. Those of others are features.
    pub(super) source: Option<Format>,
    /// Whether the images are pieces of a picture with so many pixels around each, whose places are given; otherwise
    /// they are whole.
    pub(super) border: Option<usize>,
}

/// What becomes of a convolution's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum After {
    Relu,
    /// The same, and the layer's input is added.
    ReluAndInput,
    Nothing,
}

impl Convolution {
    /// The outputs that a unit computes, a divisor of their number.
    fn outputs_of_unit(self) -> usize {
        (1..=4).rev().find(|count| self.outputs.is_multiple_of(*count)).unwrap_or(1)
    }

    /// The units that share the outputs of a strip.
    pub(super) fn groups(self) -> usize {
        self.outputs / self.outputs_of_unit()
    }

    /// What indices of the source count: its values, of which planes have three of a pixel, or its pixels.
    fn values_of_pixel(self) -> usize {
        if self.source == Some(Format::Planes) { 3 } else { 1 }
    }

    /// From the weights of an output to those of the next.
    fn weights_of_output(self) -> usize {
        self.inputs * 9
    }
}

/// Images in buffers, and where they are in the picture that they are pieces of.
#[derive(CubeType, Clone, Copy)]
struct View {
    /// The number of the image.
    image: usize,
    rows: i32,
    columns: i32,
    /// Row and column of the image's first pixel in the picture.
    top: i32,
    left: i32,
    /// The size of the picture.
    height: i32,
    width: i32,
}

#[cube]
impl View {
    /// Whether a pixel is in the image, and there in the picture: whatever is not is zero, the padding.
    fn contains(&self, y: i32, x: i32) -> bool {
        y >= 0
            && y < self.rows
            && x >= 0
            && x < self.columns
            && self.top + y >= 0
            && self.top + y < self.height
            && self.left + x >= 0
            && self.left + x < self.width
    }

    /// The pixels of an image.
    fn area(&self) -> usize {
        (self.rows * self.columns) as usize
    }

    /// The place of a pixel in the image; that of the first where it is outside.
    fn place(&self, y: i32, x: i32) -> usize {
        select(self.contains(y, x), (y * self.columns + x) as usize, 0usize)
    }
}

/// One layer of a batch of images, `[images, outputs, rows, columns]`, from their pixels or from the features of the
/// layer before, `[images, inputs, rows, columns]`. `pieces` are four numbers for each image, of which the first two are
/// row and column of its first pixel inside the border. The picture has `height` and `width`. Of a large batch some
/// images are done at a time, from `first_image` of the source, of the pieces and of the last result on; features are
/// of these images alone.
#[cube(launch_unchecked)]
pub(super) fn layer(
    source: &[u32],
    features: &[f32],
    parameters: &[f32],
    pieces: &[u32],
    result: &mut [f32],
    rows: i32,
    columns: i32,
    height: i32,
    width: i32,
    weights: usize,
    first_image: usize,
    #[comptime] convolution: Convolution,
    #[comptime] tile: Tile,
) {
    let groups = comptime!(convolution.groups());
    let image = CUBE_POS_Z as usize / groups;
    let group = CUBE_POS_Z as usize % groups;
    let strips = comptime!(tile.strip_columns(1));
    let strip = UNIT_POS as usize;
    let y = CUBE_POS_Y as i32 * comptime!(tile.rows as i32) + (strip / strips * ROWS) as i32;
    let x = CUBE_POS_X as i32 * comptime!(tile.columns as i32) + (strip % strips * COLUMNS) as i32;
    if strip < comptime!(tile.strips(1)) && y < rows && x < columns {
        let mut top = 0i32;
        let mut left = 0i32;
        if comptime!(convolution.border.is_some()) {
            let border = comptime!(convolution.border.unwrap_or_default() as i32);
            top = pieces[(first_image + image) * 4] as i32 - border;
            left = pieces[(first_image + image) * 4 + 1] as i32 - border;
        }
        let view = View { image, rows, columns, top, left, height, width };
        let mut sums = Array::<Row>::new(comptime!(convolution.outputs_of_unit() * ROWS));
        let output = group * comptime!(convolution.outputs_of_unit());
        let biases = weights + comptime!(convolution.outputs * convolution.weights_of_output());
        #[unroll]
        for o in 0..comptime!(convolution.outputs_of_unit()) {
            let bias = parameters[biases + output + o];
            #[unroll]
            for row in 0..ROWS {
                sums[comptime!(o * ROWS + row)] = Row::new(bias);
            }
        }
        let weights = weights + output * comptime!(convolution.weights_of_output());
        if comptime!(convolution.source.is_some()) {
            let first =
                (first_image + image) * view.area() * comptime!(convolution.values_of_pixel());
            add_pixels(source, parameters, &view, first, y, x, weights, &mut sums, convolution);
        } else {
            add_features(features, parameters, &view, y, x, weights, &mut sums, convolution);
        }
        let last = comptime!(convolution.after == After::Nothing);
        let to = if comptime!(last) { first_image + image } else { image };
        #[unroll]
        for o in 0..comptime!(convolution.outputs_of_unit()) {
            let plane = (to * comptime!(convolution.outputs) + output + o) * view.area();
            #[unroll]
            for row in 0..ROWS {
                #[unroll]
                for column in 0..COLUMNS {
                    let (y, x) = (y + comptime!(row as i32), x + comptime!(column as i32));
                    if y < rows && x < columns {
                        let at = plane + (y * columns + x) as usize;
                        let mut value = sums[comptime!(o * ROWS + row)].extract(column);
                        if comptime!(!last) {
                            value = relu(value);
                        }
                        if comptime!(convolution.after == After::ReluAndInput) {
                            value += features[at];
                        }
                        result[at] = value;
                    }
                }
            }
        }
    }
}

/// Adds what the channels of the image contribute to a strip, whose first pixel has the index `first`.
#[cube]
fn add_pixels(
    source: &[u32],
    parameters: &[f32],
    view: &View,
    first: usize,
    y: i32,
    x: i32,
    weights: usize,
    sums: &mut Array<Row>,
    #[comptime] convolution: Convolution,
) {
    let format = comptime!(convolution.source.expect("there are pixels"));
    let area = view.area();
    let mut color = Array::<f32>::new(3usize);
    #[unroll]
    for row in 0..comptime!(ROWS + 2) {
        let above = y + comptime!(row as i32 - 1);
        let mut taps = Array::<Row>::new(9usize);
        #[unroll]
        for column in 0..comptime!(COLUMNS + 2) {
            let left = x + comptime!(column as i32 - 1);
            read_pixel(source, area, first + view.place(above, left), &mut color, format);
            #[unroll]
            for c in 0..3usize {
                let value = select(view.contains(above, left), color[c], 0.0f32);
                insert(&mut taps, value, comptime!(c * 3), column);
            }
        }
        #[unroll]
        for c in 0..3usize {
            let place = weights + comptime!(c * 9);
            add_row(parameters, &taps, place, sums, comptime!(c * 3), row, convolution);
        }
    }
}

/// Adds what the features of the layer before contribute to a strip.
#[cube]
fn add_features(
    features: &[f32],
    parameters: &[f32],
    view: &View,
    y: i32,
    x: i32,
    weights: usize,
    sums: &mut Array<Row>,
    #[comptime] convolution: Convolution,
) {
    for input in 0..comptime!(convolution.inputs) {
        let plane = (view.image * comptime!(convolution.inputs) + input) * view.area();
        #[unroll]
        for row in 0..comptime!(ROWS + 2) {
            let above = y + comptime!(row as i32 - 1);
            let mut taps = Array::<Row>::new(3usize);
            #[unroll]
            for column in 0..comptime!(COLUMNS + 2) {
                let left = x + comptime!(column as i32 - 1);
                let value = features[plane + view.place(above, left)];
                let value = select(view.contains(above, left), value, 0.0f32);
                insert(&mut taps, value, 0usize, column);
            }
            add_row(parameters, &taps, weights + input * 9, sums, 0usize, row, convolution);
        }
    }
}

/// Adds what a row of an input, counted from the one above the strip, contributes to it. The weights of the input for
/// the first output begin at `weights`.
#[cube]
fn add_row(
    parameters: &[f32],
    taps: &Array<Row>,
    weights: usize,
    sums: &mut Array<Row>,
    #[comptime] first: usize,
    #[comptime] row: usize,
    #[comptime] convolution: Convolution,
) {
    #[unroll]
    for y in 0..ROWS {
        if comptime!(row >= y && row < y + 3) {
            #[unroll]
            for tap in 0..3 {
                #[unroll]
                for o in 0..comptime!(convolution.outputs_of_unit()) {
                    let place =
                        comptime!(o * convolution.weights_of_output() + (row - y) * 3 + tap);
                    let weight = parameters[weights + place];
                    sums[comptime!(o * ROWS + y)] +=
                        Row::new(weight) * taps[comptime!(first + tap)];
                }
            }
        }
    }
}
