//! Photographs: files ↔ pixels ↔ tensors.

mod files;
mod pixels;

pub use files::{
    Job, PHOTO_EXTENSIONS, Plan, find_photos, is_photo, open_photo, plan_jobs, save_photo,
};
#[cfg(feature = "train")]
pub(crate) use files::{find_photos_except, photo_size};
pub use pixels::{photo_to_tensor, tensor_to_photo};
