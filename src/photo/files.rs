use crate::error::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
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
/// [`Error::Read`] where the folder, or one in it, cannot be read, or where it holds no photograph.
pub fn find_photos(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    find_photos_except(folder.as_ref(), None)
}

/// As [`find_photos`], without what is in one folder.
pub(crate) fn find_photos_except(folder: &Path, except: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut photos = Vec::new();
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    let inside = |path: &Path| except.is_some() && path.canonicalize().ok().as_deref() == except;
    for entry in walk.filter_entry(|entry| !(entry.file_type().is_dir() && inside(entry.path()))) {
        let entry = entry.map_err(|error| Error::Read {
            path: error.path().unwrap_or(folder).to_owned(),
            reason: error.io_error().map_or_else(|| error.to_string(), ToString::to_string),
        })?;
        if entry.file_type().is_file() && is_photo(entry.path()) {
            photos.push(entry.into_path());
        }
    }
    match photos.is_empty() {
        true => Err(Error::Read {
            path: folder.to_owned(),
            reason: format!("there is no photograph in it ({EXPECTED})"),
        }),
        false => Ok(photos),
    }
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
/// cases `output` is a folder, which need not exist: photographs go into it under their own names,
/// and folders are searched for photographs, which keep their place below the folder. Results of an
/// earlier run in that folder are no inputs.
///
/// # Errors
///
/// [`Error::Write`] where two results would have one path, a result would replace an input, or
/// several results are to go to one file; [`Error::UnknownExtension`] where a single result has an
/// extension that cannot be written.
pub fn plan_jobs(inputs: &[PathBuf], output: impl AsRef<Path>) -> Result<Plan> {
    let output = output.as_ref();
    let mut plan = Plan::default();
    if let ([input], false, Some(_)) = (inputs, output.is_dir(), output.extension())
        && !input.is_dir()
    {
        writable(output)?;
        plan.jobs.push(Job { input: input.clone(), output: output.to_owned() });
    } else if !output.is_dir() && is_photo(output) {
        let reason = "several results need a folder, not a file".to_owned();
        return Err(Error::Write { path: output.to_owned(), reason });
    } else {
        let results = output.canonicalize().ok();
        for input in inputs {
            match jobs_of(input, output, results.as_deref()) {
                Ok(jobs) => plan.jobs.extend(jobs),
                Err(error) => plan.refused.push(error),
            }
        }
    }
    refuse_collisions(&plan.jobs)?;
    Ok(plan)
}

/// The jobs of one input whose results go into a folder.
fn jobs_of(input: &Path, output: &Path, results: Option<&Path>) -> Result<Vec<Job>> {
    if !input.is_dir() {
        let job = Job {
            input: input.to_owned(),
            output: output.join(input.file_name().unwrap_or(input.as_os_str())),
        };
        writable(&job.output)?;
        return Ok(vec![job]);
    }
    // An input that is itself the folder of the results is dealt with as a collision.
    let is_results = input.canonicalize().ok().as_deref() == results;
    let photos = find_photos_except(input, results.filter(|_| !is_results))?;
    Ok(photos
        .into_iter()
        .map(|photo| Job {
            output: output.join(photo.strip_prefix(input).unwrap_or(&photo)),
            input: photo,
        })
        .collect())
}

/// Refuses a name that [`save_photo`](super::save_photo) would refuse.
fn writable(output: &Path) -> Result<()> {
    match is_photo(output) {
        true => Ok(()),
        false => Err(Error::UnknownExtension { path: output.to_owned(), expected: EXPECTED }),
    }
}

fn refuse_collisions(jobs: &[Job]) -> Result<()> {
    // Links and `..` resolved, for a result that does not exist yet those of its folder.
    let real = |path: &Path| {
        path.canonicalize().unwrap_or_else(|_| {
            let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
            match (folder, path.file_name()) {
                (Some(folder), Some(name)) => folder.join(name),
                _ => path.to_owned(),
            }
        })
    };
    let inputs: HashMap<_, _> = jobs.iter().map(|job| (real(&job.input), &job.input)).collect();
    let mut outputs = HashMap::new();
    for job in jobs {
        let refused = |reason: String| Error::Write { path: job.output.clone(), reason };
        let output = real(&job.output);
        if inputs.contains_key(&output) {
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
        plan_jobs(inputs, output).unwrap_err().to_string()
    }

    #[test]
    fn one_photograph_goes_to_a_file_or_into_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let input = [touch(root.join("dark.jpg"))];
        let output = |to: PathBuf| plan_jobs(&input, to).unwrap().jobs[0].output.clone();
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
        let jobs = plan_jobs(&[folder], "out").unwrap().jobs;
        let expected = ["out/a/1.PNG", "out/b.jpeg"].map(PathBuf::from);
        for (job, (input, output)) in jobs.iter().zip(inputs.into_iter().zip(expected)) {
            assert_eq!(*job, Job { input, output });
        }
        assert_eq!(jobs.len(), 2);
    }

    #[test]
    fn results_inside_the_folder_are_no_inputs() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path().join("a.png"));
        let results = root.path().join("results");
        touch(results.join("a.png"));
        let jobs = plan_jobs(&[root.path().to_owned()], &results).unwrap().jobs;
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
        let message = refused(&[one], root.join("2/../1/a.png"));
        assert!(message.contains("one of the inputs"), "{message}");
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
        let plan = plan_jobs(&inputs, root.join("out")).unwrap();
        assert_eq!(plan.jobs.len(), 1);
        let reasons: Vec<_> = plan.refused.iter().map(ToString::to_string).collect();
        assert!(reasons[0].contains("no photograph"), "{reasons:?}");
        assert!(reasons[1].contains("unknown extension"), "{reasons:?}");
    }
}
