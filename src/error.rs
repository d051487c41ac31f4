//! The one error type of this crate.

use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What led to an [`Error`]: an error of the operating system, a decoder or a driver, or a sentence.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Everything that can go wrong. Each variant names the file, tensor, setting or device at fault.
///
/// The message is one line of bounded length and includes the cause; characters that would disturb a
/// terminal are escaped in it. The cause itself is at [`source`](StdError::source), and where an
/// operation of the operating system failed, [`io_kind`](Self::io_kind) says how.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument of a function has a value that it must not have.
    #[error("argument `{argument}`: {}", brief(reason))]
    #[non_exhaustive]
    Argument {
        /// The argument's name.
        argument: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// A setting of a configuration has a value that it must not have.
    #[error("setting `{setting}`: {}", brief(reason))]
    #[non_exhaustive]
    Setting {
        /// The setting's name, as it is written in the configuration, such as `sampling.crop`.
        setting: String,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// A file or folder cannot be read.
    #[error("cannot read {}: {}", shown(path), brief(source))]
    #[non_exhaustive]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system or the decoder says.
        source: Cause,
    },

    /// Reading a photograph would take more memory than
    /// [`ReadOptions::max_bytes`](crate::photo::ReadOptions::max_bytes), by its header.
    #[error(
        "cannot read {}: reading {width}×{height} pixels takes {bytes} bytes, more than the limit of {limit}",
        shown(path)
    )]
    #[non_exhaustive]
    TooLarge {
        /// The photograph.
        path: PathBuf,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// What its pixels would take in memory, or where these alone are within the limit, what
        /// reading it would take in all.
        bytes: u64,
        /// What they may take.
        limit: u64,
    },

    /// A file cannot be written. Whatever was at that path before is still there.
    #[error("cannot write {}: {}", shown(path), brief(source))]
    #[non_exhaustive]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system or the encoder says.
        source: Cause,
    },

    /// A file's extension names no format that this crate reads or writes.
    #[error("{}: unknown extension, expected one of {expected}", shown(path))]
    #[non_exhaustive]
    UnknownExtension {
        /// The file.
        path: PathBuf,
        /// The extensions that would do.
        expected: &'static str,
    },

    /// A file is not what its extension promises, or is damaged.
    #[error("{} is not a readable {format} file: {}", shown(path), brief(source))]
    #[non_exhaustive]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format that its extension promises.
        format: &'static str,
        /// What the parser says.
        source: Cause,
    },

    /// A weight file lacks a tensor.
    #[error("{} has no tensor `{}`", shown(path), brief(tensor))]
    #[non_exhaustive]
    MissingTensor {
        /// The weight file.
        path: PathBuf,
        /// The tensor's PyTorch name.
        tensor: String,
    },

    /// A tensor in a weight file has another shape than the model asks for.
    #[error(
        "{}: tensor `{}` has shape {}, expected {expected:?}",
        shown(path),
        brief(tensor),
        brief(format_args!("{found:?}"))
    )]
    #[non_exhaustive]
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
    #[error("{}: tensor `{}` {}", shown(path), brief(tensor), brief(reason))]
    #[non_exhaustive]
    BadTensor {
        /// The weight file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A weight file holds a model of the other method.
    #[error("{} holds weights of {found}, expected those of {expected}", shown(path))]
    #[non_exhaustive]
    OtherMethod {
        /// The weight file.
        path: PathBuf,
        /// The method of the model that the weights are for: SCI or SCI++.
        expected: &'static str,
        /// The method of the file.
        found: &'static str,
    },

    /// A weight file was made by a model with another number of residual blocks.
    #[error("{}: the {network} has {found} blocks, expected {expected}", shown(path))]
    #[non_exhaustive]
    BlockCount {
        /// The weight file.
        path: PathBuf,
        /// Estimator, increment or calibrator.
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
    #[non_exhaustive]
    PixelFormat {
        /// The pixel format, as the `image` crate names it.
        kind: String,
    },

    /// A device name that this crate does not know.
    #[error("unknown device `{}`, expected one of {known}", brief(name))]
    #[non_exhaustive]
    UnknownDevice {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },

    /// The backend of a device was not compiled in.
    #[error(
        "device `{name}` is not compiled in: it needs the cargo feature `{feature}` (available: \
         {available})"
    )]
    #[non_exhaustive]
    DeviceNotCompiled {
        /// The name that was asked for.
        name: &'static str,
        /// The cargo feature that brings it.
        feature: &'static str,
        /// The devices that are compiled in.
        available: String,
    },

    /// The device is not there, or does not work.
    #[error("device `{name}` is not available: {}", brief(source))]
    #[non_exhaustive]
    DeviceUnavailable {
        /// The name that was asked for.
        name: &'static str,
        /// What the driver or the graphics interface says.
        source: Cause,
    },

    /// A computation failed on its device, for lack of memory for example.
    #[error("the computation failed on its device: {}", brief(source))]
    #[non_exhaustive]
    Execution {
        /// What the backend says.
        source: Cause,
    },

    /// The folder of a run belongs to another training.
    #[error("{} is a run with `{setting}` {}, not {}", shown(path), brief(theirs), brief(ours))]
    #[non_exhaustive]
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

    /// The folder for a new run holds one already.
    #[error("cannot write {}: it holds a run already", shown(path))]
    #[non_exhaustive]
    RunExists {
        /// The run's folder.
        path: PathBuf,
    },

    /// A training diverged.
    #[error(
        "the {what} is not a finite number in epoch {epoch}, step {step} ({}); {}",
        brief(photos),
        match checkpoint {
            Some(path) => format!("the last good checkpoint is {}", shown(path)),
            None => "there is no good checkpoint yet".to_owned(),
        }
    )]
    #[non_exhaustive]
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
}

impl Error {
    /// How an operation of the operating system failed, if that is what led to this error.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        let mut cause = self.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Some(error.kind());
            }
            cause = error.source();
        }
        None
    }

    pub(crate) fn argument(argument: &'static str, reason: impl Into<String>) -> Self {
        Self::Argument { argument, reason: reason.into() }
    }

    pub(crate) fn setting(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Setting { setting: setting.into(), reason: reason.into() }
    }

    /// An error of a setting, named as in the configuration that has its own in this section.
    pub(crate) fn in_section(self, section: &str) -> Self {
        match self {
            Self::Setting { setting, reason } => {
                Self::Setting { setting: format!("{section}.{setting}"), reason }
            }
            error => error,
        }
    }

    pub(crate) fn read(path: impl Into<PathBuf>, cause: impl Into<Cause>) -> Self {
        Self::Read { path: path.into(), source: cause.into() }
    }

    pub(crate) fn write(path: impl Into<PathBuf>, cause: impl Into<Cause>) -> Self {
        Self::Write { path: path.into(), source: cause.into() }
    }

    pub(crate) fn malformed(
        path: impl Into<PathBuf>,
        format: &'static str,
        cause: impl Into<Cause>,
    ) -> Self {
        Self::Malformed { path: path.into(), format, source: cause.into() }
    }

    /// What a backend says when it cannot compute or deliver something.
    pub(crate) fn execution(cause: impl Into<Cause>) -> Self {
        Self::Execution { source: cause.into() }
    }
}

/// The most characters that a message has of a foreign sentence, and of a file's name.
const MOST_REASON: usize = 300;
const MOST_PATH: usize = 1000;

/// The first line of a foreign message, of bounded length, so that ours stays one line.
pub(crate) fn brief(message: impl Display) -> String {
    let message = message.to_string();
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Escaped { text: line.trim(), most: MOST_REASON }.to_string()
}

/// A path as messages show it.
pub(crate) fn shown(path: &Path) -> impl Display {
    Escaped { text: path.to_string_lossy().into_owned(), most: MOST_PATH }
}

/// A text without characters that move the cursor, begin escape sequences or change the direction of
/// writing, and of bounded length: what is beyond stands for itself as `…`.
struct Escaped<T> {
    text: T,
    most: usize,
}

impl<T: AsRef<str>> Display for Escaped<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for (index, character) in self.text.as_ref().chars().enumerate() {
            if index == self.most {
                return formatter.write_char('…');
            }
            let directs = matches!(
                character,
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            );
            if character.is_control() || directs {
                write!(formatter, "{}", character.escape_default())?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_short_line_whatever_is_in_it() {
        let path = "night\n\u{1b}[2J\u{61c}\u{202e}gnp.jpg";
        let reason = format!("\n  first\tline {}\nsecond line", "x".repeat(5000));
        let message = Error::read(path, reason).to_string();
        assert!(
            message.starts_with(r"cannot read night\n\u{1b}[2J\u{61c}\u{202e}gnp.jpg: first\tline")
        );
        assert!(message.ends_with("x…") && message.len() < 400, "{message}");
        assert!(!message.contains(char::is_control));
    }

    #[test]
    fn the_cause_is_kept() {
        let missing = std::fs::read("no/such/file").unwrap_err();
        let kind = missing.kind();
        let error = Error::read("no/such/file", missing);
        assert_eq!(error.io_kind(), Some(kind));
        assert!(error.source().unwrap().downcast_ref::<io::Error>().is_some());
        assert_eq!(Error::read("file", "it is empty").io_kind(), None);
    }
}
