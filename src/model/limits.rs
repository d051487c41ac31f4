//! What a configuration may ask for.

use crate::error::{Error, Result};

/// The most stages of a cascade. Training keeps the features of every stage in memory.
pub(super) const MAX_STAGES: usize = 64;

/// The most repetitions of a block. The published model has 3.
const MAX_BLOCKS: usize = 16;

/// The most channels of the features. The published model has 3 and 16.
const MAX_CHANNELS: usize = 64;

/// Refuses the size of a network that is out of range.
pub(super) fn check_network(blocks: usize, channels: usize) -> Result<()> {
    check_count("blocks", blocks, MAX_BLOCKS)?;
    check_count("channels", channels, MAX_CHANNELS)
}

/// Refuses a count that is not in `1..=max`.
pub(super) fn check_count(setting: &'static str, value: usize, max: usize) -> Result<()> {
    match value {
        value if (1..=max).contains(&value) => Ok(()),
        _ => Err(Error::setting(setting, format!("is {value}, must be from 1 to {max}"))),
    }
}
