//! What a network makes of its last convolution's result and of its image, and the gradients of that.

use super::super::estimate::clamp;
use crate::ops::network::Output;
use burn_cubecl::cubecl::{self, prelude::*};

/// An [`Output`] that is more than the convolution's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    Sum,
    MinusSigmoid,
    ClampedSigmoid,
}

impl Form {
    pub(super) fn of(output: Output) -> Option<Self> {
        match output {
            Output::Conv => None,
            Output::Sum => Some(Self::Sum),
            Output::MinusSigmoid => Some(Self::MinusSigmoid),
            Output::ClampedSigmoid { .. } => Some(Self::ClampedSigmoid),
        }
    }
}

/// The least value of an output, if it has one.
pub(super) fn least(output: Output) -> f32 {
    match output {
        Output::ClampedSigmoid { least } => least,
        _ => 0.0,
    }
}

/// A network's output for the image's value and the convolution's.
#[cube]
pub(super) fn finish(image: f32, result: f32, least: f32, #[comptime] form: Form) -> f32 {
    if comptime!(form == Form::Sum) {
        image + result
    } else if comptime!(form == Form::MinusSigmoid) {
        image - sigmoid(result)
    } else {
        clamp(image + sigmoid(result), least)
    }
}

/// Units of a workgroup.
pub(super) const WORKERS: usize = 128;

/// The gradients with respect to the convolution's result and to the image, as far as it does not come through the
/// network, where it is wanted.
#[cube(launch_unchecked)]
pub(super) fn gradients(
    image: &[f32],
    result: &[f32],
    gradient: &[f32],
    of_result: &mut [f32],
    of_image: &mut [f32],
    least: f32,
    #[comptime] form: Form,
    #[comptime] wants_image: bool,
) {
    let at = CUBE_POS * WORKERS + UNIT_POS as usize;
    if at < of_result.len() {
        let mut direct = gradient[at];
        if comptime!(form == Form::Sum) {
            of_result[at] = direct;
        } else {
            let sigmoid = sigmoid(result[at]);
            if comptime!(form == Form::MinusSigmoid) {
                of_result[at] = direct * sigmoid * (sigmoid - 1.0);
            } else {
                let sum = image[at] + sigmoid;
                direct = select(sum < least || sum > 1.0, 0.0f32, direct);
                of_result[at] = direct * sigmoid * (1.0f32 - sigmoid);
            }
        }
        if comptime!(wants_image) {
            of_image[at] = direct;
        }
    }
}

#[cube]
fn sigmoid(value: f32) -> f32 {
    1.0f32 / (1.0f32 + f32::exp(-value))
}
