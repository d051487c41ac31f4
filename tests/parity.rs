//! Every number equal to the reference's: the authors' PyTorch code in float64 against this crate,
//! on every backend compiled in. The READMEs of `fixtures/parity` and `fixtures/parity-plus-plus` explain
//! the files of SCI and of SCI++, which are told apart by their tensors.
//!
//! `SCI_PARITY_DIR` names another folder of such files, of either kind or of both. With
//! `-- --nocapture` the worst relative error is printed for each file and group of tensors.

mod common;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use common::{Stored, stages, stored};
use sci_burn::Enhancer;
use sci_burn::loss::{
    CalibratorLossConfig, SciLoss, SciLossConfig, YcbcrLayout, fidelity, to_ycbcr,
};
use sci_burn::model::{
    Cascade, Method, SciCascade, SciCascadeConfig, SciPlusPlusCascade, SciPlusPlusCascadeConfig,
};
use sci_burn::train::{AlternationConfig, Batch, TrainingConfig};
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
    let folders = match std::env::var_os("SCI_PARITY_DIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => ["parity", "parity-plus-plus"].map(common::fixture).to_vec(),
    };
    let mut files = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("SCI_PARITY_DIR {}: {error}", folder.display()));
        let before = files.len();
        files.extend(entries.map(|entry| entry.unwrap().path()));
        files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
        assert!(files.len() > before, "no .safetensors in {}", folder.display());
    }
    files.sort();

    let mut failures = Vec::new();
    for (name, device) in common::devices() {
        for path in &files {
            let mut comparison = Comparison::new(path);
            match comparison.method {
                Method::Sci => check_sci(&mut comparison, path, &device),
                _ => check_plus_plus(&mut comparison, path, &device),
            }
            failures.extend(comparison.finish(name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The published settings of a method.
fn published(method: Method) -> TrainingConfig {
    TrainingConfig::new(PathBuf::new()).with_method(method)
}

fn check_sci(comparison: &mut Comparison, path: &Path, device: &Device) {
    let training = device.clone().autodiff();
    let input = comparison.truth["input"].clone();
    let initial = || sci(&comparison.truth, stages(path), &training);
    let cascade = initial();
    let mut learner = published(Method::Sci).optimizer.learner(initial(), loss()).unwrap();
    comparison.used("input");
    comparison.weights("initial", &cascade.clone().into());

    // The cascade, and the statistics after it.
    for (t, stage) in cascade.forward(input.tensor(&training)).into_iter().enumerate() {
        comparison.tensor(&format!("train.stage_input.{t}"), stage.input);
        comparison.tensor(&format!("train.illumination.{t}"), stage.illumination);
        comparison.tensor(&format!("train.reflectance.{t}"), stage.reflectance);
        comparison.tensor(&format!("train.attention.{t}"), stage.calibration);
    }
    comparison.weights("after_forward", &cascade.clone().into());

    // Inference with those statistics.
    let enhanced = Enhancer::new(cascade.estimator, device).forward(input.tensor(device));
    comparison.tensor("eval.illumination", enhanced.illumination);
    comparison.tensor("eval.reflectance", enhanced.reflectance);

    check_loss(comparison, &loss(), &training);

    // Gradients at the initial weights, and five optimizer steps: the steps that `train` makes.
    let mut losses = Vec::new();
    for step in 0..5 {
        let output = learner.train_step(Batch::new(input.tensor(&training)));
        let measured = output.item.wait().unwrap().value;
        losses.push(measured.loss);
        if step == 0 {
            comparison.values("grad_norm", vec![measured.gradient_norm]);
            let (gradients, _) = gradients(learner.model().network, &output.grads);
            comparison.weights("grad", &gradients.into());
        }
        learner.lr_step();
        learner.optimizer_step(output.grads);
    }
    comparison.values("trajectory.losses", losses);
    comparison.weights("final", &learner.model().network.into());
}

fn check_plus_plus(comparison: &mut Comparison, path: &Path, device: &Device) {
    let training = device.clone().autodiff();
    let input: Tensor<4> = comparison.truth["input"].tensor(&training);
    let cascade = plus_plus(&comparison.truth, stages(path), &training);
    comparison.used("input");
    comparison.weights("initial", &cascade.clone().into());

    for (t, stage) in cascade.forward(input.clone()).into_iter().enumerate() {
        comparison.tensor(&format!("illumination.{t}"), stage.illumination);
        comparison.tensor(&format!("reflectance.{t}"), stage.reflectance);
        if let Some(calibration) = stage.calibration {
            comparison.tensor(&format!("attention.{t}"), calibration);
        }
    }

    // Inference is the first stage.
    let enhancer = Enhancer::new(cascade.estimator.clone(), device);
    let enhanced = enhancer.forward(input.clone().inner());
    comparison.tensor("illumination.0", enhanced.illumination);
    comparison.tensor("reflectance.0", enhanced.reflectance);

    let estimate = cascade.estimator.forward(input.clone());
    comparison.tensor("loss.1", loss().forward(input.clone(), estimate.clone()));
    let calibrator = CalibratorLossConfig::new().init(loss()).unwrap();
    for (t, illumination) in cascade.refine(input.clone(), estimate.clone()).into_iter().enumerate()
    {
        let terms = calibrator.terms(input.clone(), estimate.clone(), illumination);
        comparison.tensor(&format!("loss.{}", t + 2), terms.total);
    }

    // The gradients of both kinds of steps, and ten steps of the training.
    let alternation = || AlternationConfig::new().init(loss()).unwrap();
    let optimizer = published(Method::SciPlusPlus).optimizer;
    let mut learner = optimizer.learner(cascade, alternation()).unwrap();
    let batch = |step| Batch::new(input.clone()).with_iteration(step);
    for (step, group, count) in [(1, "estimator_step", 6), (7, "calibrator_step", 26)] {
        let output = learner.train_step(batch(step));
        let (gradients, found) = gradients(learner.model().network, &output.grads);
        assert_eq!(found, count, "parameters with a gradient in the {group}");
        comparison.weights(&format!("grad.{group}"), &gradients.into());
    }
    let mut losses = Vec::new();
    for step in 1..=10 {
        let output = learner.train_step(batch(step));
        let measured = output.item.wait().unwrap().value;
        assert_eq!(measured.trains_calibrator, (7..10).contains(&step));
        losses.push(measured.loss);
        learner.lr_step();
        learner.optimizer_step(output.grads);
    }
    comparison.values("trajectory.losses", losses);
    comparison.weights("final", &learner.model().network.into());
}

fn loss() -> SciLoss {
    SciLossConfig::new().init().unwrap()
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

fn sci(truth: &BTreeMap<String, Stored>, stages: usize, device: &Device) -> SciCascade {
    let config = SciCascadeConfig::new().with_stages(stages);
    initial_weights(truth, |path| config.load(path, device)).unwrap()
}

fn plus_plus(
    truth: &BTreeMap<String, Stored>,
    stages: usize,
    device: &Device,
) -> SciPlusPlusCascade {
    let config = SciPlusPlusCascadeConfig::new().with_stages(stages);
    initial_weights(truth, |path| config.load(path, device)).unwrap()
}

/// What is loaded from a weight file with the initial weights of a file of vectors.
fn initial_weights<T>(truth: &BTreeMap<String, Stored>, load: impl FnOnce(&Path) -> T) -> T {
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
    load(&path)
}

/// The network with each parameter's gradient in the parameter's place, NaN where there is none, and
/// the number of parameters that have one. So gradients get their PyTorch names from a weight file.
fn gradients<N: Module>(network: N, gradients: &GradientsParams) -> (N, usize) {
    struct Replace<'a>(&'a GradientsParams, usize);
    impl ModuleMapper for Replace<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let gradient = self.0.get::<D>(param.id);
            self.1 += usize::from(gradient.is_some());
            param.map(|weight| gradient.unwrap_or_else(|| weight * f32::NAN))
        }
    }
    let mut replace = Replace(gradients, 0);
    let network = network.valid().map(&mut replace);
    (network, replace.1)
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as().unwrap()
}

/// Compares with one file's tensors, and sees to it that none is left out.
struct Comparison {
    method: Method,
    truth: BTreeMap<String, Stored>,
    file: String,
    /// Tensors that have been compared or used.
    seen: BTreeMap<String, Option<f64>>,
}

impl Comparison {
    fn new(path: &Path) -> Self {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let truth = stored(path);
        let method = match truth.keys().any(|name| name.starts_with("initial.ha.")) {
            true => Method::SciPlusPlus,
            false => Method::Sci,
        };
        Self { method, truth, file, seen: BTreeMap::new() }
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
    fn weights(&mut self, group: &str, cascade: &Cascade) {
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
