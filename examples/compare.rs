//! Compares results on one sheet: a photograph, three classical methods, and SCI step by step.
//!
//! ```text
//! cargo run --release --example compare -- dark.png -o sheet.png
//! cargo run --release --example compare -- dark.png -o sheet.png --illumination --width 600
//! ```

mod common;

use clap::Parser;
use common::Result;
use common::canvas::Canvas;
use common::classical::CLASSICAL;
use embedded_graphics::geometry::Point;
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::FONT_9X15;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::Drawable;
use embedded_graphics::text::{Baseline, Text};
use sci_burn::image::imageops::FilterType;
use sci_burn::image::{DynamicImage, Rgb, RgbImage, imageops};
use sci_burn::photo::{photo_to_tensor, tensor_to_photo};
use sci_burn::{Color, Denoise, Enhancer, Exposure, save_photo};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compares results on one sheet: a photograph, three classical methods, and SCI step by step: as
/// published, with the tone curve, with kept colors, and with the noise filter.
#[derive(Parser)]
struct Options {
    /// The photograph.
    input: PathBuf,
    /// The picture to write.
    #[arg(short, long)]
    output: PathBuf,
    /// The width of a column in pixels. Larger photographs are reduced to it, or to four times as many
    /// pixels in height; smaller ones are not enlarged.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(160..=4000))]
    width: u32,
    /// Show the illumination that SCI estimates.
    #[arg(long)]
    illumination: bool,
    #[command(flatten)]
    network: common::NetworkOptions,
    #[command(flatten)]
    reading: common::ReadingOptions,
    /// Replace a sheet that exists already.
    #[arg(short, long)]
    force: bool,
}

fn main() -> ExitCode {
    common::exit(run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    common::may_write(&options.output, options.force, &[&options.input])?;
    common::may_save(&options.output)?;
    let enhancer = options.network.enhancer()?;
    let result = common::guarded(|| compare(options, &enhancer));
    let sheet = result.map_err(|error| common::describe(&options.input, &error))?;
    // It may have appeared since the work began.
    common::may_write(&options.output, options.force, &[&options.input])?;
    save_photo(&DynamicImage::from(sheet).into(), &options.output)?;
    common::say(common::shown(&options.output));
    Ok(())
}

/// The steps from the published result to that of the example `enhance`: a name, an exposure, the colors
/// and the noise filter.
const STEPS: [(&str, Exposure, Color, Denoise); 4] = [
    ("SCI, as published", Exposure::Full, Color::PerChannel, Denoise::Off),
    ("with the tone curve", Exposure::AUTO, Color::PerChannel, Denoise::Off),
    ("with kept colors", Exposure::AUTO, Color::Kept, Denoise::Off),
    ("without noise", Exposure::AUTO, Color::Kept, Denoise::Auto),
];

/// The sheet of a photograph.
fn compare(options: &Options, enhancer: &Enhancer) -> Result<RgbImage> {
    let dark = &options.reading.open(&options.input)?.pixels.into_rgb8();
    let fit = |picture: RgbImage| fit(picture, options.width);
    let mut classical = vec![("input".to_owned(), fit(dark.clone()))];
    for (name, method) in CLASSICAL {
        classical.push((name.to_owned(), fit(method(dark))));
    }
    let mut enhanced = Vec::new();
    for (name, exposure, color, denoise) in STEPS {
        let enhancer = enhancer.clone().with_exposure(exposure)?.with_color(color);
        let enhancer = enhancer.with_denoise(denoise)?;
        let bright = enhancer.enhance(&dark.clone().into())?.into_rgb8();
        enhanced.push((name.to_owned(), fit(bright)));
    }
    let mut illumination = Vec::new();
    if options.illumination {
        for (name, color) in [("illumination", Color::PerChannel), ("for kept colors", Color::Kept)]
        {
            let enhancer = enhancer.clone().with_color(color);
            let map = enhancer.forward(photo_to_tensor(dark, enhancer.device())).illumination;
            illumination.push((name.to_owned(), fit(tensor_to_photo(map)?)));
        }
    }
    Ok(sheet(&[classical, enhanced, illumination], options.width))
}

/// The space between pictures and the height of a label, in pixels.
const GAP: u32 = 12;
const LABEL: u32 = 24;

/// How many times as high as a column is wide a picture may be. The sheet has at most four columns and
/// three rows, so that this bounds its size.
const TALLEST: u32 = 4;

const BACKGROUND: Rgb<u8> = Rgb([24; 3]);
const LETTERS: Rgb888 = Rgb888::new(220, 220, 220);

/// A picture reduced to the size of a place on the sheet.
fn fit(picture: RgbImage, width: u32) -> RgbImage {
    let height = TALLEST * width;
    if picture.width() <= width && picture.height() <= height {
        return picture;
    }
    DynamicImage::from(picture).resize(width, height, FilterType::Triangle).into_rgb8()
}

/// Rows of pictures, each under its label.
fn sheet(rows: &[Vec<(String, RgbImage)>], width: u32) -> RgbImage {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default() as u32;
    let row_height = |row: &Vec<(String, RgbImage)>| {
        let picture = row.iter().map(|(_, picture)| picture.height()).max();
        picture.map_or(0, |picture| LABEL + picture + GAP)
    };
    let height = rows.iter().map(row_height).sum();
    let sheet = RgbImage::from_pixel(columns * (width + GAP) + GAP, height, BACKGROUND);
    let mut canvas = Canvas(sheet);
    let text = MonoTextStyle::new(&FONT_9X15, LETTERS);
    let mut top = 0;
    for row in rows {
        for (column, (label, picture)) in (0..).zip(row) {
            let left = GAP + column * (width + GAP);
            let place = Point::new(left as i32, top as i32 + LABEL as i32 / 2);
            let Ok(_) = Text::with_baseline(label, place, text, Baseline::Middle).draw(&mut canvas);
            imageops::replace(&mut canvas.0, picture, left.into(), (top + LABEL).into());
        }
        top += row_height(row);
    }
    canvas.0
}
