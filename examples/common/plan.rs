//! Which photographs are enhanced, and where their results go.

use super::{Failed, Result, regular, shown, unwritable};
use sci_burn::Error;
use sci_burn::photo::{find_photos_except, is_photo};
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

/// One photograph to be read, and where its result is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The photograph.
    pub input: PathBuf,
    /// Its result.
    pub output: PathBuf,
}

/// What is to be done, and what cannot be.
#[derive(Debug, Default)]
pub struct Plan {
    /// The photographs and where their results go. A photograph may still turn out to be missing.
    pub jobs: Vec<Job>,
    /// One error for each input that leads to no job, with the input.
    pub refused: Vec<Failed>,
}

/// Decides where the result of each input goes.
///
/// One photograph goes to `output` itself, unless that is a folder or has no extension. In all other
/// cases `output` is a folder, which need not exist: photographs go into it under their own names, or,
/// if they are below the folder `root`, in the same place as there; folders are searched for
/// photographs, which keep their place below the folder. Results of an earlier run in that folder are
/// not inputs, and what is named twice is done once.
///
/// Inputs whose results would have one path, or would replace an input, are refused; the others stay.
///
/// # Errors
///
/// Where several results are to go to one file, or the name of a single result has an extension that
/// cannot be written.
pub fn plan_jobs(inputs: &[PathBuf], root: Option<&Path>, output: &Path) -> Result<Plan> {
    let mut plan = Plan::default();
    if let ([input], false, Some(_)) = (inputs, output.is_dir(), output.extension())
        && !input.is_dir()
    {
        super::may_save(output)?;
        match regular(input) {
            Ok(()) => plan.jobs.push(Job { input: input.clone(), output: output.to_owned() }),
            Err(error) => plan.refused.push((input.clone(), error)),
        }
    } else if !output.is_dir() && is_photo(output) {
        return Err(unwritable(output, "several results need a folder, not a file"));
    } else {
        let results = output.canonicalize().ok();
        for input in inputs {
            match jobs_of(input, root, output, results.as_deref()) {
                Ok((jobs, unreadable)) => {
                    plan.jobs.extend(jobs);
                    plan.refused.extend(unreadable);
                }
                Err(error) => plan.refused.push((input.clone(), error)),
            }
        }
    }
    settle_collisions(&mut plan);
    Ok(plan)
}

/// The jobs of one input whose results go into a folder, and what in it cannot be read.
fn jobs_of(
    input: &Path,
    root: Option<&Path>,
    output: &Path,
    results: Option<&Path>,
) -> Result<(Vec<Job>, Vec<Failed>)> {
    if !input.is_dir() {
        let job = Job { input: input.to_owned(), output: output.join(place(input, root)) };
        super::may_save(&job.output)?;
        regular(input)?;
        return Ok((vec![job], Vec::new()));
    }
    // An input that is itself the folder of the results is dealt with as a collision.
    let is_results = input.canonicalize().ok().as_deref() == results;
    let found = find_photos_except(input, results.filter(|_| !is_results))?;
    let job =
        |photo: PathBuf| Job { output: output.join(place(&photo, Some(input))), input: photo };
    let unreadable = found.unreadable.into_iter().map(|error| {
        let path = match &error {
            Error::Read { path, .. } => path.clone(),
            _ => input.to_owned(),
        };
        (path, error.into())
    });
    Ok((found.photos.into_iter().map(job).collect(), unreadable.collect()))
}

/// Where a photograph's result goes below the folder of the results: never out of it again.
fn place(photo: &Path, root: Option<&Path>) -> PathBuf {
    let resolved = without_dots(photo);
    let below = root.and_then(|root| resolved.strip_prefix(without_dots(root)).ok());
    let place = below.or(resolved.file_name().map(Path::new)).unwrap_or(&resolved);
    place.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// A path without `.`, and without `..` but at its beginning. Links are not followed: results are
/// arranged by the names that the user sees.
fn without_dots(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match (part, resolved.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => _ = resolved.pop(),
            // The parent of the root is the root.
            (Component::ParentDir, Some(Component::RootDir)) => {}
            (part, _) => resolved.push(part),
        }
    }
    resolved
}

/// A path with links and `..` resolved, as far as it exists; the rest is resolved by its names.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        match (there.canonicalize(), there.components().next_back(), there.parent()) {
            (Ok(mut real), ..) => {
                for part in missing.into_iter().rev() {
                    match part {
                        Component::ParentDir => _ = real.pop(),
                        part => real.push(part),
                    }
                }
                return real;
            }
            (Err(_), Some(part), Some(parent)) => {
                missing.push(part);
                there = parent;
            }
            (Err(_), ..) => return path,
        }
    }
}

/// Leaves one of several equal jobs, and refuses those that would lose a photograph.
fn settle_collisions(plan: &mut Plan) {
    let Plan { jobs, refused } = plan;
    let mut seen = HashSet::new();
    let resolve = |job: Job| ((real(&job.input), real(&job.output)), job);
    let mut resolved: Vec<_> = std::mem::take(jobs).into_iter().map(resolve).collect();
    resolved.retain(|(paths, _)| seen.insert(paths.clone()));
    let inputs: HashSet<&PathBuf> = seen.iter().map(|(input, _)| input).collect();
    let mut by_output: HashMap<&PathBuf, Vec<&PathBuf>> = HashMap::new();
    for ((_, output), job) in &resolved {
        by_output.entry(output).or_default().push(&job.input);
    }
    for ((_, output), job) in &resolved {
        let other = by_output[output].iter().find(|input| **input != &job.input);
        let reason = match other {
            _ if inputs.contains(output) => format!("{} is one of the inputs", shown(&job.output)),
            Some(other) => format!("{} is also that of {}", shown(&job.output), shown(other)),
            None => {
                jobs.push(job.clone());
                continue;
            }
        };
        let error = format!("{}: its result {reason}", shown(&job.input));
        refused.push((job.input.clone(), error.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: PathBuf) -> PathBuf {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"").unwrap();
        path
    }

    fn plan(inputs: &[PathBuf], root: Option<&str>, output: impl AsRef<Path>) -> Plan {
        plan_jobs(inputs, root.map(Path::new), output.as_ref()).unwrap()
    }

    fn outputs(plan: &Plan) -> Vec<PathBuf> {
        plan.jobs.iter().map(|job| job.output.clone()).collect()
    }

    fn reasons(plan: &Plan) -> Vec<String> {
        plan.refused.iter().map(|(_, error)| error.to_string()).collect()
    }

    #[test]
    fn one_photograph_goes_to_a_file_or_into_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let input = [touch(root.join("dark.jpg"))];
        let output = |to: PathBuf| outputs(&plan(&input, None, to)).remove(0);
        assert_eq!(output(root.join("bright.png")), root.join("bright.png"));
        assert_eq!(output(root.join("results")), root.join("results/dark.jpg"));
        std::fs::create_dir(root.join("odd.png")).unwrap();
        assert_eq!(output(root.join("odd.png")), root.join("odd.png/dark.jpg"));
        let refused = |inputs: &[PathBuf], output: &str| {
            plan_jobs(inputs, None, &root.join(output)).unwrap_err().to_string()
        };
        assert!(refused(&input, "bright.gif").contains("unknown extension"));
        let two = [input[0].clone(), touch(root.join("other.jpg"))];
        assert!(refused(&two, "bright.png").contains("need a folder"));
    }

    #[test]
    fn folders_keep_their_tree() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("in");
        let inputs = [touch(folder.join("a/1.PNG")), touch(folder.join("b.jpeg"))];
        touch(folder.join("notes.txt"));
        // The folder's own name may have dots in it.
        for named in [folder.clone(), root.path().join("in/../in/.")] {
            let plan = plan(std::slice::from_ref(&named), None, "out");
            assert_eq!(outputs(&plan), ["out/a/1.PNG", "out/b.jpeg"].map(PathBuf::from));
            for (job, input) in plan.jobs.iter().zip(&inputs) {
                assert_eq!(job.input.canonicalize().unwrap(), input.canonicalize().unwrap());
            }
        }
    }

    #[test]
    fn names_from_a_list_keep_their_place_and_are_done_once() {
        let list = ["1/a.png", "2/a.png", "./1/a.png", "1/../1/a.png"].map(PathBuf::from);
        let listed = plan(&list, Some(""), "out");
        assert_eq!(outputs(&listed), ["out/1/a.png", "out/2/a.png"].map(PathBuf::from));
        assert_eq!(reasons(&listed), [""; 0]);
        let outside = ["../x.png", "../../night/y.png", "/z/z.png"].map(PathBuf::from);
        let expected = ["out/x.png", "out/night/y.png", "out/z/z.png"].map(PathBuf::from);
        assert_eq!(outputs(&plan(&outside, Some(""), "out")), expected);
        let rooted = ["photos/a/x.png", "./photos/y.png", "photos/../z.png"].map(PathBuf::from);
        let expected = ["out/a/x.png", "out/y.png", "out/z.png"].map(PathBuf::from);
        assert_eq!(outputs(&plan(&rooted, Some("photos/"), "out")), expected);
        let expected = ["out/photos/a/x.png", "out/photos/y.png", "out/z.png"].map(PathBuf::from);
        assert_eq!(outputs(&plan(&rooted, Some("."), "out")), expected);
    }

    #[test]
    fn parent_folders_in_a_list_are_resolved() {
        // Without that, all three would go to `a/b/x.png`.
        let list = ["a/../b/x.png", "a/b/x.png", "c/../a/./b/../../x.png"].map(PathBuf::from);
        let plan = plan(&list, Some(""), "out");
        assert_eq!(reasons(&plan), [""; 0]);
        let expected = ["out/b/x.png", "out/a/b/x.png", "out/x.png"].map(PathBuf::from);
        assert_eq!(outputs(&plan), expected);
        assert_eq!(without_dots(Path::new("/../a/..")), Path::new("/"));
        assert_eq!(without_dots(Path::new("../../a/../..")), Path::new("../../.."));
    }

    #[test]
    #[cfg(unix)]
    fn what_cannot_be_followed_does_not_hide_the_rest() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path().join("a.png"));
        std::os::unix::fs::symlink("nowhere", root.path().join("b.png")).unwrap();
        let plan = plan(&[root.path().to_owned()], None, "out");
        assert_eq!(plan.jobs.len(), 1);
        assert!(reasons(&plan)[0].contains("b.png"), "{plan:?}");
    }

    #[test]
    #[cfg(unix)]
    fn only_regular_files_are_photographs() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let good = touch(root.join("good.png"));
        std::os::unix::fs::symlink("/dev/zero", root.join("zero.png")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket.png")).unwrap();
        let inputs = [root.join("zero.png"), good.clone(), root.join("socket.png")];
        let several = plan(&inputs, None, "out");
        assert_eq!(several.jobs, [Job { input: good, output: "out/good.png".into() }]);
        for (reason, name) in reasons(&several).iter().zip(["zero.png", "socket.png"]) {
            assert!(reason.ends_with(&format!("{name}: it is not a regular file")), "{reason}");
        }
        assert_eq!(plan(&inputs[..1], None, "out.png").refused.len(), 1);
    }

    #[test]
    fn results_inside_the_folder_are_not_inputs() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path().join("a.png"));
        let results = root.path().join("results");
        touch(results.join("a.png"));
        let plan = plan(&[root.path().to_owned()], None, &results);
        assert_eq!(outputs(&plan), [results.join("a.png")]);
    }

    #[test]
    fn only_what_would_lose_a_photograph_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let [one, two] = [touch(root.join("1/a.png")), touch(root.join("2/a.png"))];
        let other = touch(root.join("2/other.png"));
        let collided = plan(&[one.clone(), two.clone(), other], None, root.join("out"));
        assert_eq!(outputs(&collided), [root.join("out/other.png")]);
        for (reason, input) in reasons(&collided).iter().zip([&one, &two]) {
            assert!(reason.starts_with(&format!("{}: its result", input.display())), "{reason}");
            assert!(reason.contains("is also that of"), "{reason}");
        }
        for way in ["2/../1/a.png", "new/../1/a.png", "new/../2/./../1/a.png"] {
            let plan = plan(std::slice::from_ref(&one), None, root.join(way));
            assert!(plan.jobs.is_empty());
            assert!(reasons(&plan)[0].contains("one of the inputs"), "{way}: {plan:?}");
        }
        let same = plan(&[root.join("1")], None, root.join("1"));
        assert!(reasons(&same)[0].contains("one of the inputs"), "{same:?}");
        let twice = plan(&["x.png".into(), "./x.png".into()], None, "out");
        assert_eq!(twice.jobs.len(), 1);
    }

    #[test]
    fn inputs_that_lead_nowhere_do_not_stop_the_others() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let good = touch(root.join("good.png"));
        std::fs::create_dir(root.join("empty")).unwrap();
        let inputs = [root.join("empty"), good, touch(root.join("notes.txt"))];
        let plan = plan(&inputs, None, root.join("out"));
        assert_eq!(plan.jobs.len(), 1);
        let reasons = reasons(&plan);
        assert!(reasons[0].contains("no photograph"), "{reasons:?}");
        assert!(reasons[1].contains("unknown extension"), "{reasons:?}");
    }
}
