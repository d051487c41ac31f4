use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use walkdir::WalkDir;

/// The extensions of the photographs that can be read, in lower case.
pub const PHOTO_EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp"];

/// The same for messages.
pub(super) const EXPECTED: &str = ".png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp";

/// Whether a path has one of the [`PHOTO_EXTENSIONS`], in whatever case.
pub fn is_photo(path: impl AsRef<Path>) -> bool {
    let extension = path.as_ref().extension().unwrap_or_default().to_ascii_lowercase();
    PHOTO_EXTENSIONS.iter().any(|known| extension == *known)
}

/// All photographs in a folder and its subfolders, by their [extensions](PHOTO_EXTENSIONS), sorted.
///
/// # Errors
///
/// [`Error::Read`] where the folder, or something in it, cannot be read, or where it holds no
/// photograph.
pub fn find_photos(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let Found { photos, unreadable } = find_photos_except(folder.as_ref(), None)?;
    match unreadable.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(photos),
    }
}

/// What is in a folder.
pub(crate) struct Found {
    pub(crate) photos: Vec<PathBuf>,
    /// Subfolders and links that cannot be followed.
    pub(crate) unreadable: Vec<Error>,
}

/// As [`find_photos`], without what is in one folder, and with what can be found beside what cannot.
pub(crate) fn find_photos_except(folder: &Path, except: Option<&Path>) -> Result<Found> {
    let mut found = Found { photos: Vec::new(), unreadable: Vec::new() };
    let except = except.and_then(|folder| folder.canonicalize().ok());
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    let inside = |path: &Path| except.is_some() && path.canonicalize().ok() == except;
    for entry in walk.filter_entry(|entry| !(entry.file_type().is_dir() && inside(entry.path()))) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_photo(entry.path()) => {
                found.photos.push(entry.into_path());
            }
            Ok(_) => {}
            Err(error) => found.unreadable.push(Error::read(
                error.path().unwrap_or(folder).to_owned(),
                error.io_error().map_or_else(|| error.to_string(), ToString::to_string),
            )),
        }
    }
    if !found.photos.is_empty() {
        return Ok(found);
    }
    Err(found.unreadable.into_iter().next().unwrap_or_else(|| {
        Error::read(folder, format!("there is no photograph in it ({EXPECTED})"))
    }))
}

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
    /// Inputs that lead to no job, each with the reason.
    pub refused: Vec<Error>,
}

/// Decides where the result of each input goes.
///
/// One photograph goes to `output` itself, unless that is a folder or has no extension. In all other
/// cases `output` is a folder, which need not exist: photographs go into it under their own names, or
/// where they are below the folder `root` in the same place; folders are searched for photographs,
/// which keep their place below the folder. Results of an earlier run in that folder are no inputs, and
/// what is named twice is done once.
///
/// # Errors
///
/// [`Error::Write`] where two results would have one path, a result would replace an input, or
/// several results are to go to one file; [`Error::UnknownExtension`] where a single result has an
/// extension that cannot be written.
pub fn plan_jobs(
    inputs: &[PathBuf],
    root: Option<&Path>,
    output: impl AsRef<Path>,
) -> Result<Plan> {
    let output = output.as_ref();
    let mut plan = Plan::default();
    if let ([input], false, Some(_)) = (inputs, output.is_dir(), output.extension())
        && !input.is_dir()
    {
        writable(output)?;
        plan.jobs.push(Job { input: input.clone(), output: output.to_owned() });
    } else if !output.is_dir() && is_photo(output) {
        let reason = "several results need a folder, not a file".to_owned();
        return Err(Error::write(output, reason));
    } else {
        let results = output.canonicalize().ok();
        for input in inputs {
            match jobs_of(input, root, output, results.as_deref()) {
                Ok((jobs, unreadable)) => {
                    plan.jobs.extend(jobs);
                    plan.refused.extend(unreadable);
                }
                Err(error) => plan.refused.push(error),
            }
        }
    }
    settle_collisions(&mut plan.jobs)?;
    Ok(plan)
}

/// The jobs of one input whose results go into a folder, and what in it cannot be read.
fn jobs_of(
    input: &Path,
    root: Option<&Path>,
    output: &Path,
    results: Option<&Path>,
) -> Result<(Vec<Job>, Vec<Error>)> {
    let below = |photo: &Path, root: Option<&Path>| {
        let place = root.and_then(|root| photo.strip_prefix(root).ok());
        let place = place.or(photo.file_name().map(Path::new)).unwrap_or(photo);
        // Never out of the folder again.
        let names = place.components().filter(|part| matches!(part, Component::Normal(_)));
        output.join(names.collect::<PathBuf>())
    };
    if !input.is_dir() {
        let job = Job { input: input.to_owned(), output: below(input, root) };
        writable(&job.output)?;
        return Ok((vec![job], Vec::new()));
    }
    // An input that is itself the folder of the results is dealt with as a collision.
    let is_results = input.canonicalize().ok().as_deref() == results;
    let found = find_photos_except(input, results.filter(|_| !is_results))?;
    let job = |photo: PathBuf| Job { output: below(&photo, Some(input)), input: photo };
    Ok((found.photos.into_iter().map(job).collect(), found.unreadable))
}

/// Refuses a name that [`save_photo`](super::save_photo) would refuse.
fn writable(output: &Path) -> Result<()> {
    match is_photo(output) {
        true => Ok(()),
        false => Err(Error::UnknownExtension { path: output.to_owned(), expected: EXPECTED }),
    }
}

/// A path with links and `..` resolved, as far as it exists; what does not exist yet is taken at its
/// word.
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

/// Leaves one of several equal jobs, and refuses what would lose a photograph.
fn settle_collisions(jobs: &mut Vec<Job>) -> Result<()> {
    let mut seen = HashSet::new();
    jobs.retain(|job| seen.insert((real(&job.input), real(&job.output))));
    let inputs: HashSet<_> = jobs.iter().map(|job| real(&job.input)).collect();
    let mut outputs = HashMap::new();
    for job in jobs {
        let refused = |reason: String| Error::write(&job.output, reason);
        let output = real(&job.output);
        if inputs.contains(&output) {
            return Err(refused("it is one of the inputs".to_owned()));
        }
        if let Some(other) = outputs.insert(output, &job.input) {
            return Err(refused(format!(
                "{} and {} would both be written there",
                other.display(),
                job.input.display()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: PathBuf) -> PathBuf {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"").unwrap();
        path
    }

    fn refused(inputs: &[PathBuf], output: impl AsRef<Path>) -> String {
        plan_jobs(inputs, None, output).unwrap_err().to_string()
    }

    #[test]
    fn one_photograph_goes_to_a_file_or_into_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let input = [touch(root.join("dark.jpg"))];
        let output = |to: PathBuf| plan_jobs(&input, None, to).unwrap().jobs[0].output.clone();
        assert_eq!(output(root.join("bright.png")), root.join("bright.png"));
        assert_eq!(output(root.join("results")), root.join("results/dark.jpg"));
        std::fs::create_dir(root.join("odd.png")).unwrap();
        assert_eq!(output(root.join("odd.png")), root.join("odd.png/dark.jpg"));
        assert!(refused(&input, root.join("bright.gif")).contains("unknown extension"));
        let two = [input[0].clone(), touch(root.join("other.jpg"))];
        assert!(refused(&two, root.join("bright.png")).contains("need a folder"));
    }

    #[test]
    fn folders_keep_their_tree() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("in");
        let inputs = [touch(folder.join("a/1.PNG")), touch(folder.join("b.jpeg"))];
        touch(folder.join("notes.txt"));
        let jobs = plan_jobs(&[folder], None, "out").unwrap().jobs;
        let expected = ["out/a/1.PNG", "out/b.jpeg"].map(PathBuf::from);
        for (job, (input, output)) in jobs.iter().zip(inputs.into_iter().zip(expected)) {
            assert_eq!(*job, Job { input, output });
        }
        assert_eq!(jobs.len(), 2);
    }

    #[test]
    fn names_from_a_list_keep_their_place_and_are_done_once() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let [one, two] = [touch(root.join("1/a.png")), touch(root.join("2/a.png"))];
        let again = root.join("1/../1/a.png");
        let plan = plan_jobs(&[one, two, again], Some(root), "out").unwrap();
        let outputs: Vec<_> = plan.jobs.iter().map(|job| job.output.clone()).collect();
        assert_eq!(outputs[..2], ["out/1/a.png", "out/2/a.png"].map(PathBuf::from));
        // The third is the first by another way, and would go elsewhere.
        assert_eq!(outputs.len(), 3);
        let same = plan_jobs(&["x.png".into(), "./x.png".into()], None, "out").unwrap();
        assert_eq!(same.jobs.len(), 1);
        let outside = plan_jobs(&["../x.png".into()], Some(Path::new("")), "out").unwrap();
        assert_eq!(outside.jobs[0].output, Path::new("out/x.png"));
    }

    #[test]
    #[cfg(unix)]
    fn what_cannot_be_followed_does_not_hide_the_rest() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path().join("a.png"));
        std::os::unix::fs::symlink("nowhere", root.path().join("b.png")).unwrap();
        let plan = plan_jobs(&[root.path().to_owned()], None, "out").unwrap();
        assert_eq!(plan.jobs.len(), 1);
        assert!(plan.refused[0].to_string().contains("b.png"), "{}", plan.refused[0]);
        assert!(find_photos(root.path()).is_err());
    }

    #[test]
    fn results_inside_the_folder_are_no_inputs() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path().join("a.png"));
        let results = root.path().join("results");
        touch(results.join("a.png"));
        let jobs = plan_jobs(&[root.path().to_owned()], None, &results).unwrap().jobs;
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].output, results.join("a.png"));
    }

    #[test]
    fn nothing_is_planned_that_would_lose_a_photograph() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let [one, two] = [touch(root.join("1/a.png")), touch(root.join("2/a.png"))];
        let message = refused(&[one.clone(), two], root.join("out"));
        assert!(message.contains("would both be written there"), "{message}");
        for way in ["2/../1/a.png", "new/../1/a.png", "new/../2/./../1/a.png"] {
            let message = refused(std::slice::from_ref(&one), root.join(way));
            assert!(message.contains("one of the inputs"), "{way}: {message}");
        }
        let message = refused(&[root.join("1")], root.join("1"));
        assert!(message.contains("one of the inputs"), "{message}");
    }

    #[test]
    fn inputs_that_lead_nowhere_do_not_stop_the_others() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let good = touch(root.join("good.png"));
        std::fs::create_dir(root.join("empty")).unwrap();
        let inputs = [root.join("empty"), good, touch(root.join("notes.txt"))];
        let plan = plan_jobs(&inputs, None, root.join("out")).unwrap();
        assert_eq!(plan.jobs.len(), 1);
        let reasons: Vec<_> = plan.refused.iter().map(ToString::to_string).collect();
        assert!(reasons[0].contains("no photograph"), "{reasons:?}");
        assert!(reasons[1].contains("unknown extension"), "{reasons:?}");
    }
}
