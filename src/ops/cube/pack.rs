//! Several tensors in one vector.

use crate::ops::packed::ALIGNMENT;
use burn_cubecl::cubecl::{self, prelude::*};

/// Units of a workgroup.
pub(super) const WORKERS: usize = 64;

/// Copies the sources to the target, each with zeros up to where the next one begins. A unit for each
/// value.
#[cube(launch_unchecked)]
pub(super) fn pack(sources: &Sequence<Box<[f32]>>, target: &mut [f32]) {
    let at = CUBE_POS * WORKERS + UNIT_POS as usize;
    let mut start = 0usize.runtime();
    #[unroll]
    for index in 0..sources.len() {
        let source = sources.index(index);
        let end = start + source.len().div_ceil(ALIGNMENT) * ALIGNMENT;
        if at >= start && at < end {
            let mut value = 0.0f32;
            if at - start < source.len() {
                value = source[at - start];
            }
            target[at] = value;
        }
        start = end;
    }
}
