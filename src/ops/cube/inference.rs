//! The launches of inference, and the way of pictures to the device and back.

use super::buffers::{like, words};
use super::denoise;
use super::enhance::{self, Look};
use super::estimate::{Estimate, Network};
use super::format::{Format, Pixels};
use super::layers::{self, After, Convolution};
use super::limits::{BUFFER_BYTES, LONGEST_SIDE, MOST_BYTES, MOST_WORKGROUPS, workgroup};
use super::tile::{COLUMNS, Tile};
use crate::error::{Error, Result};
use crate::ops::pixel::{EnhancePixel, Level};
use crate::ops::tiles::{Tile as Rectangle, tiles};
use crate::ops::{FoldedEstimator, Lit, Piece, Rendering, Samples, Weights};
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
    /// The parameters of all layers, one after the other, where they are no constants of the kernels.
    parameters: Vec<f32>,
    /// Whether each layer is a launch of its own, since the network is too large for one.
    layered: bool,
}

impl Prepared {
    /// `None` where the network sees too far for a sample.
    pub(crate) fn new(estimator: &FoldedEstimator) -> Option<Self> {
        let (reach, channels) = (estimator.layers.len(), estimator.layers[0].bias.len().max(3));
        let tiles = Tile::largest(reach, channels).zip(Tile::of_sample(reach, channels));
        let layered = tiles.is_none();
        let (network, (tile, sample)) = match tiles {
            Some(tiles) => (Network::new(estimator), tiles),
            None => {
                let tiles = (Tile::of_one_layer(), Tile::of_sample(reach, 0)?);
                (Network::in_buffer(estimator), tiles)
            }
        };
        let parameters = match network.is_constant() {
            true => Vec::new(),
            false => estimator.layers.iter().flat_map(Weights::parameters).collect(),
        };
        Some(Self { network, tile, sample, parameters, layered })
    }

    /// Whether the kernels can take images `[batch, 3, height, width]`: the features of one must fit into a buffer.
    pub(crate) fn takes(&self, [_, _, height, width]: [usize; 4]) -> bool {
        !self.layered || height.saturating_mul(width) <= MOST_BYTES / self.bytes_of_features()
    }

    /// The images of so many pixels whose layers are computed together.
    fn together(&self, pixels: usize) -> usize {
        let most = BUFFER_BYTES / self.bytes_of_features() / pixels;
        most.min(MOST_WORKGROUPS / self.network.channels().max(3)).max(1)
    }

    /// The bytes of a pixel's features.
    fn bytes_of_features(&self) -> usize {
        self.network.channels().max(3) * size_of::<f32>()
    }

    /// The buffer of parameters that the kernels are given. Where they need none, it has a size all the same.
    fn parameters(&self, client: &Client) -> Handle {
        match self.network.is_constant() {
            true => client.empty(size_of::<f32>()),
            false => client.create(Bytes::from_elems(self.parameters.clone())),
        }
    }

    /// What the kernels that estimate take for parameters: where the network is applied layer by layer, which is done
    /// here, the sums of its last convolution.
    fn parameters_or_sums(&self, client: &Client, images: Images) -> Handle {
        match self.layered {
            true => sums(client, self, images),
            false => self.parameters(client),
        }
    }

    fn estimate(&self, tile: Tile, source: Format) -> Estimate {
        let network = (!self.layered).then(|| self.network.clone());
        Estimate { network, tile, source }
    }
}

/// Images in a buffer.
struct Images<'a> {
    buffer: &'a Handle,
    format: Format,
    count: usize,
    /// Rows and columns of each.
    size: [usize; 2],
    pieces: Option<Pieces<'a>>,
}

/// That images are pieces of a picture of `[height, width]`, each with a border.
struct Pieces<'a> {
    /// Four numbers of each piece, of which the first two are row and column of its first pixel inside the border.
    places: &'a Handle,
    border: usize,
    picture: [usize; 2],
}

/// The last convolution of a network that is applied layer by layer: `[count, 3, rows, columns]`.
fn sums(client: &Client, prepared: &Prepared, images: Images) -> Handle {
    let Images { buffer, format, count, size: [rows, columns], pieces } = images;
    let parameters = prepared.parameters(client);
    let nothing = client.empty(size_of::<f32>());
    let (places, border, [height, width]) = match &pieces {
        Some(pieces) => (pieces.places, Some(pieces.border), pieces.picture),
        None => (&nothing, None, [rows, columns]),
    };
    let tile = Tile::of_one_layer();
    let layers = &prepared.network.layers;
    let buffer_of = |images: usize, channels: usize| {
        client.empty(images * channels * rows * columns * size_of::<f32>())
    };
    let sums = buffer_of(count, 3);
    let together = prepared.together(rows * columns);
    for first in (0..count).step_by(together) {
        let images = together.min(count - first);
        let mut features = nothing.clone();
        for (index, layer) in layers.iter().enumerate() {
            let last = index + 1 == layers.len();
            let convolution = Convolution {
                inputs: layer.inputs,
                outputs: layer.outputs,
                after: match index {
                    0 => After::Relu,
                    _ if last => After::Nothing,
                    _ => After::ReluAndInput,
                },
                source: (index == 0).then_some(format),
                border,
            };
            let source = if index == 0 { buffer } else { &nothing };
            let result = if last { sums.clone() } else { buffer_of(images, layer.outputs) };
            // SAFETY: the kernel keeps to pixels of the images, of which source, features, result and sums have as
            // many; places are those of as many images.
            unsafe {
                layers::layer::launch_unchecked(
                    client,
                    workgroups([images * convolution.groups(), rows, columns], tile.size()),
                    workgroup(tile.units(), tile.floats()),
                    words(source),
                    words(&features),
                    words(&parameters),
                    words(places),
                    words(&result),
                    rows as i32,
                    columns as i32,
                    height as i32,
                    width as i32,
                    layer.first,
                    first,
                    convolution,
                    tile,
                );
            }
            features = result;
        }
    }
    sums
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
    let images = Images {
        buffer: &image.handle,
        format: Format::Planes,
        count: batch,
        size: [height, width],
        pieces: None,
    };
    let parameters = prepared.parameters_or_sums(&image.client, images);
    // SAFETY: the kernel keeps to pixels of the images, of which all three tensors have as many.
    unsafe {
        enhance::enhance_planes::launch_unchecked(
            &image.client,
            workgroups([batch, height, width], tile.size()),
            workgroup(tile.units(), tile.floats()),
            words(&image.handle),
            words(&parameters),
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

/// The most pixels of an image of `[height, width]` that are enhanced together, where a buffer has so many bytes for
/// each.
fn most_pixels(size: [usize; 2], bytes: usize) -> usize {
    // Rows in a buffer are filled up to whole words: by little, except for very narrow images.
    let filled = size[1].next_multiple_of(COLUMNS) as f64 / size[1] as f64;
    let most = (BUFFER_BYTES as f64 / (bytes as f64 * filled * 1.1)) as usize;
    match size.iter().all(|side| *side <= LONGEST_SIDE) {
        true => most,
        false => most.min(LONGEST_SIDE),
    }
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
    let (filter, bytes) = match rendering.has_filter() {
        true => (Rendering::FILTER_REACH, 3 * size_of::<f32>()),
        false => (0, pixels::<P>().bytes()),
    };
    let bytes = if prepared.layered { prepared.bytes_of_features() } else { bytes };
    for rectangle in tiles(size, prepared.network.reach() + filter, most_pixels(size, bytes)) {
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
    let images = Images {
        buffer: &source,
        format: Format::Pixels(pixels),
        count: 1,
        size: [height, width],
        pieces: None,
    };
    let parameters = prepared.parameters_or_sums(client, images);
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
                words(&parameters),
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
                words(&parameters),
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
    let images = Images {
        buffer: &source,
        format: Format::Pixels(pixels::<P>()),
        count: count as usize,
        size: [tile.outer_rows(), tile.outer_columns()],
        pieces: Some(Pieces { places: &tiles, border: tile.reach, picture: [height, width] }),
    };
    let parameters = prepared.parameters_or_sums(client, images);
    // SAFETY: tiles, points and the tiles' pixels fit together, and a point's place in the output is below
    // their number.
    unsafe {
        enhance::sample_pixels::launch_unchecked(
            client,
            CubeCount::Static(count, 1, 1),
            workgroup(tile.units(), tile.floats()),
            words(&source),
            words(&parameters),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cube::limits::MOST_WORKGROUPS;

    /// Weights for so many blocks and channels.
    fn estimator(blocks: usize, channels: usize) -> FoldedEstimator {
        let layer = |outputs: usize, inputs: usize| Weights {
            weight: vec![0.1; outputs * inputs * 9],
            bias: vec![0.0; outputs],
        };
        let blocks = (0..blocks).map(|_| layer(channels, channels));
        let layers = [layer(channels, 3)].into_iter().chain(blocks).chain([layer(3, channels)]);
        FoldedEstimator::new(layers.collect())
    }

    #[test]
    fn networks_like_the_published_one_fit_into_one_launch_on_every_gpu() {
        for blocks in 1..=16 {
            for channels in 1..=64 {
                let prepared = Prepared::new(&estimator(blocks, channels)).unwrap();
                let promised = blocks <= 1 && channels <= 8 || blocks <= 3 && channels <= 3;
                assert!(!prepared.layered || !promised, "{blocks} {channels}");
                for tile in [prepared.tile, prepared.sample] {
                    workgroup(tile.units(), tile.floats());
                }
            }
        }
    }

    #[test]
    fn parameters_are_constants_unless_they_change_or_are_no_numbers() {
        let is_constant = |estimator: FoldedEstimator| {
            let prepared = Prepared::new(&estimator).unwrap();
            assert_eq!(prepared.parameters.is_empty(), prepared.network.is_constant());
            prepared.network.is_constant()
        };
        assert!(is_constant(estimator(1, 3)));
        assert!(!is_constant(estimator(3, 8)));
        #[cfg(feature = "train")]
        assert!(!is_constant(estimator(1, 3).into_changing()));
        let mut broken = estimator(1, 3);
        broken.layers[1].weight[5] = f32::NAN;
        assert!(!is_constant(broken));
    }

    #[test]
    fn pictures_of_every_size_are_done_in_parts_that_a_gpu_takes() {
        let long = 12_000_000;
        let sizes = [[1, 1], [1, long], [long, 1], [2, long], [400, 300_000], [300_000, 400]];
        for size in sizes.into_iter().chain([[20_000, 20_000], [3000, 4001], [40_000, 2]]) {
            for bytes in [1, 2, 3, 4, 6, 8, 12] {
                for reach in [3, 5, 21] {
                    let mut pixels = 0;
                    let mut count = 0;
                    for part in tiles(size, reach, most_pixels(size, bytes)) {
                        let [height, width] = part.outer_size();
                        let filled = height * width.next_multiple_of(COLUMNS);
                        assert!(filled * bytes <= BUFFER_BYTES, "{size:?} {bytes} {part:?}");
                        // A tile has four rows or columns, or more.
                        assert!(height.max(width) <= 4 * MOST_WORKGROUPS, "{size:?} {part:?}");
                        pixels += part.rows.len() * part.columns.len();
                        count += 1;
                    }
                    assert_eq!(pixels, size[0] * size[1]);
                    let least = pixels * bytes / BUFFER_BYTES + pixels / (4 * MOST_WORKGROUPS);
                    assert!(count <= 4 * least + 2, "{size:?} {bytes}: {count} parts");
                }
            }
        }
    }
}
