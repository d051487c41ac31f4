//! Exposures as text.

use super::{cpu, well_said};
use sci_burn::model::IlluminationEstimatorConfig;
use sci_burn::{Enhancer, Exposure};
use std::cell::LazyCell;

thread_local! {
    static ENHANCER: LazyCell<Enhancer> = LazyCell::new(|| {
        Enhancer::new(IlluminationEstimatorConfig::new().init(&cpu()).unwrap(), &cpu())
    });
}

/// What is understood is understood again as it is printed and serialized, and is in range.
pub fn run(data: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(data).ok()?;
    let serialized = serde_json::to_string(text).unwrap();
    let Some(exposure) = well_said(text.parse::<Exposure>()) else {
        assert!(serde_json::from_str::<Exposure>(&serialized).is_err());
        return None;
    };
    assert_eq!(exposure.to_string().parse::<Exposure>().unwrap(), exposure);
    assert_eq!(serde_json::from_str::<Exposure>(&serialized).unwrap(), exposure);
    let enhancer = ENHANCER.with(|enhancer| (*enhancer).clone());
    assert_eq!(enhancer.with_exposure(exposure).unwrap().exposure(), exposure);
    Some(())
}
