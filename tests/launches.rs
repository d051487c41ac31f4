//! How many kernels a GPU is given: counted by the runtime, which logs every launch. A program of its own, since
//! the log is set up once in a process.

mod common;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, Learner};
use burn_cubecl::cubecl::config::compilation::CompilationLogLevel;
use burn_cubecl::cubecl::config::profiling::ProfilingLogLevel;
use burn_cubecl::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use sci_burn::loss::{SciLossConfig, SmoothnessLossConfig};
use sci_burn::model::{Method, SciCascade, SciCascadeConfig};
use sci_burn::train::{Batch, OptimizerConfig, Training};
use sci_burn::{Denoise, Enhancer, Exposure, Tone};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What a log has. It is written by a thread of its own, and done when nothing comes any more.
fn written(log: &Path, device: &Device) -> String {
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
}

/// The kernels that some work launches, by name.
fn launches(log: &Path, device: &Device, work: impl FnOnce()) -> Vec<String> {
    let before = written(log, device).len();
    work();
    written(log, device)[before..]
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn launches_are_few() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("launches");
    let mut config = CubeClRuntimeConfig::default();
    config.profiling.logger.level = ProfilingLogLevel::Minimal;
    config.profiling.logger.file = Some(log.clone());
    let programs = folder.path().join("programs");
    config.compilation.logger.level = CompilationLogLevel::Basic;
    config.compilation.logger.file = Some(programs.clone());
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

    // A network that is too large for one launch takes one for each of its seven layers, and one for the result.
    let large = common::enhancer(Method::SciPlusPlus, [5, 24], 1, &device);
    let kernels = count("a large network, bytes", &mut || _ = large.enhance(&dark).unwrap());
    assert_eq!(kernels.len(), 8, "{kernels:#?}");

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
    for own in ["Tiles_", "Finish_", "ScaleBoth_"] {
        let count = kernels.iter().filter(|name| name.contains(own)).count();
        assert_eq!(count, 1, "{own} of {kernels:#?}");
    }
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
    let several = [(); 3].map(|()| count("training step", &mut step));
    let kernels = several.iter().min_by_key(|kernels| kernels.len()).unwrap();
    // Without this crate's kernels it is more than 2000.
    assert!(kernels.len() <= 150, "{} {kernels:#?}", kernels.len());

    // Weights that a training has changed are validated by the program that there is.
    let dark = image.clone().inner();
    let compiled = || {
        let lines = written(&programs, &device);
        lines.lines().filter(|line| line.contains("enhance_planes")).count()
    };
    let validate = |learner: &Learner<Training<SciCascade>>| {
        let validation = learner.model().valid().step(Batch::new(dark.clone()));
        assert!(validation.wait().unwrap().value.luminance > 0.0);
        compiled()
    };
    let before = compiled();
    assert_eq!(validate(&learner), before + 1);
    let output = learner.train_step(Batch::new(image.clone()));
    learner.optimizer_step(output.grads);
    assert_eq!(validate(&learner), before + 1);
}
