//! What is fuzzed: for each target a function that takes any bytes, and panics where a promise is broken. It says
//! whether the bytes were what is expected, and not refused.
//!
//! `fuzz_targets/` has them for libFuzzer, `tests/mutations.rs` for stable Rust.

#[path = "../../examples/common/mod.rs"]
mod common;
#[path = "../../examples/video/frames.rs"]
#[allow(dead_code, reason = "only streams of Y4M have a structure")]
mod frames;

pub mod configuration;
pub mod exposure;
pub mod kernels;
pub mod paths;
pub mod photo;
pub mod video;
pub mod weights;

use sci_burn::burn::tensor::Device;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;

/// Lets `read` read a file of these bytes. With its folder on a disk, fuzzing is slow: see `TMPDIR`.
fn with_file<T>(extension: &str, data: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let mut file = tempfile::Builder::new().suffix(extension).tempfile().unwrap();
    file.write_all(data).unwrap();
    read(file.path())
}

/// The result, or none where an error was reported as errors are: in one line, without control characters, not longer
/// than a screen.
fn well_said<T, E: Display>(result: Result<T, E>) -> Option<T> {
    result
        .map_err(|error| {
            let error = error.to_string();
            assert!(!error.is_empty() && error.len() < 8000, "{} bytes", error.len());
            assert!(!error.contains(char::is_control), "{error:?}");
        })
        .ok()
}

fn cpu() -> Device {
    sci_burn::open_device("cpu").unwrap()
}
