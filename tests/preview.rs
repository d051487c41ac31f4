//! The pictures that the example `train` draws of its progress.

#[path = "../examples/common/canvas.rs"]
mod canvas;
mod common;
#[path = "../examples/common/preview.rs"]
mod preview;

use burn::train::ExecutionStrategy;
use image::{Rgb, RgbImage};
use preview::draw;
use sci_burn::train::{EpochMetrics, Preview, Run, TrainingConfig, TrainingEvent, train};
use sci_burn::{burn, image};
use std::sync::Arc;

fn epochs(count: usize) -> Vec<EpochMetrics> {
    let row = |epoch: usize| {
        let mut row = EpochMetrics::default();
        row.epoch = epoch;
        row.luminance = epoch as f64 / count as f64;
        row
    };
    (1..=count).map(row).collect()
}

/// What a training of one epoch hands out of pictures of these sizes.
fn previews(sizes: &[[u32; 2]]) -> Vec<Arc<Preview>> {
    let folder = tempfile::tempdir().unwrap();
    for (index, [width, height]) in sizes.iter().enumerate() {
        let picture = RgbImage::from_pixel(*width, *height, Rgb([40; 3]));
        picture.save(folder.path().join(format!("{index}.png"))).unwrap();
    }
    let (monitor, drawn) = common::collect(|event| match event {
        TrainingEvent::Epoch { previews, .. } => Some(previews),
        _ => None,
    });
    let config = TrainingConfig::new(folder.path().to_owned()).with_epochs(1);
    let run = Run::new(folder.path().join("run"));
    let device = ExecutionStrategy::SingleDevice(common::cpu());
    train(&config, &run, device, &monitor.with_previews(4)).unwrap();
    drawn.lock().unwrap().concat()
}

#[test]
fn photographs_of_any_size_find_their_place() {
    let previews = previews(&[[3, 3], [900, 40], [40, 900]]);
    assert_eq!(previews.len(), 3);
    let picture = draw(&previews, &epochs(1), None);
    // The dark ones in the left column, the enhanced ones in the right, which begins at 336.
    assert_eq!(picture.get_pixel(8, 8).0, [40; 3]);
    assert!(picture.get_pixel(336, 8).0[0] > 40);
    assert!(picture.height() > 3 + 14 + 320);
    // Nothing but the chart without pictures.
    assert_eq!(draw(&[], &epochs(1), None).width(), picture.width());
}

#[test]
fn the_curve_rises_with_the_luminance() {
    let picture = draw(&[], &epochs(50), Some(0.5));
    let curve = [255, 190, 60];
    let height = |x: u32| {
        (0..picture.height()).find(|&y| picture.get_pixel(x, y).0 == curve).expect("the curve")
    };
    assert!(height(60) > height(300) && height(300) > height(600));
    assert!(picture.pixels().any(|pixel| pixel.0 == [90, 170, 255]), "the target's line");
}
