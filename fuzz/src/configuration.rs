//! Configurations of a training.

use super::{cpu, well_said, with_file};
use sci_burn::train::TrainingConfig;

/// What is read is written and read as the same, and its parts are built or refused.
pub fn run(data: &[u8]) -> Option<()> {
    let config = with_file(".json", data, |path| well_said(TrainingConfig::read(path)))?;
    let again = with_file(".json", b"", |path| {
        config.write(path).unwrap();
        TrainingConfig::read(path)
    });
    assert_eq!(again.unwrap(), config);
    well_said(config.model.init(&cpu()));
    let loss = well_said(config.loss.init())?;
    well_said(config.alternation.init(loss))?;
    Some(())
}
