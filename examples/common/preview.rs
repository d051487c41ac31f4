//! A picture of the progress of a training: photographs before and after enhancement, and their mean
//! luminance over the epochs.

use super::canvas::Canvas;
use embedded_graphics::geometry::Point;
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::FONT_7X13;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{Drawable, Primitive};
use embedded_graphics::primitives::{Line, Polyline, PrimitiveStyle};
use embedded_graphics::text::{Alignment, Text};
use sci_burn::image::{DynamicImage, Rgb, RgbImage, imageops};
use sci_burn::train::{EpochMetrics, Preview};
use std::convert::Infallible;
use std::sync::Arc;

/// All in pixels.
const GAP: u32 = 8;
const PICTURE: u32 = 320;
const CHART_HEIGHT: u32 = 180;
const MARGIN: i32 = 44;

const BACKGROUND: Rgb<u8> = Rgb([24; 3]);
const FAINT: Rgb888 = Rgb888::new(70, 70, 70);
const LETTERS: Rgb888 = Rgb888::new(190, 190, 190);
const CURVE: Rgb888 = Rgb888::new(255, 190, 60);
const TARGET: Rgb888 = Rgb888::new(90, 170, 255);

/// Draws the previews of the last of these epochs, and the curve of all of them.
pub fn draw(previews: &[Arc<Preview>], epochs: &[EpochMetrics], target: Option<f64>) -> RgbImage {
    let rows: Vec<[RgbImage; 2]> =
        previews.iter().map(|preview| [&preview.dark, &preview.bright].map(fit)).collect();
    let pictures_height: u32 = rows.iter().map(|[dark, _]| dark.height() + GAP).sum();
    let width = 2 * PICTURE + 3 * GAP;
    let height = pictures_height + CHART_HEIGHT + 2 * GAP;
    let mut canvas = Canvas(RgbImage::from_pixel(width, height, BACKGROUND));
    let mut top = GAP;
    for [dark, bright] in &rows {
        let right = GAP + PICTURE + GAP;
        imageops::replace(&mut canvas.0, dark, GAP.into(), top.into());
        imageops::replace(&mut canvas.0, bright, right.into(), top.into());
        top += dark.height() + GAP;
    }
    let Ok(()) = chart(&mut canvas, top as i32, epochs, target);
    canvas.0
}

/// A photograph scaled down to at most the width of a column in both directions.
fn fit(photo: &RgbImage) -> RgbImage {
    match photo.width().max(photo.height()) {
        side if side <= PICTURE => photo.clone(),
        _ => DynamicImage::from(photo.clone()).thumbnail(PICTURE, PICTURE).into_rgb8(),
    }
}

/// The mean luminance, from 0 to 1, over the epochs.
fn chart(
    canvas: &mut Canvas,
    top: i32,
    epochs: &[EpochMetrics],
    target: Option<f64>,
) -> Result<(), Infallible> {
    let text = MonoTextStyle::new(&FONT_7X13, LETTERS);
    let right = canvas.0.width() as i32 - GAP as i32;
    let bottom = top + CHART_HEIGHT as i32 - 2 * GAP as i32;
    let headroom = 2 * GAP as i32;
    let span = f64::from(bottom - top - headroom);
    let y = |luminance: f64| bottom - (luminance.clamp(0.0, 1.0) * span).round() as i32;
    for tenth in [0, 2, 4, 6, 8, 10] {
        let luminance = f64::from(tenth) / 10.0;
        level(canvas, y(luminance), right, FAINT)?;
        let place = Point::new(MARGIN - 6, y(luminance) + 4);
        let label = format!("{luminance:.1}");
        Text::with_alignment(&label, place, text, Alignment::Right).draw(canvas)?;
    }
    if let Some(target) = target {
        level(canvas, y(target), right, TARGET)?;
    }
    let Some(last) = epochs.last() else { return Ok(()) };
    let step = f64::from(right - MARGIN) / (epochs.len() - 1).max(1) as f64;
    let curve: Vec<Point> = epochs
        .iter()
        .enumerate()
        .map(|(index, row)| {
            Point::new(MARGIN + (index as f64 * step).round() as i32, y(row.luminance))
        })
        .collect();
    Polyline::new(&curve).into_styled(PrimitiveStyle::with_stroke(CURVE, 2)).draw(canvas)?;
    let EpochMetrics { epoch, luminance, clipped, .. } = last;
    let label =
        format!("epoch {epoch}: mean luminance {luminance:.3}, {:.1} % clipped", clipped * 100.0);
    let place = Point::new(MARGIN, bottom + 2 * GAP as i32);
    Text::with_alignment(&label, place, text, Alignment::Left).draw(canvas)?;
    Ok(())
}

fn level(canvas: &mut Canvas, y: i32, right: i32, color: Rgb888) -> Result<(), Infallible> {
    let line = Line::new(Point::new(MARGIN, y), Point::new(right, y));
    line.into_styled(PrimitiveStyle::with_stroke(color, 1)).draw(canvas)
}
