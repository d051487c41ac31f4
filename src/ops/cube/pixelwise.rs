//! Operations on each value of images by itself, with their gradients: a unit for each value.

use super::estimate::clamp;
use burn_cubecl::cubecl::{self, prelude::*};

/// Units of a workgroup.
pub(super) const WORKERS: usize = 128;

/// Two tensors of one shape, multiplied by a number.
#[cube(launch_unchecked)]
pub(super) fn scale_both(
    first: &[f32],
    second: &[f32],
    factor: &[f32],
    to_first: &mut [f32],
    to_second: &mut [f32],
) {
    let at = CUBE_POS * WORKERS + UNIT_POS as usize;
    if at < to_first.len() {
        to_first[at] = first[at] * factor[0];
        to_second[at] = second[at] * factor[0];
    }
}

/// `clamp(image / illumination, 0, 1)`
#[cube(launch_unchecked)]
pub(super) fn reflectance(image: &[f32], illumination: &[f32], result: &mut [f32]) {
    let at = CUBE_POS * WORKERS + UNIT_POS as usize;
    if at < result.len() {
        result[at] = clamp(image[at] / illumination[at], 0.0f32);
    }
}

/// The gradients of [`reflectance`] with respect to image and illumination.
#[cube(launch_unchecked)]
pub(super) fn reflectance_gradients(
    image: &[f32],
    illumination: &[f32],
    gradient: &[f32],
    of_image: &mut [f32],
    of_illumination: &mut [f32],
) {
    let at = CUBE_POS * WORKERS + UNIT_POS as usize;
    if at < of_image.len() {
        let quotient = image[at] / illumination[at];
        let passed = gradient[at] / illumination[at];
        of_image[at] = unless_cut_off(quotient, passed);
        of_illumination[at] = unless_cut_off(quotient, -passed * quotient);
    }
}

/// A gradient, or 0 where the value is cut off.
#[cube]
fn unless_cut_off(value: f32, gradient: f32) -> f32 {
    select(value < 0.0, 0.0f32, select(value > 1.0, 0.0f32, gradient))
}
