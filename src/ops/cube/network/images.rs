//! How images are divided among workgroups.

use super::convolution::{Convolution, SizeLaunch, TILE};
use super::weights::REGION;
use burn_cubecl::cubecl::prelude::CubeCount;
use burn_cubecl::tensor::CubeTensor;

/// The images that a network is applied to.
#[derive(Clone, Copy)]
pub(super) struct Images {
    pub(super) batch: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Images {
    pub(super) fn of(image: &CubeTensor) -> Self {
        let [batch, _, height, width] = image.meta.shape().dims();
        Self { batch, height, width }
    }

    pub(super) fn pixels(self) -> usize {
        self.batch * self.height * self.width
    }

    pub(super) fn launch(self) -> SizeLaunch {
        SizeLaunch::new(self.batch, self.height as i32, self.width as i32)
    }

    /// Rectangles of so many rows and columns side by side, and below each other.
    pub(super) fn divided(self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        [self.width.div_ceil(columns), self.height.div_ceil(rows)]
    }

    /// A convolution's tiles in all images.
    pub(super) fn tiles(self) -> usize {
        let [across, down] = self.divided(TILE);
        across * down * self.batch
    }

    /// The workgroups of a convolution.
    pub(super) fn workgroups(self, conv: Convolution) -> CubeCount {
        let [across, down] = self.divided(TILE);
        let deep = self.batch * conv.parts();
        CubeCount::Static(across as u32, down as u32, deep as u32)
    }

    /// The regions of all images for a convolution's weights.
    pub(super) fn regions(self) -> usize {
        let [across, down] = self.divided(REGION);
        across * down * self.batch
    }
}
