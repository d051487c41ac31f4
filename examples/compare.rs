//! Compares results on one sheet: a photograph, three classical methods, and SCI step by step.
//!
//! ```text
//! cargo run --release --example compare -- dark.png -o sheet.png
//! cargo run --release --example compare -- dark.png -o sheet.png --illumination --width 600
//! cargo run --release --example compare -- dark.png -o sheet.png --part 120,80,60,40
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
use sci_burn::photo::{SaveOptions, photo_to_tensor, save_photo_with, tensor_to_photo};
use sci_burn::{Color, Denoise, Enhancer, Exposure, Frame, Tone};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// Compares results on one sheet: a photograph, three classical methods, and SCI step by step: as
/// published, with the tone curve (strength:gamma), with kept colors, and with the noise filter (the noise in
/// levels of 255).
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
    /// Show the illumination that is estimated.
    #[arg(long)]
    illumination: bool,
    /// Show only a part of the photograph, X,Y,WIDTH,HEIGHT in pixels, enlarged by the greatest whole
    /// number that fits a column. The whole photograph is enhanced.
    #[arg(long)]
    part: Option<Part>,
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
    let save = SaveOptions::new().with_replace(options.force);
    save_photo_with(&DynamicImage::from(sheet).into(), &options.output, &save)?;
    common::say(common::shown(&options.output));
    Ok(())
}

/// The steps from the published result to that of the example `enhance`: an exposure, the colors and the
/// noise filter.
const STEPS: [(Exposure, Color, Denoise); 4] = [
    (Exposure::Full, Color::PerChannel, Denoise::Off),
    (Exposure::AUTO, Color::PerChannel, Denoise::Off),
    (Exposure::AUTO, Color::Kept, Denoise::Off),
    (Exposure::AUTO, Color::Kept, Denoise::Auto),
];

/// What a step adds to the one before it, with what was found for this photograph.
fn step_name(enhancer: &Enhancer, dark: &RgbImage) -> Result<String> {
    let [width, height] = [dark.width() as usize, dark.height() as usize];
    let frame = Frame::<Rgb<u8>>::new(dark, width, height, 3 * width)?;
    Ok(match (enhancer.exposure(), enhancer.color(), enhancer.denoise()) {
        (Exposure::Full, ..) => format!("{}, as published", enhancer.estimator().method().title()),
        (_, Color::PerChannel, _) => {
            let Tone { strength, gamma } = enhancer.tone(frame)?;
            format!("tone {strength:.2}:{gamma:.2}")
        }
        (.., Denoise::Off) => "with kept colors".to_owned(),
        _ => format!("noise {:.1} filtered", enhancer.noise(frame) * 255.0),
    })
}

/// A part of a photograph: left, top, width and height in pixels.
#[derive(Clone, Copy, Debug)]
struct Part([u32; 4]);

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers: Option<Vec<u32>> = text.split(',').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[x, y, width, height]) if width > 0 && height > 0 => {
                Ok(Self([x, y, width, height]))
            }
            _ => {
                Err("must be X,Y,WIDTH,HEIGHT in pixels, with WIDTH and HEIGHT above 0".to_owned())
            }
        }
    }
}

impl Part {
    /// An error unless it is within the picture.
    fn check(self, picture: &RgbImage) -> Result<Self> {
        let Self([x, y, width, height]) = self;
        let ends = [x.checked_add(width), y.checked_add(height)];
        match ends {
            [Some(right), Some(bottom)]
                if right <= picture.width() && bottom <= picture.height() =>
            {
                Ok(self)
            }
            _ => {
                let [wide, high] = [picture.width(), picture.height()];
                Err(format!("part {x},{y},{width},{height} is not within {wide}×{high} pixels")
                    .into())
            }
        }
    }

    /// This part, enlarged by the greatest whole number that fits a column; pixels become squares.
    fn enlarged(self, picture: &RgbImage, column: u32) -> RgbImage {
        let Self([x, y, width, height]) = self;
        let part = imageops::crop_imm(picture, x, y, width, height).to_image();
        let scale = (column / width).min(TALLEST * column / height).max(1);
        imageops::resize(&part, width * scale, height * scale, FilterType::Nearest)
    }
}

/// The sheet of a photograph.
fn compare(options: &Options, enhancer: &Enhancer) -> Result<RgbImage> {
    let dark = &options.reading.open(&options.input)?.pixels.into_rgb8();
    let part = options.part.map(|part| part.check(dark)).transpose()?;
    let fit = |picture: RgbImage| match part {
        Some(part) => fit(part.enlarged(&picture, options.width), options.width),
        None => fit(picture, options.width),
    };
    let mut classical = vec![("input".to_owned(), fit(dark.clone()))];
    for (name, method) in CLASSICAL {
        classical.push((name.to_owned(), fit(method(dark))));
    }
    let mut enhanced = Vec::new();
    for (exposure, color, denoise) in STEPS {
        let enhancer = enhancer.clone().with_exposure(exposure)?.with_color(color);
        let enhancer = enhancer.with_denoise(denoise)?;
        let bright = enhancer.enhance(&dark.clone().into())?.into_rgb8();
        enhanced.push((step_name(&enhancer, dark)?, fit(bright)));
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
