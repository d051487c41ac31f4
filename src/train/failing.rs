//! What becomes of a training when one of its devices fails: tests with a network whose step does.

use super::engine::{Model, train_model};
use super::events::Monitor;
use super::step::{Trainable, sealed};
use super::{Run, TrainingConfig};
use crate::error::{Error, Result};
use crate::loss::{LossTerms, SciLoss};
use crate::model::{Cascade, IlluminationEstimator, SciCascade, SciCascadeConfig};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn::train::{ExecutionStrategy, MultiDeviceOptim};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// A cascade whose step panics at one iteration, as Burn's operations do on a device that is lost.
#[derive(Module, Debug)]
pub(super) struct Failing {
    cascade: SciCascade,
    #[module(skip)]
    iteration: usize,
}

impl sealed::Sealed for Failing {}

impl Trainable for Failing {
    type Loss = SciLoss;

    fn terms(&self, image: Tensor<4>, iteration: usize, loss: &SciLoss) -> LossTerms {
        assert!(iteration != self.iteration, "the device is lost");
        self.cascade.terms(image, iteration, loss)
    }

    fn estimator(&self) -> &IlluminationEstimator {
        self.cascade.estimator()
    }
}

impl From<Failing> for Cascade {
    fn from(failing: Failing) -> Self {
        failing.cascade.into()
    }
}

/// The iteration that fails.
#[derive(Clone, Copy)]
struct FailingConfig(usize);

impl FailingConfig {
    /// Iterations are counted from 1.
    const NEVER: usize = 0;
}

impl Model for FailingConfig {
    type Network = Failing;

    fn init_with_seed(&self, seed: u64, device: &Device) -> Result<Failing> {
        let cascade = SciCascadeConfig::new().init_with_seed(seed, device)?;
        Ok(Failing { cascade, iteration: self.0 })
    }

    fn loss(&self, config: &TrainingConfig) -> Result<SciLoss> {
        config.loss.init()
    }
}

const PHOTOS: usize = 6;
const EPOCHS: usize = 2;

fn config(photos: &Path) -> TrainingConfig {
    for index in 0..PHOTOS as u8 {
        let picture = image::RgbImage::from_fn(24, 20, |x, y| {
            image::Rgb([x as u8, y as u8, 40].map(|value| value.wrapping_mul(index + 1) / 4))
        });
        picture.save(photos.join(format!("{index}.png"))).unwrap();
    }
    TrainingConfig::new(photos.into()).with_epochs(EPOCHS)
}

/// What a training gives that must end, whatever it ends with.
fn within_a_minute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("the training neither ends nor fails")
}

fn cpus(count: usize) -> Vec<Device> {
    vec![Device::flex(); count]
}

#[test]
fn a_device_that_fails_is_an_error_and_the_run_goes_on_from_its_checkpoint() {
    for devices in 1..=4 {
        let strategies = [MultiDeviceOptim::OptimMainDevice, MultiDeviceOptim::OptimSharded];
        let iterations = EPOCHS * (PHOTOS / devices);
        let cases =
            strategies.into_iter().flat_map(|optim| (1..=iterations).map(move |n| (optim, n)));
        for (optim, fails_at) in cases {
            let folder = tempfile::tempdir().unwrap();
            let photos = folder.path().join("photos");
            std::fs::create_dir(&photos).unwrap();
            let config = config(&photos);
            let path = folder.path().join("run");
            let strategy = move || match devices {
                1 => ExecutionStrategy::SingleDevice(Device::flex()),
                _ => ExecutionStrategy::multi(cpus(devices), optim),
            };
            let (run, own) = (Run::new(&path), config.clone());
            let failed = within_a_minute(move || {
                let model = FailingConfig(fails_at);
                train_model(&model, &own, &run, strategy(), &Monitor::silent()).map(drop)
            });
            let error = failed.expect_err(&format!("{devices} devices, iteration {fails_at}"));
            assert!(matches!(error, Error::Execution { .. }), "{error}");
            let trained = within_a_minute(move || {
                let model = FailingConfig(FailingConfig::NEVER);
                train_model(&model, &config, &Run::resume(&path), strategy(), &Monitor::silent())
            });
            assert!(!trained.unwrap().interrupted);
        }
    }
}
