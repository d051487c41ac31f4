use crate::error::{Error, Result};
use image::RgbImage;

/// Checks that a picture and another one, the argument `name`, are of the same size.
pub(super) fn same_size(picture: &RgbImage, name: &'static str, other: &RgbImage) -> Result<()> {
    let ((width, height), (other_width, other_height)) = (picture.dimensions(), other.dimensions());
    if picture.dimensions() == other.dimensions() {
        return Ok(());
    }
    let reason = format!("is {other_width}×{other_height}, the picture {width}×{height}");
    Err(Error::argument(name, reason))
}
