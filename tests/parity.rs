//! Every number equal to the reference's: the authors' PyTorch code in float64 against this crate,
//! on every backend compiled in. `fixtures/parity/README.md` explains the files.
//!
//! `SCI_PARITY_DIR` names another folder of such files. With `-- --nocapture` the worst relative
//! error is printed for each file and group of tensors.

mod common;

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use common::{Stored, stages, stored};
use sci_burn::Enhancer;
use sci_burn::loss::{SciLoss, SciLossConfig, YcbcrLayout, fidelity, to_ycbcr};
use sci_burn::model::{BatchNorm, Conv3x3, SciCascade, SciCascadeConfig};
use sci_burn::train::{Batch, OptimizerConfig};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Relative L2 error, from the vectors' README.
const TOLERANCE: f64 = 1e-4;

/// Their gradient is zero in exact arithmetic; what is computed is rounding noise.
const NOISE: [&str; 4] = [
    "enhance.conv.0.bias",
    "calibrate.in_conv.0.bias",
    "calibrate.convs.0.bias",
    "calibrate.convs.3.bias",
];

#[test]
fn every_tensor_equals_the_reference() {
    let folder =
        std::env::var_os("SCI_PARITY_DIR").map_or_else(|| common::fixture("parity"), PathBuf::from);
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("SCI_PARITY_DIR {}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    assert!(!files.is_empty(), "no .safetensors in {}", folder.display());

    let mut failures = Vec::new();
    for (name, device) in common::devices() {
        for path in &files {
            let mut comparison = Comparison::new(path);
            check(&mut comparison, path, &device);
            failures.extend(comparison.finish(name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check(comparison: &mut Comparison, path: &Path, device: &Device) {
    let training = device.clone().autodiff();
    let input = comparison.truth["input"].clone();
    let initial = initial_weights(&comparison.truth, stages(path), &training);
    comparison.used("input");
    comparison.weights("initial", &initial);

    // The cascade, and the statistics after it.
    let cascade = initial_weights(&comparison.truth, stages(path), &training);
    for (t, stage) in cascade.forward(input.tensor(&training)).into_iter().enumerate() {
        comparison.tensor(&format!("train.stage_input.{t}"), stage.input);
        comparison.tensor(&format!("train.illumination.{t}"), stage.illumination);
        comparison.tensor(&format!("train.reflectance.{t}"), stage.reflectance);
        comparison.tensor(&format!("train.attention.{t}"), stage.calibration);
    }
    comparison.weights("after_forward", &cascade);

    // Inference with those statistics.
    let enhanced = Enhancer::new(cascade.estimator, device).forward(input.tensor(device));
    comparison.tensor("eval.illumination", enhanced.illumination);
    comparison.tensor("eval.reflectance", enhanced.reflectance);

    let loss = SciLossConfig::new().init().unwrap();
    check_loss(comparison, &loss, &training);

    // Gradients at the initial weights, and five optimizer steps: the steps that `train` makes.
    let cascade = initial_weights(&comparison.truth, stages(path), &training);
    let mut learner = OptimizerConfig::new().learner(cascade, loss).unwrap();
    let mut losses = Vec::new();
    for step in 0..5 {
        let output = learner.train_step(Batch::new(input.tensor(&training)));
        let measured = output.item.wait().unwrap().value;
        losses.push(measured.loss);
        if step == 0 {
            comparison.values("grad_norm", vec![measured.gradient_norm]);
            for (name, gradient) in named_gradients(&learner.model().network, &output.grads) {
                let name = format!("grad.{name}");
                match gradient {
                    Some(gradient) => comparison.values(&name, gradient),
                    None => assert!(!comparison.truth.contains_key(&name), "{name}: no gradient"),
                }
            }
        }
        learner.lr_step();
        learner.optimizer_step(output.grads);
    }
    comparison.values("trajectory.losses", losses);
    comparison.weights("final", &learner.model().network);
}

/// The loss and its gradients at a random illumination.
fn check_loss(comparison: &mut Comparison, loss: &SciLoss, device: &Device) {
    let input: Tensor<4> = comparison.truth["input"].tensor(device).require_grad();
    let illumination = comparison.truth["loss.illumination"].tensor(device).require_grad();
    comparison.used("loss.illumination");
    comparison.tensor("loss.ycbcr", to_ycbcr(input.clone(), YcbcrLayout::Reference));
    comparison.tensor("loss.fidelity", fidelity(input.clone(), illumination.clone()));
    let only_smoothness = SciLossConfig::new().with_fidelity_weight(0.0).init().unwrap();
    let smoothness = only_smoothness.forward(input.clone(), illumination.clone());
    comparison.tensor("loss.smoothness", smoothness);
    let total = loss.forward(input.clone(), illumination.clone());
    comparison.tensor("loss.total", total.clone());
    let gradients = total.backward();
    comparison.tensor("loss.total.grad_input", input.grad(&gradients).unwrap());
    comparison.tensor("loss.total.grad_illumination", illumination.grad(&gradients).unwrap());
}

/// A cascade with the file's initial weights, by way of a weight file.
fn initial_weights(truth: &BTreeMap<String, Stored>, stages: usize, device: &Device) -> SciCascade {
    let tensors: Vec<_> = truth
        .iter()
        .filter_map(|(name, stored)| Some((name.strip_prefix("initial.")?, stored)))
        .map(|(name, stored)| {
            let bytes: Vec<u8> =
                stored.values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect();
            (name, stored.shape.clone(), bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let dtype = safetensors::Dtype::F32;
        (*name, safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("initial.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    SciCascadeConfig::new().with_stages(stages).load(&path, device).unwrap()
}

/// Each parameter's gradient under its PyTorch name.
fn named_gradients(
    cascade: &SciCascade,
    gradients: &GradientsParams,
) -> Vec<(String, Option<Vec<f64>>)> {
    fn values<const D: usize>(
        param: &Param<Tensor<D>>,
        gradients: &GradientsParams,
    ) -> Option<Vec<f64>> {
        Some(host(gradients.get::<D>(param.id)?))
    }
    let mut named = Vec::new();
    let mut conv = |name: &str, layer: &Conv3x3| {
        named.push((format!("{name}.weight"), values(&layer.weight, gradients)));
        named.push((format!("{name}.bias"), values(&layer.bias, gradients)));
    };
    let (estimator, calibrator) = (&cascade.estimator, &cascade.calibrator);
    conv("enhance.in_conv.0", &estimator.input_conv);
    conv("enhance.conv.0", &estimator.block_conv);
    conv("enhance.out_conv.0", &estimator.output_conv);
    conv("calibrate.in_conv.0", &calibrator.input_conv);
    conv("calibrate.convs.0", &calibrator.block_conv_1);
    conv("calibrate.convs.3", &calibrator.block_conv_2);
    conv("calibrate.out_conv.0", &calibrator.output_conv);
    let mut norm = |name: &str, layer: &BatchNorm| {
        named.push((format!("{name}.weight"), values(&layer.weight, gradients)));
        named.push((format!("{name}.bias"), values(&layer.bias, gradients)));
    };
    norm("enhance.conv.1", &estimator.block_norm);
    norm("calibrate.in_conv.1", &calibrator.input_norm);
    norm("calibrate.convs.1", &calibrator.block_norm_1);
    norm("calibrate.convs.4", &calibrator.block_norm_2);
    named
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as().unwrap()
}

/// Compares with one file's tensors, and sees to it that none is left out.
struct Comparison {
    truth: BTreeMap<String, Stored>,
    file: String,
    /// Tensors that have been compared or used.
    seen: BTreeMap<String, Option<f64>>,
}

impl Comparison {
    fn new(path: &Path) -> Self {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        Self { truth: stored(path), file, seen: BTreeMap::new() }
    }

    /// Takes note of a tensor that is an input, and so cannot be compared.
    fn used(&mut self, name: &str) {
        self.seen.insert(name.to_owned(), None);
    }

    fn tensor<const D: usize>(&mut self, name: &str, ours: Tensor<D>) {
        self.values(name, host(ours));
    }

    fn values(&mut self, name: &str, ours: Vec<f64>) {
        if is_noise(name) {
            return self.used(name);
        }
        let truth = self.truth.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.file));
        assert_eq!(ours.len(), truth.values.len(), "{}: {name}", self.file);
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let difference =
            norm(&mut ours.iter().zip(&truth.values).map(|(ours, truth)| ours - truth));
        let size = norm(&mut truth.values.iter().copied());
        let error = if difference == 0.0 { 0.0 } else { difference / size };
        self.seen.insert(name.to_owned(), Some(error));
    }

    /// Compares all weights and statistics that the file has under `group`, by way of a weight file.
    fn weights(&mut self, group: &str, cascade: &SciCascade) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        cascade.save(&path).unwrap();
        for (name, ours) in stored(&path) {
            let name = format!("{group}.{name}");
            if self.truth.contains_key(&name) {
                self.values(&name, ours.values);
            }
        }
    }

    /// Prints the worst error of each group and returns what is wrong.
    fn finish(self, device: &str) -> Vec<String> {
        let mut groups: BTreeMap<&str, (f64, &str)> = BTreeMap::new();
        let mut failures = Vec::new();
        for name in self.truth.keys() {
            let Some(error) = self.seen.get(name) else {
                failures.push(format!("{device} {}: {name} was not checked", self.file));
                continue;
            };
            let Some(error) = *error else { continue };
            if error > TOLERANCE || error.is_nan() {
                failures.push(format!("{device} {}: {name} is off by {error:.1e}", self.file));
            }
            let group = name.split('.').next().unwrap();
            let worst = groups.entry(group).or_insert((0.0, name));
            if error > worst.0 || error.is_nan() {
                *worst = (error, name);
            }
        }
        for (group, (error, name)) in groups {
            println!("{device:8} {:36} {group:14} {error:.1e}  {name}", self.file);
        }
        failures
    }
}

fn is_noise(name: &str) -> bool {
    let Some((group, tensor)) = name.split_once('.') else { return false };
    match group {
        "grad" => NOISE.contains(&tensor),
        "final" => {
            NOISE.contains(&tensor)
                || tensor.ends_with("running_mean")
                // The training loss skips the last calibration, which moves its statistics.
                || (tensor.starts_with("calibrate.") && tensor.ends_with("running_var"))
        }
        _ => false,
    }
}
