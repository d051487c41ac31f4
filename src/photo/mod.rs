//! Reading, writing and finding photographs, and photographs as tensors.

mod demand;
mod exif;
mod files;
mod pixels;
mod read;
mod save;

#[cfg(feature = "train")]
pub(crate) use files::{Found, find_photos_except};
pub use files::{Job, PHOTO_EXTENSIONS, Plan, find_photos, is_photo, plan_jobs};
#[cfg(feature = "train")]
pub(crate) use pixels::images_to_tensor;
pub use pixels::{photo_to_tensor, tensor_to_photo};
#[cfg(feature = "train")]
pub(crate) use read::photo_size;
pub use read::{Photo, ReadOptions, open_photo, open_photo_with};
pub use save::{PngCompression, SaveOptions, save_photo, save_photo_with};
