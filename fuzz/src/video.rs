//! Y4M streams.

use super::{frames, well_said};

/// Frames that are read can be written, and are as long as they were.
pub fn run(data: &[u8]) -> Option<()> {
    let mut written = Vec::new();
    let (mut input, mut output) = well_said(frames::y4m(data, &mut written))?;
    assert!(input.frame_rate() > 0.0 && input.frame_rate().is_finite());
    let mut frames = 0;
    while let Some(Some(picture)) = well_said(input.next()) {
        output.write(&picture).unwrap();
        frames += 1;
    }
    output.finish().unwrap();
    if frames > 0 {
        // Frame headers may have parameters, which are not written.
        assert!(written.len() <= data.len(), "{} > {}", written.len(), data.len());
    }
    Some(())
}
