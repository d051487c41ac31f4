//! `enhance_into` allocates nothing for pixels after the first call. In a binary of its own, since it
//! counts what the whole process allocates.

mod common;

use common::allocation::{Counting, total_of};
use image::Rgb;
use sci_burn::{Enhancer, Frame, FrameMut, image};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_video_is_enhanced_without_allocating_for_every_frame() {
    let weights = common::fixture("weights/cascade.pt");
    let enhancer = Enhancer::from_file(weights, &common::cpu()).unwrap();
    let (width, height) = (2500, 600);
    let dark: Vec<u8> = (0..width * height * 3).map(|i| (i * 7 % 100) as u8).collect();
    let mut bright = vec![0; dark.len()];
    let mut frame = || {
        let source = Frame::<Rgb<u8>>::new(&dark, width, height, width * 3).unwrap();
        let target = FrameMut::<Rgb<u8>>::new(&mut bright, width, height, width * 3).unwrap();
        total_of(|| enhancer.enhance_into(source, target).unwrap())
    };
    let first = frame();
    assert!(first > 100_000, "the working memory of the first call was not seen: {first}");
    // A later call may start a thread that had nothing to do before; not ten times over.
    let least = (0..10).map(|_| frame()).min().unwrap();
    // Threads queue their work in small blocks.
    assert!(least < 10_000, "{least} bytes are allocated for a frame");
}
