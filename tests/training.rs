//! Whole trainings: interrupted and resumed, on one device and on two, on data that is good and bad.

mod common;

use burn::store::burn_pack;
use burn::tensor::{Bytes, DType};
use burn::train::{ExecutionStrategy, MultiDeviceOptim};
use image::{DynamicImage, Rgb, RgbImage};
use sci_burn::Error;
use sci_burn::loss::SciLossConfig;
use sci_burn::model::{IlluminationEstimatorConfig, Method, SciCascadeConfig};
use sci_burn::train::{
    AlternationConfig, Darken, EpochMetrics, FineTuningConfig, Monitor, OptimizerConfig, Run,
    SamplingConfig, TrainingConfig, TrainingEvent, fine_tune, train,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A folder of dark pictures, all different.
fn photos(count: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..count {
        picture(index).save(folder.path().join(format!("{index}.png"))).unwrap();
    }
    folder
}

fn picture(index: u32) -> DynamicImage {
    let level = |x: u32, y: u32, channel: u32| {
        let wave = (x * (index + 2) + y * (3 + channel)) % (29 + index);
        (wave * (1 + channel) / 2 + 4 + 3 * index) as u8
    };
    RgbImage::from_fn(34, 26, |x, y| Rgb([0, 1, 2].map(|channel| level(x, y, channel)))).into()
}

fn config(photos: &Path) -> TrainingConfig {
    let sampling = SamplingConfig::new().with_crop(Some([24, 20])).with_flip(true);
    TrainingConfig::new(photos.to_owned()).with_sampling(sampling).with_seed(11).with_epochs(5)
}

fn one_device() -> ExecutionStrategy {
    ExecutionStrategy::SingleDevice(common::cpu())
}

fn run(config: &TrainingConfig, run: &Run) -> sci_burn::Result<()> {
    train(config, run, one_device(), &Monitor::silent())
        .map(|trained| assert!(!trained.interrupted))
}

fn bytes(run: &Path, name: &str) -> Vec<u8> {
    std::fs::read(run.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const KILLED: &str = "SCI_TEST_KILLED";
const METHOD: &str = "SCI_TEST_METHOD";
const DEVICES: &str = "SCI_TEST_DEVICES";

/// One CPU device, or the CPU as several.
fn cpus(count: usize) -> ExecutionStrategy {
    match count {
        1 => one_device(),
        _ => {
            ExecutionStrategy::multi(vec![common::cpu(); count], MultiDeviceOptim::OptimMainDevice)
        }
    }
}

/// Not a test by itself: the process in which the next one kills a training.
#[test]
#[ignore = "is run by another test"]
fn a_training_that_dies() {
    let Some(folder) = std::env::var_os(KILLED).map(PathBuf::from) else { return };
    let steps = Mutex::new(0);
    let monitor = Monitor::new(move |event| {
        if let TrainingEvent::Step { .. } = event {
            *steps.lock().unwrap() += 1;
            if *steps.lock().unwrap() == 11 {
                // In the middle of the third epoch, with nothing put in order.
                std::process::abort();
            }
        }
        ControlFlow::Continue(())
    });
    let method = std::env::var(METHOD).unwrap().parse().unwrap();
    let devices = cpus(std::env::var(DEVICES).unwrap().parse().unwrap());
    let config = config(&folder.join("photos")).with_method(method);
    train(&config, &Run::New(folder.join("run")), devices, &monitor).unwrap();
}

#[test]
fn a_run_that_was_killed_ends_as_if_it_had_not_been() {
    for method in Method::ALL {
        // Of two numbers the sum is the same in either order, so two devices give the same bits, too.
        for devices in [1, 2] {
            kill_and_resume(method, devices);
        }
    }
}

fn kill_and_resume(method: Method, devices: usize) {
    let photos = photos(4);
    std::fs::write(photos.path().join("broken.png"), "no picture").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::rename(photos.path(), folder.path().join("photos")).unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_training_that_dies"])
        .env(KILLED, folder.path())
        .env(METHOD, method.name())
        .env(DEVICES, devices.to_string())
        .output()
        .unwrap();
    assert!(!child.status.success(), "the training ended before it was killed");

    let config = config(&folder.path().join("photos")).with_method(method);
    let killed = folder.path().join("run");
    assert!(killed.join("checkpoint/model-2.bpk").exists());
    assert!(!killed.join("model.bpk").exists());
    // As if it had died while this checkpoint was written.
    std::fs::remove_file(killed.join("checkpoint/optim-2.bpk")).unwrap();
    let whole = folder.path().join("whole");
    for run in [Run::resume(killed.clone()), Run::New(whole.clone())] {
        let trained = train(&config, &run, cpus(devices), &Monitor::silent()).unwrap();
        assert!(!trained.interrupted);
    }
    for name in ["model.safetensors", "estimator.safetensors", "metrics.csv", "config.json"] {
        // Several devices are done in any order, which the last digit of a mean may show.
        if devices > 1 && name == "metrics.csv" {
            continue;
        }
        assert_eq!(bytes(&killed, name), bytes(&whole, name), "{method}, {devices}: {name}");
    }
}

/// In SCI++ the estimator's loss does not depend on the other networks.
#[test]
fn the_estimator_of_sci_plus_plus_is_the_same_without_the_others() {
    // Three in an epoch: the third epoch trains the calibrator alone.
    let photos = photos(3);
    let folder = tempfile::tempdir().unwrap();
    let config = config(photos.path()).with_method(Method::SciPlusPlus).with_epochs(8);
    let whole = folder.path().join("whole");
    run(&config, &Run::New(whole.clone())).unwrap();
    let [alone, again] = ["alone", "again"].map(|name| folder.path().join(name));
    let config = config.with_alternation(AlternationConfig::new().with_estimator_only(true));
    run(&config, &Run::New(alone.clone())).unwrap();
    assert_eq!(bytes(&alone, "estimator.safetensors"), bytes(&whole, "estimator.safetensors"));
    for column in ["loss", "fidelity", "smoothness", "gradient_norm", "luminance", "clipped"] {
        let [alone, whole] = [&alone, &whole].map(|run| csv_texts(run, column));
        assert_eq!(alone, whole, "{column}");
        assert_eq!(alone[2].is_empty(), column != "luminance" && column != "clipped", "{column}");
    }
    let empty = |run: &Path| -> Vec<bool> {
        csv_texts(run, "calibrator_loss").iter().map(String::is_empty).collect()
    };
    assert_eq!(empty(&whole), [true, true, false, true, true, false, false, true]);
    assert_eq!(empty(&alone), [true; 8]);

    // Resumed in the middle of the turns: the epochs that no step was made in count.
    run(&config.clone().with_epochs(4), &Run::New(again.clone())).unwrap();
    run(&config, &Run::resume(again.clone())).unwrap();
    for name in ["model.safetensors", "metrics.csv"] {
        assert_eq!(bytes(&again, name), bytes(&alone, name), "{name}");
    }
}

/// Which steps are made does not depend on what can be read, and every step reports its own loss.
#[test]
fn the_turns_of_sci_plus_plus_count_photographs_that_cannot_be_read() {
    let photos = photos(4);
    let whole = std::fs::read(photos.path().join("0.png")).unwrap();
    // A header without its pixels is found out only when it is decoded.
    std::fs::write(photos.path().join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for batch_size in [1, 2] {
        let config = config(photos.path()).with_method(Method::SciPlusPlus).with_epochs(8);
        let config = config.with_batch_size(batch_size);
        let run = |name: &str, estimator_only| {
            let alternation = AlternationConfig::new().with_estimator_only(estimator_only);
            let config = config.clone().with_alternation(alternation);
            let path = folder.path().join(format!("{name}-{batch_size}"));
            let (monitor, losses) = common::collect(|event| match event {
                TrainingEvent::Step { loss, .. } => Some(loss),
                _ => None,
            });
            train(&config, &Run::New(path.clone()), one_device(), &monitor).unwrap();
            let losses = losses.lock().unwrap().clone();
            (bytes(&path, "estimator.safetensors"), losses)
        };
        let ((whole, losses), (alone, fewer)) = (run("whole", false), run("alone", true));
        assert_eq!(alone, whole, "batches of {batch_size}");
        assert!(losses.iter().all(|loss| loss.is_finite() && *loss > 0.0), "{losses:?}");
        // Those of the estimator's steps, in their order.
        let mut rest = losses.iter();
        assert!(fewer.iter().all(|loss| rest.any(|other| other == loss)), "{fewer:?} {losses:?}");
        assert!(fewer.len() < losses.len());
        assert!(losses.windows(2).all(|pair| pair[0] != pair[1]), "{losses:?}");
    }
}

/// Each step changes what its turn is about and nothing else.
#[test]
fn estimator_and_calibrator_are_trained_in_turn() {
    let photos = photos(3);
    let folder = tempfile::tempdir().unwrap();
    let config = config(photos.path()).with_method(Method::SciPlusPlus).with_epochs(4);
    let path = folder.path().join("run");
    let checkpoints = path.join("checkpoint");
    let kept = Arc::new(Mutex::new(Vec::new()));
    let kept_in = kept.clone();
    let monitor = Monitor::new(move |event| {
        // The checkpoint of the epoch before is written by now.
        if let TrainingEvent::Epoch { metrics, .. } = event
            && metrics.epoch > 1
        {
            let model = checkpoints.join(format!("model-{}.bpk", metrics.epoch - 1));
            kept_in.lock().unwrap().push(std::fs::read(model).unwrap());
        }
        ControlFlow::Continue(())
    });
    let trained = train(&config, &Run::New(path), one_device(), &monitor).unwrap();
    assert_eq!(trained.cascade.method(), Method::SciPlusPlus);
    let tensors = |bytes: &Vec<u8>| -> BTreeMap<String, Vec<u8>> {
        let reader = burn_pack::Reader::from_bytes(Bytes::from_bytes_vec(bytes.clone())).unwrap();
        let tensors = reader.into_tensors().unwrap().into_iter();
        tensors
            .map(|tensor| (tensor.name.clone(), tensor.into_parts().unwrap().4.to_vec()))
            .collect()
    };
    let kept: Vec<_> = kept.lock().unwrap().iter().map(tensors).collect();
    let [first, second, third] = &*kept else { panic!("three checkpoints were seen") };
    // Steps 4 to 6 are the estimator's, 7 to 9 the calibrator's.
    for (name, values) in first {
        let is_estimators = name.contains("estimator.");
        assert_eq!(values != &second[name], is_estimators, "{name} after the estimator's turn");
        assert_eq!(second[name] != third[name], !is_estimators, "{name} after the calibrator's");
    }
}

#[test]
fn a_finished_run_goes_on_for_longer() {
    let photos = photos(3);
    let folder = tempfile::tempdir().unwrap();
    let [longer, whole] = ["longer", "whole"].map(|name| folder.path().join(name));
    let config = config(photos.path());
    run(&config.clone().with_epochs(2), &Run::New(longer.clone())).unwrap();
    run(&config.clone().with_epochs(4), &Run::resume(longer.clone())).unwrap();
    run(&config.clone().with_epochs(4), &Run::New(whole.clone())).unwrap();
    for name in ["model.safetensors", "metrics.csv", "config.json"] {
        assert_eq!(bytes(&longer, name), bytes(&whole, name), "{name}");
    }
    // Nothing is left to do.
    run(&config.with_epochs(4), &Run::resume(longer.clone())).unwrap();
    assert_eq!(bytes(&longer, "model.safetensors"), bytes(&whole, "model.safetensors"));
}

#[test]
fn the_folder_of_another_run_is_left_alone() {
    let photos = photos(2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let config = config(photos.path()).with_epochs(1);
    run(&config, &Run::New(path.clone())).unwrap();
    let before = bytes(&path, "metrics.csv");

    let refused = |config: &TrainingConfig, to: Run| run(config, &to).unwrap_err().to_string();
    let message = refused(&config, Run::New(path.clone()));
    assert!(message.contains("holds a run already"), "{message}");
    let other = config.clone().with_seed(12).with_epochs(3);
    let message = refused(&other, Run::resume(path.clone()));
    assert!(message.ends_with("is a run with `seed` 11, not 12"), "{message}");
    let message = refused(&config, Run::resume(folder.path().join("none")));
    assert!(message.contains("none/config.json"), "{message}");
    let message = refused(&config, Run::New(photos.path().to_owned()));
    assert!(message.contains("not empty"), "{message}");
    assert_eq!(bytes(&path, "metrics.csv"), before);
}

#[test]
fn a_run_inside_its_data_is_no_data() {
    let photos = photos(3);
    let folder = tempfile::tempdir().unwrap();
    let [inside, outside] = [photos.path().join("x/../run"), folder.path().join("run")];
    std::fs::create_dir(photos.path().join("x")).unwrap();
    let config = config(photos.path());
    run(&config.clone().with_epochs(3), &Run::New(outside.clone())).unwrap();
    run(&config.clone().with_epochs(1), &Run::New(inside.clone())).unwrap();
    run(&config.with_epochs(3), &Run::resume(inside.clone())).unwrap();
    assert_eq!(bytes(&inside, "metrics.csv"), bytes(&outside, "metrics.csv"));
}

#[test]
fn what_would_make_it_another_run_is_refused() {
    let photos = photos(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let config = config(photos.path()).with_epochs(2);
    run(&config, &Run::New(path.clone())).unwrap();
    let refused =
        |config: &TrainingConfig| run(config, &Run::resume(path.clone())).unwrap_err().to_string();
    let message = refused(&config.clone().with_epochs(1));
    assert_eq!(message, "setting `epochs`: is 1, but 2 are done");
    picture(9).save(photos.path().join("new.png")).unwrap();
    let message = refused(&config.with_epochs(4));
    assert!(message.contains("not those that the run was begun with"), "{message}");
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let photos = photos(2);
    let folder = tempfile::tempdir().unwrap();
    let [damaged, whole] = ["damaged", "whole"].map(|name| folder.path().join(name));
    let config = config(photos.path());
    run(&config.clone().with_epochs(3), &Run::New(damaged.clone())).unwrap();
    std::fs::write(damaged.join("checkpoint/optim-3.bpk"), b"").unwrap();
    run(&config.clone().with_epochs(4), &Run::resume(damaged.clone())).unwrap();
    run(&config.with_epochs(4), &Run::New(whole.clone())).unwrap();
    assert_eq!(bytes(&damaged, "model.safetensors"), bytes(&whole, "model.safetensors"));
}

#[test]
fn a_checkpoint_of_another_model_is_refused() {
    let photos = photos(2);
    let folder = tempfile::tempdir().unwrap();
    let [sci, plus_plus] = ["sci", "plus-plus"].map(|name| folder.path().join(name));
    let config = config(photos.path()).with_epochs(1);
    run(&config, &Run::New(sci.clone())).unwrap();
    let other = config.clone().with_method(Method::SciPlusPlus);
    run(&other, &Run::New(plus_plus.clone())).unwrap();
    let checkpoint = "checkpoint/model-1.bpk";
    std::fs::copy(plus_plus.join(checkpoint), sci.join(checkpoint)).unwrap();
    let error = run(&config.clone().with_epochs(2), &Run::resume(sci.clone())).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(checkpoint) && !message.contains('\n'), "{message}");
    let error = run(&other, &Run::resume(sci)).unwrap_err().to_string();
    assert!(error.ends_with("is a run with `model.method` sci, not sci++"), "{error}");
}

#[test]
fn nothing_is_written_where_no_photograph_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("photos");
    std::fs::create_dir(&data).unwrap();
    let target = folder.path().join("run");
    let refused = || run(&config(&data), &Run::New(target.clone())).unwrap_err().to_string();
    assert!(refused().contains("there is no photograph in it"), "{}", refused());
    std::fs::write(data.join("broken.png"), b"no picture").unwrap();
    picture(0).crop_imm(0, 0, 10, 10).save(data.join("small.png")).unwrap();
    assert!(refused().contains("none of the 2 photographs"), "{}", refused());
    assert!(!target.exists());
}

#[test]
fn what_cannot_be_read_is_named_once_and_left_out() {
    let photos = photos(3);
    // A header without its pixels is found out only when it is decoded.
    let whole = std::fs::read(photos.path().join("0.png")).unwrap();
    std::fs::write(photos.path().join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(photos.path().join("text.jpg"), b"no picture").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (monitor, left_out) = common::collect(|event| match event {
        TrainingEvent::LeftOut(Error::Read { path, .. }) => {
            Some(path.file_name().unwrap().to_owned())
        }
        _ => None,
    });
    let run = Run::New(folder.path().join("run"));
    train(&config(photos.path()), &run, one_device(), &monitor).unwrap();
    let mut left_out = left_out.lock().unwrap().clone();
    left_out.sort();
    assert_eq!(left_out, ["cut.png", "text.jpg"]);
}

/// Whole photographs, and an optimizer in whose steps the size of the gradient shows, as it hardly does in Adam's.
fn plain_steps(photos: &Path, method: Method) -> TrainingConfig {
    let mut config = config(photos).with_sampling(SamplingConfig::new()).with_method(method);
    config.optimizer.epsilon = 1e6;
    config.optimizer.learning_rate = 1e3;
    config.optimizer.max_gradient_norm = None;
    if method == Method::SciPlusPlus {
        // Both kinds of steps in two of them.
        config.alternation = AlternationConfig::new().with_cycle(2).with_estimator_steps(1);
    }
    config
}

/// Several devices, in each of the ways in which one or all of them optimize.
fn several_devices(count: usize) -> [ExecutionStrategy; 2] {
    [MultiDeviceOptim::OptimMainDevice, MultiDeviceOptim::OptimSharded]
        .map(|optim| ExecutionStrategy::multi(vec![common::cpu(); count], optim))
}

/// The weights, with the running statistics, after a training.
fn trained(config: &TrainingConfig, devices: ExecutionStrategy) -> BTreeMap<String, Vec<f64>> {
    let run = tempfile::tempdir().unwrap();
    let path = run.path().join("run");
    train(config, &Run::new(&path), devices, &Monitor::silent()).unwrap();
    let stored = common::stored(&path.join("model.safetensors"));
    stored.into_iter().map(|(name, tensor)| (name, tensor.values)).collect()
}

/// A folder with so many copies of one photograph.
fn copies(count: usize) -> TempDir {
    let copies = photos(1);
    for copy in 1..count {
        let [from, to] = [0, copy].map(|n| copies.path().join(format!("{n}.png")));
        std::fs::copy(from, to).unwrap();
    }
    copies
}

/// What a training with one preview reports of each epoch.
fn epochs_of(config: &TrainingConfig, devices: ExecutionStrategy) -> Vec<(EpochMetrics, usize)> {
    let run = tempfile::tempdir().unwrap();
    let epochs = Arc::new(Mutex::new(vec![]));
    let heard = epochs.clone();
    let monitor = Monitor::new(move |event| {
        if let TrainingEvent::Epoch { metrics, previews, .. } = event {
            heard.lock().unwrap().push((metrics, previews.len()));
        }
        ControlFlow::Continue(())
    });
    let run = Run::new(run.path().join("run"));
    train(config, &run, devices, &monitor.with_previews(1)).unwrap();
    let epochs = epochs.lock().unwrap();
    epochs.clone()
}

#[test]
fn several_devices_report_and_end_as_one_run() {
    let once = copies(1);
    let config = |photos: &Path| {
        let mut config = plain_steps(photos, Method::Sci).with_epochs(5);
        // So that the picture becomes brighter from the first step on.
        config.loss.fidelity_weight = 100.0;
        config.optimizer.learning_rate = 100.0;
        config
    };
    let one = epochs_of(&config(once.path()), one_device());
    assert_eq!(one.len(), 5);
    // Reached in the third epoch, and not before.
    let luminance = |epoch: usize| one[epoch].0.luminance;
    let target = (luminance(1) + luminance(2)) / 2.0;
    assert!(luminance(1) < target && target < luminance(2), "{one:?}");
    for count in 2..=3 {
        let copies = copies(count);
        for (whole, stopped) in several_devices(count).into_iter().zip(several_devices(count)) {
            let several = epochs_of(&config(copies.path()), whole);
            assert_eq!(several.len(), one.len());
            for ((one, one_preview), (several, previews)) in one.iter().zip(&several) {
                assert_eq!((several.epoch, previews), (one.epoch, one_preview));
                let values = |m: &EpochMetrics| {
                    let terms = [m.loss, m.fidelity, m.smoothness, m.gradient_norm];
                    let terms = terms.map(|term| term.unwrap());
                    [&terms[..], &[m.luminance, m.clipped, m.color_cast]].concat()
                };
                for (one, several) in values(one).iter().zip(values(several)) {
                    assert!((one - several).abs() < 1e-4 * one.abs().max(0.1), "{one} {several}");
                }
            }
            let config = config(copies.path()).with_stop_at_luminance(Some(target));
            assert_eq!(epochs_of(&config, stopped).len(), 3);
        }
    }
}

#[test]
fn devices_with_the_same_photograph_make_the_steps_of_one() {
    for method in Method::ALL {
        let once = photos(1);
        let one = trained(&plain_steps(once.path(), method), one_device());
        for count in 2..=4 {
            let copies = copies(count);
            for devices in several_devices(count) {
                let several = trained(&plain_steps(copies.path(), method), devices);
                for (name, values) in &one {
                    for (one, several) in values.iter().zip(&several[name]) {
                        let error = (one - several).abs();
                        assert!(error < 1e-5, "{method} {count} {name}: {one} {several}");
                    }
                }
            }
        }
    }
}

#[test]
fn devices_make_the_step_of_the_mean_gradient_and_of_the_mean_statistics() {
    for method in Method::ALL {
        // Of SCI++ both kinds of steps, from the same weights.
        let kinds = if method == Method::SciPlusPlus { vec![1, 2] } else { vec![1] };
        for (count, epochs) in
            (2..=4).flat_map(|count| kinds.iter().map(move |&kind| (count, kind)))
        {
            let config = |photos: &Path| plain_steps(photos, method).with_epochs(epochs);
            // With a weight of 1e-3 for the gradient, two steps are as good as made from the same weights.
            let alone: Vec<_> = (0..count)
                .map(|index| {
                    let folder = tempfile::tempdir().unwrap();
                    picture(index as u32).save(folder.path().join("one.png")).unwrap();
                    trained(&config(folder.path()), one_device())
                })
                .collect();
            let all = photos(count as u32);
            for devices in several_devices(count) {
                let several = trained(&config(all.path()), devices);
                for (name, values) in &several {
                    for (index, value) in values.iter().enumerate() {
                        let sum: f64 = alone.iter().map(|alone| alone[name][index]).sum();
                        let mean = sum / count as f64;
                        assert!(
                            (value - mean).abs() < 2e-5,
                            "{method} {count} {name}: {value} {mean}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_training_that_diverges_ends_at_once() {
    let photos = photos(1);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(photos.path()).with_epochs(50);
    config.optimizer.learning_rate = 1e38;
    let error = run(&config, &Run::New(folder.path().join("run"))).unwrap_err();
    let Error::NotFinite { epoch, step, ref photos, ref checkpoint, .. } = error else {
        panic!("{error}");
    };
    assert!(photos.ends_with("0.png"), "{error}");
    // The weights were broken by the first step, and so is the checkpoint after it.
    assert_eq!((epoch, step, checkpoint), (2, 1, &None), "{error}");
    assert!(error.to_string().ends_with("there is no good checkpoint yet"), "{error}");
    assert!(!folder.path().join("run/model.bpk").exists());
}

#[test]
fn the_result_is_the_checkpoint_closest_to_the_luminance_asked_for() {
    let photos = photos(3);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(photos.path()).with_epochs(60);
    config.optimizer.learning_rate = 1e-2;
    let free = folder.path().join("free");
    run(&config, &Run::New(free.clone())).unwrap();
    let rows = || csv_column(&free, "luminance");
    let target = (rows().iter().copied().fold(0.0, f64::max) + rows()[0]) / 2.0;
    let reached = rows().iter().position(|&luminance| luminance >= target).unwrap() + 1;

    let stopped = Run::New(folder.path().join("stopped"));
    let config = config.with_stop_at_luminance(Some(target));
    let trained = train(&config, &stopped, one_device(), &Monitor::silent()).unwrap();
    let distance = |luminance: &f64| (luminance - target).abs();
    let best = rows()[..reached].iter().map(distance).fold(1.0, f64::min);
    assert_eq!(csv_column(&folder.path().join("stopped"), "luminance").len(), reached);
    assert_eq!(distance(&trained.metrics.unwrap().luminance), best);
}

fn csv_column(run: &Path, name: &str) -> Vec<f64> {
    csv_texts(run, name).iter().map(|value| value.parse().unwrap()).collect()
}

fn csv_texts(run: &Path, name: &str) -> Vec<String> {
    let text = String::from_utf8(bytes(run, "metrics.csv")).unwrap();
    let mut lines = text.lines();
    let column = lines.next().unwrap().split(',').position(|column| column == name).unwrap();
    lines.map(|line| line.split(',').nth(column).unwrap().to_owned()).collect()
}

#[test]
fn daylight_photographs_can_be_darkened_for_training() {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples");
    let mut config = config(&data).with_epochs(1);
    config.sampling.darken = Some(Darken::new([2.0, 4.0]));
    run(&config, &Run::New(folder.path().join("run"))).unwrap();
}

#[test]
fn batches_of_crops() {
    let photos = photos(5);
    let folder = tempfile::tempdir().unwrap();
    let (monitor, steps) = common::collect(|event| match event {
        TrainingEvent::Step { photos, .. } => Some(photos),
        _ => None,
    });
    let config = config(photos.path()).with_batch_size(2).with_epochs(2);
    train(&config, &Run::New(folder.path().join("run")), one_device(), &monitor).unwrap();
    assert_eq!(*steps.lock().unwrap(), [2, 4, 5, 2, 4, 5]);
}

#[test]
fn fine_tuning_lowers_the_loss() {
    Method::ALL.into_iter().for_each(fine_tune_one);
    // An estimator of a cascade can be tuned as well.
    let photos = photos(1);
    let device = common::cpu();
    let cascade = SciCascadeConfig::new().init(&device).unwrap();
    let config = FineTuningConfig::new().with_steps(1);
    fine_tune(cascade.estimator, photos.path(), &config, &device, &Monitor::silent()).unwrap();
}

fn fine_tune_one(method: Method) {
    let photos = photos(1);
    let device = common::cpu();
    let estimator = IlluminationEstimatorConfig::new().with_method(method);
    let initial = estimator.init(&device).unwrap();
    let (monitor, losses) = common::collect(|event| match event {
        TrainingEvent::Step { loss, .. } => Some(loss),
        _ => None,
    });
    let photo = photos.path().join("0.png");
    let tuned = fine_tune(initial, photo, &FineTuningConfig::new(), &device, &monitor).unwrap();
    let losses = losses.lock().unwrap();
    assert_eq!(losses.len(), 100);
    assert!(losses[99] < 0.95 * losses[0], "{} {}", losses[0], losses[99]);
    let path = photos.path().join("tuned.safetensors");
    tuned.estimator.save(&path).unwrap();
    estimator.load(&path, &device).unwrap();
}

/// Stops a training at the event that a function chooses.
fn stop_at(chosen: impl Fn(&TrainingEvent) -> bool + Send + Sync + 'static) -> Monitor {
    Monitor::new(move |event| match chosen(&event) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
}

#[test]
fn a_training_can_be_stopped_and_returns_the_last_completed_epoch() {
    let photos = photos(3);
    let folder = tempfile::tempdir().unwrap();
    let config = config(photos.path());
    let [stopped, whole] = ["stopped", "whole"].map(|name| folder.path().join(name));
    let monitor = stop_at(|event| matches!(event, TrainingEvent::Started { .. }));
    let trained = train(&config, &Run::new(&stopped), one_device(), &monitor).unwrap();
    assert!(trained.interrupted && trained.metrics.is_none());

    // No epoch was completed: a new run may begin there.
    let monitor = stop_at(
        |event| matches!(event, TrainingEvent::Epoch { metrics, .. } if metrics.epoch == 2),
    );
    let trained = train(&config, &Run::new(&stopped), one_device(), &monitor).unwrap();
    assert!(trained.interrupted && trained.metrics.unwrap().epoch == 2);
    assert!(stopped.join("checkpoint/model-2.bpk").exists() && !stopped.join("model.bpk").exists());

    run(&config, &Run::resume(&stopped)).unwrap();
    run(&config, &Run::new(&whole)).unwrap();
    assert_eq!(bytes(&stopped, "model.safetensors"), bytes(&whole, "model.safetensors"));
    run(&config, &Run::resume(&stopped).from_epoch(4)).unwrap();
    assert_eq!(bytes(&stopped, "metrics.csv"), bytes(&whole, "metrics.csv"));
    let error = run(&config, &Run::resume(&stopped).from_epoch(1)).unwrap_err();
    assert!(error.to_string().contains("no checkpoint of epoch 1"), "{error}");
}

#[test]
fn a_lost_table_does_not_block_a_run() {
    let photos = photos(2);
    let folder = tempfile::tempdir().unwrap();
    let [lost, whole] = ["lost", "whole"].map(|name| folder.path().join(name));
    let config = config(photos.path());
    run(&config.clone().with_epochs(2), &Run::new(&lost)).unwrap();
    let table = bytes(&lost, "metrics.csv");
    std::fs::write(lost.join("metrics.csv"), &table[..table.len() - 30]).unwrap();
    run(&config.clone().with_epochs(3), &Run::resume(&lost)).unwrap();
    std::fs::remove_file(lost.join("metrics.csv")).unwrap();
    run(&config, &Run::resume(&lost)).unwrap();
    run(&config, &Run::new(&whole)).unwrap();
    assert_eq!(bytes(&lost, "model.safetensors"), bytes(&whole, "model.safetensors"));
}

#[test]
fn an_epoch_whose_metrics_cannot_be_written_is_trained_again() {
    let photos = photos(2);
    let folder = tempfile::tempdir().unwrap();
    let [failed, whole] = ["failed", "whole"].map(|name| folder.path().join(name));
    let config = config(photos.path());
    let [table, kept] = [failed.join("metrics.csv"), folder.path().join("kept.csv")];
    let (from, to) = (table.clone(), kept.clone());
    let monitor = Monitor::new(move |event| {
        if let TrainingEvent::Epoch { metrics: EpochMetrics { epoch: 2, .. }, .. } = event {
            std::fs::rename(&from, &to).unwrap();
            std::fs::create_dir(&from).unwrap();
        }
        ControlFlow::Continue(())
    });
    let error = train(&config, &Run::new(&failed), one_device(), &monitor).err().unwrap();
    assert!(matches!(&error, Error::Write { path, .. } if *path == table), "{error}");
    assert!(failed.join("checkpoint/model-2.bpk").exists());
    assert!(!failed.join("checkpoint/model-3.bpk").exists());

    std::fs::remove_dir(&table).unwrap();
    std::fs::rename(kept, &table).unwrap();
    run(&config, &Run::resume(&failed)).unwrap();
    run(&config, &Run::new(&whole)).unwrap();
    for name in ["metrics.csv", "model.safetensors"] {
        assert_eq!(bytes(&failed, name), bytes(&whole, name), "{name}");
    }
}

#[test]
fn a_foreign_file_named_lock_is_left_alone() {
    let photos = photos(2);
    let folder = tempfile::tempdir().unwrap();
    for name in ["lock", "sci-burn.lock"] {
        let path = folder.path().join(name).join("folder");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join(name), b"mine").unwrap();
        run(&config(photos.path()), &Run::new(&path)).unwrap_err();
        assert_eq!(bytes(&path, name), b"mine");
    }
}

#[test]
fn devices_make_equal_steps_when_a_photograph_becomes_unreadable() {
    for optim in [MultiDeviceOptim::OptimMainDevice, MultiDeviceOptim::OptimSharded] {
        let photos = photos(2);
        let folder = tempfile::tempdir().unwrap();
        let cut = photos.path().join("1.png");
        let monitor = Monitor::new(move |event| {
            if let TrainingEvent::Started { .. } = event {
                let whole = std::fs::read(&cut).unwrap();
                std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
            }
            ControlFlow::Continue(())
        });
        let devices = ExecutionStrategy::multi(vec![common::cpu(), common::cpu()], optim);
        let run = Run::new(folder.path().join("run"));
        let trained = train(&config(photos.path()), &run, devices, &monitor).unwrap();
        assert!(!trained.interrupted);
    }
}

#[test]
fn photographs_in_floating_point_are_left_out() {
    let photos = photos(1);
    picture(1).to_rgb32f().save(photos.path().join("float.tiff")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (monitor, left_out) = common::collect(|event| match event {
        TrainingEvent::LeftOut(error) => Some(error.to_string()),
        _ => None,
    });
    let run = Run::new(folder.path().join("run"));
    train(&config(photos.path()), &run, one_device(), &monitor).unwrap();
    let left_out = left_out.lock().unwrap();
    assert!(left_out.len() == 1 && left_out[0].contains("Rgb32F"), "{left_out:?}");
}

#[test]
fn fine_tuning_names_its_settings_as_its_configuration_does() {
    let device = common::cpu();
    let estimator = IlluminationEstimatorConfig::new().init(&device).unwrap();
    let config = FineTuningConfig::new;
    for (config, name) in [
        (config().with_steps(0), "steps"),
        (config().with_sampling(SamplingConfig::new().with_crop(Some([1, 1]))), "sampling.crop"),
        (
            config().with_optimizer(OptimizerConfig::new().with_learning_rate(0.0)),
            "optimizer.learning_rate",
        ),
        (
            config().with_loss(SciLossConfig::new().with_fidelity_weight(f64::NAN)),
            "loss.fidelity_weight",
        ),
    ] {
        let silent = Monitor::silent();
        let error = fine_tune(estimator.clone(), "missing", &config, &device, &silent);
        let message = error.unwrap_err().to_string();
        assert!(message.contains(&format!("`{name}`")), "{message}");
    }
}

#[test]
fn fine_tuning_decodes_its_photograph_once_and_can_be_stopped() {
    let photos = photos(1);
    let photo = photos.path().join("0.png");
    let gone = photo.clone();
    let monitor = Monitor::new(move |event| match event {
        TrainingEvent::Started { .. } => {
            std::fs::remove_file(&gone).unwrap();
            ControlFlow::Continue(())
        }
        TrainingEvent::Step { photos: 3, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let device = common::cpu();
    let estimator = IlluminationEstimatorConfig::new().init(&device).unwrap();
    let config = FineTuningConfig::new();
    let tuned = fine_tune(estimator, photo, &config, &device, &monitor).unwrap();
    assert!(tuned.interrupted && tuned.steps == 3);
}

/// Replaces a value of a part of a checkpoint.
fn break_value(path: &Path) {
    let reader = burn_pack::Reader::from_file(path).unwrap();
    let (metadata, scalars) = (reader.metadata().clone(), reader.scalars().clone());
    let mut broken = false;
    let tensors = reader.into_tensors().unwrap().into_iter().map(|tensor| {
        let (name, dtype, shape, id, bytes) = tensor.into_parts().unwrap();
        let mut bytes = bytes.to_vec();
        if dtype == DType::F32 && !broken {
            bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            broken = true;
        }
        burn_pack::Tensor::new(name, dtype, shape, id, Bytes::from_bytes_vec(bytes))
    });
    let mut writer = burn_pack::Writer::new(tensors.collect());
    assert!(broken);
    for (key, value) in &metadata {
        writer = writer.with_metadata(key, value);
    }
    for (key, value) in scalars {
        writer = writer.with_scalar(&key, value);
    }
    std::fs::write(path, writer.into_bytes().unwrap().to_vec()).unwrap();
}

#[test]
fn a_checkpoint_with_a_value_that_is_not_finite_is_passed_over() {
    let photos = photos(2);
    let folder = tempfile::tempdir().unwrap();
    let config = config(photos.path()).with_epochs(3);
    let whole = folder.path().join("whole");
    run(&config, &Run::new(&whole)).unwrap();
    for name in ["model", "optim"] {
        let path = folder.path().join(name);
        run(&config.clone().with_epochs(2), &Run::new(&path)).unwrap();
        break_value(&path.join(format!("checkpoint/{name}-2.bpk")));
        let error = run(&config, &Run::resume(&path).from_epoch(2)).unwrap_err().to_string();
        assert!(error.contains("not finite"), "{error}");
        run(&config, &Run::resume(&path)).unwrap();
        assert_eq!(bytes(&path, "model.safetensors"), bytes(&whole, "model.safetensors"), "{name}");
    }
}

#[test]
fn a_run_killed_at_its_beginning_is_begun_anew_with_other_data() {
    let photos = [photos(2), photos(3)];
    let [old, new] = photos.each_ref().map(|photos| config(photos.path()).with_epochs(1));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let at_once = stop_at(|event| matches!(event, TrainingEvent::Started { .. }));
    train(&old, &Run::new(&path), one_device(), &at_once).unwrap();
    let dead = [".sci-burn-0123456789abcdef.tmp", "checkpoint/model-1.bpk.77-0.tmp"];
    for name in dead {
        std::fs::write(path.join(name), b"dead").unwrap();
    }
    train(&new, &Run::new(&path), one_device(), &at_once).unwrap();
    for name in dead {
        assert!(!path.join(name).exists(), "{name}");
    }
    // The list is that of the new data.
    assert_eq!(bytes(&path, "photographs.txt").split(|&byte| byte == b'\n').count(), 4);
    // As if it had been killed between its configuration and its list of photographs.
    std::fs::remove_file(path.join("photographs.txt")).unwrap();
    run(&new, &Run::resume(&path)).unwrap();
    assert_eq!(bytes(&path, "photographs.txt").split(|&byte| byte == b'\n').count(), 4);
}
