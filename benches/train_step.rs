//! Times one optimizer step of the published training, batch 1, three stages:
//! `train_step/<backend>/600x400`, with `/threads-1` on a single
//! thread of a CPU, and `/plain` without this crate's kernels on a GPU.

mod common;

use burn::tensor::{Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use sci_burn::loss::SciLossConfig;
use sci_burn::model::SciCascadeConfig;
use sci_burn::train::{Batch, OptimizerConfig};
use sci_burn::{device_names, open_device};

fn train_step(criterion: &mut Criterion) {
    let loss = SciLossConfig::new().init().unwrap();
    for name in device_names() {
        let Ok(device) = open_device(name) else { continue };
        let device = device.autodiff();
        let image = Tensor::random([1, 3, 400, 600], Distribution::Uniform(0.0, 0.3), &device);
        let cascade = SciCascadeConfig::new().init(&device).unwrap();
        let mut learner = OptimizerConfig::new().learner(cascade, loss.clone()).unwrap();
        let mut step = || {
            let output = learner.train_step(Batch::new(image.clone()));
            learner.lr_step();
            learner.optimizer_step(output.grads);
            device.sync().unwrap();
        };
        let mut group = criterion.benchmark_group(format!("train_step/{name}"));
        group.sample_size(10);
        common::on_device(name, &mut group, "600x400", &mut step);
    }
}

criterion_group!(benches, train_step);
criterion_main!(benches);
