//! What the examples share: how they show their progress, end, and read options.
#![allow(dead_code, reason = "each example uses a part")]

#[cfg(feature = "train")]
pub mod canvas;
pub mod classical;
#[cfg(feature = "train")]
pub mod preview;
#[cfg(feature = "train")]
pub mod training;

use indicatif::{ProgressState, ProgressStyle};
use sci_burn::burn::tensor::Device;
use sci_burn::model::{IlluminationEstimator, IlluminationEstimatorConfig};
use sci_burn::photo::is_photo;
use sci_burn::{Enhancer, Preset, open_device};
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

/// What ends an example, or one photograph: an error of the library, or a sentence of the example's.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A result of an example.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A sentence that names the file, as the library's errors do.
pub fn unwritable(path: &Path, reason: impl Display) -> Failure {
    format!("cannot write {}: {reason}", path.display()).into()
}

/// A sentence that names the file, as the library's errors do.
pub fn unreadable(path: &Path, reason: impl Display) -> Failure {
    format!("cannot read {}: {reason}", path.display()).into()
}

/// An error is one line, and the exit status says so.
pub fn exit(result: Result<()>) -> ExitCode {
    exit_whole(result.map(|()| true))
}

/// As [`exit`], of what may have succeeded in part; the errors of the rest have been told.
pub fn exit_whole(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An error in one line that names the photograph. Most errors do so themselves.
pub fn describe(photo: &Path, error: &Failure) -> String {
    let (name, message) = (photo.display().to_string(), error.to_string());
    if message.contains(&name) { message } else { format!("{name}: {message}") }
}

/// Refuses, before there is any work to be lost, a file that cannot be written: its folder is missing,
/// it is a folder or one of the inputs, or it exists and is not to be replaced.
pub fn may_write(path: &Path, force: bool, inputs: &[&Path]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let real = |path: &Path| path.canonicalize().ok();
    let is_input = || inputs.iter().any(|input| real(input) == real(path));
    let reason = match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => format!("there is no folder {}", folder.display()),
        None if path.is_dir() => "it is a folder".to_owned(),
        None if path.exists() && is_input() => "it is one of the inputs".to_owned(),
        None if path.exists() && !force => "it exists already (--force replaces it)".to_owned(),
        None => return Ok(()),
    };
    Err(unwritable(path, reason))
}

/// Refuses a picture that cannot be written because of its name.
pub fn may_save(path: &Path) -> Result<()> {
    match is_photo(path) {
        true => Ok(()),
        false => Err(unwritable(
            path,
            "unknown extension, expected .png, .jpg, .jpeg, .webp, .tif, .tiff or .bmp",
        )),
    }
}

/// Puts a file in its place when it is complete.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let written = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).and_then(
        |mut scratch| {
            scratch.write_all(bytes)?;
            scratch.as_file().sync_all()?;
            scratch.persist(path)?;
            Ok(())
        },
    );
    written.map_err(|error| unwritable(path, error))
}

/// Prints a line. Nobody may be listening any more, such as `head`; the work goes on.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The weights and the device, as options.
#[derive(clap::Args)]
pub struct Network {
    /// Which weights of this crate to use: easy, medium or difficult, for ever darker pictures.
    #[arg(short, long, default_value_t)]
    preset: Preset,
    /// Other weights: .pt, .safetensors or .bpk.
    #[arg(short, long, conflicts_with = "preset")]
    weights: Option<PathBuf>,
    /// What computes: cpu, ndarray, wgpu, vulkan, metal or cuda.
    #[arg(short, long, default_value = "cpu")]
    device: String,
}

impl Network {
    /// The trained network and the device that it is on.
    pub fn open(&self) -> Result<(IlluminationEstimator, Device)> {
        let device = open_device(&self.device)?;
        let estimator = match &self.weights {
            Some(weights) => IlluminationEstimatorConfig::new().load(weights, &device)?,
            None => self.preset.estimator(&device),
        };
        Ok((estimator, device))
    }

    /// An enhancer with the trained network.
    pub fn enhancer(&self) -> Result<Enhancer> {
        let (estimator, device) = self.open()?;
        Ok(Enhancer::new(estimator, &device))
    }
}

/// Width and height, as `600x400`.
pub fn size(text: &str) -> Result<[usize; 2], String> {
    pair(text, "x").ok_or_else(|| "expected width and height, such as 600x400".to_owned())
}

/// Two numbers with something between them.
pub fn pair<T: FromStr>(text: &str, separator: &str) -> Option<[T; 2]> {
    let (first, second) = text.split_once(separator)?;
    Some([first.parse().ok()?, second.parse().ok()?])
}

/// How a bar looks; `{rate}` is how much is done in a second.
pub fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("a valid template");
    style.with_key("rate", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        let _ = write!(text, "{:.1}", state.per_sec());
    })
}
