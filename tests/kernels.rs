//! The kernels against the plain implementation in Burn's tensor functions, on random shapes and
//! values, and on one and many threads.

mod common;

use burn::tensor::Tensor;
use common::{cpu, image, largest_difference, noise};
use image::{DynamicImage, ImageBuffer, Luma, LumaA, Pixel, Rgb, RgbImage, Rgba};
use proptest::prelude::*;
use sci_burn::model::Method;
use sci_burn::photo::{photo_to_tensor, tensor_to_photo};
use sci_burn::{Color, Denoise, Enhancer, Exposure, Frame, FrameMut, Tone, image};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..Default::default() }
}

fn published() -> Enhancer {
    let weights = common::fixture("weights/cascade.pt");
    Enhancer::from_file(weights, &cpu()).unwrap()
}

fn in_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn one_pass_equals_layer_by_layer(
        batch in 1..3usize, height in 1..70usize, width in 1..150usize,
        method in prop::sample::select(&Method::ALL[..]),
        blocks in 1..4usize, channels in 1..9usize, seed in any::<u32>(),
        low in -0.5..0.5f64, range in 0.1..1.5f64, strength in 0.0..1.0f32, gamma in 1.0..4.0f32,
        kept in any::<bool>(),
    ) {
        let strength = if seed % 3 == 0 { 1.0 } else { strength };
        let tone = Tone { strength, gamma: if seed % 5 < 2 { 1.0 } else { gamma } };
        let color = if kept { Color::Kept } else { Color::PerChannel };
        let enhancer = common::enhancer(method, [blocks, channels], seed.into(), &cpu());
        let enhancer = enhancer.with_exposure(Exposure::Manual(tone)).unwrap().with_color(color);
        // Some of it outside [0, 1].
        let image = image(seed.into(), [batch, 3, height, width], &cpu()) * range + low;
        let fast = enhancer.forward(image.clone());
        let plain = enhancer.forward_plain(image, tone, 0.0);
        prop_assert!(largest_difference(fast.illumination, plain.illumination) < 2e-5);
        prop_assert!(largest_difference(fast.reflectance, plain.reflectance) < 2e-4);
    }
}

/// Values so far below 0 that the illumination would be negative.
#[test]
fn an_illumination_is_never_below_its_least_value() {
    let image = Tensor::full([1, 3, 9, 20], -3.0, &cpu());
    for color in [Color::PerChannel, Color::Kept] {
        let enhancer = published().with_color(color);
        let fast = enhancer.forward(image.clone());
        let plain = enhancer.forward_plain(image.clone(), Tone::FULL, 0.0);
        assert!(largest_difference(fast.illumination, plain.illumination) < 1e-7);
        assert!(largest_difference(fast.reflectance, plain.reflectance) < 1e-7);
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn no_strength_changes_nothing_and_the_whole_one_is_the_published(
        height in 1..60u32, width in 1..200u32, seed in any::<u32>(),
    ) {
        let dark = DynamicImage::from(noise::<Rgb<u8>>(width, height, seed, 120));
        let with = |exposure| published().with_exposure(exposure).unwrap().enhance(&dark).unwrap();
        let manual = |strength| Exposure::Manual(Tone::from_strength(strength));
        prop_assert_eq!(with(manual(0.0)), dark.clone());
        prop_assert_eq!(with(manual(1.0)), with(Exposure::Full));
        // Steadily brighter.
        let [weak, strong] = [0.4, 0.6].map(|s| with(manual(s)).into_rgb8());
        prop_assert!(weak.iter().zip(strong.iter()).all(|(weak, strong)| weak <= strong));
    }

    #[test]
    fn automatic_exposure_keeps_to_its_limits(
        height in 40..200u32, width in 40..300u32, seed in any::<u32>(),
        most in 10..250u32, luminance in 0.05..0.9f32,
    ) {
        let dark = noise::<Rgb<u8>>(width, height, seed, most);
        let auto = published().with_exposure(Exposure::Auto { luminance }).unwrap();
        let bright = auto.enhance(&dark.clone().into()).unwrap().into_rgb8();
        prop_assert!(dark.iter().zip(bright.iter()).all(|(dark, bright)| dark <= bright));
        let light = |photo: &RgbImage| {
            let sum: f64 = photo.pixels()
                .map(|p| 0.2126 * f64::from(p[0]) + 0.7152 * f64::from(p[1]) + 0.0722 * f64::from(p[2]))
                .sum();
            sum / f64::from(width * height) / 255.0
        };
        // What is found from a sample is not exact.
        let allowed = f64::from(luminance).max(light(&dark)) + 0.03;
        prop_assert!(light(&bright) <= allowed, "{} {allowed}", light(&bright));
        // From 249.9 levels on a pixel is clipped; of those with 250, some are not.
        let clipped = |photo: &RgbImage| {
            photo.pixels().filter(|p| p.0.iter().any(|&level| level > 250)).count() as f64
        };
        let newly = (clipped(&bright) - clipped(&dark)) / f64::from(width * height);
        prop_assert!(newly <= 0.03, "{newly}");
        // The way through tensors finds nearly the same.
        let tensor = auto.forward(photo_to_tensor(&dark, &cpu()));
        let other = tensor_to_photo(tensor.reflectance).unwrap();
        prop_assert!((light(&other) - light(&bright)).abs() < 0.03);
    }

    #[test]
    fn bytes_to_bytes_equals_the_way_through_tensors(
        height in 1..80u32, width in 1..700u32, seed in any::<u32>(), kept in any::<bool>(),
        tone in prop_oneof![
            Just(Exposure::Full),
            Just(Exposure::Manual(Tone::from_strength(0.7))),
            Just(Exposure::Manual(Tone { strength: 1.0, gamma: 2.0 })),
        ],
        denoise in prop_oneof![Just(Denoise::Off), Just(Denoise::Auto)],
    ) {
        let color = if kept { Color::Kept } else { Color::PerChannel };
        let enhancer = published().with_exposure(tone).unwrap().with_color(color);
        let enhancer = enhancer.with_denoise(denoise).unwrap();
        let dark = noise::<Rgb<u8>>(width, height, seed, 120);
        let through = tensor_to_photo(enhancer.forward(photo_to_tensor(&dark, &cpu())).reflectance);
        let through = through.unwrap();
        let direct = enhancer.enhance(&dark.into()).unwrap().into_rgb8();
        // The two round at other places; a value half way between two levels may go either way.
        let apart = direct.iter().zip(through.iter()).map(|(a, b)| a.abs_diff(*b));
        prop_assert!(apart.clone().max() <= Some(1));
        let differing = apart.filter(|apart| *apart > 0).count();
        prop_assert!(differing * 200 <= direct.len().max(200), "{differing} of {}", direct.len());
    }

    #[test]
    fn threads_do_not_change_a_bit(
        height in 1..200u32, width in 1..300u32, seed in any::<u32>(),
    ) {
        let enhancer = published();
        let dark = noise::<Rgb<u8>>(width, height, seed, 120).into();
        let tensor = image(seed.into(), [1, 3, height as usize, width as usize], &cpu());
        let results = [1, 2, 5].map(|threads| {
            in_threads(threads, || {
                let enhanced = enhancer.forward(tensor.clone());
                let planes = Tensor::cat(vec![enhanced.illumination, enhanced.reflectance], 1);
                (enhancer.enhance(&dark).unwrap(), planes.into_data())
            })
        });
        prop_assert!(results[0] == results[1] && results[0] == results[2]);
    }
}

#[test]
fn every_kind_of_pixel_is_enhanced_as_rgb_is() {
    let enhancer = published();
    let alpha = |x: u32, y: u32| (x + y) as u8;
    let rgb = noise::<Rgb<u8>>(301, 40, 1, 90);
    let expected = enhancer.enhance(&rgb.clone().into()).unwrap().into_rgb8();

    let rgba: ImageBuffer<Rgba<u8>, _> = ImageBuffer::from_fn(301, 40, |x, y| {
        let Rgb([r, g, b]) = *rgb.get_pixel(x, y);
        Rgba([r, g, b, alpha(x, y)])
    });
    let bright = enhancer.enhance(&rgba.into()).unwrap();
    for (x, y, Rgba([r, g, b, found])) in bright.as_rgba8().unwrap().enumerate_pixels() {
        assert_eq!(*expected.get_pixel(x, y), Rgb([*r, *g, *b]));
        assert_eq!(*found, alpha(x, y));
    }

    let gray = noise::<Luma<u8>>(301, 40, 2, 90);
    let three = image::DynamicImage::from(gray.clone()).to_rgb8();
    let three = enhancer.enhance(&three.into()).unwrap().into_rgb8();
    let with_alpha: ImageBuffer<LumaA<u8>, _> =
        ImageBuffer::from_fn(301, 40, |x, y| LumaA([gray.get_pixel(x, y).0[0], alpha(x, y)]));
    let with_alpha = enhancer.enhance(&with_alpha.into()).unwrap();
    let bright = enhancer.enhance(&gray.into()).unwrap();
    for (x, y, Luma([found])) in bright.as_luma8().unwrap().enumerate_pixels() {
        let [r, g, b] = three.get_pixel(x, y).0.map(f64::from);
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        assert!((luma - f64::from(*found)).abs() <= 1.01, "{found} is not {luma}");
        let beside = with_alpha.as_luma_alpha8().unwrap().get_pixel(x, y);
        assert_eq!(*beside, LumaA([*found, alpha(x, y)]));
    }
}

/// The same picture in 8 and 16 bits, which hold the same numbers: `v / 255 = 257 v / 65535`.
#[test]
fn sixteen_bits_are_enhanced_as_eight_are_and_stay_sixteen() {
    fn check<P: Pixel<Subpixel = u8>, Q: Pixel<Subpixel = u16>>(seed: u32)
    where
        DynamicImage: From<ImageBuffer<P, Vec<u8>>> + From<ImageBuffer<Q, Vec<u16>>>,
    {
        let enhancer = published();
        let narrow = noise::<P>(301, 40, seed, 90);
        let wide = narrow.iter().map(|&level| u16::from(level) * 257).collect();
        let wide = ImageBuffer::<Q, Vec<u16>>::from_vec(301, 40, wide).unwrap();
        let narrow = enhancer.enhance(&narrow.into()).unwrap();
        let wide = DynamicImage::from(wide);
        let bright = enhancer.enhance(&wide).unwrap();
        assert_eq!(bright.color(), wide.color());
        let samples = bright.as_bytes().as_chunks::<2>().0.iter();
        let mut between = 0;
        for (narrow, wide) in narrow.as_bytes().iter().zip(samples) {
            let level = u16::from_ne_bytes(*wide);
            between += usize::from(level % 257 != 0);
            let level = f64::from(level) / 257.0;
            assert!((f64::from(*narrow) - level).abs() <= 0.51, "{level} is not {narrow}");
        }
        // Levels that eight bits do not have.
        assert!(between > 301 * 40 / 2, "{between}");
    }
    check::<Rgb<u8>, Rgb<u16>>(1);
    check::<Rgba<u8>, Rgba<u16>>(2);
    check::<Luma<u8>, Luma<u16>>(3);
    check::<LumaA<u8>, LumaA<u16>>(4);
}

#[test]
fn rows_may_be_apart_and_what_is_between_them_is_left_alone() {
    let enhancer = published();
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
    enhancer
        .enhance_into(frame, FrameMut::new(&mut target, width, height, wider).unwrap())
        .unwrap();
    for (row, expected) in target.chunks(wider).zip(expected.chunks(width * 3)) {
        assert_eq!(row[..width * 3], *expected);
        assert!(row[width * 3..].iter().all(|&sample| sample == 77));
    }
}

#[test]
fn a_single_row_may_have_any_stride() {
    let enhancer = published();
    let dark = noise::<Rgb<u8>>(10, 1, 5, 90);
    let expected = enhancer.enhance(&dark.clone().into()).unwrap().into_rgb8();
    for (stride, threads) in [(0, 1), (5, 1), (5, 2), (30, 2), (usize::MAX, 1)] {
        let mut bright = [0; 30];
        let source = Frame::<Rgb<u8>>::new(&dark, 10, 1, stride).unwrap();
        let target = FrameMut::<Rgb<u8>>::new(&mut bright, 10, 1, stride).unwrap();
        in_threads(threads, || enhancer.enhance_into(source, target)).unwrap();
        assert_eq!(bright.as_slice(), expected.as_raw(), "stride {stride}");
    }
}

#[test]
fn a_picture_wider_than_a_strip_has_no_seams() {
    let enhancer = published();
    let dark = noise::<Rgb<u8>>(4500, 9, 4, 90);
    let whole = enhancer.enhance(&dark.clone().into()).unwrap().into_rgb8();
    for left in [2000, 2040, 4080] {
        // With more than the three pixels that the network sees beside the part that is compared.
        let part = image::imageops::crop_imm(&dark, left, 0, 100, 9).to_image();
        let part = enhancer.enhance(&part.into()).unwrap().into_rgb8();
        for (x, y) in (3..97).flat_map(|x| (0..9).map(move |y| (x, y))) {
            assert_eq!(part.get_pixel(x, y), whole.get_pixel(left + x, y));
        }
    }
}

#[test]
fn what_is_not_a_number_stays_within_three_pixels() {
    let enhancer = published();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (height, width) = (20, 60);
        let good = image(5, [1, 3, height, width], &cpu());
        let mut values = good.clone().try_into_vec_as::<f32>().unwrap();
        values[10 * width + 30] = bad;
        let data = burn::tensor::TensorData::new(values, [1, 3, height, width]);
        let found = enhancer.forward(Tensor::from_data(data, &cpu()));
        let good = enhancer.forward(good);
        for (found, good) in
            [(found.illumination, good.illumination), (found.reflectance, good.reflectance)]
        {
            let found = found.try_into_vec_as::<f32>().unwrap();
            let good = good.try_into_vec_as::<f32>().unwrap();
            for (index, (found, good)) in found.into_iter().zip(good).enumerate() {
                let (y, x) = (index / width % height, index % width);
                if y.abs_diff(10) > 3 || x.abs_diff(30) > 3 {
                    assert_eq!(found, good, "{bad} at {x}, {y}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn the_recommended_result_does_not_depend_on_the_number_of_threads(
        height in 40..300u32, width in 40..300u32, seed in any::<u32>(),
    ) {
        let enhancer = published().recommended();
        let dark = DynamicImage::from(noise::<Rgb<u8>>(width, height, seed, 60));
        let threads = |count| in_threads(count, || enhancer.enhance(&dark).unwrap());
        prop_assert_eq!(threads(1), threads(3));
        // It is filtered at all.
        let noisy = enhancer.clone().with_denoise(Denoise::Off).unwrap().enhance(&dark).unwrap();
        prop_assert_ne!(threads(2), noisy);
    }
}

/// A picture without noise: slopes and an edge, dark enough to be amplified.
fn clean(x: u32, y: u32) -> [f32; 3] {
    let light = 0.02 + 0.06 * (x + y) as f32 / 400.0;
    if x * 2 > y + 100 { [light, 0.8 * light, 0.5 * light] } else { [0.3 * light; 3] }
}

#[test]
fn a_picture_without_noise_loses_nothing() {
    let dark8 = RgbImage::from_fn(200, 150, |x, y| {
        Rgb(clean(x, y).map(|value| (value * 255.0).round() as u8))
    });
    let dark16 = ImageBuffer::from_fn(200, 150, |x, y| {
        Rgb(clean(x, y).map(|value| (value * 65535.0).round() as u16))
    });
    for dark in [DynamicImage::from(dark8), DynamicImage::ImageRgb16(dark16)] {
        let enhancer = published().recommended();
        let filtered = enhancer.enhance(&dark).unwrap();
        let off = enhancer.with_denoise(Denoise::Off).unwrap().enhance(&dark).unwrap();
        assert!(filtered == off);
    }
}
