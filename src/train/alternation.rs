use crate::error::{Error, Result};
use crate::loss::{CalibratorLoss, CalibratorLossConfig, SciLoss};
use burn::config::Config;

/// How SCI++ trains its estimator and its calibrator in turn. The defaults are the published ones.
///
/// The estimator's loss does not depend on the calibrator or the increment, so they can be left out: the
/// estimator will be the same, bit for bit, after a fraction of the time; the other two then keep their
/// initial weights, in the files of the run too.
#[derive(Config, Debug, PartialEq)]
#[non_exhaustive]
pub struct AlternationConfig {
    /// After how many steps the turns repeat. At least 1.
    #[config(default = 10)]
    pub cycle: usize,
    /// How many steps of a cycle train the estimator: those whose number, counted from 1 through the whole
    /// training, leaves a smaller remainder when it is divided by `cycle`. The others train calibrator
    /// and increment, while the estimator stays as it is. From 1 to `cycle`. Several devices make one step
    /// together, so a run that is resumed with another number of them goes on at another place of the cycle.
    #[config(default = 7)]
    pub estimator_steps: usize,
    /// Whether the steps that train calibrator and increment are left out, with their photographs.
    #[config(default = false)]
    pub estimator_only: bool,
    /// The calibrator's loss.
    #[config(default = "CalibratorLossConfig::new()")]
    pub calibrator_loss: CalibratorLossConfig,
}

impl AlternationConfig {
    /// The alternation with these settings, and with the estimator's loss.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where a setting is out of its range.
    pub fn init(&self, loss: SciLoss) -> Result<Alternation> {
        let &Self { cycle, estimator_steps, estimator_only, .. } = self;
        if cycle == 0 {
            return Err(Error::setting("cycle", "is 0, must be at least 1"));
        }
        if !(1..=cycle).contains(&estimator_steps) {
            let reason = format!("is {estimator_steps}, must be from 1 to `cycle`, {cycle}");
            return Err(Error::setting("estimator_steps", reason));
        }
        let calibrator = self.calibrator_loss.init(loss.clone());
        let calibrator = calibrator.map_err(|error| error.in_section("calibrator_loss"))?;
        Ok(Alternation { cycle, estimator_steps, estimator_only, estimator: loss, calibrator })
    }
}

/// Which loss of SCI++ a step minimizes. Made by [`AlternationConfig::init`].
#[derive(Clone, Debug, PartialEq)]
pub struct Alternation {
    cycle: usize,
    estimator_steps: usize,
    estimator_only: bool,
    pub(super) estimator: SciLoss,
    pub(super) calibrator: CalibratorLoss,
}

impl Alternation {
    /// Whether a step, counted from 1, trains calibrator and increment rather than the estimator.
    pub(super) fn trains_calibrator(&self, iteration: usize) -> bool {
        iteration % self.cycle >= self.estimator_steps
    }

    /// Whether a step, counted from 1, is made at all.
    pub(super) fn makes(&self, iteration: usize) -> bool {
        !(self.estimator_only && self.trains_calibrator(iteration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::SciLossConfig;

    #[test]
    fn the_published_turns_are_six_steps_then_three_then_seven() {
        let loss = SciLossConfig::new().init().unwrap();
        let alternation = AlternationConfig::new().init(loss.clone()).unwrap();
        let turns: String = (1..=20)
            .map(|step| if alternation.trains_calibrator(step) { 'c' } else { 'e' })
            .collect();
        assert_eq!(turns, "eeeeeeccceeeeeeeccce");
        assert!((1..=20).all(|step| alternation.makes(step)));
        let alone = AlternationConfig::new().with_estimator_only(true).init(loss).unwrap();
        assert!((1..=20).all(|step| alone.makes(step) != alone.trains_calibrator(step)));
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let weight = CalibratorLossConfig::new().with_criterion_weight(-1.0);
        let config = AlternationConfig::new;
        for (config, name) in [
            (config().with_cycle(0), "cycle"),
            (config().with_estimator_steps(0), "estimator_steps"),
            (config().with_estimator_steps(11), "estimator_steps"),
            (config().with_calibrator_loss(weight), "calibrator_loss.criterion_weight"),
        ] {
            let loss = SciLossConfig::new().init().unwrap();
            let message = config.init(loss).unwrap_err().to_string();
            assert!(message.contains(&format!("`{name}`")), "{message}");
        }
    }
}
