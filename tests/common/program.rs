//! The examples as programs, in a folder of a test.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here may keep a program busy, even one without optimization.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a program did.
pub struct Outcome {
    /// None where a signal ended it.
    pub status: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    /// One error, in one line that names the file.
    #[track_caller]
    pub fn refused(&self, name: &str) {
        let Self { status, stderr, .. } = self;
        assert_eq!(*status, Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(name), "{name}: {stderr}");
    }

    #[track_caller]
    pub fn done(&self) {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        assert_eq!(self.stderr, "");
    }
}

/// The path of an example, which `cargo test` builds beside the test.
pub fn example(name: &str) -> PathBuf {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push(format!("examples/{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "`cargo build --examples` builds {}", path.display());
    path
}

pub fn command(example: &str) -> Command {
    prepared(self::example(example))
}

/// A program whose output is kept.
pub fn prepared(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // A group of its own: what a shell has started ends with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What a panic says may be more than one line.
    command.env_remove("RUST_BACKTRACE");
    // Drivers of GPUs print a line where it is missing.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    command
}

/// Waits for a program, and kills one that hangs.
#[track_caller]
pub fn finish(child: Child) -> Outcome {
    finish_within(child, PATIENCE)
}

#[track_caller]
pub fn finish_within(mut child: Child, patience: Duration) -> Outcome {
    fn all(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // A pipe that the test has closed has nothing.
            pipe.map(|mut pipe| pipe.read_to_end(&mut bytes).unwrap());
            bytes
        })
    }
    let (stdout, stderr) = (all(child.stdout.take()), all(child.stderr.take()));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > patience {
            #[cfg(unix)]
            let _ = Command::new("kill").args(["-9", &format!("-{}", child.id())]).status();
            child.kill().unwrap();
            panic!("it hangs: {}", String::from_utf8_lossy(&stderr.join().unwrap()));
        }
        thread::sleep(Duration::from_millis(5));
    };
    Outcome {
        status: status.code(),
        stdout: stdout.join().unwrap(),
        stderr: String::from_utf8(stderr.join().unwrap()).unwrap(),
    }
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it is not so after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A folder for the files of a test.
pub struct Scene(tempfile::TempDir);

impl Scene {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Starts an example, in the folder of the test.
    pub fn start(&self, example: &str, arguments: &[impl AsRef<OsStr>]) -> Child {
        command(example).args(arguments).current_dir(self.folder()).spawn().unwrap()
    }

    #[track_caller]
    pub fn run(&self, example: &str, arguments: &[impl AsRef<OsStr>]) -> Outcome {
        finish(self.start(example, arguments))
    }

    /// All files and folders in a folder of the test.
    pub fn names(&self, folder: &str) -> BTreeSet<String> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else { return BTreeSet::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// All files below a folder of the test, by their paths there.
    pub fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        fn add(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
                // It may be gone by now.
                if path.is_dir() {
                    add(&path, &format!("{name}/"), files);
                } else if let Ok(bytes) = std::fs::read(&path) {
                    files.insert(name, bytes);
                }
            }
        }
        let mut files = BTreeMap::new();
        add(&self.path(folder), "", &mut files);
        files
    }
}
