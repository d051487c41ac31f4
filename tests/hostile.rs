//! Files that are not what their names say, through every example that takes their kind: one line
//! with the file's name, exit status 1, and the other photographs are done.
//!
//! Some files are made here. If the environment variable `SCI_REFERENCE_DIR` names a folder with a
//! subfolder `hostile`, its files are tried as well.

mod common;

use common::program::{Scene, command, finish, wait_until};
use sci_burn::image::{DynamicImage, Rgb, RgbImage};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

impl Scene {
    /// A folder with ten good photographs.
    fn good(&self, folder: &str) -> PathBuf {
        for (number, extension) in (0..).zip(["png", "jpg", "webp", "tif", "bmp"].repeat(2)) {
            let path = self.file(&format!("{folder}/good-{number}.{extension}"), b"");
            photo(48, 36).save(path).unwrap();
        }
        self.path(folder)
    }

    /// A file that is no photograph, through every example that reads photographs.
    #[track_caller]
    fn no_photo(&self, path: &Path, options: &'static [&'static str]) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let options = || options.iter().map(OsStr::new);
        let before = self.names("");
        let arguments = |fixed: &'static [&'static str]| -> Vec<&OsStr> {
            let fixed: Vec<&OsStr> = fixed.iter().map(OsStr::new).collect();
            std::iter::once(path.as_os_str()).chain(fixed).chain(options()).collect()
        };
        self.run("enhance", &arguments(&["-o", "bright.png"])).refused(name);
        self.run("enhance", &arguments(&["-o", "results"])).refused(name);
        self.run("evaluate", &arguments(&["--csv", "figures.csv"])).refused(name);
        self.run("compare", &arguments(&["-o", "sheet.png"])).refused(name);
        #[cfg(feature = "train")]
        if options().len() == 0 {
            self.run("finetune", &arguments(&["-o", "tuned.safetensors"])).refused(name);
            // The only photograph of a folder.
            let alone = self.path("alone");
            std::fs::create_dir(&alone).unwrap();
            std::fs::copy(path, alone.join(name)).unwrap();
            let train = ["--data", "alone", "--out", "run"].map(OsStr::new);
            self.run("train", &train).refused(name);
            let tune = ["alone", "-o", "tuned.safetensors"].map(OsStr::new);
            self.run("finetune", &tune).refused(name);
            std::fs::remove_dir_all(alone).unwrap();
        }
        assert_eq!(self.names(""), before, "{name} leaves nothing behind");

        // In a folder the others are done.
        let good = self.good("mixed");
        std::fs::copy(path, self.path("mixed").join(name)).unwrap();
        let expected = self.names("mixed").into_iter().filter(|other| other != name).collect();
        let folder = good.as_os_str();
        let fixed = ["-o", "results"].map(OsStr::new);
        let all: Vec<_> = std::iter::once(folder).chain(fixed).chain(options()).collect();
        let outcome = self.run("enhance", &all);
        outcome.refused(name);
        let summary = "10 enhanced, 0 skipped because they exist, 1 failed\n";
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), summary);
        assert_eq!(self.names("results"), expected);
        let fixed = ["-p", "published-easy"].map(OsStr::new);
        let all: Vec<_> = std::iter::once(folder).chain(fixed).chain(options()).collect();
        let outcome = self.run("evaluate", &all);
        outcome.refused(name);
        let printed = String::from_utf8_lossy(&outcome.stdout);
        assert!(printed.ends_with("means of 10 measured, 1 failed\n"), "{printed}");
        for folder in ["mixed", "results"] {
            std::fs::remove_dir_all(self.path(folder)).unwrap();
        }
    }

    /// A file that is no weight file, through every example that reads weights.
    #[track_caller]
    fn no_weights(&self, path: &Path) {
        let name = path.file_name().unwrap().to_str().unwrap();
        photo(48, 36).save(self.path("dark.png")).unwrap();
        let before = self.names("");
        let fixed: [(&str, &[&str]); 3] = [
            ("enhance", &["dark.png", "-o", "bright.png", "--weights"]),
            ("evaluate", &["dark.png", "--weights"]),
            ("video", &["--weights"]),
        ];
        #[cfg(feature = "train")]
        let fixed = fixed.into_iter().chain([(
            "finetune",
            &["dark.png", "-o", "tuned.safetensors", "--weights"] as &[&str],
        )]);
        for (example, fixed) in fixed {
            let fixed = fixed.iter().map(OsStr::new);
            self.run(example, &fixed.chain([path.as_os_str()]).collect::<Vec<_>>()).refused(name);
        }
        assert_eq!(self.names(""), before, "{name} leaves nothing behind");
    }

    /// A stream that is no video.
    #[track_caller]
    fn no_video(&self, stream: &[u8]) {
        let mut child = command("video").stdin(Stdio::piped()).spawn().unwrap();
        // It may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(stream);
        let outcome = finish(child);
        outcome.refused("standard input");
        assert_eq!(outcome.stdout, b"", "nothing was written");
    }
}

fn photo(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x % 40) as u8, (y % 30) as u8, 20])).into()
}

/// A picture of one color with a palette of four bytes, which is no number of colors.
fn palette_of_four_bytes() -> Vec<u8> {
    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let content = [kind, data].concat();
        let crc = content.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
            })
        });
        let length = (data.len() as u32).to_be_bytes();
        [&length[..], &content, &(!crc).to_be_bytes()].concat()
    }
    // One row of a filter byte and one index, stored without compression.
    let pixels = [0x78, 0x01, 0x01, 2, 0, 0xfd, 0xff, 0, 0, 0, 2, 0, 1];
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0]),
        chunk(b"PLTE", &[10, 20, 30, 40]),
        chunk(b"IDAT", &pixels),
        chunk(b"IEND", &[]),
    ]
    .concat()
}

fn encoded(extension: &str) -> Vec<u8> {
    let scene = Scene::new();
    let path = scene.path("whole").with_extension(extension);
    photo(48, 36).save(&path).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn empty_cut_and_foreign_files() {
    let scene = Scene::new();
    scene.no_photo(&scene.file("empty.png", b""), &[]);
    scene.no_photo(&scene.file("text.jpg", b"This is a text.\n"), &[]);
    for extension in ["png", "jpg", "webp", "tif", "bmp"] {
        let whole = encoded(extension);
        let name = format!("cut.{extension}");
        scene.no_photo(&scene.file(&name, &whole[..whole.len() / 2]), &[]);
    }
}

#[test]
fn a_palette_that_is_no_number_of_colors() {
    let scene = Scene::new();
    scene.no_photo(&scene.file("palette.png", &palette_of_four_bytes()), &[]);
}

#[test]
fn several_bad_palettes_do_not_end_the_workers() {
    let scene = Scene::new();
    let folder = scene.good("mixed");
    // As many as there may be workers, before all good ones.
    for number in 0..64 {
        scene.file(&format!("mixed/bad-{number}.png"), &palette_of_four_bytes());
    }
    let outcome = scene.run("enhance", &[folder.as_os_str(), "-o".as_ref(), "results".as_ref()]);
    assert_eq!(outcome.status, Some(1));
    assert_eq!(outcome.stderr.lines().count(), 64, "{}", outcome.stderr);
    let summary = "10 enhanced, 0 skipped because they exist, 64 failed\n";
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), summary);
    assert_eq!(scene.names("results").len(), 10);
}

#[test]
fn foreign_weights() {
    let scene = Scene::new();
    for extension in ["pt", "safetensors", "bpk"] {
        scene.no_weights(&scene.file(&format!("empty.{extension}"), b""));
        scene.no_weights(&scene.file(&format!("text.{extension}"), b"This is a text.\n"));
    }
    scene.no_weights(&scene.file("claims.safetensors", &[0xff; 8]));
}

#[test]
fn names_with_control_characters_are_escaped() {
    let scene = Scene::new();
    let path = scene.file("night\u{1b}[2J.png", b"This is a text.\n");
    for (example, options) in
        [("enhance", &["-o", "bright.png"][..]), ("evaluate", &[]), ("compare", &["-o", "s.png"])]
    {
        let options = options.iter().map(OsStr::new);
        let arguments: Vec<_> = std::iter::once(path.as_os_str()).chain(options).collect();
        scene.run(example, &arguments).refused(r"night\u{1b}[2J.png");
    }
    photo(48, 36).save_with_format(&path, sci_burn::image::ImageFormat::Png).unwrap();
    let arguments = [path.as_os_str(), "-o".as_ref(), "bright\u{7}.png".as_ref()];
    for said in ["bright\\u{7}.png\n", "bright\\u{7}.png exists already (--force replaces it)\n"] {
        let outcome = scene.run("enhance", &arguments);
        outcome.done();
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), said);
    }
}

#[test]
fn nothing_is_replaced_that_was_not_to_be() {
    let scene = Scene::new();
    let folder = scene.good("dark");
    scene.file("results/good-0.png", b"mine");
    let outcome = scene.run("enhance", &[folder.as_os_str(), "-o".as_ref(), "results".as_ref()]);
    outcome.done();
    let summary = "9 enhanced, 1 skipped because they exist, 0 failed\n";
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), summary);
    assert_eq!(std::fs::read(scene.path("results/good-0.png")).unwrap(), b"mine");
}

#[test]
fn limits_that_wrap_or_allow_nothing_are_refused() {
    let scene = Scene::new();
    photo(48, 36).save(scene.path("dark.png")).unwrap();
    for (example, options) in
        [("enhance", &["-o", "a.png"][..]), ("evaluate", &[]), ("compare", &["-o", "b.png"])]
    {
        for limit in ["0", "17592186044416", "18446744073709551615"] {
            let fixed = ["dark.png", "--max-memory", limit];
            let options = fixed.iter().chain(options);
            let outcome = scene.run(example, &options.map(OsStr::new).collect::<Vec<_>>());
            assert_eq!(outcome.status, Some(2), "{example} {limit}: {}", outcome.stderr);
        }
    }
    assert_eq!(scene.names("").len(), 1);
}

#[test]
fn videos_that_are_none() {
    let scene = Scene::new();
    for stream in [
        &b""[..],
        b"YUV4MPEG2 W4294967296 H4294967296 C444\nFRAME\n",
        b"YUV4MPEG2 W48 H36 F25:1\r\nFRAME\r\n",
        b"YUV4MPEG2 W48 H3",
        &[b'Y'; 100_000],
        &[0; 100_000],
    ] {
        scene.no_video(stream);
    }
}

#[cfg(unix)]
mod unix {
    use super::*;

    fn pipe(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn pipes_and_devices_are_not_photographs() {
        let scene = Scene::new();
        pipe(&scene.path("pipe.png"));
        std::os::unix::fs::symlink("/dev/zero", scene.path("zero.png")).unwrap();
        for name in ["pipe.png", "zero.png"] {
            for (example, options) in [
                ("enhance", &["-o", "bright.png"][..]),
                ("enhance", &["-o", "results"]),
                ("evaluate", &[]),
                ("compare", &["-o", "sheet.png"]),
            ] {
                let named = [name];
                let arguments = named.iter().chain(options).map(OsStr::new);
                scene.run(example, &arguments.collect::<Vec<_>>()).refused(name);
            }
            let list = scene.file("list", format!("{name}\ngood/good-0.png\n").as_bytes());
            scene.good("good");
            let arguments =
                ["--files-from".as_ref(), list.as_os_str(), "-o".as_ref(), "out".as_ref()];
            scene.run("enhance", &arguments).refused(name);
            assert!(scene.path("out/good/good-0.png").exists());
            std::fs::remove_dir_all(scene.path("out")).unwrap();
        }
        assert_eq!(
            scene.names(""),
            ["good", "list", "pipe.png", "zero.png"].map(String::from).into()
        );
    }

    #[test]
    fn pipes_are_not_weights() {
        let scene = Scene::new();
        pipe(&scene.path("pipe.pt"));
        for (example, options) in [
            ("enhance", &["dark.png", "-o", "a.png"][..]),
            ("evaluate", &["dark.png"]),
            ("video", &[]),
        ] {
            let options = options.iter().chain(&["--weights", "pipe.pt"]).map(OsStr::new);
            scene.run(example, &options.collect::<Vec<_>>()).refused("pipe.pt");
        }
    }

    #[test]
    #[cfg(feature = "train")]
    fn pipes_and_devices_are_not_configurations() {
        let scene = Scene::new();
        pipe(&scene.path("pipe.json"));
        std::os::unix::fs::symlink("/dev/zero", scene.path("zero.json")).unwrap();
        scene.file("large.json", &[b' '; (1 << 20) + 1]);
        for name in ["pipe.json", "zero.json", "large.json"] {
            scene.run("train", &["--config", name, "--out", "run"]).refused(name);
        }
        // Nor in the folder of a run.
        photo(48, 36).save(scene.file("dark/a.png", b"")).unwrap();
        let train = ["--data", "dark", "--crop", "32x24", "--epochs", "1", "--out", "run"];
        scene.run("train", &train).done();
        for name in [
            "config.json",
            "metrics.csv",
            "photographs.txt",
            "sci-burn.lock",
            "checkpoint/model-1.bpk",
        ] {
            let path = scene.path("run").join(name);
            let content = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            pipe(&path);
            // It may do without some of them, but waits for none.
            scene.run("train", &["--resume", "--epochs", "2", "--out", "run"]);
            let _ = std::fs::remove_file(&path);
            std::fs::write(path, content).unwrap();
        }
        // A link out of the folder is not written to.
        let lock = scene.path("run/sci-burn.lock");
        std::fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink(scene.path("elsewhere"), &lock).unwrap();
        scene.run("train", &["--resume", "--epochs", "3", "--out", "run"]).refused("sci-burn.lock");
        assert!(!scene.path("elsewhere").exists());
    }

    #[test]
    fn a_pipe_is_no_report() {
        let scene = Scene::new();
        scene.good("good");
        pipe(&scene.path("pipe.csv"));
        scene.run("enhance", &["good", "-o", "out", "--report", "pipe.csv"]).refused("pipe.csv");
    }

    #[test]
    fn a_list_without_an_end() {
        let scene = Scene::new();
        let arguments = ["--files-from", "/dev/zero", "-o", "out"].map(OsStr::new);
        scene.run("enhance", &arguments).refused("/dev/zero");
    }

    /// The process that waits for a photograph is asked to end, twice.
    #[test]
    fn the_second_interrupt_ends_at_once() {
        let scene = Scene::new();
        // Enough work for a while.
        for number in 0..200 {
            let path = scene.file(&format!("dark/{number}.png"), b"");
            photo(1000, 700).save(path).unwrap();
        }
        let start = || {
            let mut child = command("enhance");
            let arguments = ["dark", "-o", "out", "-f", "--report", "failures.csv"];
            let child = child.args(arguments).current_dir(scene.folder());
            let child = child.spawn().unwrap();
            wait_until(|| !scene.names("out").is_empty());
            child
        };
        let interrupt = |child: &Child| {
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        };
        // The report of an earlier run, which would be taken for that of all photographs.
        scene.file("failures.csv", b"photograph,reason\n");
        let child = start();
        interrupt(&child);
        let once = finish(child);
        assert_eq!(once.status, Some(1));
        assert_eq!(once.stderr, "error: interrupted; the same command continues\n");
        assert!(!scene.path("failures.csv").exists());
        std::fs::remove_dir_all(scene.path("out")).unwrap();

        // Stopped, so that both interrupts come before the first has an effect on the work.
        let child = start();
        for _ in 0..50 {
            interrupt(&child);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(finish(child).status, Some(130));
    }
}

/// Whatever may be replaced, a photograph in a folder of inputs may not.
#[test]
fn no_table_and_no_picture_replaces_a_photograph() {
    let scene = Scene::new();
    scene.good("dark");
    scene.good("clean");
    let before = [scene.files("dark"), scene.files("clean")];
    let refused = |example: &str, arguments: &[&str]| {
        let photo = arguments.last().unwrap();
        let outcome = scene.run(example, arguments);
        assert!(outcome.stderr.contains("it is one of the inputs"), "{}", outcome.stderr);
        outcome.refused(photo);
        assert!([scene.files("dark"), scene.files("clean")] == before, "{example} {arguments:?}");
    };
    for option in ["--csv", "--json"] {
        refused("evaluate", &["dark", "-f", option, "dark/good-0.png"]);
        refused("evaluate", &["dark", "-f", "--truth", "clean", option, "clean/good-1.jpg"]);
    }
    if cfg!(feature = "train") {
        refused("finetune", &["dark", "-f", "-o", "a.bpk", "--picture", "dark/good-0.png"]);
    }
    // By the name of a link, and by that of what a link in the folder leads to.
    #[cfg(unix)]
    {
        scene.good("other");
        std::fs::copy(scene.path("dark/good-0.png"), scene.path("elsewhere.png")).unwrap();
        for (link, to, table) in [
            ("link.csv", "dark/good-0.png", "link.csv"),
            ("dark/link.png", "elsewhere.png", "dark/link.png"),
            ("dark/link.png", "elsewhere.png", "elsewhere.png"),
            ("dark/sub", "other", "dark/sub/good-1.jpg"),
            ("dark/sub", "other", "other/good-1.jpg"),
        ] {
            std::os::unix::fs::symlink(scene.path(to), scene.path(link)).unwrap();
            let outcome = scene.run("evaluate", &["dark", "-f", "--csv", table]);
            assert!(outcome.stderr.contains("it is one of the inputs"), "{}", outcome.stderr);
            std::fs::remove_file(scene.path(link)).unwrap();
        }
    }
}

/// Copies of the files of `SCI_REFERENCE_DIR`, if there are any, so that a name can be given.
fn reference(scene: &Scene, name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("SCI_REFERENCE_DIR")?).join("hostile");
    Some(scene.file(name, &std::fs::read(folder.join(name)).unwrap()))
}

macro_rules! hostile {
    ($test:ident, $name:literal, $check:expr) => {
        #[test]
        fn $test() {
            let scene = Scene::new();
            let check: fn(&Scene, &Path) = $check;
            match reference(&scene, $name) {
                Some(path) => check(&scene, &path),
                None => println!("left out: SCI_REFERENCE_DIR is not set"),
            }
        }
    };
}

hostile!(palette_p4, "min-palette-p4.png", |scene, path| scene.no_photo(path, &[]));
hostile!(palette_64x48, "min-palette-64x48.png", |scene, path| scene.no_photo(path, &[]));
hostile!(webp_exif, "min-webp-exif-4g.webp", |scene, path| scene.no_photo(path, &[]));
hostile!(slow_webp, "slow-143112.webp", |scene, path| {
    scene.no_photo(path, &["--max-memory", "16"]);
});
hostile!(name_bomb, "name-bomb-100-100.pt", |scene, path| scene.no_weights(path));
hostile!(thin, "thin-5000x60.png", all_do);
hostile!(wide, "valid-16384x1.webp", all_do);
hostile!(y4m_abort, "y4m-wrap-abort.y4m", no_video);
hostile!(y4m_max, "y4m-wrap-max.y4m", no_video);
hostile!(y4m_zero, "y4m-wrap-zero.y4m", no_video);

fn no_video(scene: &Scene, path: &Path) {
    scene.no_video(&std::fs::read(path).unwrap());
}

/// A sound photograph of an unusual shape, through every example that reads photographs.
fn all_do(scene: &Scene, path: &Path) {
    for (example, options) in [
        ("enhance", &["-o", "bright.png"][..]),
        ("evaluate", &["--baselines"]),
        ("compare", &["-o", "sheet.png", "--illumination"]),
    ] {
        let options = options.iter().map(OsStr::new);
        let arguments: Vec<_> = std::iter::once(path.as_os_str()).chain(options).collect();
        scene.run(example, &arguments).done();
    }
}
