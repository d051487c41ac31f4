use crate::ops::functions;
use burn::tensor::Tensor;

/// The enhanced image `clamp(image / illumination, 0, 1)`: Retinex, equation 1 of the first paper.
///
/// # Shapes
/// - `image`, `illumination`, output: `[batch, 3, height, width]`, the output in `[0, 1]`
///
/// # Panics
/// If the two shapes differ.
pub fn reflectance(image: Tensor<4>, illumination: Tensor<4>) -> Tensor<4> {
    assert_eq!(image.dims(), illumination.dims(), "reflectance: the shapes differ");
    functions::reflectance(image, illumination)
}
