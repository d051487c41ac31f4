//! What must hold for images of any shape, on every backend.

mod common;

use burn::tensor::Tensor;
use common::{devices, image, largest_difference, noise};
use proptest::prelude::*;
use sci_burn::Enhancer;
use sci_burn::image::{DynamicImage, Rgb};
use sci_burn::model::IlluminationEstimatorConfig;

/// The estimator sees 7×7 pixels, three to each side.
const BORDER: usize = 3;

fn enhancers() -> Vec<(&'static str, Enhancer)> {
    let load = |(name, device)| {
        let weights = common::fixture("weights/cascade.pt");
        let estimator = IlluminationEstimatorConfig::new().load(weights, &device).unwrap();
        (name, Enhancer::new(estimator, &device))
    };
    devices().into_iter().map(load).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_batch_equals_its_images_one_by_one(
        batch in 1..5usize, height in 1..24usize, width in 1..40usize, seed in any::<u64>(),
    ) {
        for (name, enhancer) in enhancers() {
            let images = image(seed, [batch, 3, height, width], enhancer.device());
            let together = enhancer.forward(images.clone());
            let alone: Vec<_> = (0..batch)
                .map(|n| enhancer.forward(images.clone().narrow(0, n, 1)))
                .collect();
            let illumination = Tensor::cat(alone.iter().map(|a| a.illumination.clone()).collect(), 0);
            let reflectance = Tensor::cat(alone.iter().map(|a| a.reflectance.clone()).collect(), 0);
            prop_assert!(largest_difference(together.illumination, illumination) < 1e-6, "{}", name);
            prop_assert!(largest_difference(together.reflectance, reflectance) < 1e-6, "{}", name);
        }
    }

    #[test]
    fn a_tile_with_three_pixels_of_border_equals_the_whole(
        height in 1..32usize, width in 1..40usize, seed in any::<u64>(),
        corner in any::<[prop::sample::Index; 2]>(), size in any::<[prop::sample::Index; 2]>(),
    ) {
        let [top, left] = [corner[0].index(height), corner[1].index(width)];
        let bottom = top + 1 + size[0].index(height - top);
        let right = left + 1 + size[1].index(width - left);
        // With the border, as far as the image reaches.
        let [outer_top, outer_left] = [top.saturating_sub(BORDER), left.saturating_sub(BORDER)];
        let [outer_bottom, outer_right] =
            [(bottom + BORDER).min(height), (right + BORDER).min(width)];
        for (name, enhancer) in enhancers() {
            let whole = image(seed, [1, 3, height, width], enhancer.device());
            let tile = whole
                .clone()
                .slice([0..1, 0..3, outer_top..outer_bottom, outer_left..outer_right]);
            let expected =
                enhancer.forward(whole).reflectance.slice([0..1, 0..3, top..bottom, left..right]);
            let found = enhancer.forward(tile).reflectance.slice([
                0..1,
                0..3,
                top - outer_top..bottom - outer_top,
                left - outer_left..right - outer_left,
            ]);
            prop_assert!(largest_difference(found, expected) < 1e-6, "{}", name);
        }
    }
}

/// A server has one enhancer for all of its requests. `SCI_SOAK_TURNS` is how many pictures each thread enhances.
#[test]
fn threads_that_share_an_enhancer_do_not_disturb_each_other() {
    let turns = std::env::var("SCI_SOAK_TURNS").map_or(24, |text| text.parse().unwrap());
    for (name, enhancer) in enhancers() {
        let enhancer = enhancer.recommended();
        let photos: Vec<DynamicImage> = (0..8)
            .map(|n| noise::<Rgb<u8>>(40 + 37 * n, 90 - 11 * n, n, 40 + 9 * n).into())
            .collect();
        let expected: Vec<_> =
            photos.iter().map(|photo| enhancer.enhance(photo).unwrap()).collect();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (enhancer, photos, expected) = (&enhancer, &photos, &expected);
                scope.spawn(move || {
                    for turn in 0..turns {
                        // Now the same one at the same time, now different ones.
                        let n = (turn + thread % 4) % photos.len();
                        assert_eq!(enhancer.enhance(&photos[n]).unwrap(), expected[n], "{name}");
                    }
                });
            }
        });
    }
}
