//! Times one optimizer step of the published trainings, three stages: `train_step/<backend>/600x400` is SCI's,
//! `train_step/<backend>/scipp-estimator/600x400` and `…/scipp-calibrator/600x400` are the two of SCI++; `…/480x320` and
//! `…/batch-8/160x120` are SCI's for as many pixels in one photograph and in eight crops. With
//! `/threads-1` on a single thread of a CPU, and `/plain` without this crate's kernels on a GPU. There
//! Burn's operations are at their best with the feature `autotune`.

mod common;

use burn::tensor::{Device, Distribution, Tensor};
use burn::train::Learner;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use sci_burn::loss::SciLossConfig;
use sci_burn::model::{Method, SciCascadeConfig, SciPlusPlusCascadeConfig};
use sci_burn::train::{AlternationConfig, Batch, Trainable, Training, TrainingConfig};
use sci_burn::{device_names, open_device};

fn train_step(criterion: &mut Criterion) {
    let loss = || SciLossConfig::new().init().unwrap();
    let optimizer = |method| TrainingConfig::new("".into()).with_method(method).optimizer;
    for name in device_names() {
        let Ok(device) = open_device(name) else { continue };
        let device = device.autodiff();
        let mut group = criterion.benchmark_group(format!("train_step/{name}"));
        group.sample_size(10);
        let cascade = SciCascadeConfig::new().init(&device).unwrap();
        let mut learner = optimizer(Method::Sci).learner(cascade, loss()).unwrap();
        for (id, shape) in [
            ("600x400", [1, 3, 400, 600]),
            ("480x320", [1, 3, 320, 480]),
            ("batch-8/160x120", [8, 3, 120, 160]),
        ] {
            time(name, &mut group, id, &mut learner, 1, shape, &device);
        }
        // By their numbers the first step trains the estimator and the seventh the calibrator.
        for (id, iteration) in [("scipp-estimator/600x400", 1), ("scipp-calibrator/600x400", 7)] {
            let cascade = SciPlusPlusCascadeConfig::new().init(&device).unwrap();
            let alternation = AlternationConfig::new().init(loss()).unwrap();
            let optimizer = optimizer(Method::SciPlusPlus);
            let mut learner = optimizer.learner(cascade, alternation).unwrap();
            time(name, &mut group, id, &mut learner, iteration, [1, 3, 400, 600], &device);
        }
    }
}

fn time<N: Trainable>(
    name: &str,
    group: &mut BenchmarkGroup<WallTime>,
    id: &str,
    learner: &mut Learner<Training<N>>,
    iteration: usize,
    shape: [usize; 4],
    device: &Device,
) {
    let image = Tensor::random(shape, Distribution::Uniform(0.0, 0.3), device);
    let batch = Batch::new(image).with_iteration(iteration);
    let mut step = || {
        let output = learner.train_step(batch.clone());
        learner.lr_step();
        learner.optimizer_step(output.grads);
        device.sync().unwrap();
    };
    common::on_device(name, group, id, &mut step);
}

criterion_group!(benches, train_step);
criterion_main!(benches);
