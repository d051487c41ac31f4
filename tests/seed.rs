//! In a binary of its own, since a backend's random numbers belong to the whole process.

mod common;

use sci_burn::model::SciCascadeConfig;

#[test]
fn a_seed_gives_the_same_weights() {
    for (name, device) in common::devices() {
        let weights = |seed| {
            device.seed(seed);
            let cascade = SciCascadeConfig::new().init(&device).unwrap();
            cascade.calibrator.block_conv_2.weight.val().into_data()
        };
        assert_eq!(weights(7), weights(7), "{name}");
        assert_ne!(weights(7), weights(8), "{name}");
    }
}
