//! What happens to the files where a program is killed, a disk is full or goes away, a photograph changes while it is
//! read, or the system has no more to give: nothing is half-written, nothing is left over after the next run, and the
//! next run ends as if nothing had happened.
//!
//! `SCI_FAULTS` is how often each program is killed, and how many sizes each limit has; 5 by default.
#![cfg(unix)]

mod common;

use common::program::{
    Outcome, PATIENCE, Scene, command, example, finish, finish_within, prepared, wait_until,
};
use sci_burn::image::{DynamicImage, Rgb, RgbImage};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

type Files = BTreeMap<String, Vec<u8>>;

fn times() -> u32 {
    std::env::var("SCI_FAULTS").map_or(5, |text| text.parse().unwrap())
}

/// From 0 to 1.
fn chance() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

fn photo(width: u32, height: u32, seed: u32) -> DynamicImage {
    let level = |x: u32, y: u32| (x * 31 + y * 17 + x * y * seed) % 50;
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([level(x, y), level(y, x), seed % 9].map(|l| l as u8))
    })
    .into()
}

impl Scene {
    /// A scene with a folder of photographs, `dark`.
    fn with_photos(count: u32, [width, height]: [u32; 2]) -> Self {
        let scene = Self::new();
        for number in 0..count {
            let path = scene.file(&format!("dark/{number:03}.png"), b"");
            photo(width, height, number + 1).save(path).unwrap();
        }
        scene
    }

    /// Runs an example to its end, as it is to be; the files that it makes in a folder, and how long it takes.
    fn expect(&self, example: &str, arguments: &[&str], folder: &str) -> (Files, Duration) {
        let begun = Instant::now();
        self.run(example, arguments).done();
        (self.files(folder), begun.elapsed())
    }

    /// Runs an example in a shell, after some commands.
    #[track_caller]
    fn run_after(&self, commands: &str, example: &str, arguments: &[&str]) -> Outcome {
        let mut shell = prepared("sh");
        shell
            .arg("-c")
            .arg(format!("{commands}\nexec \"$@\""))
            .arg("sh")
            .arg(self::example(example));
        finish(shell.args(arguments).current_dir(self.folder()).spawn().unwrap())
    }
}

/// Does something when it is dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Kills a program at a random moment of the time that it takes.
fn kill(mut child: Child, whole: Duration) {
    thread::sleep(whole.mul_f64(chance()));
    let _ = child.kill();
    child.wait().unwrap();
}

fn is_temporary(name: &str) -> bool {
    name.rsplit('/').next().unwrap().starts_with(".sci-burn-")
}

/// Every file that has its final name is one of those expected, and whole.
#[track_caller]
fn whole(found: &Files, expected: &Files) {
    for (name, bytes) in found.iter().filter(|(name, _)| !is_temporary(name)) {
        assert!(expected.contains_key(name), "{name} is left over");
        assert!(*bytes == expected[name], "{name} is half-written: {} bytes", bytes.len());
    }
}

/// The same files, and no others.
#[track_caller]
fn same(found: &Files, expected: &Files) {
    whole(found, expected);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
}

/// It ended, by itself, and if it failed, then with errors of one line each.
#[track_caller]
fn well_ended(outcome: &Outcome) {
    let Outcome { status, stderr, .. } = outcome;
    assert!(matches!(status, Some(0 | 1)), "{status:?}: {stderr}");
    assert!(!stderr.contains("internal error"), "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("error: ")), "{stderr}");
    assert_eq!(stderr.is_empty(), *status == Some(0), "{stderr}");
}

const ENHANCE: [&str; 3] = ["dark", "-o", "out"];

#[test]
fn enhancing_can_be_killed() {
    let scene = Scene::with_photos(30, [160, 120]);
    let (expected, duration) = scene.expect("enhance", &ENHANCE, "out");
    assert_eq!(expected.len(), 30);
    for _ in 0..times() {
        std::fs::remove_dir_all(scene.path("out")).unwrap();
        kill(scene.start("enhance", &ENHANCE), duration);
        whole(&scene.files("out"), &expected);
        scene.run("enhance", &ENHANCE).done();
        same(&scene.files("out"), &expected);
    }
}

#[cfg(feature = "train")]
mod training {
    use super::*;

    const TRAIN: [&str; 8] =
        ["--data", "dark", "--crop", "32x24", "--epochs", "12", "--out", "run"];
    const RESUME: [&str; 3] = ["--resume", "--out", "run"];

    /// The files of a run, but for its lock. Those of its checkpoints have random names of tensors in them, and are
    /// compared by what a run makes of them.
    fn run_files(scene: &Scene) -> Files {
        let mut files = scene.files("run");
        files.retain(|name, _| name != "sci-burn.lock");
        let checkpoints = files.iter_mut().filter(|(name, _)| name.starts_with("checkpoint/"));
        checkpoints.for_each(|(_, bytes)| bytes.clear());
        files
    }

    /// The command that goes on with a run, or begins it.
    fn next(scene: &Scene) -> &'static [&'static str] {
        if scene.path("run/config.json").exists() { &RESUME } else { &TRAIN }
    }

    #[test]
    fn training_can_be_killed() {
        let scene = Scene::with_photos(3, [48, 36]);
        let (_, duration) = scene.expect("train", &TRAIN, "run");
        let expected = run_files(&scene);
        assert!(expected.contains_key("model.safetensors"));
        let mut killed = 0;
        while killed < times() {
            std::fs::remove_dir_all(scene.path("run")).unwrap();
            // More than once on the way, and at moments of every part of it.
            for _ in 0..4 {
                kill(scene.start("train", next(&scene)), duration);
                killed += 1;
            }
            scene.run("train", next(&scene)).done();
            same(&run_files(&scene), &expected);
        }
    }

    #[test]
    fn tuning_can_be_killed() {
        let scene = Scene::with_photos(1, [48, 36]);
        let tune = [
            "dark/000.png",
            "--steps",
            "40",
            "-f",
            "-o",
            "new/a.safetensors",
            "--picture",
            "new/a.png",
        ];
        std::fs::create_dir(scene.path("new")).unwrap();
        let (expected, duration) = scene.expect("finetune", &tune, "new");
        for _ in 0..times() {
            let old: Files = expected.keys().map(|name| (name.clone(), b"old".to_vec())).collect();
            for (name, bytes) in &old {
                scene.file(&format!("new/{name}"), bytes);
            }
            kill(scene.start("finetune", &tune), duration);
            for (name, bytes) in scene.files("new").iter().filter(|(name, _)| !is_temporary(name)) {
                assert!(*bytes == old[name] || *bytes == expected[name], "{name}");
            }
            scene.run("finetune", &tune).done();
            same(&scene.files("new"), &expected);
        }
    }

    #[test]
    fn a_training_on_a_full_disk_goes_on_when_there_is_room() {
        let scene = Scene::with_photos(3, [48, 36]);
        scene.expect("train", &TRAIN, "run");
        let expected = run_files(&scene);
        let needed: usize = expected.values().map(Vec::len).sum();
        for size in sizes(needed) {
            std::fs::remove_dir_all(scene.path("run")).unwrap();
            let Some(outcome) = on_small_disk(&scene, size, "run", "train", &TRAIN) else { return };
            well_ended(&outcome);
            assert!(!scene.files("run").keys().any(|name| is_temporary(name)), "{size}");
            scene.run("train", next(&scene)).done();
            // A preview that could not be written is named, and its epoch is not trained again for it.
            let found = run_files(&scene);
            let mut expected = expected.clone();
            expected.retain(|name, _| {
                found.contains_key(name)
                    || !(name.starts_with("previews/") && outcome.stderr.contains(name.as_str()))
            });
            same(&found, &expected);
        }
    }

    #[test]
    fn a_second_training_leaves_the_first_alone() {
        let scene = Scene::with_photos(3, [48, 36]);
        // Long enough for the second to come.
        let train = TRAIN.map(|option| if option == "12" { "100" } else { option });
        scene.expect("train", &train, "run");
        let expected = run_files(&scene);
        std::fs::remove_dir_all(scene.path("run")).unwrap();
        let mut first = scene.start("train", &train);
        wait_until(|| scene.path("run/config.json").exists());
        let second = scene.run("train", &RESUME);
        assert!(first.try_wait().unwrap().is_none(), "the first was too fast to be disturbed");
        second.refused("another process is working on it");
        finish(first).done();
        same(&run_files(&scene), &expected);
    }
}

/// Sizes of a disk, up to more than enough.
fn sizes(needed: usize) -> Vec<usize> {
    let most = needed * 2;
    (1..=times() as usize).map(|step| most * step / times() as usize).collect()
}

/// Runs an example with a small disk in the place of a folder. The disk's files are in that folder afterwards.
/// `None` where this user may not have a disk of their own.
#[track_caller]
fn on_small_disk(
    scene: &Scene,
    bytes: usize,
    folder: &str,
    example: &str,
    arguments: &[&str],
) -> Option<Outcome> {
    std::fs::create_dir_all(scene.path(folder)).unwrap();
    std::fs::create_dir_all(scene.path("disk")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size={bytes} tmpfs {folder} || exit 77\n\
         \"$@\"; code=$?\n\
         cp -a {folder}/. disk/ || exit 78\n\
         exit $code"
    );
    let outcome = isolated(scene, &script, example, arguments)?;
    assert_ne!(outcome.status, Some(78), "{}", outcome.stderr);
    std::fs::remove_dir_all(scene.path(folder)).unwrap();
    std::fs::rename(scene.path("disk"), scene.path(folder)).unwrap();
    Some(outcome)
}

/// Says that a test was not made, which is a failure where it can be.
fn left_out<T>(reason: &str) -> Option<T> {
    assert!(std::env::var_os("SCI_DISKS").is_none(), "no disk of its own: {reason}");
    println!("left out, without a disk of its own: {reason}");
    None
}

/// Runs a script with its own view of the disks.
fn isolated(scene: &Scene, script: &str, example: &str, arguments: &[&str]) -> Option<Outcome> {
    let mut shell = prepared("unshare");
    shell.args(["-r", "-m", "sh", "-c", script, "sh"]).arg(self::example(example)).args(arguments);
    let Ok(child) = shell.current_dir(scene.folder()).spawn() else {
        return left_out("there is no `unshare`");
    };
    let outcome = finish(child);
    if outcome.status == Some(77) || outcome.stderr.starts_with("unshare: ") {
        return left_out(&outcome.stderr);
    }
    Some(outcome)
}

#[test]
fn results_on_a_full_disk_are_whole_or_missing() {
    let scene = Scene::with_photos(12, [160, 120]);
    let (expected, _) = scene.expect("enhance", &ENHANCE, "out");
    let needed: usize = expected.values().map(Vec::len).sum();
    for size in sizes(needed) {
        std::fs::remove_dir_all(scene.path("out")).unwrap();
        let Some(outcome) = on_small_disk(&scene, size, "out", "enhance", &ENHANCE) else { return };
        well_ended(&outcome);
        let found = scene.files("out");
        assert!(!found.keys().any(|name| is_temporary(name)));
        assert_eq!(12 - found.len(), outcome.stderr.lines().count(), "{}", outcome.stderr);
        whole(&found, &expected);
        scene.run("enhance", &ENHANCE).done();
        same(&scene.files("out"), &expected);
    }
}

#[test]
fn a_target_that_is_read_only_is_named() {
    let scene = Scene::with_photos(3, [48, 36]);
    std::fs::create_dir(scene.path("out")).unwrap();
    let script = "mount -t tmpfs -o ro tmpfs out || exit 77\n\"$@\"";
    let Some(outcome) = isolated(&scene, script, "enhance", &ENHANCE) else { return };
    well_ended(&outcome);
    assert_eq!(outcome.stderr.lines().count(), 3, "{}", outcome.stderr);
    assert!(outcome.stderr.lines().all(|line| line.contains("cannot write out/")));

    // Of a report it is said before the work.
    let arguments = ["dark", "-o", "bright", "--report", "out/failures.csv"];
    let outcome = isolated(&scene, script, "enhance", &arguments).unwrap();
    outcome.refused("out/failures.csv: read-only");
    assert!(scene.names("bright").is_empty());
}

#[test]
fn a_target_that_vanishes_is_an_error_and_no_hang() {
    let scene = Scene::with_photos(40, [160, 120]);
    let (expected, _) = scene.expect("enhance", &ENHANCE, "out");
    for _ in 0..times() {
        std::fs::remove_dir_all(scene.path("out")).unwrap();
        let child = scene.start("enhance", &ENHANCE);
        wait_until(|| scene.names("out").len() >= 5);
        // Files come while it is emptied.
        let begun = Instant::now();
        while std::fs::remove_dir_all(scene.path("out")).is_err() && begun.elapsed() < PATIENCE {}
        let outcome = finish(child);
        well_ended(&outcome);
        whole(&scene.files("out"), &expected);
        scene.run("enhance", &ENHANCE).done();
        same(&scene.files("out"), &expected);
    }
}

#[test]
fn a_photograph_that_changes_while_it_is_read_is_old_or_new_or_an_error() {
    let scene = Scene::with_photos(2, [64, 48]);
    scene.expect("enhance", &ENHANCE, "out");
    let both = |folder: &str| {
        ["000", "001"]
            .map(|name| std::fs::read(scene.path(&format!("{folder}/{name}.png"))).unwrap())
    };
    let [contents, results] = ["dark", "out"].map(both);
    let changing = scene.file("changing.png", &contents[0]);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        // However this scope ends, so does the thread.
        let _end = OnDrop(|| ended.store(true, Ordering::Relaxed));
        scope.spawn(|| {
            for content in contents.iter().cycle() {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let mut file = std::fs::File::create(&changing).unwrap();
                for part in content.chunks(content.len() / 3 + 1) {
                    file.write_all(part).unwrap();
                    thread::sleep(Duration::from_micros(300));
                }
            }
        });
        for _ in 0..4 * times() {
            let outcome = scene.run("enhance", &["changing.png", "-o", "changed.png", "-f"]);
            well_ended(&outcome);
            if let Ok(found) = std::fs::read(scene.path("changed.png")) {
                assert!(results.contains(&found), "a mixture was enhanced");
            }
        }
    });
    assert!(!scene.names("").iter().any(|name| is_temporary(name)));
}

/// However little of something the system gives, results are whole or missing, and the next run has them all.
#[track_caller]
fn with_little(limits: impl Iterator<Item = String>, may_abort: bool) {
    let scene = Scene::with_photos(8, [160, 120]);
    let (expected, _) = scene.expect("enhance", &ENHANCE, "out");
    let mut failed = 0;
    for limit in limits {
        std::fs::remove_dir_all(scene.path("out")).unwrap();
        let outcome = scene.run_after(&format!("{limit} || exit 77"), "enhance", &ENHANCE);
        assert_ne!(outcome.status, Some(77), "{limit}: {}", outcome.stderr);
        failed += u32::from(outcome.status != Some(0));
        if !may_abort {
            well_ended(&outcome);
        }
        whole(&scene.files("out"), &expected);
        scene.run("enhance", &ENHANCE).done();
        same(&scene.files("out"), &expected);
    }
    assert!(failed > 0, "there was always enough");
}

#[test]
fn too_few_open_files_are_an_error() {
    with_little(
        (4..24).step_by(20 / times().min(20) as usize).map(|n| format!("ulimit -n {n}")),
        false,
    );
}

/// Rust ends a program that gets no memory, at once.
#[test]
#[cfg(target_os = "linux")]
fn too_little_memory_leaves_nothing_half_written() {
    let mebibytes = |step| 10 + 400 * step / times();
    with_little((0..times()).map(|step| format!("ulimit -v {}", mebibytes(step) << 10)), true);
}

#[test]
fn a_reader_that_goes_away_ends_a_program() {
    let scene = Scene::with_photos(3, [48, 36]);
    // A stream that goes on for longer than anybody waits.
    let mut child =
        command("video").args(["--size", "64x48"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut frames = child.stdin.take().unwrap();
    drop(child.stdout.take());
    let begun = Instant::now();
    while frames.write_all(&[20; 64 * 48 * 3]).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it goes on");
    }
    finish(child).refused("standard output");

    for (example, arguments) in
        [("enhance", &ENHANCE[..]), ("evaluate", &["dark"]), ("enhance", &["--help"])]
    {
        let mut child = scene.start(example, arguments);
        drop(child.stdout.take());
        let outcome = finish(child);
        assert!(!outcome.stderr.contains("panicked"), "{example}: {}", outcome.stderr);
    }
    assert_eq!(scene.names("out").len(), 3, "the photographs are done all the same");
}

#[test]
fn two_processes_may_have_one_target() {
    let scene = Scene::with_photos(30, [160, 120]);
    let (expected, duration) = scene.expect("enhance", &ENHANCE, "out");
    let forced = [&ENHANCE[..], &["-f"]].concat();
    // Without `-f`, each photograph is enhanced by one of the two, and skipped by the other.
    for (arguments, enhanced) in [(&ENHANCE[..], 30), (&forced, 60)] {
        for _ in 0..times() {
            std::fs::remove_dir_all(scene.path("out")).unwrap();
            let first = scene.start("enhance", arguments);
            thread::sleep(duration.mul_f64(chance() / 2.0));
            let second = scene.start("enhance", arguments);
            let counts = [first, second].map(|child| {
                let outcome = finish_within(child, 2 * PATIENCE);
                outcome.done();
                let line = String::from_utf8(outcome.stdout).unwrap();
                line.split(' ').next().unwrap().parse::<usize>().unwrap()
            });
            assert_eq!(counts.iter().sum::<usize>(), enhanced, "{counts:?}");
            same(&scene.files("out"), &expected);
        }
    }
}

#[test]
fn a_file_may_be_an_input_and_a_target_of_two_processes() {
    let scene = Scene::with_photos(2, [160, 120]);
    scene.expect("enhance", &ENHANCE, "out");
    scene.run("enhance", &["out", "-o", "twice"]).done();
    let [once, twice] = ["out", "twice"].map(|folder| {
        ["000.png", "001.png"].map(|name| std::fs::read(scene.path(folder).join(name)).unwrap())
    });
    for round in 0..times() {
        let number = round as usize % 2;
        let dark = scene.path(&format!("dark/00{number}.png"));
        std::fs::copy(dark, scene.path("a.png")).unwrap();
        let to = scene.start("enhance", &["a.png", "-o", "b.png", "-f"]);
        let from = scene.start("enhance", &["b.png", "-o", "c.png", "-f"]);
        finish(to).done();
        well_ended(&finish(from));
        assert!(std::fs::read(scene.path("b.png")).unwrap() == once[number]);
        // Of the photograph that is replaced or of the one that replaces it, but of no mixture.
        if let Ok(found) = std::fs::read(scene.path("c.png")) {
            assert!(twice.contains(&found), "{} bytes", found.len());
        }
        assert!(!scene.names("").iter().any(|name| is_temporary(name)));
    }
}
