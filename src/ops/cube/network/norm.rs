//! Batch normalization with the batch's own statistics and a ReLU, value by value.

use super::super::estimate::relu;
use burn_cubecl::cubecl::{self, prelude::*};

/// How a channel is normalized.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Norm {
    pub(super) mean: f32,
    /// `1 / √(variance + ε)`
    pub(super) rate: f32,
    pub(super) scale: f32,
    pub(super) shift: f32,
}

/// Where a layer's normalization has its numbers.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct NormPlace {
    /// Among the parameters.
    pub(super) scales: usize,
    pub(super) shifts: usize,
    /// Means, then variances, among the statistics.
    pub(super) statistics: usize,
}

#[cube]
impl Norm {
    pub(super) fn new(
        mean: f32,
        variance: f32,
        parameters: &[f32],
        place: &NormPlace,
        channel: usize,
        epsilon: f32,
    ) -> Norm {
        Norm {
            mean,
            rate: 1.0f32 / f32::sqrt(variance + epsilon),
            scale: parameters[place.scales + channel],
            shift: parameters[place.shifts + channel],
        }
    }

    /// A channel's, from its statistics.
    pub(super) fn of(
        statistics: &[f32],
        parameters: &[f32],
        place: &NormPlace,
        channel: usize,
        epsilon: f32,
        #[comptime] channels: usize,
    ) -> Norm {
        let mean = statistics[place.statistics + channel];
        let variance = statistics[place.statistics + channels + channel];
        Norm::new(mean, variance, parameters, place, channel, epsilon)
    }

    pub(super) fn load(values: &[f32], at: usize) -> Norm {
        Norm {
            mean: values[at],
            rate: values[at + 1],
            scale: values[at + 2],
            shift: values[at + 3],
        }
    }

    pub(super) fn store(&self, values: &mut [f32], at: usize) {
        values[at] = self.mean;
        values[at + 1] = self.rate;
        values[at + 2] = self.scale;
        values[at + 3] = self.shift;
    }

    /// Mean 0, variance 1.
    pub(super) fn normal(&self, value: f32) -> f32 {
        (value - self.mean) * self.rate
    }

    /// The activation of a convolution's result.
    pub(super) fn activate(&self, value: f32) -> f32 {
        relu(self.normal(value) * self.scale + self.shift)
    }

    /// What of a gradient passes the ReLU after a normal value.
    pub(super) fn pass(&self, normal: f32, gradient: f32) -> f32 {
        // In the same order as in `activate`, so that both cut the same values off.
        select(normal * self.scale + self.shift <= 0.0, 0.0f32, gradient)
    }
}
