//! How many kernels a GPU is given: counted by the runtime, which logs every launch. A program of its own, since
//! the log is set up once in a process.

mod common;

use burn::tensor::{Device, Tensor};
use burn_cubecl::cubecl::config::profiling::ProfilingLogLevel;
use burn_cubecl::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use sci_burn::loss::{SciLossConfig, SmoothnessLossConfig};
use sci_burn::model::SciCascadeConfig;
use sci_burn::train::{Batch, OptimizerConfig};
use sci_burn::{Denoise, Enhancer, Exposure, Tone};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The kernels that some work launches, by name.
fn launches(log: &Path, device: &Device, work: impl FnOnce()) -> Vec<String> {
    // The log is written by a thread of its own: it is done when nothing comes any more.
    let settled = || {
        device.sync().unwrap();
        let mut text = String::new();
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let next = std::fs::read_to_string(log).unwrap_or_default();
            if next == text {
                return next;
            }
            text = next;
        }
    };
    let before = settled().len();
    work();
    settled()[before..].lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

#[test]
fn launches_are_few() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("launches");
    let mut config = CubeClRuntimeConfig::default();
    config.profiling.logger.level = ProfilingLogLevel::Minimal;
    config.profiling.logger.file = Some(log.clone());
    CubeClRuntimeConfig::set(config);

    let device = sci_burn::open_device("wgpu").unwrap();
    let count = |name: &str, work: &mut dyn FnMut()| {
        // Programs are compiled, buffers allocated.
        work();
        let kernels = launches(&log, &device, work);
        println!("{name}: {} launches", kernels.len());
        let mut counts = BTreeMap::<_, usize>::new();
        for kernel in &kernels {
            let name = kernel.trim_start_matches("Executing ").split('_').next().unwrap();
            *counts.entry(name).or_default() += 1;
        }
        println!("{counts:#?}");
        kernels
    };

    let enhancer = Enhancer::from_file(common::fixture("weights/cascade.pt"), &device).unwrap();
    let image = common::image(1, [1, 3, 40, 50], &device);
    let kernels = count("enhance, tensors", &mut || {
        _ = enhancer.forward(image.clone()).reflectance.into_data();
    });
    assert_eq!(kernels.len(), 1, "{kernels:#?}");

    let dark = common::noise::<sci_burn::image::Rgb<u8>>(50, 40, 1, 60).into();
    let kernels = count("enhance, bytes", &mut || _ = enhancer.enhance(&dark).unwrap());
    assert_eq!(kernels.len(), 1, "{kernels:#?}");

    let tone = Exposure::Manual(Tone { strength: 1.0, gamma: 1.5 });
    let filtering =
        enhancer.clone().with_exposure(tone).unwrap().with_denoise(Denoise::Auto).unwrap();
    let kernels = count("enhance and filter, bytes", &mut || _ = filtering.enhance(&dark).unwrap());
    assert_eq!(kernels.len(), 2, "{kernels:#?}");

    let recommended = enhancer.recommended();
    let kernels = count("recommended, bytes", &mut || _ = recommended.enhance(&dark).unwrap());
    assert_eq!(kernels.len(), 3, "{kernels:#?}");

    let training = device.clone().autodiff();
    let loss = SciLossConfig::new().init().unwrap();
    let smoothness = SmoothnessLossConfig::new().init().unwrap();
    let [input, illumination] = [2, 3].map(|seed| common::image(seed, [1, 3, 40, 50], &training));
    let kernels = count("smoothness loss, forward and backward", &mut || {
        let [input, light] = [&input, &illumination].map(|image| image.clone().require_grad());
        let gradients = smoothness.forward(input.clone(), light.clone()).backward();
        let read = |image: Tensor<4>| image.grad(&gradients).unwrap().into_data();
        _ = (read(input), read(light));
    });
    // Two are the loss, a third multiplies its gradients with that of the loss itself, a 1, which Burn fills in.
    let own = kernels.iter().filter(|name| name.contains("Tiles_") || name.contains("Finish_"));
    assert_eq!(own.count(), 2, "{kernels:#?}");
    assert!(kernels.len() <= 5, "{kernels:#?}");

    let cascade = SciCascadeConfig::new().init(&training).unwrap();
    let mut learner = OptimizerConfig::new().learner(cascade, loss).unwrap();
    let image = common::image(4, [1, 3, 40, 50], &training);
    let mut step = || {
        let output = learner.train_step(Batch::new(image.clone()));
        learner.lr_step();
        learner.optimizer_step(output.grads);
    };
    // What fusion does with the first steps it does otherwise with the next.
    (0..3).for_each(|_| step());
    let kernels = count("training step", &mut step);
    // Without this crate's kernels it is more than 2000. It is below 150, with some room for what Burn's fusion does
    // otherwise from time to time.
    assert!(kernels.len() <= 160, "{} {kernels:#?}", kernels.len());
}
