//! Photographs of each format, with their metadata, told apart by their content.

use super::{well_said, with_file};
use sci_burn::photo::{ReadOptions, open_photo, open_photo_with, save_photo};

/// The most pixels that are also written.
const MOST_WRITTEN: u32 = 1 << 14;

/// What can be read can be written, and comes back as it was where the format loses nothing.
pub fn run(data: &[u8]) -> Option<()> {
    let options = ReadOptions::new().with_max_bytes(8 << 20);
    let photo = with_file(".photo", data, |path| well_said(open_photo_with(path, &options)))?;
    let [width, height] = [photo.pixels.width(), photo.pixels.height()];
    if u64::from(width) * u64::from(height) > MOST_WRITTEN.into() {
        return Some(());
    }
    let folder = tempfile::tempdir().unwrap();
    for extension in ["png", "jpg", "webp", "tif", "bmp"] {
        let path = folder.path().join("photo").with_extension(extension);
        save_photo(&photo, &path).unwrap_or_else(|error| panic!("{error}"));
        let again = open_photo(&path).unwrap_or_else(|error| panic!("{extension}: {error}"));
        assert_eq!([again.pixels.width(), again.pixels.height()], [width, height]);
        // A profile for other pixels, or one without room, is left out.
        assert!(again.icc.is_none() || again.icc == photo.icc, "{extension}");
        if extension == "png" && photo.pixels.color() == again.pixels.color() {
            assert!(again.pixels == photo.pixels, "other pixels");
        }
    }
    let left = std::fs::read_dir(folder.path()).unwrap();
    let temporary = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    assert!(!left.map(|entry| entry.unwrap().file_name()).any(|name| temporary(&name)));
    Some(())
}
