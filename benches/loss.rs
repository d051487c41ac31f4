//! Times the training loss of one stage: forward and backward as in training
//! (`loss/<backend>/600x400`), and forward alone as in validation (`loss/<backend>/600x400/forward`);
//! with `/threads-1` on a single
//! thread of a CPU, and `/plain` without this crate's kernels on a GPU. There
//! Burn's operations are at their best with the feature `autotune`.

mod common;

use burn::tensor::{Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use sci_burn::loss::SciLossConfig;
use sci_burn::{device_names, open_device};

fn loss(criterion: &mut Criterion) {
    let loss = SciLossConfig::new().init().unwrap();
    for name in device_names() {
        let Ok(device) = open_device(name) else { continue };
        let device = device.autodiff();
        let random = || Tensor::random([1, 3, 400, 600], Distribution::Uniform(0.0, 1.0), &device);
        let (input, illumination) = (random(), random());
        let mut group = criterion.benchmark_group(format!("loss/{name}"));
        group.sample_size(10);
        let alone = [input.clone().inner(), illumination.clone().inner()];
        common::on_device(name, &mut group, "600x400/forward", &mut || {
            let [input, illumination] = alone.clone();
            loss.forward(input, illumination).into_scalar::<f32>()
        });
        common::on_device(name, &mut group, "600x400", &mut || {
            let input: Tensor<4> = input.clone().require_grad();
            let illumination = illumination.clone().require_grad();
            let gradients = loss.forward(input.clone(), illumination.clone()).backward();
            let both = (input.grad(&gradients), illumination.grad(&gradients));
            device.sync().unwrap();
            both
        });
    }
}

criterion_group!(benches, loss);
criterion_main!(benches);
