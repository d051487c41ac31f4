//! The launches of inference, and the way of pictures to the device and back.

use super::buffers::{like, words};
use super::denoise;
use super::enhance::{self, Look};
use super::estimate::{Estimate, Network};
use super::format::{Format, Pixels};
use super::limits::{BUFFER_BYTES, MOST_WORKGROUPS, SHARED_FLOATS, UNITS, workgroup};
use super::tile::{COLUMNS, Tile};
use crate::error::{Error, Result};
use crate::ops::pixel::{EnhancePixel, Level};
use crate::ops::tiles::{Tile as Rectangle, tiles};
use crate::ops::{FoldedEstimator, Lit, Piece, Rendering, Samples};
use burn_cubecl::cubecl::bytes::Bytes;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// An estimator, ready for the kernels.
#[derive(Debug)]
pub(crate) struct Prepared {
    network: Network,
    /// What a workgroup computes.
    tile: Tile,
    /// The same for a sample.
    sample: Tile,
}

/// Rows and columns of the tiles that a sample is computed in: as most of the pieces that it consists of, 4×42, in
/// whole strips.
const SAMPLE_TILE: [usize; 2] = [4, 44];

/// The most weights of a kernel's constants: more would take seconds to compile.
const MOST_WEIGHTS: usize = 700;

impl Prepared {
    /// `None` where the network is too large for one launch: for a workgroup's memory, or for a program. What is not
    /// a number cannot be a constant of one.
    pub(crate) fn new(estimator: &FoldedEstimator) -> Option<Self> {
        let network = Network::new(estimator);
        let (reach, channels) = (network.reach(), network.channels().max(3));
        let [rows, columns] = SAMPLE_TILE;
        let sample = Tile { rows, columns, reach, channels };
        let small = network.weights() <= MOST_WEIGHTS
            && sample.floats() <= SHARED_FLOATS
            && sample.units() <= UNITS;
        let tile = (small && network.is_finite()).then(|| Tile::largest(reach, channels))??;
        Some(Self { network, tile, sample })
    }

    fn estimate(&self, tile: Tile, source: Format) -> Estimate {
        Estimate { network: self.network.clone(), tile, source }
    }
}

/// Workgroups for a batch of images of `[height, width]`, for a tile of `[rows, columns]` each.
fn workgroups([batch, height, width]: [usize; 3], [rows, columns]: [usize; 2]) -> CubeCount {
    let count = [width.div_ceil(columns), height.div_ceil(rows), batch];
    let [x, y, z] = count.map(|count| count as u32);
    CubeCount::Static(x, y, z)
}

/// Illumination and result of a batch of images.
pub(crate) fn enhance_planes(
    prepared: &Prepared,
    rendering: Rendering,
    image: CubeTensor,
) -> [CubeTensor; 2] {
    let image = into_contiguous(image);
    let [batch, _, height, width] = image.meta.shape().dims();
    let [illumination, bright] = [like(&image), like(&image)];
    let tile = prepared.tile;
    // SAFETY: the kernel keeps to pixels of the images, of which all three tensors have as many.
    unsafe {
        enhance::enhance_planes::launch_unchecked(
            &image.client,
            workgroups([batch, height, width], tile.size()),
            workgroup(tile.units(), tile.floats()),
            words(&image.handle),
            words(&illumination.handle),
            words(&bright.handle),
            height as i32,
            width as i32,
            rendering.strength,
            rendering.power(),
            prepared.estimate(tile, Format::Planes),
            Look::new(rendering),
            true,
        );
    }
    if !rendering.has_filter() {
        return [illumination, bright];
    }
    let result = like(&image);
    // SAFETY: as above.
    unsafe {
        denoise::denoise_planes::launch_unchecked(
            &image.client,
            workgroups([batch, height, width], [denoise::TILE; 2]),
            workgroup(denoise::WORKERS, denoise::FLOATS),
            words(&image.handle),
            words(&bright.handle),
            words(&result.handle),
            height as i32,
            width as i32,
            rendering.noise,
        );
    }
    [illumination, result]
}

/// The pixel format of a buffer.
fn pixels<P: EnhancePixel>() -> Pixels {
    Pixels { channels: usize::from(P::CHANNEL_COUNT), depth: size_of::<P::Subpixel>() }
}

/// Enhances an image of `[height, width]` in host memory. Both sides are large enough for the size.
///
/// An image that is too large for a buffer is done in rectangles.
pub(crate) fn enhance_pixels<P: EnhancePixel>(
    client: &Client,
    prepared: &Prepared,
    size: [usize; 2],
    rendering: Rendering,
    source: Samples<&[P::Subpixel]>,
    target: Samples<&mut [P::Subpixel]>,
) -> Result<()> {
    let filter = if rendering.has_filter() { Rendering::FILTER_REACH } else { 0 };
    let bytes = if rendering.has_filter() { 3 * size_of::<f32>() } else { pixels::<P>().bytes() };
    // The rows of a target are filled up to whole words.
    let filled = size[1].next_multiple_of(COLUMNS);
    let most = BUFFER_BYTES / bytes / filled * size[1] / 10 * 9;
    // No tile of a workgroup has shorter sides.
    let longest = MOST_WORKGROUPS * 4;
    let most = if size.iter().any(|side| *side > longest) { most.min(longest) } else { most };
    for rectangle in tiles(size, prepared.network.reach() + filter, most) {
        let dark = client.create(upload::<P>(source, &rectangle));
        let bright = enhance_buffer(
            client,
            prepared,
            rendering,
            dark,
            rectangle.outer_size(),
            pixels::<P>(),
        );
        let bright =
            client.read_one(bright).map_err(|error| Error::execution(error.to_string()))?;
        download::<P>(&bright, &rectangle, target.stride, target.samples);
    }
    Ok(())
}

/// The bytes of a rectangle with its border, row by row, filled up to whole words.
fn upload<P: EnhancePixel>(source: Samples<&[P::Subpixel]>, rectangle: &Rectangle) -> Bytes {
    let channels = usize::from(P::CHANNEL_COUNT);
    let [height, width] = rectangle.outer_size();
    let row = width * channels;
    let mut bytes =
        Vec::with_capacity((height * row * size_of::<P::Subpixel>()).next_multiple_of(4));
    for y in rectangle.outer_rows.clone() {
        let start = y * source.stride + rectangle.outer_columns.start * channels;
        Level::extend_bytes(&source.samples[start..][..row], &mut bytes);
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Bytes::from_bytes_vec(bytes)
}

/// Takes what is inside a rectangle's border from the bytes of the whole.
fn download<P: EnhancePixel>(
    bytes: &[u8],
    rectangle: &Rectangle,
    stride: usize,
    target: &mut [P::Subpixel],
) {
    let channels = usize::from(P::CHANNEL_COUNT);
    let pixel = pixels::<P>().bytes();
    let pitch = rectangle.outer_columns.len().next_multiple_of(COLUMNS);
    let [rows, columns] = rectangle.inner();
    for (y, row) in rectangle.rows.clone().zip(rows) {
        let from = (row * pitch + columns.start) * pixel;
        let to = y * stride + rectangle.columns.start * channels;
        let target = &mut target[to..][..columns.len() * channels];
        Level::copy_bytes(&bytes[from..][..columns.len() * pixel], target);
    }
}

/// Enhances an image of bytes on the device; the rows of the result are filled up to whole words.
fn enhance_buffer(
    client: &Client,
    prepared: &Prepared,
    rendering: Rendering,
    source: Handle,
    [height, width]: [usize; 2],
    pixels: Pixels,
) -> Handle {
    let tile = prepared.tile;
    let count = workgroups([1, height, width], tile.size());
    let units = workgroup(tile.units(), tile.floats());
    let estimate = prepared.estimate(tile, Format::Pixels(pixels));
    let look = Look::new(rendering);
    let (strength, power) = (rendering.strength, rendering.power());
    let (rows, columns) = (height as i32, width as i32);
    let target = client.empty(height * width.next_multiple_of(COLUMNS) * pixels.bytes());
    // SAFETY: the kernels keep to pixels of the image, of which all buffers have as many; only the illumination
    // has none, which is not asked for.
    unsafe {
        if rendering.has_filter() {
            let nothing = client.empty(size_of::<f32>());
            let bright = client.empty(3 * height * width * size_of::<f32>());
            enhance::enhance_planes::launch_unchecked(
                client,
                count,
                units,
                words(&source),
                words(&nothing),
                words(&bright),
                rows,
                columns,
                strength,
                power,
                estimate,
                look,
                false,
            );
            denoise::denoise_pixels::launch_unchecked(
                client,
                workgroups([1, height, width], [denoise::TILE; 2]),
                workgroup(denoise::WORKERS, denoise::FLOATS),
                words(&source),
                words(&bright),
                words(&target),
                rows,
                columns,
                rendering.noise,
                pixels,
            );
        } else {
            enhance::enhance_pixels::launch_unchecked(
                client,
                count,
                units,
                words(&source),
                words(&target),
                rows,
                columns,
                strength,
                power,
                estimate,
                look,
                pixels,
            );
        }
    }
    target
}

/// The pixels at the points of some pieces of an image of `[height, width]`, with their illuminations, in the
/// order of the points. Only the pieces and what the network sees around them goes to the device.
pub(crate) fn sample_pixels<P: EnhancePixel>(
    client: &Client,
    prepared: &Prepared,
    [height, width]: [usize; 2],
    source: Samples<&[P::Subpixel]>,
    pieces: &[Piece],
) -> Result<Vec<Lit>> {
    let tile = prepared.sample;
    let total: usize = pieces.iter().map(|piece| piece.points.len()).sum();
    if total == 0 {
        return Ok(Vec::new());
    }
    let mut packed = PackedSample::new::<P>(tile, source, [height, width]);
    let mut before = 0;
    for piece in pieces {
        packed.add(piece, before);
        before += piece.points.len();
    }
    let PackedSample { bytes, tiles, points, .. } = packed;
    let count = tiles.len() as u32 / 4;
    let [tiles, points] = [tiles, points].map(|words| client.create(Bytes::from_elems(words)));
    let source = client.create(Bytes::from_bytes_vec(bytes));
    let output = client.empty(total * size_of::<Lit>());
    // SAFETY: tiles, points and the tiles' pixels fit together, and a point's place in the output is below
    // their number.
    unsafe {
        enhance::sample_pixels::launch_unchecked(
            client,
            CubeCount::Static(count, 1, 1),
            workgroup(tile.units(), tile.floats()),
            words(&source),
            words(&tiles),
            words(&points),
            words(&output),
            height as i32,
            width as i32,
            prepared.estimate(tile, Format::Pixels(pixels::<P>())),
        );
    }
    let found = client.read_one(output).map_err(|error| Error::execution(error.to_string()))?;
    let (values, _) = f32::from_bytes(&found).as_chunks::<3>();
    let (lit, _) = values.as_chunks::<2>();
    Ok(lit.to_vec())
}

/// A sample's tiles as the kernel wants them.
struct PackedSample<'a, S> {
    tile: Tile,
    source: Samples<&'a [S]>,
    size: [usize; 2],
    channels: usize,
    /// The pixels of each tile with its border; nothing of use outside the image.
    bytes: Vec<u8>,
    tiles: Vec<u32>,
    points: Vec<u32>,
}

impl<'a, S: Level> PackedSample<'a, S> {
    fn new<P: EnhancePixel<Subpixel = S>>(
        tile: Tile,
        source: Samples<&'a [S]>,
        size: [usize; 2],
    ) -> Self {
        let channels = usize::from(P::CHANNEL_COUNT);
        Self { tile, source, size, channels, bytes: vec![], tiles: vec![], points: vec![] }
    }

    /// Adds a piece, whose points are numbered from `before` on.
    fn add(&mut self, piece: &Piece, before: usize) {
        let Tile { rows, columns, .. } = self.tile;
        for top in piece.rows.clone().step_by(rows) {
            for left in piece.columns.clone().step_by(columns) {
                let first = self.points.len() / 2;
                for (index, [y, x]) in piece.points.iter().enumerate() {
                    if (top..top + rows).contains(y) && (left..left + columns).contains(x) {
                        let place = (y - top) * columns + x - left;
                        self.points.extend([place as u32, (before + index) as u32]);
                    }
                }
                let end = self.points.len() / 2;
                if end > first {
                    self.tiles.extend([top, left, first, end].map(|number| number as u32));
                    self.add_pixels([top, left]);
                }
            }
        }
    }

    fn add_pixels(&mut self, [top, left]: [usize; 2]) {
        let Tile { rows, columns, reach, .. } = self.tile;
        let [height, width] = self.size;
        let pixel = self.channels * size_of::<S>();
        let (inside, outer) =
            (left.saturating_sub(reach)..(left + columns + reach).min(width), columns + 2 * reach);
        let skipped = (inside.start + reach - left) * pixel;
        for y in (top..top + rows + 2 * reach).map(|y| y.checked_sub(reach)) {
            let end = self.bytes.len() + outer * pixel;
            if let Some(y) = y.filter(|y| *y < height) {
                self.bytes.resize(self.bytes.len() + skipped, 0);
                let start = y * self.source.stride + inside.start * self.channels;
                let row = &self.source.samples[start..][..inside.len() * self.channels];
                Level::extend_bytes(row, &mut self.bytes);
            }
            self.bytes.resize(end, 0);
        }
    }
}
