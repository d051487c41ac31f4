//! Where the results of photographs go, for any names.

use super::common::plan::plan_jobs;
use super::common::shard::Shard;
use super::common::{escaped, may_write, pair, size};
use super::well_said;
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use tempfile::TempDir;

thread_local! {
    /// Removed at the end of its thread, which a static would not be.
    static SCENE: TempDir = scene();
}

/// Some photographs, in folders that are linked.
fn scene() -> TempDir {
    let scene = tempfile::tempdir().unwrap();
    for name in ["a.png", "b/a.png", "b/c/a.jpg", "b/a.PNG", "out/a.png"] {
        let path = scene.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    }
    #[cfg(unix)]
    for (name, target) in [("l", "b"), ("b/loop", ".."), ("b/l.png", "a.png"), ("dead.png", "no")] {
        std::os::unix::fs::symlink(target, scene.path().join(name)).unwrap();
    }
    scene
}

/// The lines are a root, a folder for the results, and photographs: every result has a place of its own, in that
/// folder, and none replaces a photograph.
pub fn run(data: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(data).ok()?;
    assert!(!escaped(text).contains(char::is_control));
    well_said(text.parse::<Shard>());
    well_said(size(text));
    pair::<f32>(text, ":");

    let scene = SCENE.with(|scene| scene.path().canonicalize().unwrap());
    // What is outside of the scene is not this test's to look at.
    let inside = |line: &str| {
        let path = scene.join(line.trim_start_matches('/'));
        let known = path.ancestors().find_map(|path| path.canonicalize().ok())?;
        known.starts_with(&scene).then_some(path)
    };
    let mut lines = text.lines().map(inside);
    let (root, output) = (lines.next()?, lines.next()??);
    let inputs = lines.collect::<Option<Vec<PathBuf>>>()?;
    let plan = well_said(plan_jobs(&inputs, root.as_deref(), &output))?;
    let mut taken = HashSet::new();
    // Those that there are.
    let photos: HashSet<_> =
        plan.jobs.iter().filter_map(|job| job.input.canonicalize().ok()).collect();
    for job in &plan.jobs {
        let below = job.output.strip_prefix(&output).expect("it is in the folder");
        assert!(below.components().all(|part| matches!(part, Component::Normal(_))), "{below:?}");
        assert!(taken.insert(&job.output), "{:?} twice", job.output);
        if let Ok(there) = job.output.canonicalize() {
            assert!(!photos.contains(&there), "{there:?} would be lost");
        }
        well_said(may_write(&job.output, false, &[Path::new("")]));
    }
    for (_, reason) in &plan.refused {
        well_said(Err::<(), _>(reason));
    }
    Some(())
}
