//! Weight files of each kind, told apart by their beginning.

use super::{cpu, well_said, with_file};
use sci_burn::burn::module::{Module, ModuleVisitor, Param};
use sci_burn::burn::tensor::Tensor;
use sci_burn::model::{
    IlluminationEstimator, IlluminationEstimatorConfig, Method, SciCascadeConfig,
    SciPlusPlusCascadeConfig,
};

/// What loads can be saved and loaded again, as the same weights.
pub fn run(data: &[u8]) -> Option<()> {
    let extension = match data {
        [b'P', b'K', ..] => ".pt",
        [_, _, _, _, _, _, 0, 0, ..] => ".safetensors",
        _ => ".bpk",
    };
    with_file(extension, data, |path| {
        let device = cpu();
        // A model is made before it is filled, which takes most of the time.
        match data.len() % 4 {
            0 => drop(well_said(SciCascadeConfig::new().load(path, &device))),
            1 => drop(well_said(SciPlusPlusCascadeConfig::new().load(path, &device))),
            2 => {
                let other = IlluminationEstimatorConfig::new().with_method(Method::SciPlusPlus);
                well_said(other.with_blocks(2).with_channels(5).load(path, &device));
            }
            _ => {}
        }
        let estimator = well_said(IlluminationEstimator::from_file(path, &device))?;
        let folder = tempfile::tempdir().unwrap();
        for extension in ["safetensors", "bpk"] {
            let [once, twice] =
                ["once", "twice"].map(|name| folder.path().join(name).with_extension(extension));
            estimator.save(&once).unwrap();
            let loaded = IlluminationEstimator::from_file(&once, &device).unwrap();
            assert_eq!(Weights::of(&loaded), Weights::of(&estimator));
            loaded.save(&twice).unwrap();
            let [once, twice] = [once, twice].map(|path| std::fs::read(path).unwrap());
            assert_eq!(once, twice);
        }
        Some(())
    })
}

/// The bits of all parameters, since one that is no number equals none.
#[derive(Debug, Default, PartialEq)]
struct Weights(Vec<u32>);

impl Weights {
    fn of(estimator: &IlluminationEstimator) -> Self {
        let mut weights = Self::default();
        estimator.visit(&mut weights);
        weights
    }
}

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let values: Vec<f32> = parameter.val().try_into_vec_as().unwrap();
        self.0.extend(values.into_iter().map(f32::to_bits));
    }
}
