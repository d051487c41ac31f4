use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Each variant names the file, tensor, setting or device at fault,
/// and its message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that makes no sense.
    #[error("setting `{setting}`: {reason}")]
    Setting {
        /// The setting's name, as it is written in the configuration.
        setting: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// A file or folder cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system or the decoder says.
        reason: String,
    },

    /// A photograph has more pixels than are allowed
    /// ([`ReadOptions::max_bytes`](crate::ReadOptions::max_bytes)), by its header.
    #[error(
        "cannot read {}: {width}×{height} pixels take {bytes} bytes, more than the limit of {limit}",
        path.display()
    )]
    TooLarge {
        /// The photograph.
        path: PathBuf,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// What its pixels would take in memory.
        bytes: u64,
        /// What they may take.
        limit: u64,
    },

    /// A file cannot be written. Whatever was at that path before is still there.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system or the encoder says.
        reason: String,
    },

    /// A file's extension names no format that this crate reads or writes.
    #[error("{}: unknown extension, expected one of {expected}", path.display())]
    UnknownExtension {
        /// The file.
        path: PathBuf,
        /// The extensions that would do.
        expected: &'static str,
    },

    /// A file is not what its extension promises, or is damaged.
    #[error("{} is not a readable {format} file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format that its extension promises.
        format: &'static str,
        /// What the parser says.
        reason: String,
    },

    /// A weight file lacks a tensor.
    #[error("{} has no tensor `{tensor}`", path.display())]
    MissingTensor {
        /// The weight file.
        path: PathBuf,
        /// The tensor's PyTorch name.
        tensor: String,
    },

    /// A tensor in a weight file has another shape than the model asks for.
    #[error(
        "{}: tensor `{tensor}` has shape {found:?}, expected {expected:?}",
        path.display()
    )]
    TensorShape {
        /// The weight file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// The shape that the model's configuration asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },

    /// A tensor in a weight file cannot be used: its type is no float, its bytes cannot be read, or
    /// a value in it is NaN, infinite or impossible.
    #[error("{}: tensor `{tensor}` {reason}", path.display())]
    BadTensor {
        /// The weight file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A weight file was made by a model that applies its shared block another number of times.
    #[error(
        "{}: the {network} applies its block {found} times, expected {expected}",
        path.display()
    )]
    BlockCount {
        /// The weight file.
        path: PathBuf,
        /// Estimator or calibrator.
        network: &'static str,
        /// The number that the model's configuration asks for.
        expected: usize,
        /// The number in the file.
        found: usize,
    },

    /// A photograph's pixels are of a kind that cannot be enhanced.
    #[error(
        "{kind} pixels are not supported, expected 8 or 16 bits a sample (convert with \
         `DynamicImage::to_rgb16`)"
    )]
    PixelFormat {
        /// The pixel format, as the `image` crate names it.
        kind: String,
    },

    /// A device name that this crate does not know.
    #[error("unknown device `{name}`, expected one of {known}")]
    UnknownDevice {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },

    /// The backend of a device was not compiled in.
    #[error(
        "device `{name}` is not compiled in: build with `--features {feature}` (available: \
         {available})"
    )]
    DeviceNotCompiled {
        /// The name that was asked for.
        name: &'static str,
        /// The cargo feature that brings it.
        feature: &'static str,
        /// The devices that are compiled in.
        available: String,
    },

    /// The folder of a run belongs to another training.
    #[error("{} is a run with `{setting}` {theirs}, not {ours}", path.display())]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
        /// The first setting that differs.
        setting: String,
        /// What was asked for.
        ours: String,
        /// What the run was begun with.
        theirs: String,
    },

    /// A training diverged.
    #[error(
        "the {what} is not a finite number in epoch {epoch}, step {step} ({photos}); {}",
        match checkpoint {
            Some(path) => format!("the last good checkpoint is {}", path.display()),
            None => "there is no good checkpoint yet".to_owned(),
        }
    )]
    NotFinite {
        /// The loss or the gradient.
        what: &'static str,
        /// The epoch, from 1.
        epoch: usize,
        /// The step of the epoch, from 1.
        step: usize,
        /// The photographs of the step.
        photos: String,
        /// The model of the last checkpoint from which a step could be made, if there is one.
        checkpoint: Option<PathBuf>,
    },

    /// The device is not there, or does not work.
    #[error("device `{name}` is not available: {reason}; use `--device cpu` or install a driver")]
    DeviceUnavailable {
        /// The name that was asked for.
        name: &'static str,
        /// What the driver or the graphics interface says.
        reason: String,
    },

    /// A computation failed on its device, for want of memory for example.
    #[error("the computation failed on its device: {reason}")]
    Execution {
        /// What the backend says.
        reason: String,
    },
}

impl Error {
    /// What a backend says when it cannot compute or deliver something.
    pub(crate) fn execution(message: impl std::fmt::Display) -> Self {
        Self::Execution { reason: Self::first_line(message) }
    }

    /// Keeps the first line of a foreign message, so that ours stays one line.
    pub(crate) fn first_line(message: impl std::fmt::Display) -> String {
        let message = message.to_string();
        message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    }
}
