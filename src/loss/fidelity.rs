use super::mean;
use burn::tensor::Tensor;

/// The mean squared difference between illumination and stage input (`L_f`, equation 6 of the first paper).
///
/// # Shapes
/// - `input`, `illumination`: `[batch, 3, height, width]`
/// - output: `[1]`
///
/// # Panics
/// If the two shapes differ.
pub fn fidelity(input: Tensor<4>, illumination: Tensor<4>) -> Tensor<1> {
    assert_eq!(input.dims(), illumination.dims(), "fidelity: the shapes differ");
    mean((illumination - input).square())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    /// Burn would repeat the one image.
    #[test]
    #[should_panic(expected = "fidelity: the shapes differ")]
    fn one_illumination_for_two_images_panics() {
        let ones = |batch| Tensor::ones([batch, 3, 4, 5], &Device::flex());
        fidelity(ones(2), ones(1));
    }

    #[test]
    fn the_fidelity_of_a_large_picture_does_not_depend_on_threads() {
        let random = || {
            let range = Distribution::Uniform(0.0, 1.0);
            Tensor::<4>::random([1, 3, 1300, 1300], range, &Device::flex())
        };
        let (input, light) = (random(), random());
        let [one, two, five] = [1, 2, 5].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fidelity(input.clone(), light.clone()).into_scalar::<f32>())
        });
        assert!(one == two && one == five, "{one} {two} {five}");
    }
}
