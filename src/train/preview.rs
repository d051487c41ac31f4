//! A picture of how far a training has come: photographs before and after, and the curve of their
//! brightness over the epochs.

use super::run::EpochMetrics;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions, Point, Size};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::FONT_7X13;
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::{Drawable, Primitive};
use embedded_graphics::primitives::{Line, Polyline, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Alignment, Text};
use image::imageops;
use image::{DynamicImage, Rgb, RgbImage};
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

/// Each pair is a dark photograph and what has become of it; the last epoch is the one shown.
pub(super) fn draw(
    pictures: &[Arc<[RgbImage; 2]>],
    epochs: &[EpochMetrics],
    target: Option<f64>,
) -> RgbImage {
    let rows: Vec<[RgbImage; 2]> = pictures.iter().map(|pair| pair.each_ref().map(fit)).collect();
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
    let Ok(()) = canvas.chart(top as i32, epochs, target);
    canvas.0
}

/// A photograph reduced to the width of a column, and to no more than that in height.
fn fit(photo: &RgbImage) -> RgbImage {
    match photo.width().max(photo.height()) {
        side if side <= PICTURE => photo.clone(),
        _ => DynamicImage::from(photo.clone()).thumbnail(PICTURE, PICTURE).into_rgb8(),
    }
}

struct Canvas(RgbImage);

impl Canvas {
    /// The mean luminance, from 0 to 1, over the epochs.
    fn chart(
        &mut self,
        top: i32,
        epochs: &[EpochMetrics],
        target: Option<f64>,
    ) -> Result<(), Infallible> {
        let text = MonoTextStyle::new(&FONT_7X13, LETTERS);
        let right = self.0.width() as i32 - GAP as i32;
        let bottom = top + CHART_HEIGHT as i32 - 2 * GAP as i32;
        let headroom = 2 * GAP as i32;
        let span = f64::from(bottom - top - headroom);
        let y = |luminance: f64| bottom - (luminance.clamp(0.0, 1.0) * span).round() as i32;
        for tenth in [0, 2, 4, 6, 8, 10] {
            let luminance = f64::from(tenth) / 10.0;
            self.level(y(luminance), right, FAINT)?;
            let place = Point::new(MARGIN - 6, y(luminance) + 4);
            let label = format!("{luminance:.1}");
            Text::with_alignment(&label, place, text, Alignment::Right).draw(self)?;
        }
        if let Some(target) = target {
            self.level(y(target), right, TARGET)?;
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
        Polyline::new(&curve).into_styled(PrimitiveStyle::with_stroke(CURVE, 2)).draw(self)?;
        let EpochMetrics { epoch, luminance, clipped, .. } = last;
        let label = format!(
            "epoch {epoch}: mean luminance {luminance:.3}, {:.1} % clipped",
            clipped * 100.0
        );
        let place = Point::new(MARGIN, bottom + 2 * GAP as i32);
        Text::with_alignment(&label, place, text, Alignment::Left).draw(self)?;
        Ok(())
    }

    fn level(&mut self, y: i32, right: i32, color: Rgb888) -> Result<(), Infallible> {
        let line = Line::new(Point::new(MARGIN, y), Point::new(right, y));
        line.into_styled(PrimitiveStyle::with_stroke(color, 1)).draw(self)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(count: usize) -> Vec<EpochMetrics> {
        (1..=count)
            .map(|epoch| EpochMetrics {
                epoch,
                luminance: epoch as f64 / count as f64,
                ..Default::default()
            })
            .collect()
    }

    #[test]
    fn photographs_of_any_size_find_their_place() {
        let pictures = [[1, 1], [900, 40], [40, 900]].map(|[width, height]| {
            let picture = |level| RgbImage::from_pixel(width, height, Rgb([level; 3]));
            Arc::new([picture(50), picture(200)])
        });
        let preview = draw(&pictures, &epochs(1), None);
        assert_eq!(preview.get_pixel(GAP, GAP).0, [50; 3]);
        assert_eq!(preview.get_pixel(GAP + PICTURE + GAP, GAP).0, [200; 3]);
    }

    #[test]
    fn the_curve_rises_with_the_luminance() {
        let preview = draw(&[], &epochs(50), Some(0.5));
        let is_curve =
            |x: u32, y: u32| preview.get_pixel(x, y).0 == [CURVE.r(), CURVE.g(), CURVE.b()];
        let height = |x: u32| (0..preview.height()).find(|&y| is_curve(x, y)).unwrap();
        assert!(height(60) > height(300) && height(300) > height(600));
        assert!(preview.pixels().any(|p| p.0 == [TARGET.r(), TARGET.g(), TARGET.b()]));
    }
}
