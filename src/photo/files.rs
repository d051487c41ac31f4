use crate::error::{Error, Result};
use crate::file;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// The extensions of the photographs that can be read, in lower case.
pub const PHOTO_EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp"];

const EXPECTED: &str = ".png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp";

/// Whether a path has one of the [`PHOTO_EXTENSIONS`], in whatever case.
pub fn is_photo(path: impl AsRef<Path>) -> bool {
    let extension = path.as_ref().extension().unwrap_or_default().to_ascii_lowercase();
    PHOTO_EXTENSIONS.iter().any(|known| extension == *known)
}

/// Reads a photograph and turns it upright where its EXIF data says how.
///
/// The format is taken from the content, not from the name.
///
/// # Errors
///
/// [`Error::Read`] where the file is missing, damaged, in no known format, or larger than the
/// `image` crate's limits allow.
pub fn open_photo(path: impl AsRef<Path>) -> Result<DynamicImage> {
    let path = path.as_ref();
    let failed = |reason: String| Error::Read { path: path.to_owned(), reason };
    let reader = ImageReader::open(path).map_err(|error| failed(error.to_string()))?;
    let reader = reader.with_guessed_format().map_err(|error| failed(error.to_string()))?;
    if reader.format().is_none() {
        return Err(failed(format!("not a photograph in a known format ({EXPECTED})")));
    }
    let decode = || {
        let mut decoder = reader.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut photo = DynamicImage::from_decoder(decoder)?;
        photo.apply_orientation(orientation);
        Ok(photo)
    };
    decode().map_err(|error: image::ImageError| failed(Error::first_line(error)))
}

/// Writes a photograph in the format that the path's extension names. The file is replaced in one
/// step: a crash, or a disk that is full, leaves the old one.
///
/// # Errors
///
/// [`Error::UnknownExtension`], or [`Error::Write`] where the encoder or the disk refuses.
pub fn save_photo(photo: &DynamicImage, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let format = ImageFormat::from_path(path).ok().filter(|_| is_photo(path));
    let format = format
        .ok_or_else(|| Error::UnknownExtension { path: path.to_owned(), expected: EXPECTED })?;
    file::write_with(path, |writer| photo.write_to(writer, format))
}

/// All photographs in a folder and its subfolders, by their [extensions](PHOTO_EXTENSIONS), sorted.
///
/// # Errors
///
/// [`Error::Read`] where the folder, or one in it, cannot be read, or where it holds no photograph.
pub fn find_photos(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let folder = folder.as_ref();
    let mut photos = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
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

/// Decides where the result of each input goes.
///
/// One photograph goes to `output` itself where that has a photograph's extension and is no folder.
/// In all other cases `output` is a folder: photographs go into it under their own names, and
/// folders are searched for photographs, which keep their place below the folder.
///
/// # Errors
///
/// [`Error::Read`] where an input does not exist or a folder holds no photograph; [`Error::Write`]
/// where two results would have one path, or a result would replace an input.
pub fn plan_jobs(inputs: &[PathBuf], output: impl AsRef<Path>) -> Result<Vec<Job>> {
    let output = output.as_ref();
    let mut jobs = Vec::new();
    match inputs {
        [input] if !input.is_dir() && !output.is_dir() && is_photo(output) => {
            jobs.push(Job { input: existing(input)?, output: output.to_owned() });
        }
        _ => {
            for input in inputs {
                if input.is_dir() {
                    for photo in find_photos(input)? {
                        let place = photo.strip_prefix(input).unwrap_or(&photo);
                        jobs.push(Job { output: output.join(place), input: photo });
                    }
                } else {
                    let name = input.file_name().unwrap_or(input.as_os_str());
                    jobs.push(Job { input: existing(input)?, output: output.join(name) });
                }
            }
        }
    }
    refuse_collisions(&jobs)?;
    Ok(jobs)
}

fn existing(input: &Path) -> Result<PathBuf> {
    match std::fs::metadata(input) {
        Ok(_) => Ok(input.to_owned()),
        Err(error) => Err(Error::Read { path: input.to_owned(), reason: error.to_string() }),
    }
}

fn refuse_collisions(jobs: &[Job]) -> Result<()> {
    // Links and `..` resolved as far as the path exists.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
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

    #[test]
    fn one_photograph_goes_to_a_file_or_into_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let input = touch(root.join("dark.jpg"));
        let output =
            |to: PathBuf| plan_jobs(std::slice::from_ref(&input), to).unwrap()[0].output.clone();
        assert_eq!(output(root.join("bright.png")), root.join("bright.png"));
        assert_eq!(output(root.join("results")), root.join("results/dark.jpg"));
        std::fs::create_dir(root.join("odd.png")).unwrap();
        assert_eq!(output(root.join("odd.png")), root.join("odd.png/dark.jpg"));
    }

    #[test]
    fn folders_keep_their_tree() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("in");
        let inputs = [touch(folder.join("a/1.PNG")), touch(folder.join("b.jpeg"))];
        touch(folder.join("notes.txt"));
        let jobs = plan_jobs(&[folder], "out").unwrap();
        let expected = ["out/a/1.PNG", "out/b.jpeg"].map(PathBuf::from);
        for (job, (input, output)) in jobs.iter().zip(inputs.into_iter().zip(expected)) {
            assert_eq!(*job, Job { input, output });
        }
        assert_eq!(jobs.len(), 2);
    }

    #[test]
    fn nothing_is_planned_that_would_lose_a_photograph() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let [one, two] = [touch(root.join("1/a.png")), touch(root.join("2/a.png"))];
        let refused = |inputs: &[PathBuf], output: PathBuf| {
            plan_jobs(inputs, output).unwrap_err().to_string()
        };
        let message = refused(&[one.clone(), two.clone()], root.join("out"));
        assert!(message.contains("would both be written there"), "{message}");
        let message = refused(std::slice::from_ref(&one), root.join("2/../1/a.png"));
        assert!(message.contains("one of the inputs"), "{message}");
        let message = refused(&[root.join("1")], root.join("1"));
        assert!(message.contains("one of the inputs"), "{message}");
        let message = refused(&[root.join("none.png")], root.join("out"));
        assert!(message.contains("none.png"), "{message}");
        std::fs::create_dir(root.join("empty")).unwrap();
        let message = refused(&[root.join("empty")], root.join("out"));
        assert!(message.contains("no photograph"), "{message}");
    }
}
