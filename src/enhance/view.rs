use crate::error::{Error, Result};
use crate::ops::pixel::EnhancePixel;

/// A borrowed picture in memory: rows of pixels, each `stride` samples after the one before it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a, P: EnhancePixel> {
    pub(super) samples: &'a [P::Subpixel],
    /// Height and width.
    pub(super) size: [usize; 2],
    pub(super) stride: usize,
}

/// A mutably borrowed picture in memory, to be written to. Otherwise as [`Frame`].
#[derive(Debug)]
pub struct FrameMut<'a, P: EnhancePixel> {
    pub(super) samples: &'a mut [P::Subpixel],
    /// Height and width.
    pub(super) size: [usize; 2],
    pub(super) stride: usize,
}

impl<'a, P: EnhancePixel> Frame<'a, P> {
    /// A picture of `width` by `height` pixels. `stride` is the distance between the beginnings of two
    /// rows in samples, not in pixels or bytes: in a picture without padding, the width times the
    /// number of channels.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if rows would overlap, or if there are too few samples.
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
    /// As [`Frame::new`]. The padding between rows is never written to.
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
    match (row, needed) {
        (Some(row), _) if stride < row && height > 1 => {
            let reason = format!("is {stride}, but a row of {width} pixels has {row} samples");
            Err(Error::argument("stride", reason))
        }
        (_, Some(needed)) if needed <= samples => Ok(()),
        _ => {
            let reason = format!("has {samples} samples, too few for {width}×{height} pixels");
            Err(Error::argument("samples", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn frames_that_do_not_fit_are_refused() {
        let bytes = [0u8; 36];
        let message = |width, height, stride| {
            Frame::<Rgb<u8>>::new(&bytes, width, height, stride).unwrap_err().to_string()
        };
        assert!(Frame::<Rgb<u8>>::new(&bytes, 4, 3, 12).is_ok());
        let expected = "argument `samples`: has 36 samples, too few for 4×3 pixels";
        assert_eq!(message(4, 3, 13), expected);
        let expected = "argument `stride`: is 11, but a row of 4 pixels has 12 samples";
        assert_eq!(message(4, 3, 11), expected);
        assert!(message(usize::MAX, 3, 12).starts_with("argument `samples`"));
        assert!(message(4, usize::MAX, 12).starts_with("argument `samples`"));
    }
}
