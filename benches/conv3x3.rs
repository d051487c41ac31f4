//! Times the 3×3 convolution of the calibrator, 16 to 16 channels at 600×400:
//! `conv3x3/<backend>/forward` and `conv3x3/<backend>/forward_backward`, with `/threads-1` on a single
//! thread of a CPU, and `/plain` without this crate's kernels on a GPU. There
//! Burn's operations are at their best with the feature `autotune`.

mod common;

use burn::tensor::{Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use sci_burn::model::SelfCalibratorConfig;
use sci_burn::{device_names, open_device};

fn conv3x3(criterion: &mut Criterion) {
    for name in device_names() {
        let Ok(device) = open_device(name) else { continue };
        let mut group = criterion.benchmark_group(format!("conv3x3/{name}"));
        group.sample_size(10);
        for (id, device) in [("forward", device.clone()), ("forward_backward", device.autodiff())] {
            let conv = SelfCalibratorConfig::new().init(&device).unwrap().block_conv_1;
            let range = Distribution::Uniform(-1.0, 1.0);
            let image: Tensor<4> = Tensor::random([1, 16, 400, 600], range, &device);
            // The gradient with respect to the result.
            let gradient: Tensor<4> = Tensor::random([1, 16, 400, 600], range, &device);
            common::on_device(name, &mut group, id, &mut || {
                let result = if id == "forward" {
                    conv.forward(image.clone())
                } else {
                    let image = image.clone().require_grad();
                    let loss = (conv.forward(image.clone()) * gradient.clone()).sum();
                    image.grad(&loss.backward()).unwrap()
                };
                device.sync().unwrap();
                result
            });
        }
    }
}

criterion_group!(benches, conv3x3);
criterion_main!(benches);
