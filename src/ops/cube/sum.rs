//! Sums over the units of a workgroup.

use burn_cubecl::cubecl::{self, prelude::*};

/// The sum of a value of each of so many units, in all of them. The order is always the same. `shared` has room
/// for as many values, and is free to be used again after another `sync_cube`.
#[cube]
pub(super) fn add_up(shared: &mut [f32], value: f32, #[comptime] units: usize) -> f32 {
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(units.next_power_of_two().ilog2() as usize) {
        let half = comptime!(units.next_power_of_two() >> (step + 1));
        if unit < half && unit + half < units {
            let sum = shared[unit] + shared[unit + half];
            shared[unit] = sum;
        }
        sync_cube();
    }
    shared[0]
}
