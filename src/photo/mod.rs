//! Reading, writing and finding photographs, and photographs as tensors.

mod chroma;
mod demand;
mod exif;
mod files;
mod parse;
mod pixels;
mod read;
mod save;
mod webp;

pub use chroma::ChromaSampling;
pub use files::{FoundPhotos, PHOTO_EXTENSIONS, find_photos, find_photos_except, is_photo};
#[cfg(feature = "train")]
pub(crate) use pixels::images_to_tensor;
pub use pixels::{photo_to_tensor, tensor_to_photo};
#[cfg(feature = "train")]
pub(crate) use read::photo_size;
pub use read::{Photo, ReadOptions, open_photo, open_photo_with};
pub use save::{PngCompression, SaveOptions, save_photo, save_photo_with};
