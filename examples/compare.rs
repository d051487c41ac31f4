//! Shows what becomes of a photograph: three classical methods and SCI with each preset on one sheet.
//!
//! ```text
//! cargo run --release --example compare -- dark.png -o sheet.png
//! cargo run --release --example compare -- dark.png -o sheet.png --illumination --width 600
//! ```

mod common;

use clap::Parser;
use common::Result;
use common::classical::CLASSICAL;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions, Point, Size};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::FONT_9X15;
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::Drawable;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Baseline, Text};
use sci_burn::image::imageops::FilterType;
use sci_burn::image::{DynamicImage, Rgb, RgbImage, imageops};
use sci_burn::photo::{photo_to_tensor, tensor_to_photo};
use sci_burn::{Enhancer, Exposure, Preset, open_device, open_photo, save_photo};
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;

/// Shows what becomes of a photograph: three classical methods and SCI with each preset on one sheet.
#[derive(Parser)]
struct Options {
    /// The photograph.
    input: PathBuf,
    /// The sheet, a picture.
    #[arg(short, long)]
    output: PathBuf,
    /// The width of a column in pixels; photographs are reduced to it, not enlarged.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(160..=4000))]
    width: u32,
    /// Show how much light SCI estimates to have fallen where.
    #[arg(long)]
    illumination: bool,
    /// What computes: cpu, ndarray, wgpu, vulkan, metal or cuda.
    #[arg(short, long, default_value = "cpu")]
    device: String,
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
    let device = open_device(&options.device)?;
    let dark = open_photo(&options.input)?.pixels.into_rgb8();

    let fit = |picture: RgbImage| fit(picture, options.width);
    let mut classical = vec![("input".to_owned(), fit(dark.clone()))];
    for (name, method) in CLASSICAL {
        classical.push((name.to_owned(), fit(method(&dark))));
    }
    let [mut enhanced, mut illumination] = [Vec::new(), Vec::new()];
    for preset in Preset::ALL {
        let enhancer = Enhancer::from_preset(preset, &device);
        let bright = enhancer.enhance(&dark.clone().into())?.into_rgb8();
        enhanced.push((format!("SCI {preset}"), fit(bright)));
        if preset == Preset::default() {
            let auto = enhancer.clone().with_exposure(Exposure::AUTO)?;
            let bright = auto.enhance(&dark.clone().into())?.into_rgb8();
            enhanced.push((format!("SCI {preset}, auto"), fit(bright)));
        }
        if options.illumination {
            let map = enhancer.forward(photo_to_tensor(&dark, &device)).illumination;
            illumination.push((format!("illumination, {preset}"), fit(tensor_to_photo(map)?)));
        }
    }
    let sheet = sheet(&[classical, enhanced, illumination], options.width);
    save_photo(&DynamicImage::from(sheet).into(), &options.output)?;
    common::say(options.output.display());
    Ok(())
}

/// All in pixels.
const GAP: u32 = 12;
const LABEL: u32 = 24;

const BACKGROUND: Rgb<u8> = Rgb([24; 3]);
const LETTERS: Rgb888 = Rgb888::new(220, 220, 220);

/// A picture reduced to the width of a column.
fn fit(picture: RgbImage, width: u32) -> RgbImage {
    match picture.width() <= width {
        true => picture,
        // All heights are possible: the width alone decides.
        false => {
            DynamicImage::from(picture).resize(width, u32::MAX, FilterType::Triangle).into_rgb8()
        }
    }
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

struct Canvas(RgbImage);

impl Dimensions for Canvas {
    fn bounding_box(&self) -> Rectangle {
        Rectangle::new(Point::zero(), Size::new(self.0.width(), self.0.height()))
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(Point { x, y }, color) in pixels {
            if let (Ok(x), Ok(y)) = (x.try_into(), y.try_into())
                && let Some(pixel) = self.0.get_pixel_mut_checked(x, y)
            {
                *pixel = Rgb([color.r(), color.g(), color.b()]);
            }
        }
        Ok(())
    }
}
