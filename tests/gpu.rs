//! The kernels for GPUs against the plain implementation on the same device, and against the CPU. Software
//! Vulkan will do for a device.

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::{cpu, image, largest_difference, noise};
use image::{DynamicImage, Luma, LumaA, Rgb, Rgba};
use proptest::prelude::*;
use sci_burn::model::Method;
use sci_burn::photo::photo_to_tensor;
use sci_burn::{Color, Denoise, Enhancer, Exposure, Frame, FrameMut, Tone, image};
use std::sync::atomic::{AtomicUsize, Ordering};

fn gpu() -> Device {
    sci_burn::open_device("wgpu").unwrap()
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..Default::default() }
}

fn published(device: &Device) -> Enhancer {
    Enhancer::from_file(common::fixture("weights/cascade.pt"), device).unwrap()
}

/// With a curve, so that every step of the way is needed.
fn curved(device: &Device, denoise: Denoise) -> Enhancer {
    let tone = Exposure::Manual(Tone { strength: 1.0, gamma: 1.5 });
    published(device).with_exposure(tone).unwrap().with_denoise(denoise).unwrap()
}

fn host(tensor: Tensor<4>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

proptest! {
    // Each network is a program of its own, which takes a while to compile.
    #![proptest_config(cases(8))]

    #[test]
    fn one_launch_equals_layer_by_layer(
        batch in 1..4usize, height in 1..70usize, width in 1..100usize,
        method in prop::sample::select(&Method::ALL[..]),
        blocks in 1..4usize, channels in 1..9usize, seed in any::<u32>(),
        low in -0.5..0.5f64, range in 0.1..1.5f64, strength in 0.0..1.0f32, gamma in 1.0..4.0f32,
        kept in any::<bool>(),
    ) {
        let tone = Tone { strength, gamma: if seed % 5 < 2 { 1.0 } else { gamma } };
        let color = if kept { Color::Kept } else { Color::PerChannel };
        let enhancer = common::enhancer(method, [blocks, channels], seed.into(), &gpu());
        let enhancer = enhancer.with_exposure(Exposure::Manual(tone)).unwrap().with_color(color);
        // Some of it outside [0, 1].
        let image = image(seed.into(), [batch, 3, height, width], &gpu()) * range + low;
        let fast = enhancer.forward(image.clone());
        let plain = enhancer.forward_plain(image.clone(), tone, 0.0);
        prop_assert!(largest_difference(fast.illumination, plain.illumination) < 2e-5);
        prop_assert!(largest_difference(fast.reflectance, plain.reflectance) < 2e-4);
    }
}

/// Also of networks that are too large for one launch, whose layers are launches of their own: with few channels, with
/// a number of them that no unit can share, and the largest.
#[test]
fn small_and_narrow_images_equal_layer_by_layer() {
    let sizes = [[1, 1], [1, 2], [2, 1], [1, 97], [97, 1], [3, 3], [24, 36], [25, 37], [49, 73]];
    let large = [[14, 2], [5, 11], [16, 64]].map(|size| {
        let enhancer = common::enhancer(Method::Sci, size, 5, &gpu());
        (format!("{size:?}"), enhancer, 1e-4, if size[0] > 15 { 3 } else { sizes.len() })
    });
    let all = [("published".to_owned(), published(&gpu()), 1e-6, sizes.len())];
    for (name, enhancer, allowed, count) in all.into_iter().chain(large) {
        for [height, width] in sizes.into_iter().rev().take(count) {
            for batch in [1, 3] {
                let image = image(7, [batch, 3, height, width], &gpu());
                let fast = enhancer.forward(image.clone());
                let plain = enhancer.forward_plain(image, Tone::FULL, 0.0);
                let light = largest_difference(fast.illumination, plain.illumination);
                let bright = largest_difference(fast.reflectance, plain.reflectance);
                let case = format!("{name}, {batch} of {width}×{height}");
                assert!(light < allowed && bright < 10.0 * allowed, "{case}: {light} {bright}");
            }
        }
    }
}

/// The features of so many channels fit into a buffer of less than a megapixel.
#[test]
fn a_picture_for_a_large_network_has_no_seams() {
    let dark = DynamicImage::from(noise::<Rgb<u8>>(1001, 901, 5, 60));
    let enhance = |device: &Device| {
        let enhancer = common::enhancer(Method::SciPlusPlus, [1, 34], 3, device);
        enhancer.enhance(&dark).unwrap()
    };
    assert!(apart(&enhance(&gpu()), &enhance(&cpu())).iter().all(|apart| *apart <= 1));
}

/// Every case of a test has the next kind of pixel, so that all have a turn.
static KIND: AtomicUsize = AtomicUsize::new(0);

/// The samples of two pictures of the same kind, as numbers.
fn apart(a: &DynamicImage, b: &DynamicImage) -> Vec<u32> {
    assert_eq!((a.color(), a.width(), a.height()), (b.color(), b.width(), b.height()));
    let samples = |photo: &DynamicImage| -> Vec<u32> {
        let bytes = photo.as_bytes();
        match photo.color().bytes_per_pixel() / photo.color().channel_count() {
            1 => bytes.iter().map(|&level| level.into()).collect(),
            _ => bytes.as_chunks().0.iter().map(|&b| u16::from_ne_bytes(b).into()).collect(),
        }
    };
    samples(a).into_iter().zip(samples(b)).map(|(a, b)| a.abs_diff(b)).collect()
}

proptest! {
    #![proptest_config(cases(18))]

    #[test]
    fn bytes_equal_those_of_the_cpu(
        height in 1..90u32, width in 1..120u32, seed in any::<u32>(), kept in any::<bool>(),
        gamma in prop_oneof![Just(1.0f32), 1.0..4.0f32],
        denoise in prop_oneof![Just(Denoise::Off), Just(Denoise::Auto)],
    ) {
        let color = if kept { Color::Kept } else { Color::PerChannel };
        let tone = Exposure::Manual(Tone { strength: 0.9, gamma });
        let kind = KIND.fetch_add(1, Ordering::Relaxed) % 8;
        let dark = match kind {
            0 => noise::<Rgb<u8>>(width, height, seed, 90).into(),
            1 => noise::<Rgba<u8>>(width, height, seed, 90).into(),
            2 => noise::<Luma<u8>>(width, height, seed, 90).into(),
            3 => noise::<LumaA<u8>>(width, height, seed, 90).into(),
            4 => DynamicImage::ImageRgb16(noise(width, height, seed, 24_000)),
            5 => DynamicImage::ImageRgba16(noise(width, height, seed, 24_000)),
            6 => DynamicImage::ImageLuma16(noise(width, height, seed, 24_000)),
            _ => DynamicImage::ImageLumaA16(noise(width, height, seed, 24_000)),
        };
        let enhance = |device: &Device| {
            let enhancer = published(device).with_exposure(tone).unwrap().with_color(color);
            enhancer.with_denoise(denoise).unwrap().enhance(&dark).unwrap()
        };
        let apart = apart(&enhance(&gpu()), &enhance(&cpu()));
        // Of 16 bits, the last one or two are rounded otherwise.
        let most = if kind < 4 { 1 } else { 12 };
        prop_assert!(apart.iter().all(|apart| *apart <= most), "{:?}", apart.iter().max());
        let differing = apart.iter().filter(|apart| **apart > 0).count();
        if kind < 4 {
            prop_assert!(differing * 50 <= apart.len().max(100), "{differing} of {}", apart.len());
        }
    }

    #[test]
    fn the_automatic_exposure_is_that_of_the_cpu(
        height in 1..300u32, width in 1..300u32, seed in any::<u32>(), kept in any::<bool>(),
        kind in 0..3usize,
    ) {
        let color = if kept { Color::Kept } else { Color::PerChannel };
        let dark = noise::<Rgb<u8>>(width, height, seed, 60);
        let (w, h) = (width as usize, height as usize);
        let source = Frame::<Rgb<u8>>::new(&dark, w, h, w * 3).unwrap();
        let tone = |device: &Device| {
            // With more blocks there is less room for the sample; with nine each layer is a launch.
            let enhancer = match kind {
                0 => published(device),
                1 => common::enhancer(Method::SciPlusPlus, [2, 3], 11, device),
                _ => common::enhancer(Method::Sci, [9, 1], 11, device),
            };
            let enhancer = enhancer.with_color(color).with_exposure(Exposure::AUTO);
            enhancer.unwrap().tone(source).unwrap()
        };
        let (gpu, cpu) = (tone(&gpu()), tone(&cpu()));
        prop_assert!((gpu.strength - cpu.strength).abs() < 2e-3, "{gpu:?} {cpu:?}");
        prop_assert!((gpu.gamma - cpu.gamma).abs() < 2e-2, "{gpu:?} {cpu:?}");
    }
}

/// The features of two of these images fit into a buffer, and those of four do not.
#[test]
fn a_batch_for_a_large_network_is_what_its_images_are() {
    let enhancer = common::enhancer(Method::Sci, [1, 61], 3, &gpu());
    let batch = image(7, [4, 3, 390, 600], &gpu());
    let all = enhancer.forward(batch.clone());
    let last = enhancer.forward(batch.slice_dim(0, 3..4));
    assert_eq!(host(all.illumination.slice_dim(0, 3..4)), host(last.illumination));
    assert_eq!(host(all.reflectance.slice_dim(0, 3..4)), host(last.reflectance));
}

/// The sample of a narrow picture has so many tiles that the layers of a large network are computed for some at a time.
#[test]
fn a_sample_of_many_tiles_is_that_of_the_cpu() {
    let dark = noise::<Rgb<u8>>(1, 4500, 7, 60);
    let tone = |device: &Device| {
        let enhancer = common::enhancer(Method::Sci, [1, 61], 11, device).recommended();
        enhancer.tone(Frame::<Rgb<u8>>::new(&dark, 1, 4500, 3).unwrap()).unwrap()
    };
    let (gpu, cpu) = (tone(&gpu()), tone(&cpu()));
    assert!((gpu.strength - cpu.strength).abs() < 2e-3, "{gpu:?} {cpu:?}");
    assert!((gpu.gamma - cpu.gamma).abs() < 2e-2, "{gpu:?} {cpu:?}");
}

#[test]
fn the_noise_filter_equals_the_plain_one() {
    let tone = Tone { strength: 1.0, gamma: 1.7 };
    for (width, height) in [(16, 8), (24, 24), (51, 25), (20, 70), (97, 49)] {
        let dark = noise::<Rgb<u8>>(width, height, 3, 40);
        let (w, h) = (width as usize, height as usize);
        for color in [Color::PerChannel, Color::Kept] {
            let on = |device: &Device| {
                let enhancer = published(device).with_color(color).with_denoise(Denoise::Auto);
                let enhancer = enhancer.unwrap().with_exposure(Exposure::Manual(tone)).unwrap();
                (enhancer, photo_to_tensor(&dark, device))
            };
            let (enhancer, image) = on(&gpu());
            let noise = enhancer.noise(Frame::<Rgb<u8>>::new(&dark, w, h, w * 3).unwrap());
            assert!(noise > 0.01, "{noise}");
            let fast = enhancer.forward(image).reflectance;
            let (enhancer, image) = on(&cpu());
            let plain = enhancer.forward_plain(image, tone, noise).reflectance;
            let difference = largest_difference(fast, plain);
            assert!(difference < 1e-5, "{difference} at {width}×{height}");
        }
    }
}

/// Exposure, colors and noise filter of tensors and of bytes; of an estimator that has its weights as constants of
/// the kernels, of one that has them in a buffer, and of two that are too large for one launch.
#[test]
fn the_recommended_result_is_that_of_the_cpu() {
    for [blocks, channels] in [[1, 3], [1, 7], [1, 64], [12, 5]] {
        // The last is larger than what is sampled as a whole.
        for (width, height) in [(24, 24), (96, 40), (97, 49), (167, 103)] {
            let dark = noise::<Rgb<u8>>(width, height, 3, 40);
            let on = |device: &Device| {
                let enhancer = common::enhancer(Method::Sci, [blocks, channels], 11, device);
                let enhancer = enhancer.recommended();
                let bright = enhancer.enhance(&dark.clone().into()).unwrap();
                (enhancer.forward(photo_to_tensor(&dark, device)), bright)
            };
            let ((fast, gpu), (plain, cpu)) = (on(&gpu()), on(&cpu()));
            let name = format!("{width}×{height}, {blocks} blocks, {channels} channels");
            let difference = largest_difference(fast.reflectance, plain.reflectance);
            assert!(difference < 5e-3, "{difference} at {name}");
            let most = apart(&gpu, &cpu).into_iter().max();
            assert!(most <= Some(1), "{most:?} at {name}");
        }
    }
}

/// Also the narrowest, which are no whole words.
#[test]
fn bytes_of_narrow_pictures_equal_those_of_the_cpu() {
    for (width, height) in [(1, 1), (1, 50), (2, 31), (3, 33), (5, 1), (200, 1)] {
        let (eight, gray) = (noise::<Rgb<u8>>(width, height, 3, 90), noise(width, height, 4, 90));
        for dark in [DynamicImage::from(eight), DynamicImage::ImageLuma8(gray)] {
            for denoise in [Denoise::Off, Denoise::Auto] {
                let enhance = |device: &Device| curved(device, denoise).enhance(&dark).unwrap();
                let apart = apart(&enhance(&gpu()), &enhance(&cpu()));
                assert!(apart.iter().all(|apart| *apart <= 1), "{width}×{height}: {apart:?}");
            }
        }
    }
}

#[test]
fn rows_may_be_apart_and_what_is_between_them_is_left_alone() {
    let enhancer = published(&gpu());
    let (width, height) = (37, 11);
    let tight = noise::<Rgb<u8>>(width as u32, height as u32, 3, 90);
    let expected = enhancer.enhance(&tight.clone().into()).unwrap().into_rgb8();
    let (stride, wider) = (width * 3 + 5, width * 3 + 17);
    let mut source = vec![255; stride * height];
    for (row, tight) in source.chunks_mut(stride).zip(tight.chunks(width * 3)) {
        row[..width * 3].copy_from_slice(tight);
    }
    let mut target = vec![77; wider * height];
    let frame = Frame::<Rgb<u8>>::new(&source, width, height, stride).unwrap();
    let into = FrameMut::new(&mut target, width, height, wider).unwrap();
    enhancer.enhance_into(frame, into).unwrap();
    for (row, expected) in target.chunks(wider).zip(expected.chunks(width * 3)) {
        assert_eq!(row[..width * 3], *expected);
        assert!(row[width * 3..].iter().all(|&sample| sample == 77));
    }
}

#[test]
fn what_is_not_a_number_stays_where_the_network_sees_it() {
    // In one launch, and layer by layer.
    let large = common::enhancer(Method::Sci, [2, 12], 5, &gpu());
    let enhancers = [(published(&gpu()), 3), (large, 4)];
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for ((enhancer, reach), bad) in
        enhancers.iter().flat_map(|enhancer| bad.map(|bad| (enhancer, bad)))
    {
        let (height, width) = (30, 60);
        let good = image(5, [1, 3, height, width], &gpu());
        let mut values = host(good.clone());
        values[10 * width + 34] = bad;
        let data = TensorData::new(values, [1, 3, height, width]);
        let found = enhancer.forward(Tensor::from_data(data, &gpu()));
        let good = enhancer.forward(good);
        for (found, good) in
            [(found.illumination, good.illumination), (found.reflectance, good.reflectance)]
        {
            for (index, (found, good)) in host(found).into_iter().zip(host(good)).enumerate() {
                let (y, x) = (index / width % height, index % width);
                if y.abs_diff(10) > *reach || x.abs_diff(34) > *reach {
                    assert_eq!(found, good, "{bad} at {x}, {y}");
                }
            }
        }
    }
}

/// Enhancers are shared among threads, whose work goes through different queues.
#[test]
fn threads_do_not_disturb_each_other() {
    let enhancer = published(&gpu());
    let picture = |seed| DynamicImage::from(noise::<Rgb<u8>>(101, 67, seed, 90));
    let expected: Vec<_> = (0..8).map(|seed| enhancer.enhance(&picture(seed)).unwrap()).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (enhancer, expected) = (&enhancer, &expected);
            scope.spawn(move || {
                for round in 0..6 {
                    let seed = (thread + round) % 8;
                    let found = enhancer.enhance(&picture(seed as u32)).unwrap();
                    assert!(found == expected[seed]);
                }
            });
        }
    });
}

#[test]
fn a_picture_that_is_too_large_for_a_buffer_has_no_seams() {
    // The noise filter needs twelve bytes a pixel, more than WebGPU's 128 MiB.
    let dark = DynamicImage::from(noise::<Luma<u8>>(4001, 3000, 5, 60));
    let enhance = |device: &Device| curved(device, Denoise::Auto).enhance(&dark).unwrap();
    assert!(apart(&enhance(&gpu()), &enhance(&cpu())).iter().all(|apart| *apart <= 1));
}

#[test]
fn weights_may_be_no_numbers() {
    let mut estimator = sci_burn::model::IlluminationEstimatorConfig::new().init(&gpu()).unwrap();
    let bias = Tensor::full([3], f32::NAN, &gpu());
    estimator.output_conv.bias = burn::module::Param::from_tensor(bias);
    let found = Enhancer::new(estimator, &gpu()).forward(image(1, [1, 3, 9, 9], &gpu()));
    assert_eq!(host(found.reflectance).len(), 3 * 81);
}
