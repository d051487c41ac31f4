//! The launches of training.

use super::buffers::{empty, like, linear, part, words};
use super::limits::workgroup;
use super::loss::{self, Constants};
use super::pack;
use super::pixelwise;
use crate::ops::Weighting;
use crate::ops::packed::{MOST_PACKED, padded};
use burn::backend::Shape;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use std::ops::Range;

/// The loss and its terms; with gradients with respect to input and illumination, if they are wanted.
pub(crate) fn loss(
    input: CubeTensor,
    illumination: CubeTensor,
    weighting: Weighting,
    gradients: bool,
) -> ([CubeTensor; 2], Option<[CubeTensor; 2]>) {
    let [input, illumination] = [input, illumination].map(into_contiguous);
    let client = input.client.clone();
    let [batch, _, height, width] = input.meta.shape().dims();
    let [rows, columns] = loss::TILE;
    let count = [width.div_ceil(columns), height.div_ceil(rows), batch];
    let constants = Constants::new(weighting);
    let (loss, terms) = (empty(&input, [1]), empty(&input, [2]));
    let losses = client.empty(2 * count.iter().product::<usize>() * size_of::<f32>());
    let slope = 2.0 * weighting.fidelity / (3 * batch * height * width) as f32;
    // A kernel needs something in the place of what it does not touch.
    let nothing = || empty(&input, [1]);
    let (input_gradient, light_gradient) = match gradients {
        true => (like(&input), like(&input)),
        false => (nothing(), nothing()),
    };
    let converted = gradients && !constants.per_pixel;
    let color_gradient = if converted { like(&input) } else { nothing() };
    let first_gradient = if converted { &color_gradient } else { &input_gradient };
    let [x, y, z] = count.map(|count| count as u32);
    // SAFETY: the kernel keeps to pixels of the images, of which the gradients have as many, and there is a loss
    // for each workgroup.
    unsafe {
        loss::tiles::launch_unchecked(
            &client,
            CubeCount::Static(x, y, z),
            workgroup(loss::WORKERS, loss::FLOATS),
            words(&input.handle),
            words(&illumination.handle),
            words(&losses),
            words(&first_gradient.handle),
            words(&light_gradient.handle),
            batch as i32,
            height as i32,
            width as i32,
            (-0.5 / (weighting.sigma * weighting.sigma)) as f32,
            slope,
            constants,
            gradients,
        );
    }
    let triples = if converted { batch * height * width } else { 0 };
    let target = if converted { input_gradient.handle.clone() } else { nothing().handle };
    // SAFETY: a unit with a triple has it in both gradients; they are checked by the length of the target.
    unsafe {
        loss::finish::launch_unchecked(
            &client,
            linear(1 + triples.div_ceil(loss::ADDERS)),
            workgroup(loss::ADDERS, loss::ADDERS),
            words(&losses),
            words(&input.handle),
            words(&illumination.handle),
            words(&color_gradient.handle),
            words(&loss.handle),
            words(&terms.handle),
            words(&target),
            weighting.fidelity,
            slope,
            constants,
        );
    }
    ([loss, terms], gradients.then_some([input_gradient, light_gradient]))
}

/// Enough workgroups for operations on each of a tensor's values by itself.
fn pixelwise(tensor: &CubeTensor) -> CubeCount {
    linear(tensor.meta.shape().num_elements().div_ceil(pixelwise::WORKERS))
}

/// Two tensors of one shape, multiplied by a number.
pub(crate) fn scale_both(tensors: [CubeTensor; 2], factor: CubeTensor) -> [CubeTensor; 2] {
    let ([first, second], factor) = (tensors.map(into_contiguous), into_contiguous(factor));
    let scaled = [&first, &second].map(like);
    // SAFETY: all have as many values, of which a unit that has none does nothing.
    unsafe {
        pixelwise::scale_both::launch_unchecked(
            &first.client,
            pixelwise(&first),
            workgroup(pixelwise::WORKERS, 0),
            words(&first.handle),
            words(&second.handle),
            words(&factor.handle),
            words(&scaled[0].handle),
            words(&scaled[1].handle),
        );
    }
    scaled
}

/// See [`ReflectanceOps`](crate::ops::ReflectanceOps).
pub(crate) fn reflectance(image: CubeTensor, illumination: CubeTensor) -> CubeTensor {
    let [image, illumination] = [image, illumination].map(into_contiguous);
    let result = like(&image);
    // SAFETY: all have as many values, of which a unit that has none does nothing.
    unsafe {
        pixelwise::reflectance::launch_unchecked(
            &image.client,
            pixelwise(&image),
            workgroup(pixelwise::WORKERS, 0),
            words(&image.handle),
            words(&illumination.handle),
            words(&result.handle),
        );
    }
    result
}

/// The gradients with respect to image and illumination.
pub(crate) fn reflectance_gradients(
    image: CubeTensor,
    illumination: CubeTensor,
    gradient: CubeTensor,
) -> [CubeTensor; 2] {
    let [image, illumination, gradient] = [image, illumination, gradient].map(into_contiguous);
    let gradients = [&image, &illumination].map(like);
    // SAFETY: all have as many values, of which a unit that has none does nothing.
    unsafe {
        pixelwise::reflectance_gradients::launch_unchecked(
            &image.client,
            pixelwise(&image),
            workgroup(pixelwise::WORKERS, 0),
            words(&image.handle),
            words(&illumination.handle),
            words(&gradient.handle),
            words(&gradients[0].handle),
            words(&gradients[1].handle),
        );
    }
    gradients
}

/// The first `count` tensors in one vector. See [`PackOps`](crate::ops::PackOps).
pub(crate) fn pack(tensors: [CubeTensor; MOST_PACKED], count: usize) -> CubeTensor {
    let tensors: Vec<_> = tensors.into_iter().take(count).map(into_contiguous).collect();
    let counts = tensors.iter().map(|tensor| padded(tensor.meta.shape().num_elements()));
    let total = counts.sum();
    let target = empty(&tensors[0], [total]);
    // SAFETY: the kernel keeps to the sources' lengths, and the target has room for all of them.
    unsafe {
        pack::pack::launch_unchecked(
            &target.client,
            linear(total.div_ceil(pack::WORKERS)),
            workgroup(pack::WORKERS, 0),
            tensors.iter().map(|tensor| words(&tensor.handle)).collect(),
            words(&target.handle),
        );
    }
    target
}

/// Views of the parts of a vector. See [`UnpackOps`](crate::ops::UnpackOps).
pub(crate) fn unpack(
    packed: CubeTensor,
    places: [Range<usize>; MOST_PACKED],
) -> [CubeTensor; MOST_PACKED] {
    let packed = into_contiguous(packed);
    places.map(|place| {
        let (client, device) = (packed.client.clone(), packed.device.clone());
        let handle = part(&packed.handle, &place);
        CubeTensor::new_contiguous(client, device, Shape::new([place.len()]), handle, packed.dtype)
    })
}
