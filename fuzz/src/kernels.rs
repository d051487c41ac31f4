//! The kernels against Burn's tensor functions, on any shapes, strides and values.

use super::cpu;
use arbitrary::{Result, Unstructured};
use sci_burn::burn::module::Param;
use sci_burn::burn::tensor::{Tensor, TensorData};
use sci_burn::image::{ImageBuffer, Luma, LumaA, Pixel, Rgb, Rgba};
use sci_burn::loss::{SmoothnessLossConfig, YcbcrLayout};
use sci_burn::model::{Conv3x3, IlluminationEstimatorConfig, Method};
use sci_burn::{Color, Denoise, Enhancer, Exposure, Frame, FrameMut, Tone, use_kernels};

/// A picture in rows with padding becomes what it becomes without, and the padding stays.
macro_rules! frames {
    ($random:ident, $pixel:ty, $into:ident) => {{
        let enhancer = enhancer($random)?;
        let exposure = *$random.choose(&[Exposure::Full, Exposure::AUTO])?;
        let denoise = *$random.choose(&[Denoise::Off, Denoise::Auto])?;
        let enhancer = enhancer.with_exposure(exposure).unwrap().with_denoise(denoise).unwrap();
        let [width, height] = [$random.int_in_range(1..=150)?, $random.int_in_range(1..=40)?];
        let row = width * usize::from(<$pixel>::CHANNEL_COUNT);
        let [stride, wider] =
            [row + $random.int_in_range(0..=9)?, row + $random.int_in_range(0..=9)?];
        let pool: Vec<_> = $random.arbitrary_iter()?.take(64).collect::<Result<_>>()?;
        let dark = spread(&pool, $random.arbitrary()?, row * height);
        let tight: ImageBuffer<$pixel, _> =
            ImageBuffer::from_raw(width as u32, height as u32, dark.clone()).unwrap();
        let expected = enhancer.enhance(&tight.into()).unwrap().$into().into_raw();

        // There need not be any padding in the last row.
        let mut source = vec![7; stride * (height - 1) + row];
        for (padded, row) in source.chunks_mut(stride).zip(dark.chunks(row)) {
            padded[..row.len()].copy_from_slice(row);
        }
        let mut target = vec![9; wider * (height - 1) + row];
        let from = Frame::<$pixel>::new(&source, width, height, stride).unwrap();
        let to = FrameMut::<$pixel>::new(&mut target, width, height, wider).unwrap();
        enhancer.enhance_into(from, to).unwrap();
        for (found, expected) in target.chunks(wider).zip(expected.chunks(row)) {
            assert_eq!(&found[..row], expected);
            assert!(found[row..].iter().all(|&padding| padding == 9));
        }
        Ok(())
    }};
}

pub fn run(data: &[u8]) -> Option<()> {
    // Too few bytes make no case.
    case(&mut Unstructured::new(data)).ok()
}

fn case(random: &mut Unstructured) -> Result<()> {
    match random.int_in_range(0..=7)? {
        0 | 1 => planes(random),
        2 | 3 => loss(random),
        4 => frames!(random, Rgb<u8>, into_rgb8),
        5 => frames!(random, Rgba<u16>, into_rgba16),
        6 => frames!(random, LumaA<u8>, into_luma_alpha8),
        _ => frames!(random, Luma<u16>, into_luma16),
    }
}

/// Illumination and reflectance. They are undefined as far as the network sees what is no number.
fn planes(random: &mut Unstructured) -> Result<()> {
    let enhancer = enhancer(random)?;
    let batch = random.int_in_range(1..=2)?;
    let [height, width] = [random.int_in_range(1..=40)?, random.int_in_range(1..=90)?];
    let image = tensor(random, [batch, 3, height, width])?;
    let strength = f32::from(random.arbitrary::<u8>()?) / 255.0;
    let gamma = *random.choose(&[1.0, 1.0, 1.5, 2.2])?;
    let tone = Tone { strength, gamma };
    let reach = enhancer.estimator().blocks + 2;
    let unreal: Vec<_> = values(image.clone()).iter().map(|value| !value.is_finite()).collect();
    let near = |index: usize| {
        let (n, y, x) = (index / (3 * height * width), index / width % height, index % width);
        let rows = y.saturating_sub(reach)..height.min(y + reach + 1);
        let columns = x.saturating_sub(reach)..width.min(x + reach + 1);
        let channels = 3 * n..3 * n + 3;
        channels
            .flat_map(|channel| rows.clone().map(move |y| (channel * height + y) * width))
            .any(|row| unreal[row..][columns.clone()].contains(&true))
    };
    let enhancer = enhancer.with_exposure(Exposure::Manual(tone)).unwrap();
    let fast = enhancer.forward(image.clone());
    let plain = enhancer.forward_plain(image, tone, 0.0);
    let light = values(plain.illumination);
    for (at, (fast, plain)) in values(fast.illumination).iter().zip(&light).enumerate() {
        assert!(near(at) || (fast - plain).abs() < 5e-5, "{at}: {fast} {plain}");
    }
    let pairs = values(fast.reflectance).into_iter().zip(values(plain.reflectance));
    for (at, ((fast, plain), light)) in pairs.zip(light).enumerate() {
        // What rounding makes of a quotient, and a curve that is steep where it is dark of that.
        let rounding = (1e-3 / light.powi(2)).powf(gamma.recip());
        assert!(near(at) || (fast - plain).abs() < rounding, "{at}: {fast} {plain}");
    }
    Ok(())
}

/// The value and both gradients. They are no numbers where the input is not.
fn loss(random: &mut Unstructured) -> Result<()> {
    let batch = random.int_in_range(1..=2)?;
    let shape = [batch, 3, random.int_in_range(3..=30)?, random.int_in_range(3..=90)?];
    let ycbcr = *random.choose(&[YcbcrLayout::Reference, YcbcrLayout::PerPixel])?;
    let sigma = f64::from(random.int_in_range(1..=200u8)?) / 10.0;
    let loss = SmoothnessLossConfig::new().with_sigma(sigma).with_ycbcr(ycbcr).init().unwrap();
    let [input, light] = [tensor(random, shape)?, tensor(random, shape)?];
    let [fast, plain] = [true, false].map(|kernels| {
        use_kernels(kernels);
        let [input, light] =
            [&input, &light].map(|tensor| tensor.clone().autodiff().require_grad());
        let value = loss.forward(input.clone(), light.clone());
        let gradients = value.backward();
        let gradient = |tensor: &Tensor<4>| values(tensor.grad(&gradients).unwrap());
        [values(value.inner()), gradient(&input), gradient(&light)]
    });
    use_kernels(true);
    let [input, light] = [values(input), values(light)];
    let most = |values: &[f32]| values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    if !input.iter().chain(&light).all(|value| value.is_finite()) {
        assert!(!fast[0][0].is_finite());
        return Ok(());
    }
    // The input's gradient adds up differences of colors. Where all are nearly equal, these are rounding in part, each
    // with a factor that is below the 24 neighbors times their largest change, over pixels and variance.
    let pixels = (batch * (shape[2] - 2) * (shape[3] - 2)) as f32;
    let factor = 24.0 * 3.0 * 2.0 * most(&light) / (pixels * (sigma * sigma) as f32);
    let color = most(&input) + 0.5;
    let rounding = [0.0, 2.0 * f32::EPSILON * color * factor, 0.0];
    for ((fast, plain), rounding) in fast.iter().zip(&plain).zip(rounding) {
        let allowed = 1e-3 * most(plain) + rounding;
        for (fast, plain) in fast.iter().zip(plain) {
            assert!((fast - plain).abs() <= allowed, "{fast} {plain}");
        }
    }
    Ok(())
}

/// An enhancer of any size whose weights let no value grow much.
fn enhancer(random: &mut Unstructured) -> Result<Enhancer> {
    let [blocks, channels] = [random.int_in_range(1..=4)?, random.int_in_range(1..=9)?];
    let config = IlluminationEstimatorConfig::new().with_blocks(blocks).with_channels(channels);
    let config = config.with_method(*random.choose(&Method::ALL)?);
    let mut estimator = config.init(&cpu()).unwrap();
    let seed: u32 = random.arbitrary()?;
    let scramble = |conv: &mut Conv3x3, number: usize| {
        let [outputs, inputs, ..] = conv.weight.dims();
        let all = |count: usize, most: f32| {
            let levels: Vec<f32> = (-8..=8).map(|level| most * level as f32 / 8.0).collect();
            spread(&levels, seed.wrapping_add(number as u32), count)
        };
        let weight = all(outputs * inputs * 9, 0.3 / (inputs as f32).sqrt());
        let weight = TensorData::new(weight, [outputs, inputs, 3, 3]);
        conv.weight = Param::from_tensor(Tensor::from_data(weight, &cpu()));
        let bias = TensorData::new(all(outputs, 0.2), [outputs]);
        conv.bias = Param::from_tensor(Tensor::from_data(bias, &cpu()));
    };
    scramble(&mut estimator.input_conv, 0);
    for (number, conv) in (2..).zip(&mut estimator.block_convs) {
        scramble(conv, number);
    }
    scramble(&mut estimator.output_conv, 1);
    let color = *random.choose(&[Color::PerChannel, Color::Kept])?;
    Ok(Enhancer::new(estimator, &cpu()).with_color(color))
}

/// Values of photographs, somewhat more and less, and now and then one that is no number.
fn tensor(random: &mut Unstructured, shape: [usize; 4]) -> Result<Tensor<4>> {
    let pool: Vec<f32> = random
        .arbitrary_iter::<i16>()?
        .take(64)
        .map(|value| {
            Ok(match value? {
                i16::MIN => f32::NEG_INFINITY,
                i16::MAX => f32::INFINITY,
                0x7fc0 => f32::NAN,
                0x0001 => f32::MIN_POSITIVE / 2.0,
                value => f32::from(value) / 16384.0,
            })
        })
        .collect::<Result<_>>()?;
    let values = spread(&pool, random.arbitrary()?, shape.iter().product());
    Ok(Tensor::from_data(TensorData::new(values, shape), &cpu()))
}

/// As many values of a pool as are needed, in a random order, or zeros.
fn spread<T: Copy + Default>(pool: &[T], seed: u32, count: usize) -> Vec<T> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        pool.get((state >> 8) as usize % pool.len().max(1)).copied().unwrap_or_default()
    };
    (0..count).map(next).collect()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}
