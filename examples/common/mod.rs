//! What the examples share: errors, names on the terminal, progress, and options.
#![allow(dead_code, reason = "each example uses a part")]

pub mod canvas;
pub mod classical;
pub mod list;
pub mod plan;
#[cfg(feature = "train")]
pub mod preview;
pub mod report;
pub mod shard;
pub mod stop;
#[cfg(feature = "train")]
pub mod training;

use indicatif::{ProgressState, ProgressStyle};
use sci_burn::burn::tensor::Device;
use sci_burn::model::IlluminationEstimator;
use sci_burn::photo::{Photo, ReadOptions, find_photos_except, is_photo, open_photo_with};
use sci_burn::{Color, Denoise, Enhancer, Error, Exposure, Preset, open_device};
use std::any::Any;
use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The error of an example, or of one photograph: an error of the library, or a message.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A photograph, or another input, that failed, and why.
pub type Failed = (PathBuf, Failure);

/// A result of an example.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// An error that names the file, as the library's errors do.
pub fn unwritable(path: &Path, reason: impl Display) -> Failure {
    format!("cannot write {}: {reason}", shown(path)).into()
}

/// An error that names the file, as the library's errors do.
pub fn unreadable(path: &Path, reason: impl Display) -> Failure {
    format!("cannot read {}: {reason}", shown(path)).into()
}

/// A path for the terminal, as the library's errors show it.
pub fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

/// The most characters of a text that are shown.
const MOST_SHOWN: usize = 1000;

/// A text in which characters that move the cursor, begin escape sequences or change the direction of
/// writing are escaped. Its end is replaced by `…` if it is very long.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MOST_SHOWN));
    for (index, character) in text.chars().enumerate() {
        let directs = matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        match character {
            _ if index == MOST_SHOWN => {
                shown.push('…');
                break;
            }
            _ if directs || character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Reports an error in one line, and returns the exit status.
pub fn exit(result: Result<()>) -> ExitCode {
    exit_whole(result.map(|()| true))
}

/// As [`exit`], of work that returns whether all of it was done. Errors of its parts are reported
/// already.
pub fn exit_whole(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("{error}{}", hint(&error)));
            ExitCode::FAILURE
        }
    }
}

/// What the user of a command line can do about an error of the library, which knows none.
fn hint(error: &Failure) -> String {
    match error.downcast_ref() {
        Some(Error::DeviceNotCompiled { feature, .. }) => {
            format!("; build with `--features {feature}`")
        }
        Some(Error::DeviceUnavailable { .. }) => {
            "; use `--device cpu` or install a driver".to_owned()
        }
        _ => String::new(),
    }
}

/// Prints a line to standard output. If nobody reads it any more, such as `head`, the work goes on.
pub fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

/// Prints an error to standard error.
pub fn complain(error: impl Display) {
    note(format_args!("error: {error}"));
}

/// Prints a line to standard error, if it is open.
pub fn note(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// An error in one line that names the photograph. Most errors do so themselves.
pub fn describe(photo: &Path, error: &Failure) -> String {
    let (name, message) = (shown(photo), error.to_string());
    if message.contains(&name) { message } else { format!("{name}: {message}") }
}

/// Calls of [`guarded`] that have not returned.
static GUARDED: AtomicUsize = AtomicUsize::new(0);

/// Does the work for one photograph, and turns a panic into an error: the last resort against a defect,
/// so that the other photographs are done. Panics are printed only if `RUST_BACKTRACE` is set, since
/// the error says the same in one line.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if GUARDED.load(Ordering::Relaxed) == 0 || std::env::var_os("RUST_BACKTRACE").is_some()
            {
                print(panic);
            }
        }));
    });
    GUARDED.fetch_add(1, Ordering::Relaxed);
    // What the work has changed is thrown away with it: photographs share only what is read.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.fetch_sub(1, Ordering::Relaxed);
    result.unwrap_or_else(|panic| Err(internal(&*panic)))
}

fn internal(panic: &(dyn Any + Send)) -> Failure {
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message.as_str(),
        _ => "no message",
    };
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    format!("internal error: {}", escaped(line)).into()
}

/// Refuses an output file that cannot be written, before the work begins: its folder is missing or
/// takes no files, it is a folder, one of the inputs or a photograph in a folder of them, or it exists and is
/// not to be replaced.
pub fn may_write(path: &Path, force: bool, inputs: &[&Path]) -> Result<()> {
    let folder = folder(path);
    let is_input = || {
        let Ok(real) = path.canonicalize() else { return false };
        // By any name: links in a folder of photographs are followed.
        let is_it = |input: &Path| input.canonicalize().is_ok_and(|input| input == real);
        let has_it = |folder: &Path| {
            find_photos_except(folder, None)
                .is_ok_and(|found| found.photos.iter().any(|photo| is_it(photo)))
        };
        inputs.iter().any(|input| is_it(input) || input.is_dir() && has_it(input))
    };
    let reason = if !folder.is_dir() {
        format!("there is no folder {}", shown(folder))
    } else if path.is_dir() {
        "it is a folder".to_owned()
    } else if is_input() {
        "it is one of the inputs".to_owned()
    } else if path.symlink_metadata().is_ok() && !force {
        EXISTS.to_owned()
    } else if let Err(error) = nameless(tempfile::tempfile_in(folder)) {
        error.to_string()
    } else {
        return Ok(());
    };
    Err(unwritable(path, reason))
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A temporary file, or an error without its name, which `tempfile` adds to the system's text and nobody knows.
fn nameless<T>(created: std::io::Result<T>) -> std::io::Result<T> {
    created.map_err(|error| error.kind().into())
}

const EXISTS: &str = "it exists already (--force replaces it)";

/// Refuses the name of a picture whose extension names no format that can be written.
pub fn may_save(path: &Path) -> Result<()> {
    match is_photo(path) {
        true => Ok(()),
        false => Err(unwritable(
            path,
            "unknown extension, expected .png, .jpg, .jpeg, .webp, .tif, .tiff or .bmp",
        )),
    }
}

/// Refuses an input that exists and is not a regular file, such as a pipe or a device, which might
/// never end. One that does not exist is left to those who open it.
pub fn regular(path: &Path) -> Result<()> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(unreadable(path, "it is a folder")),
        Ok(metadata) if !metadata.is_file() => Err(unreadable(path, "it is not a regular file")),
        _ => Ok(()),
    }
}

/// Writes a file beside `path`, and gives it that name when it is complete. Without `force`, a file
/// that is there is not replaced, even if it has appeared in the meantime.
pub fn write_whole(path: &Path, bytes: &[u8], force: bool) -> Result<()> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has permissions"))]
    let mut builder = tempfile::Builder::new();
    // As for any new file, the user's mask decides; the default is for secrets.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let written = nameless(builder.tempfile_in(folder(path))).and_then(|mut scratch| {
        scratch.as_file_mut().write_all(bytes)?;
        scratch.as_file().sync_all()?;
        match force {
            true => scratch.persist(path)?,
            false => scratch.persist_noclobber(path)?,
        };
        Ok(())
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => unwritable(path, EXISTS),
        _ => unwritable(path, error),
    })
}

/// How photographs are read, as options.
#[derive(clap::Args)]
pub struct ReadingOptions {
    /// The most memory that a photograph may take while it is read, in MiB.
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u64).range(1..=u64::MAX >> MIB)
    )]
    max_memory: u64,
}

/// A MiB has two to the power of this many bytes.
const MIB: u32 = 20;

impl ReadingOptions {
    /// Reads a photograph.
    pub fn open(&self, path: &Path) -> Result<Photo> {
        regular(path)?;
        let options = ReadOptions::new().with_max_bytes(self.max_memory << MIB);
        Ok(open_photo_with(path, &options)?)
    }
}

/// What follows the network, as options.
#[derive(clap::Args)]
pub struct LookOptions {
    /// The colors: kept, or per-channel (as published). The default is kept, except for --exposure full.
    #[arg(long)]
    color: Option<Color>,
    /// The noise filter: auto, off (as published), or a strength: 2 is as for twice the noise. The default is
    /// auto, except for --exposure full.
    #[arg(long)]
    denoise: Option<Denoise>,
}

impl LookOptions {
    /// The enhancer with an exposure and these options.
    pub fn apply(&self, enhancer: Enhancer, exposure: Exposure) -> Result<Enhancer> {
        let (color, denoise) = match exposure {
            Exposure::Full => (Color::PerChannel, Denoise::Off),
            _ => (Color::Kept, Denoise::Auto),
        };
        let enhancer = enhancer.with_exposure(exposure)?.with_color(self.color.unwrap_or(color));
        Ok(enhancer.with_denoise(self.denoise.unwrap_or(denoise))?)
    }
}

/// The weights and the device, as options.
#[derive(clap::Args)]
pub struct NetworkOptions {
    /// Preset weights. Those that the authors released: published-easy, published-medium or
    /// published-difficult, for increasingly dark photographs, or published-plus-plus, those of SCI++; or
    /// plus-plus, trained with this crate.
    #[arg(short, long, default_value_t)]
    preset: Preset,
    /// A weight file instead of a preset, of SCI or SCI++: .pt, .safetensors or .bpk.
    #[arg(short, long, conflicts_with = "preset")]
    weights: Option<PathBuf>,
    /// The device to compute on: cpu, ndarray, wgpu, vulkan, metal, cuda or rocm.
    #[arg(short, long, default_value = "cpu")]
    device: String,
}

impl NetworkOptions {
    /// The trained estimator and the device that it is on.
    pub fn open(&self) -> Result<(IlluminationEstimator, Device)> {
        let device = open_device(&self.device)?;
        let estimator = match &self.weights {
            Some(weights) => {
                regular(weights)?;
                IlluminationEstimator::from_file(weights, &device)?
            }
            None => self.preset.estimator(&device),
        };
        Ok((estimator, device))
    }

    /// An enhancer with the trained estimator.
    pub fn enhancer(&self) -> Result<Enhancer> {
        let (estimator, device) = self.open()?;
        Ok(Enhancer::new(estimator, &device))
    }
}

/// Width and height, as `600x400`.
pub fn size(text: &str) -> Result<[usize; 2], String> {
    pair(text, "x").ok_or_else(|| "expected width and height, such as 600x400".to_owned())
}

/// Two numbers with a separator between them.
pub fn pair<T: FromStr>(text: &str, separator: &str) -> Option<[T; 2]> {
    let (first, second) = text.split_once(separator)?;
    Some([first.parse().ok()?, second.parse().ok()?])
}

/// The style of a progress bar; `{rate}` is how much is done in a second.
pub fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("a valid template");
    style.with_key("rate", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        let _ = write!(text, "{:.1}", state.per_sec());
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        reading: ReadingOptions,
    }

    #[test]
    fn a_memory_limit_is_a_number_of_bytes_above_zero() {
        let parse = |value: &str| Options::try_parse_from(["example", "--max-memory", value]);
        assert_eq!(parse("16").unwrap().reading.max_memory, 16);
        let most = u64::MAX >> MIB;
        assert_eq!(parse(&most.to_string()).unwrap().reading.max_memory, most);
        for refused in [0, most + 1, 1 << 44, u64::MAX] {
            assert!(parse(&refused.to_string()).is_err(), "{refused}");
        }
    }

    #[test]
    fn names_do_not_disturb_the_terminal() {
        let path = Path::new("night\n\u{1b}[2J\u{61c}\u{202e}gnp.jpg");
        assert_eq!(shown(path), r"night\n\u{1b}[2J\u{61c}\u{202e}gnp.jpg");
        assert_eq!(shown(Path::new("noche española/夜.jpg")), "noche española/夜.jpg");
        assert_eq!(escaped(&"x".repeat(5000)).chars().count(), MOST_SHOWN + 1);
        let error = unreadable(path, "it is empty");
        assert_eq!(describe(path, &error), error.to_string());
        // The library shows names in the same way.
        let error = Failure::from(sci_burn::open_photo(path).unwrap_err());
        assert_eq!(describe(path, &error), error.to_string());
    }

    #[test]
    fn a_panic_is_an_error_of_one_line() {
        let message = |result: Result<()>| result.unwrap_err().to_string();
        let text = guarded(|| panic!("index {}\nout of bounds", 7));
        assert_eq!(message(text), "internal error: index 7");
        assert_eq!(message(guarded(|| panic!("early"))), "internal error: early");
        assert_eq!(
            message(guarded(|| panic::resume_unwind(Box::new(5)))),
            "internal error: no message"
        );
        assert_eq!(guarded(|| Ok(5)).unwrap(), 5);
    }

    #[test]
    fn a_file_is_replaced_only_where_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(255));
        write_whole(&path, b"old", false).unwrap();
        let message = write_whole(&path, b"new", false).unwrap_err().to_string();
        assert!(message.ends_with(EXISTS), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write_whole(&path, b"new", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let lost = folder.path().join("missing/file");
        let message = write_whole(&lost, b"lost", true).unwrap_err().to_string();
        assert!(message.ends_with("missing/file: entity not found"), "{message}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(folder.path().join("ordinary"), b"").unwrap();
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
            assert_eq!(mode(&path), mode(&folder.path().join("ordinary")));
        }
    }
}
