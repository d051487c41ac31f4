//! The example `video`, in a pipe.

mod common;

use std::io::Write;
use std::process::{Command, Output, Stdio};

const WIDTH: usize = 48;
const HEIGHT: usize = 36;

fn video(options: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(common::program::example("video"))
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read everything.
    let feeding = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    output
}

fn raw(options: &[&str], input: &[u8]) -> Output {
    let size = format!("{WIDTH}x{HEIGHT}");
    video(&[&["--size", &size], options].concat(), input)
}

/// A frame with a light part and a dark one, the brightest of a level.
fn frame(level: f32) -> Vec<u8> {
    (0..WIDTH * HEIGHT * 3)
        .map(|index| {
            let x = index / 3 % WIDTH;
            (level * (0.3 + 0.7 * x as f32 / WIDTH as f32)).round() as u8
        })
        .collect()
}

/// The mean level of each frame.
fn means(frames: &[u8]) -> Vec<f64> {
    let frames = frames.chunks_exact(WIDTH * HEIGHT * 3);
    frames
        .map(|frame| frame.iter().map(|&v| f64::from(v)).sum::<f64>() / frame.len() as f64)
        .collect()
}

#[test]
fn a_fade_and_a_cut_do_not_pump() {
    // A fade from dark to rather light over two seconds, then a cut to the dark beginning.
    let fade = (0..50).map(|index| 30.0 + 130.0 * index as f32 / 49.0);
    let levels: Vec<f32> = fade.chain([30.0; 25]).collect();
    let input: Vec<u8> = levels.iter().flat_map(|&level| frame(level)).collect();
    let output = raw(&[], &input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bright = means(&output.stdout);
    assert_eq!(bright.len(), 75);
    for (dark, bright) in means(&input).iter().zip(&bright) {
        assert!(bright >= dark, "{dark} {bright}");
    }
    // Within the fade no frame is far from the one before it.
    for pair in bright[..50].windows(2) {
        assert!((pair[1] - pair[0]).abs() < 8.0, "{pair:?}");
    }
    // After the cut the exposure is at once what it was at the beginning, and stays.
    for frame in &bright[50..] {
        assert!((frame - bright[0]).abs() < 3.0, "{frame} {}", bright[0]);
    }
}

#[test]
fn the_exposure_does_not_flicker_with_a_light() {
    // A dark room in which a lamp comes into the picture and goes, every second frame.
    let room = |lamp: bool| {
        let mut room = frame(60.0);
        let lit = if lamp { room.len() / 6 } else { 0 };
        room[..lit].fill(200);
        room
    };
    let frames: Vec<_> = (0..60).map(|index| room(index % 2 == 0)).collect();
    let together = raw(&[], &frames.concat()).stdout;
    // What does not change in the picture, near its right edge.
    let corner = |video: &[u8]| -> Vec<f64> {
        let corners = video.chunks_exact(WIDTH * HEIGHT * 3);
        corners.map(|frame| f64::from(frame[frame.len() - 3])).collect()
    };
    let swing = |levels: &[f64]| {
        levels.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max)
    };
    let alone: Vec<f64> = [room(true), room(false)]
        .iter()
        .flat_map(|frame| corner(&raw(&[], frame).stdout))
        .collect();
    assert!(swing(&alone) > 8.0, "the lamp matters to single frames: {alone:?}");
    let steady = corner(&together);
    assert!(swing(&steady) < swing(&alone) / 4.0, "{} {}", swing(&steady), swing(&alone));
}

#[test]
fn the_published_exposure_is_that_of_single_pictures() {
    let enhancer = sci_burn::Enhancer::from_preset(
        sci_burn::Preset::default(),
        &sci_burn::open_device("cpu").unwrap(),
    );
    let dark = frame(60.0);
    let picture = image::RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, dark.clone()).unwrap();
    let expected = enhancer.enhance(&picture.into()).unwrap().into_rgb8().into_raw();
    let output = raw(&["--exposure", "full"], &dark);
    assert_eq!(output.stdout, expected);
}

#[test]
fn a_stream_that_ends_in_mid_frame_keeps_what_came_before() {
    let mut input = [frame(40.0), frame(50.0), frame(60.0)].concat();
    input.truncate(input.len() - 7);
    let output = raw(&[], &input);
    assert_eq!(means(&output.stdout).len(), 2);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    let expected = "error: cannot read standard input: it ends in the middle of frame 3\n";
    assert!(message.ends_with(expected), "{message}");
}

/// A Y4M stream of one frame that is brighter to the right, of any size.
fn y4m(header: &str, [width, height]: [usize; 2], colors: usize) -> Vec<u8> {
    let mut stream = format!("YUV4MPEG2 W{width} H{height} F25:1 {header}\nFRAME\n").into_bytes();
    stream.extend((0..width * height).map(|index| 30 + (60 * (index % width) / width) as u8));
    stream.extend(vec![120; colors]);
    stream.extend(vec![133; colors]);
    stream
}

#[test]
fn y4m_in_y4m_out() {
    for (header, size, colors) in [
        ("C420jpeg XYSCSS=420JPEG XCOLORRANGE=LIMITED", [48, 36], 24 * 18),
        ("C420mpeg2 XCOLORRANGE=LIMITED", [33, 17], 17 * 9),
        ("C444 XCOLORRANGE=FULL", [47, 35], 47 * 35),
    ] {
        let input = y4m(header, size, colors);
        // No strength gives the video back, but for what the way to RGB and back rounds.
        let same = video(&["--exposure", "0"], &input);
        assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stderr));
        let frames = |stream: &[u8]| stream[header_of(stream).len()..].to_vec();
        let (old, new) = (frames(&input), frames(&same.stdout));
        assert_eq!(old.len(), new.len(), "{header}");
        for (index, (old, new)) in old.iter().zip(&new).enumerate() {
            assert!(old.abs_diff(*new) <= 2, "{header}, byte {index}: {old} {new}");
        }
        let range = header.split(' ').next_back().unwrap();
        let written = String::from_utf8(header_of(&same.stdout).to_vec()).unwrap();
        assert!(written.contains(range) && written.contains("F25:1"), "{written}");

        let bright = video(&["--exposure", "full"], &input).stdout;
        let [old, new] = &[&old, &frames(&bright)].map(|frame| frame[b"FRAME\n".len()]);
        assert!(*new >= old + 10, "{old} {new}");
    }
}

fn header_of(stream: &[u8]) -> &[u8] {
    &stream[..=stream.iter().position(|&byte| byte == b'\n').unwrap()]
}

#[test]
fn what_is_no_video_is_refused_in_one_line() {
    let deep = y4m("C420p10", [WIDTH, HEIGHT], WIDTH * HEIGHT / 2);
    let fields = y4m("It C444", [WIDTH, HEIGHT], WIDTH * HEIGHT);
    let endless = format!("YUV4MPEG2 W48 H36 X{}\n", "x".repeat(1024));
    let cut = &y4m("C444", [WIDTH, HEIGHT], WIDTH * HEIGHT)[..5000];
    for (input, expected) in [
        (&b""[..], "it is empty"),
        (b"RIFF and so on\n", "not Y4M"),
        (b"YUV4\n", "not Y4M"),
        (b"YUV4", "in the middle of its Y4M header"),
        (b"YUV4MPEG2 W48 H3", "in the middle of its Y4M header"),
        (b"YUV4MPEG2 W48 H36 F25:1 C444\r\nFRAME\r\n", "ends with CR LF, expected LF"),
        (endless.as_bytes(), "header is longer than 1024 bytes"),
        (b"YUV4MPEG2 W48 H36 C444 \xff\n", "not text"),
        (b"YUV4MPEG2 W48 H36 F25 C444\n", "says 25 frames a second"),
        (b"YUV4MPEG2 F25:1 C444\n", "says ×,"),
        (b"YUV4MPEG2 W48 H36 C444\nFRAM", "in the middle of frame 1"),
        (b"YUV4MPEG2 W48 H36 C444\nframe\n", "frame 1 has no Y4M header"),
        (&deep, "expected 8-bit 4:2:0 or 4:4:4"),
        (&fields, "interlaced"),
        (cut, "in the middle of frame 1"),
    ] {
        let output = video(&[], input);
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(expected), "{message}");
        assert_eq!(message.lines().filter(|line| line.contains("error")).count(), 1, "{message}");
    }
}

#[test]
fn sizes_that_no_frame_has_are_refused() {
    for size in ["0x4", "4294967296x1", "100000x100000", "2000000000x2000000000"] {
        let output = video(&["--size", size], &[]);
        assert_eq!(output.status.code(), Some(1), "{size}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(
            message.starts_with(&format!("error: --size is {}", size.replace('x', "×"))),
            "{message}"
        );
    }
}

#[test]
fn headers_whose_sizes_overflow_are_refused() {
    for size in [
        "W4294967296 H4294967296",
        "W3074457345618258603 H6",
        "W18446744073709551615 H18446744073709551615",
        "W99999999999999999999999 H1",
        "W-1 H1",
        "W0 H36",
        "W100000 H100000",
    ] {
        let output = video(&[], format!("YUV4MPEG2 {size} F25:1 C444\nFRAME\n").as_bytes());
        assert_eq!(output.status.code(), Some(1), "{size}");
        let message = String::from_utf8(output.stderr).unwrap();
        let shown = size.replace('W', "").replace(" H", "×");
        let expected = format!("error: cannot read standard input: its Y4M header says {shown}, ");
        assert!(message.starts_with(&expected) && message.lines().count() == 1, "{message}");
        assert!(output.stdout.is_empty(), "{size}");
    }
}

#[test]
fn the_smallest_frames_are_frames() {
    for (header, size, colors) in [("C420", [1, 1], 1), ("C444", [1, 2], 2), ("C420", [3, 1], 2)] {
        let input = y4m(header, size, colors);
        let output = video(&["--exposure", "0"], &input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.len(), input.len());
        assert_eq!(header_of(&output.stdout), header_of(&input));
    }
}
