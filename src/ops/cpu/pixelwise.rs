//! Operations on each value of images by itself, with their gradients.

use rayon::prelude::*;

/// Values that a thread computes at a time.
const CHUNK: usize = 1 << 14;

/// `values · factor`
pub(crate) fn scaled(values: &[f32], factor: f32) -> Vec<f32> {
    let mut scaled = vec![0.0; values.len()];
    scaled.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(to, from)| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from * factor);
    });
    scaled
}

/// `clamp(image / illumination, 0, 1)`
pub(crate) fn reflectance(image: &[f32], illumination: &[f32]) -> Vec<f32> {
    let mut result = vec![0.0; image.len()];
    let values = image.par_chunks(CHUNK).zip(illumination.par_chunks(CHUNK));
    result.par_chunks_mut(CHUNK).zip(values).for_each(|(to, (image, illumination))| {
        for (to, (image, illumination)) in to.iter_mut().zip(image.iter().zip(illumination)) {
            // A NaN is neither too small nor too great.
            *to = (image / illumination).clamp(0.0, 1.0);
        }
    });
    result
}

/// The gradients of [`reflectance`] with respect to image and illumination.
pub(crate) fn reflectance_gradients(
    image: &[f32],
    illumination: &[f32],
    gradient: &[f32],
) -> [Vec<f32>; 2] {
    let [mut of_image, mut of_illumination] = [vec![0.0; image.len()], vec![0.0; image.len()]];
    let targets = of_image.par_chunks_mut(CHUNK).zip(of_illumination.par_chunks_mut(CHUNK));
    let chunks = |values| <[f32]>::par_chunks(values, CHUNK);
    let values = chunks(image).zip(chunks(illumination)).zip(chunks(gradient));
    targets.zip(values).for_each(|((to_image, to_illumination), ((image, light), gradient))| {
        let targets = to_image.iter_mut().zip(to_illumination);
        let values = image.iter().zip(light).zip(gradient);
        for ((to_image, to_illumination), ((image, light), gradient)) in targets.zip(values) {
            let quotient = image / light;
            if quotient.is_nan() || (0.0..=1.0).contains(&quotient) {
                *to_image = gradient / light;
                *to_illumination = -*to_image * quotient;
            }
        }
    });
    [of_image, of_illumination]
}
