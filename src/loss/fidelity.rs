use burn::tensor::Tensor;

/// The mean squared difference between illumination and stage input (the paper's `L_f`, equation 6).
///
/// # Shapes
/// - `input`, `illumination`: `[batch, 3, height, width]`
/// - output: `[1]`
///
/// # Panics
/// If the two shapes differ.
pub fn fidelity(input: Tensor<4>, illumination: Tensor<4>) -> Tensor<1> {
    // Row by row first: backends add up large tensors in an order that depends on the threads.
    (illumination - input).square().mean_dim(3).mean()
}
