//! Streams of frames: Y4M and raw RGB ↔ pictures.

use super::common::{self, Failure, Result};
use sci_burn::image::RgbImage;
use std::fmt::Display;
use std::io::{BufReader, Read, Stdin, Stdout, Write, stdin, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use y4m::Colorspace;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvPlanarImage, YuvPlanarImageMut, YuvRange,
    YuvStandardMatrix,
};

pub type Picture = RgbImage;

/// The most bytes that a frame may have.
const LIMIT: usize = 1 << 30;

fn unreadable(reason: impl Display) -> Failure {
    common::unreadable(Path::new("standard input"), reason)
}

fn unwritable(reason: impl Display) -> Failure {
    common::unwritable(Path::new("standard output"), reason)
}

/// Raw frames of three bytes a pixel.
pub fn raw([width, height]: [usize; 2], frame_rate: f32) -> Result<(Input, Output)> {
    let bytes = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
    let (Some(1..=LIMIT), Ok(width), Ok(height)) =
        (bytes, u32::try_from(width), u32::try_from(height))
    else {
        let most = LIMIT / 3;
        return Err(format!("--size is {width}×{height}, must be 1 to {most} pixels").into());
    };
    let size = [width, height];
    let (reader, bytes) = Counted::new();
    let input = Input { source: Source::Raw(reader, size), bytes, frames: 0, frame_rate };
    Ok((input, Output(Sink::Raw(stdout()))))
}

/// Frames as `ffmpeg -f yuv4mpegpipe` writes them.
pub fn y4m() -> Result<(Input, Output)> {
    let (reader, bytes) = Counted::new();
    let decoder = y4m::Decoder::new(reader).map_err(|error| match error {
        y4m::Error::EOF => unreadable("it is empty, expected Y4M (or --size for raw RGB)"),
        y4m::Error::UnknownColorspace => unreadable(UNSUPPORTED),
        error => unreadable(format!("not Y4M: {error}")),
    })?;
    let rate = decoder.get_framerate();
    // A stream may say that it does not know.
    let known = rate.num > 0 && rate.den > 0;
    let frame_rate = if known { rate.num as f32 / rate.den as f32 } else { 25.0 };
    let interlaced = |parameter: &[u8]| matches!(parameter, b"It" | b"Ib" | b"Im");
    if decoder.get_raw_params().split(|&byte| byte == b' ').any(interlaced) {
        return Err(unreadable("it is interlaced, expected whole frames (ffmpeg: -vf yadif)"));
    }
    let format = Yuv::of(&decoder)?;
    let encoder = y4m::encode(decoder.get_width(), decoder.get_height(), rate)
        .with_colorspace(decoder.get_colorspace())
        .with_pixel_aspect(decoder.get_pixel_aspect());
    // Such as the range of the levels.
    let extensions = decoder.get_raw_params().split(|&byte| byte == b' ');
    let encoder = extensions
        .filter_map(|parameter| parameter.strip_prefix(b"X"))
        .filter_map(|value| y4m::VendorExtensionString::new(value.to_vec()).ok())
        .fold(encoder, y4m::EncoderBuilder::append_vendor_extension);
    let encoder = encoder.write_header(stdout()).map_err(unwritable)?;
    let input = Input { source: Source::Y4m(decoder, format), bytes, frames: 0, frame_rate };
    Ok((input, Output(Sink::Y4m(encoder, format))))
}

pub struct Input {
    source: Source,
    /// Bytes that were read.
    bytes: Arc<AtomicUsize>,
    /// Frames that were read.
    frames: usize,
    frame_rate: f32,
}

enum Source {
    Raw(Counted, [u32; 2]),
    Y4m(y4m::Decoder<Counted>, Yuv),
}

impl Input {
    /// Frames a second.
    pub fn frame_rate(&self) -> f32 {
        self.frame_rate
    }

    /// The next frame, or none at the end of the stream.
    pub fn next(&mut self) -> Result<Option<Picture>> {
        let before = self.bytes.load(Ordering::Relaxed);
        let picture = match &mut self.source {
            Source::Raw(reader, [width, height]) => {
                let mut picture = Picture::new(*width, *height);
                reader.read_exact(&mut picture).map(|()| picture).map_err(y4m::Error::from)
            }
            Source::Y4m(decoder, format) => decoder.read_frame().map(|frame| format.decode(&frame)),
        };
        let number = self.frames + 1;
        self.frames = number;
        match picture {
            Ok(picture) => Ok(Some(picture)),
            Err(y4m::Error::EOF) if self.bytes.load(Ordering::Relaxed) == before => Ok(None),
            Err(y4m::Error::EOF) => {
                Err(unreadable(format!("it ends in the middle of frame {number}")))
            }
            Err(error) => Err(unreadable(format!("frame {number}: {error}"))),
        }
    }
}

pub struct Output(Sink);

enum Sink {
    Raw(Stdout),
    Y4m(y4m::Encoder<Stdout>, Yuv),
}

impl Output {
    pub fn write(&mut self, picture: &Picture) -> Result<()> {
        let written = match &mut self.0 {
            Sink::Raw(writer) => writer.write_all(picture).map_err(y4m::Error::from),
            Sink::Y4m(encoder, format) => {
                let planes = format.encode(picture);
                let [y, u, v] = &planes;
                encoder.write_frame(&y4m::Frame::new([y, u, v], None))
            }
        };
        written.map_err(unwritable)
    }

    pub fn finish(self) -> Result<()> {
        stdout().flush().map_err(unwritable)
    }
}

/// How the planes of a Y4M stream make a picture.
#[derive(Clone, Copy)]
struct Yuv {
    size: [u32; 2],
    /// Whether the colors have half the width and height.
    halved: bool,
    range: YuvRange,
    matrix: YuvStandardMatrix,
}

const UNSUPPORTED: &str = "its pixel format is not supported, expected 8-bit 4:2:0 or 4:4:4 \
                           (ffmpeg: -pix_fmt yuv420p)";

impl Yuv {
    fn of(decoder: &y4m::Decoder<Counted>) -> Result<Self> {
        let halved = match decoder.get_colorspace() {
            Colorspace::C420 | Colorspace::C420jpeg => true,
            Colorspace::C420paldv | Colorspace::C420mpeg2 => true,
            Colorspace::C444 => false,
            _ => return Err(unreadable(UNSUPPORTED)),
        };
        let parameters = decoder.get_raw_params();
        let full = parameters.split(|&byte| byte == b' ').any(|p| p == b"XCOLORRANGE=FULL");
        // The stream does not say which; players take the size for a sign as well.
        let matrix = match decoder.get_height() {
            720.. => YuvStandardMatrix::Bt709,
            _ => YuvStandardMatrix::Bt601,
        };
        Ok(Self {
            size: [decoder.get_width() as u32, decoder.get_height() as u32],
            halved,
            range: if full { YuvRange::Full } else { YuvRange::Limited },
            matrix,
        })
    }

    /// Width and height of the planes that have the colors.
    fn color_size(&self) -> [u32; 2] {
        if self.halved { self.size.map(|side| side.div_ceil(2)) } else { self.size }
    }

    fn decode(&self, frame: &y4m::Frame<'_>) -> Picture {
        let [width, height] = self.size;
        let [color_width, _] = self.color_size();
        let planes = YuvPlanarImage {
            y_plane: frame.get_y_plane(),
            y_stride: width,
            u_plane: frame.get_u_plane(),
            u_stride: color_width,
            v_plane: frame.get_v_plane(),
            v_stride: color_width,
            width,
            height,
        };
        let decode = if self.halved { yuv::yuv420_to_rgb } else { yuv::yuv444_to_rgb };
        let mut picture = Picture::new(width, height);
        decode(&planes, &mut picture, 3 * width, self.range, self.matrix)
            .expect("the planes have the sizes that the header says");
        picture
    }

    fn encode(&self, picture: &Picture) -> [Vec<u8>; 3] {
        let [width, height] = self.size;
        let [color_width, color_height] = self.color_size();
        let sizes = [[width, height], [color_width, color_height], [color_width, color_height]];
        let mut planes = sizes.map(|[width, height]| vec![0; (width * height) as usize]);
        let [y, u, v] =
            planes.each_mut().map(|plane| BufferStoreMut::Borrowed(plane.as_mut_slice()));
        let mut target = YuvPlanarImageMut {
            y_plane: y,
            y_stride: width,
            u_plane: u,
            u_stride: color_width,
            v_plane: v,
            v_stride: color_width,
            width,
            height,
        };
        let encode = if self.halved { yuv::rgb_to_yuv420 } else { yuv::rgb_to_yuv444 };
        let mode = YuvConversionMode::Balanced;
        encode(&mut target, picture, 3 * width, self.range, self.matrix, mode)
            .expect("the planes have the size of the picture");
        planes
    }
}

/// Standard input, of which it is known how much was read.
struct Counted {
    reader: BufReader<Stdin>,
    bytes: Arc<AtomicUsize>,
}

impl Counted {
    fn new() -> (Self, Arc<AtomicUsize>) {
        let bytes = Arc::<AtomicUsize>::default();
        (Self { reader: BufReader::new(stdin()), bytes: bytes.clone() }, bytes)
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }
}
