use crate::error::{Cause, Error, Result};
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
/// [`Error::Read`] where the folder, or something in it, cannot be read, or where it holds no
/// photograph.
pub fn find_photos(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let FoundPhotos { photos, unreadable } = find_photos_except(folder, None)?;
    match unreadable.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(photos),
    }
}

/// What [`find_photos_except`] found in a folder.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct FoundPhotos {
    /// The photographs, sorted.
    pub photos: Vec<PathBuf>,
    /// One error for each subfolder that cannot be read and each link that cannot be followed.
    pub unreadable: Vec<Error>,
}

/// As [`find_photos`], but leaves out the folder `except`, and reports what cannot be read beside what
/// was found.
///
/// # Errors
///
/// [`Error::Read`] where the folder holds no photograph that can be found.
pub fn find_photos_except(folder: impl AsRef<Path>, except: Option<&Path>) -> Result<FoundPhotos> {
    let folder = folder.as_ref();
    let mut found = FoundPhotos::default();
    let except = except.and_then(|folder| folder.canonicalize().ok());
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    let inside = |path: &Path| except.is_some() && path.canonicalize().ok() == except;
    for entry in walk.filter_entry(|entry| !(entry.file_type().is_dir() && inside(entry.path()))) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_photo(entry.path()) => {
                found.photos.push(entry.into_path());
            }
            Ok(_) => {}
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                let text = error.to_string();
                let cause: Cause = match error.into_io_error() {
                    Some(error) => error.into(),
                    None => text.into(),
                };
                found.unreadable.push(Error::read(path, cause));
            }
        }
    }
    if !found.photos.is_empty() {
        return Ok(found);
    }
    Err(found.unreadable.into_iter().next().unwrap_or_else(|| {
        Error::read(folder, format!("there is no photograph in it ({EXPECTED})"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn what_cannot_be_followed_does_not_hide_the_rest() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.png"), b"").unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("b.png")).unwrap();
        let found = find_photos_except(root.path(), None).unwrap();
        assert_eq!(found.photos, [root.path().join("a.png")]);
        assert!(found.unreadable[0].to_string().contains("b.png"), "{}", found.unreadable[0]);
        assert!(find_photos(root.path()).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn only_regular_files_are_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.png"), b"").unwrap();
        std::os::unix::net::UnixListener::bind(root.path().join("b.png")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", root.path().join("c.png")).unwrap();
        assert_eq!(find_photos(root.path()).unwrap(), [root.path().join("a.png")]);
    }
}
