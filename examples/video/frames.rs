//! Streams of frames: Y4M and raw RGB ↔ pictures.

use super::common::{self, Failure, Result};
use sci_burn::image::RgbImage;
use std::fmt::Display;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::path::Path;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvPlanarImage, YuvPlanarImageMut, YuvRange,
    YuvStandardMatrix,
};

pub type Picture = RgbImage;

/// The most pixels of a frame: 1 GiB of RGB.
const MOST_PIXELS: u64 = (1 << 30) / 3;

/// The most bytes of a line in a Y4M stream.
const MOST_LINE: usize = 1024;

fn unreadable(reason: impl Display) -> Failure {
    common::unreadable(Path::new("standard input"), reason)
}

fn unwritable(reason: impl Display) -> Failure {
    common::unwritable(Path::new("standard output"), reason)
}

/// Width and height of a frame, if it is not empty and not too large.
fn frame_size(width: u64, height: u64) -> Option<[u32; 2]> {
    let pixels = width.checked_mul(height)?;
    (1..=MOST_PIXELS).contains(&pixels).then_some([width as u32, height as u32])
}

/// Raw frames of three bytes a pixel.
pub fn raw<R: BufRead, W: Write>(
    [width, height]: [usize; 2],
    frame_rate: f32,
    reader: R,
    writer: W,
) -> Result<(Input<R>, Output<W>)> {
    let size = frame_size(width as u64, height as u64)
        .ok_or_else(|| format!("--size is {width}×{height}, must be 1 to {MOST_PIXELS} pixels"))?;
    let format = Format::Rgb(size);
    Ok((Input { reader, format, frames: 0, frame_rate }, Output { writer, format }))
}

/// Frames as `ffmpeg -f yuv4mpegpipe` writes them.
pub fn y4m<R: BufRead, W: Write>(mut reader: R, mut writer: W) -> Result<(Input<R>, Output<W>)> {
    let line = header(&mut reader)?;
    let Header { yuv, frame_rate } = Header::parse(&line)?;
    let format = Format::Yuv(yuv);
    // Sizes, rates and what the players of the stream want to know stay the same.
    writer.write_all(&line).map_err(unwritable)?;
    Ok((Input { reader, format, frames: 0, frame_rate }, Output { writer, format }))
}

const MAGIC: &[u8] = b"YUV4MPEG2 ";

/// The first line of a Y4M stream, with its end.
fn header(reader: &mut impl BufRead) -> Result<Vec<u8>> {
    let line = read_line(reader).map_err(unreadable)?;
    if line.is_empty() {
        return Err(unreadable("it is empty, expected Y4M (or --size for raw RGB)"));
    }
    let begun = line.len().min(MAGIC.len());
    if line[..begun] != MAGIC[..begun] {
        return Err(unreadable("it is not Y4M (--size for raw RGB)"));
    }
    match &line[..] {
        [.., b'\r', b'\n'] => {
            Err(unreadable("its Y4M header ends with CR LF, expected LF: it was converted as text"))
        }
        [.., b'\n'] if begun == MAGIC.len() => Ok(line),
        [.., b'\n'] => Err(unreadable("it is not Y4M (--size for raw RGB)")),
        _ if line.len() == MOST_LINE => {
            Err(unreadable(format!("its Y4M header is longer than {MOST_LINE} bytes")))
        }
        _ => Err(unreadable("it ends in the middle of its Y4M header")),
    }
}

/// A line with its end, or as much of it as there is or may be.
fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.by_ref().take(MOST_LINE as u64).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// What the first line of a Y4M stream says.
struct Header {
    yuv: Yuv,
    frame_rate: f32,
}

impl Header {
    fn parse(line: &[u8]) -> Result<Self> {
        let [mut width, mut height, mut rate] = ["", "", "25:1"];
        let mut color_space = "420";
        let mut range = YuvRange::Limited;
        let text =
            std::str::from_utf8(line).map_err(|_| unreadable("its Y4M header is not text"))?;
        for parameter in text.trim_end_matches('\n').split(' ').skip(1) {
            match parameter.split_at_checked(1) {
                Some(("W", value)) => width = value,
                Some(("H", value)) => height = value,
                Some(("F", value)) => rate = value,
                Some(("C", value)) => color_space = value,
                Some(("I", "t" | "b" | "m")) => {
                    let reason = "it is interlaced, expected whole frames (ffmpeg: -vf yadif)";
                    return Err(unreadable(reason));
                }
                Some(("X", "COLORRANGE=FULL")) => range = YuvRange::Full,
                _ => {}
            }
        }
        let size = match (width.parse(), height.parse()) {
            (Ok(width), Ok(height)) => frame_size(width, height),
            _ => None,
        };
        let size = size.ok_or_else(|| {
            let [width, height] = [width, height].map(common::escaped);
            unreadable(format!(
                "its Y4M header says {width}×{height}, expected 1 to {MOST_PIXELS} pixels"
            ))
        })?;
        let halved = match color_space {
            "420" | "420jpeg" | "420paldv" | "420mpeg2" => true,
            "444" => false,
            _ => return Err(unreadable(UNSUPPORTED)),
        };
        let ratio = rate.split_once(':').and_then(|(frames, seconds)| {
            Some((frames.parse::<u32>().ok()?, seconds.parse::<u32>().ok()?))
        });
        let frame_rate = match ratio {
            // The stream may say that it does not know.
            Some((0, _) | (_, 0)) => 25.0,
            Some((frames, seconds)) => (f64::from(frames) / f64::from(seconds)) as f32,
            None => {
                let rate = common::escaped(rate);
                let reason =
                    format!("its Y4M header says {rate} frames a second, expected a ratio");
                return Err(unreadable(reason));
            }
        };
        // The stream does not say which one; players take the height as a sign as well.
        let matrix = match size[1] {
            720.. => YuvStandardMatrix::Bt709,
            _ => YuvStandardMatrix::Bt601,
        };
        Ok(Self { yuv: Yuv { size, halved, range, matrix }, frame_rate })
    }
}

const UNSUPPORTED: &str = "its pixel format is not supported, expected 8-bit 4:2:0 or 4:4:4 \
                           (ffmpeg: -pix_fmt yuv420p)";

/// What the bytes of a frame are.
#[derive(Clone, Copy)]
enum Format {
    Rgb([u32; 2]),
    Yuv(Yuv),
}

pub struct Input<R> {
    reader: R,
    format: Format,
    /// Frames that were read.
    frames: usize,
    frame_rate: f32,
}

impl<R: BufRead> Input<R> {
    /// Frames a second.
    pub fn frame_rate(&self) -> f32 {
        self.frame_rate
    }

    /// The next frame, or none at the end of the stream.
    pub fn next(&mut self) -> Result<Option<Picture>> {
        let number = self.frames + 1;
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                unreadable(format!("it ends in the middle of frame {number}"))
            }
            _ => unreadable(format!("frame {number}: {error}")),
        };
        if !has_more(&mut self.reader).map_err(failed)? {
            return Ok(None);
        }
        self.frames = number;
        let picture = match self.format {
            Format::Rgb([width, height]) => {
                let mut picture = Picture::new(width, height);
                self.reader.read_exact(&mut picture).map_err(failed)?;
                picture
            }
            Format::Yuv(yuv) => {
                let line = read_line(&mut self.reader).map_err(failed)?;
                match line.strip_prefix(b"FRAME") {
                    Some([b'\n'] | [b' ', .., b'\n']) => {}
                    _ if line.len() < MOST_LINE && !line.ends_with(b"\n") => {
                        return Err(failed(ErrorKind::UnexpectedEof.into()));
                    }
                    _ => return Err(unreadable(format!("frame {number} has no Y4M header"))),
                }
                let mut planes = yuv.planes();
                for plane in &mut planes {
                    self.reader.read_exact(plane).map_err(failed)?;
                }
                yuv.decode(&planes)
            }
        };
        Ok(Some(picture))
    }
}

/// Whether a stream goes on.
fn has_more(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            filled => return filled.map(|bytes| !bytes.is_empty()),
        }
    }
}

pub struct Output<W> {
    writer: W,
    format: Format,
}

impl<W: Write> Output<W> {
    pub fn write(&mut self, picture: &Picture) -> Result<()> {
        match self.format {
            Format::Rgb(_) => self.writer.write_all(picture),
            Format::Yuv(yuv) => self.writer.write_all(b"FRAME\n").and_then(|()| {
                yuv.encode(picture).iter().try_for_each(|plane| self.writer.write_all(plane))
            }),
        }
        .map_err(unwritable)
    }

    pub fn finish(mut self) -> Result<()> {
        self.writer.flush().map_err(unwritable)
    }
}

/// How the planes of a Y4M stream make a picture.
#[derive(Clone, Copy)]
struct Yuv {
    size: [u32; 2],
    /// Whether the color planes have half the width and height.
    halved: bool,
    range: YuvRange,
    matrix: YuvStandardMatrix,
}

impl Yuv {
    /// Width and height of the color planes.
    fn color_size(&self) -> [u32; 2] {
        if self.halved { self.size.map(|side| side.div_ceil(2)) } else { self.size }
    }

    /// The planes of a frame, all zero.
    fn planes(&self) -> [Vec<u8>; 3] {
        let color_size = self.color_size();
        [self.size, color_size, color_size]
            .map(|[width, height]| vec![0; width as usize * height as usize])
    }

    fn decode(&self, [y, u, v]: &[Vec<u8>; 3]) -> Picture {
        let [width, height] = self.size;
        let [color_width, _] = self.color_size();
        let planes = YuvPlanarImage {
            y_plane: y,
            y_stride: width,
            u_plane: u,
            u_stride: color_width,
            v_plane: v,
            v_stride: color_width,
            width,
            height,
        };
        let decode = if self.halved { yuv::yuv420_to_rgb } else { yuv::yuv444_to_rgb };
        let mut picture = Picture::new(width, height);
        decode(&planes, &mut picture, 3 * width, self.range, self.matrix)
            .expect("the planes have the sizes of the picture");
        picture
    }

    fn encode(&self, picture: &Picture) -> [Vec<u8>; 3] {
        let [width, height] = self.size;
        let [color_width, _] = self.color_size();
        let mut planes = self.planes();
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
            .expect("the planes have the sizes of the picture");
        planes
    }
}
