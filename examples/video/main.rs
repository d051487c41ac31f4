//! Brightens a dark video: frames from standard input, enhanced frames to standard output.
//!
//! ```text
//! ffmpeg -i night.mp4 -f yuv4mpegpipe - | cargo run --release --example video | ffmpeg -i - bright.mp4
//! camera | cargo run --release --example video -- --size 1920x1080 --rate 30 | player
//! ```

#[path = "../common/mod.rs"]
mod common;
mod frames;

use clap::Parser;
use common::Result;
use frames::{Input, Output, Picture};
use indicatif::ProgressBar;
use sci_burn::image::Rgb;
use sci_burn::{Enhancer, Exposure, Frame, FrameMut, SteadyExposure};
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// So many, that a GPU has work while frames are on their way to it and back.
const BRIGHTENED_AT_A_TIME: usize = 2;

/// Brightens a dark video: Y4M (4:2:0 or 4:4:4, 8 bit) or raw RGB, from standard input to standard
/// output.
#[derive(Parser)]
struct Options {
    /// The size of the frames if the input is raw RGB, three bytes a pixel, instead of Y4M.
    #[arg(long, value_name = "WxH", value_parser = common::size)]
    size: Option<[usize; 2]>,
    /// Frames a second of raw input.
    #[arg(long, default_value_t = 25.0)]
    rate: f32,
    #[command(flatten)]
    network: common::NetworkOptions,
    /// How far to brighten: full (as published), auto, auto:LUMINANCE, a strength from 0 to 1, or
    /// STRENGTH:GAMMA with a tone curve.
    #[arg(short, long, default_value = "auto")]
    exposure: Exposure,
    #[command(flatten)]
    look: common::LookOptions,
}

fn main() -> ExitCode {
    common::exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let enhancer = options.network.enhancer()?;
    let (reader, writer) = (BufReader::new(stdin()), stdout());
    let (input, output) = match options.size {
        Some(size) => frames::raw(size, options.rate, reader, writer)?,
        None => frames::y4m(reader, writer)?,
    };
    let enhancer = options.look.apply(enhancer, options.exposure)?;
    let expose = Expose::new(enhancer, input.frame_rate())?;

    // Reading, finding the exposure, enhancing and writing run at the same time, a few frames apart. If writing
    // or enhancing fails, the program does not wait for the reader: the next frame may take long to arrive.
    let (dark, to_expose) = sync_channel(1);
    let (exposed, to_brighten) = in_turns();
    let (bright, to_write) = in_turns();
    let reading = thread::spawn(move || common::guarded(|| read(input, &dark)));
    let exposing = thread::spawn(move || common::guarded(|| expose.all(&to_expose, &exposed)));
    for (exposed, bright) in to_brighten.into_iter().zip(bright) {
        thread::spawn(move || brighten_all(&exposed, &bright));
    }
    common::guarded(|| write(output, to_write))?;
    join(exposing)?;
    join(reading)
}

/// Channels for those who brighten: the frames go to one after the other, and come from them in the same order.
fn in_turns<T>() -> (Vec<SyncSender<T>>, Vec<Receiver<T>>) {
    (0..BRIGHTENED_AT_A_TIME).map(|_| sync_channel(1)).unzip()
}

fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn read(mut input: Input<impl BufRead>, dark: &SyncSender<Picture>) -> Result<()> {
    while let Some(picture) = input.next()? {
        if dark.send(picture).is_err() {
            break;
        }
    }
    Ok(())
}

fn write(mut output: Output<impl Write>, bright: Vec<Receiver<Result<Picture>>>) -> Result<()> {
    let bar = ProgressBar::no_length().with_style(common::style("{pos} frames, {rate} a second"));
    bar.enable_steady_tick(Duration::from_millis(200));
    for picture in bright.iter().cycle().map_while(|bright| bright.recv().ok()) {
        output.write(&picture?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    output.finish()
}

/// A frame, and what brightens it.
type Exposed = (Picture, Enhancer);

struct Expose {
    enhancer: Enhancer,
    /// For an automatic exposure, which follows the video, with its luminance.
    steady: Option<(SteadyExposure, f32)>,
}

impl Expose {
    fn new(enhancer: Enhancer, frame_rate: f32) -> Result<Self> {
        let steady = match enhancer.exposure() {
            Exposure::Auto { luminance } => Some((SteadyExposure::new(frame_rate)?, luminance)),
            _ => None,
        };
        Ok(Self { enhancer, steady })
    }

    fn all(mut self, dark: &Receiver<Picture>, exposed: &[SyncSender<Exposed>]) -> Result<()> {
        for (picture, exposed) in dark.iter().zip(exposed.iter().cycle()) {
            let enhancer = self.one(&picture)?;
            if exposed.send((picture, enhancer)).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn one(&mut self, dark: &Picture) -> Result<Enhancer> {
        let enhancer = self.enhancer.clone();
        let Some((steady, luminance)) = &mut self.steady else {
            return Ok(enhancer);
        };
        let [width, height] = size(dark);
        let source = Frame::<Rgb<u8>>::new(dark, width, height, width * 3)?;
        let tone = steady.next(&enhancer.frame_exposure(source, *luminance)?);
        Ok(enhancer.with_exposure(Exposure::Manual(tone))?)
    }
}

/// Brightens frames until one fails, or nobody wants them any more.
fn brighten_all(exposed: &Receiver<Exposed>, bright: &SyncSender<Result<Picture>>) {
    for (dark, enhancer) in exposed {
        let picture = common::guarded(|| brighten(&dark, &enhancer));
        let failed = picture.is_err();
        if bright.send(picture).is_err() || failed {
            break;
        }
    }
}

fn brighten(dark: &Picture, enhancer: &Enhancer) -> Result<Picture> {
    let [width, height] = size(dark);
    let mut picture = Picture::new(dark.width(), dark.height());
    let source = Frame::<Rgb<u8>>::new(dark, width, height, width * 3)?;
    let target = FrameMut::<Rgb<u8>>::new(&mut picture, width, height, width * 3)?;
    enhancer.enhance_into(source, target)?;
    Ok(picture)
}

fn size(picture: &Picture) -> [usize; 2] {
    [picture.width() as usize, picture.height() as usize]
}
