//! Sums over all pixels of a channel: each workgroup gives those of its tile, and the next launch joins them, always in
//! the same order. Strips are joined to tiles by one unit, tiles by several, the lanes, and these by one.

use super::super::tile::Row;
use super::convolution::{
    Convolution, MOMENTS, ROWS, STRIPS, Size, Strip, ones, row_sum, tile_index,
};
use crate::ops::packed::ALIGNMENT;
use burn_cubecl::cubecl::{self, prelude::*};

/// Number, mean, and sum of the squared distances from the mean.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Moments {
    pub(super) count: f32,
    pub(super) mean: f32,
    squares: f32,
}

#[cube]
impl Moments {
    fn none() -> Moments {
        Moments { count: 0.0f32, mean: 0.0f32, squares: 0.0f32 }
    }

    fn load(values: &[f32], at: usize) -> Moments {
        Moments { count: values[at], mean: values[at + 1], squares: values[at + 2] }
    }

    fn store(&self, values: &mut [f32], at: usize) {
        values[at] = self.count;
        values[at + 1] = self.mean;
        values[at + 2] = self.squares;
    }

    /// Becomes that of both together (Chan et al., 1979).
    fn join(&mut self, other: &Moments) {
        let count = self.count + other.count;
        let share = other.count / f32::max(count, 1.0f32);
        let distance = other.mean - self.mean;
        self.mean += distance * share;
        self.squares += other.squares + distance * distance * self.count * share;
        self.count = count;
    }

    /// Biased.
    pub(super) fn variance(&self) -> f32 {
        self.squares / self.count
    }
}

/// The moments of this workgroup's tile, `[outputs, tiles, 3]`, of the values of all units' strips. Needs all units.
#[cube]
pub(super) fn measure(
    sums: &Array<Row>,
    shared: &mut [f32],
    moments: &mut [f32],
    strip: &Strip,
    size: &Size,
    tiles: usize,
    #[comptime] kernel: Convolution,
) {
    let group = comptime!(kernel.group());
    sync_cube();
    let mut count = Row::new(0.0f32);
    #[unroll]
    for y in 0..ROWS {
        count += ones(strip, size, y);
    }
    let count = row_sum(count);
    #[unroll]
    for o in 0..group {
        let mut sum = Row::new(0.0f32);
        #[unroll]
        for y in 0..ROWS {
            sum += sums[comptime!(o * ROWS + y)] * ones(strip, size, y);
        }
        let mean = row_sum(sum) / f32::max(count, 1.0f32);
        let mut squares = Row::new(0.0f32);
        #[unroll]
        for y in 0..ROWS {
            let distance = (sums[comptime!(o * ROWS + y)] - Row::new(mean)) * ones(strip, size, y);
            squares += distance * distance;
        }
        let to = ((strip.own + o) * STRIPS + strip.index) * MOMENTS;
        Moments { count, mean, squares: row_sum(squares) }.store(shared, to);
    }
    sync_cube();
    let own = UNIT_POS as usize;
    let output = strip.first_output + own;
    if own < comptime!(kernel.workgroup_outputs()) && output < comptime!(kernel.outputs) {
        let mut all = Moments::none();
        for index in 0..STRIPS {
            all.join(&Moments::load(&*shared, (own * STRIPS + index) * MOMENTS));
        }
        all.store(moments, (output * tiles + tile_index(strip)) * MOMENTS);
    }
}

/// The moments of all tiles of an input plane, by the lane of this unit. To be followed by a `sync_cube` and
/// [`join_lanes`].
#[cube]
pub(super) fn join_tiles(
    moments: &[f32],
    shared: &mut [f32],
    first: usize,
    planes: usize,
    tiles: usize,
    #[comptime] kernel: Convolution,
) {
    let lanes = comptime!(kernel.lanes());
    let (plane, lane) = (UNIT_POS as usize / lanes, UNIT_POS as usize % lanes);
    if plane < planes {
        let mut all = Moments::none();
        for tile in range_stepped(lane, tiles, lanes) {
            let from = ((first + plane) * tiles + tile) * MOMENTS;
            all.join(&Moments::load(moments, from));
        }
        all.store(shared, UNIT_POS as usize * MOMENTS);
    }
}

#[cube]
pub(super) fn join_lanes(shared: &[f32], plane: usize, #[comptime] kernel: Convolution) -> Moments {
    let lanes = comptime!(kernel.lanes());
    let mut all = Moments::none();
    for lane in 0..lanes {
        all.join(&Moments::load(shared, (plane * lanes + lane) * MOMENTS));
    }
    all
}

/// Floats of [`Passed`].
pub(super) const PASSED: usize = 2;

/// Where a channel's sums of the tiles begin. Between channels there is room, so that a view may begin at any of them.
#[cube]
pub(super) fn passed_start(channel: usize, tiles: usize) -> usize {
    channel * tiles.div_ceil(ALIGNMENT) * ALIGNMENT * PASSED
}

/// The sums of the gradient that passes a ReLU, and of its product with the normalized value.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Passed {
    pub(super) sum: f32,
    pub(super) product: f32,
}

#[cube]
impl Passed {
    fn none() -> Passed {
        Passed { sum: 0.0f32, product: 0.0f32 }
    }

    fn load(values: &[f32], at: usize) -> Passed {
        Passed { sum: values[at], product: values[at + 1] }
    }

    pub(super) fn store(&self, values: &mut [f32], at: usize) {
        values[at] = self.sum;
        values[at + 1] = self.product;
    }

    fn join(&mut self, other: &Passed) {
        self.sum += other.sum;
        self.product += other.product;
    }
}

/// As [`measure`]: what units have in the workgroup's memory, `[outputs, strips, 2]`, becomes the sums of this tile,
/// `[outputs, tiles, 2]`. After a `sync_cube`.
#[cube]
pub(super) fn add_strips(
    shared: &[f32],
    passed: &mut [f32],
    strip: &Strip,
    tiles: usize,
    #[comptime] kernel: Convolution,
) {
    let own = UNIT_POS as usize;
    let output = strip.first_output + own;
    if own < comptime!(kernel.workgroup_outputs()) && output < comptime!(kernel.outputs) {
        let mut all = Passed::none();
        for index in 0..STRIPS {
            all.join(&Passed::load(shared, (own * STRIPS + index) * PASSED));
        }
        all.store(passed, passed_start(output, tiles) + tile_index(strip) * PASSED);
    }
}

/// As [`join_tiles`].
#[cube]
pub(super) fn add_tiles(
    passed: &[f32],
    shared: &mut [f32],
    first: usize,
    planes: usize,
    tiles: usize,
    #[comptime] kernel: Convolution,
) {
    let lanes = comptime!(kernel.lanes());
    let (plane, lane) = (UNIT_POS as usize / lanes, UNIT_POS as usize % lanes);
    if plane < planes {
        let mut all = Passed::none();
        for tile in range_stepped(lane, tiles, lanes) {
            let from = passed_start(first + plane, tiles) + tile * PASSED;
            all.join(&Passed::load(passed, from));
        }
        all.store(shared, UNIT_POS as usize * PASSED);
    }
}

/// As [`join_lanes`].
#[cube]
pub(super) fn add_lanes(shared: &[f32], plane: usize, #[comptime] kernel: Convolution) -> Passed {
    let lanes = comptime!(kernel.lanes());
    let mut all = Passed::none();
    for lane in 0..lanes {
        all.join(&Passed::load(shared, (plane * lanes + lane) * PASSED));
    }
    all
}
