//! The running statistics of the normalizations.

use crate::ops::network::Running;
use burn_cubecl::cubecl::{self, prelude::*};

/// Units of a workgroup.
pub(super) const WORKERS: usize = 64;

/// Moves running statistics toward those of a batch, layer by layer. A unit for each.
#[allow(clippy::needless_range_loop, reason = "the loop is unrolled")]
#[cube(launch_unchecked)]
pub(super) fn update(
    running: &[f32],
    statistics: &[f32],
    result: &mut [f32],
    weight: f32,
    unbiased: f32,
    #[comptime] modules: Vec<Running>,
) {
    let at = CUBE_POS * WORKERS + UNIT_POS as usize;
    if at < result.len() {
        let mut value = running[at];
        #[unroll]
        for module in 0..comptime!(modules.len()) {
            let channels = comptime!(modules[module].channels);
            #[unroll]
            for part in 0..2 {
                let place = comptime!(modules[module].places[part]);
                if at >= place && at < comptime!(place + channels) {
                    let factor = if comptime!(part == 0) { weight } else { weight * unbiased };
                    #[unroll]
                    for layer in 0..comptime!(modules[module].statistics.len()) {
                        let from = comptime!(modules[module].statistics[layer] + part * channels);
                        value = value * (1.0f32 - weight) + statistics[from + at - place] * factor;
                    }
                }
            }
        }
        result[at] = value;
    }
}
