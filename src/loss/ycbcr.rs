use crate::ops::plain::convert_colors;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Which three values are converted to YCbCr together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum YcbcrLayout {
    /// Three neighbors in the memory of the `[batch, 3, height, width]` tensor, which are samples
    /// of one channel. A mistake in the authors' code, with which the published weights were trained.
    #[default]
    Reference,
    /// Red, green and blue of one pixel.
    PerPixel,
}

/// One row for each of R, G and B; one column for each of Y, Cb and Cr.
pub(crate) const MATRIX: [[f32; 3]; 3] =
    [[0.257, -0.148, 0.439], [0.564, -0.291, -0.368], [0.098, 0.439, -0.071]];

pub(crate) const OFFSET: [f32; 3] = [16.0 / 255.0, 128.0 / 255.0, 128.0 / 255.0];

/// An RGB image in YCbCr with studio swing.
///
/// # Shapes
/// - `image`: `[batch, 3, height, width]`, RGB in `[0, 1]`
/// - output: `[batch, 3, height, width]`, for such an image in `[16/255, 240/255]`
///
/// # Panics
/// If the image has not three channels.
#[doc(alias = "rgb2yCbCr")]
pub fn to_ycbcr(image: Tensor<4>, layout: YcbcrLayout) -> Tensor<4> {
    convert_colors(image, MATRIX, OFFSET, layout == YcbcrLayout::PerPixel)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn per_pixel_converts_each_pixel() {
        let device = Device::flex();
        // Two pixels: black and pure red.
        let image = Tensor::<4>::from_floats([[[[0.0, 1.0]], [[0.0, 0.0]], [[0.0, 0.0]]]], &device);
        let expected = [[
            [[OFFSET[0], 0.257 + OFFSET[0]]],
            [[OFFSET[1], -0.148 + OFFSET[1]]],
            [[OFFSET[2], 0.439 + OFFSET[2]]],
        ]];
        let converted = to_ycbcr(image, YcbcrLayout::PerPixel).into_data();
        converted.assert_approx_eq::<f32>(&expected.into(), Tolerance::absolute(1e-6));
    }

    #[test]
    fn reference_converts_three_neighbors_in_memory() {
        let device = Device::flex();
        // The memory is 1 0 0 | 0 0 0: its first triple spans the red and the green plane.
        let image = Tensor::<4>::from_floats([[[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]]], &device);
        let expected = [[
            [[0.257 + OFFSET[0], -0.148 + OFFSET[1]]],
            [[0.439 + OFFSET[2], OFFSET[0]]],
            [[OFFSET[1], OFFSET[2]]],
        ]];
        let converted = to_ycbcr(image, YcbcrLayout::Reference).into_data();
        converted.assert_approx_eq::<f32>(&expected.into(), Tolerance::absolute(1e-6));
    }
}
