use crate::error::{Error, Result};
use crate::ops::pixel::EnhancePixel;

/// A picture in memory that somebody else owns: rows of pixels, each `stride` samples after the one
/// before it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a, P: EnhancePixel> {
    pub(super) samples: &'a [P::Subpixel],
    pub(super) size: [usize; 2],
    pub(super) stride: usize,
}

/// As [`Frame`], for a picture that is to be written.
#[derive(Debug)]
pub struct FrameMut<'a, P: EnhancePixel> {
    pub(super) samples: &'a mut [P::Subpixel],
    pub(super) size: [usize; 2],
    pub(super) stride: usize,
}

impl<'a, P: EnhancePixel> Frame<'a, P> {
    /// A picture of `width` by `height` pixels. `stride` counts samples, not pixels and not bytes;
    /// in a picture without padding it is the width times the number of channels.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] where rows would overlap, or where there are too few samples.
    pub fn new(
        samples: &'a [P::Subpixel],
        width: usize,
        height: usize,
        stride: usize,
    ) -> Result<Self> {
        check::<P>(samples.len(), width, height, stride)?;
        Ok(Self { samples, size: [height, width], stride })
    }
}

impl<'a, P: EnhancePixel> FrameMut<'a, P> {
    /// As [`Frame::new`]. What lies between the rows is not touched.
    ///
    /// # Errors
    ///
    /// As [`Frame::new`].
    pub fn new(
        samples: &'a mut [P::Subpixel],
        width: usize,
        height: usize,
        stride: usize,
    ) -> Result<Self> {
        check::<P>(samples.len(), width, height, stride)?;
        Ok(Self { samples, size: [height, width], stride })
    }
}

fn check<P: EnhancePixel>(
    samples: usize,
    width: usize,
    height: usize,
    stride: usize,
) -> Result<()> {
    let row = width.checked_mul(usize::from(P::CHANNEL_COUNT));
    let needed = row.and_then(|row| match height {
        0 => Some(0),
        _ => stride.checked_mul(height - 1)?.checked_add(row),
    });
    let refused = |setting, reason| Err(Error::Setting { setting, reason });
    match (row, needed) {
        (Some(row), _) if stride < row && height > 1 => {
            refused("stride", format!("is {stride}, a row of {width} pixels has {row} samples"))
        }
        (_, Some(needed)) if needed <= samples => Ok(()),
        _ => refused("samples", format!("are {samples}, too few for {width}×{height} pixels")),
    }
}
