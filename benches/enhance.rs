//! Times [`Enhancer`] on pictures in memory: bytes to bytes (`enhance/rgb8/<width>x<height>`), with the
//! automatic exposure, its tone curve and kept colors (`enhance/auto/<width>x<height>`), with the noise
//! filter as well (`enhance/denoise/<width>x<height>`), the search for the tone alone
//! (`enhance/tone/<width>x<height>`), bytes through another backend, host to host
//! (`enhance/rgb8/<backend>/<width>x<height>`), and tensors (`enhance/tensor/<backend>/<width>x<height>`); with
//! `/threads-1` on a single thread of a CPU, and `/plain` without this crate's kernels on a GPU. There
//! Burn's operations are at their best with the feature `autotune`.

mod common;

use burn::tensor::{Distribution, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::Rgb;
use sci_burn::model::IlluminationEstimatorConfig;
use sci_burn::{Color, Enhancer, Exposure, Frame, FrameMut, device_names, open_device};

const SIZES: [(usize, usize); 4] = [(600, 400), (1920, 1080), (3840, 2160), (11600, 8640)];

fn enhancer(device: &str) -> Option<Enhancer> {
    let device = open_device(device).ok()?;
    let estimator = IlluminationEstimatorConfig::new().init(&device).unwrap();
    Some(Enhancer::new(estimator, &device))
}

fn rgb8(criterion: &mut Criterion) {
    bytes(criterion, "rgb8", |enhancer| enhancer);
    for name in device_names().into_iter().filter(|name| *name != "cpu") {
        bytes_on(criterion, name, &format!("rgb8/{name}"), |enhancer| enhancer);
    }
}

/// So bright that a curve is needed.
const CURVED: Exposure = Exposure::Auto { luminance: 0.6 };

fn auto(criterion: &mut Criterion) {
    bytes(criterion, "auto", |enhancer| {
        enhancer.with_exposure(CURVED).unwrap().with_color(Color::Kept)
    });
}

fn denoise(criterion: &mut Criterion) {
    bytes(criterion, "denoise", |enhancer| enhancer.recommended().with_exposure(CURVED).unwrap());
}

fn bytes(criterion: &mut Criterion, name: &str, set: fn(Enhancer) -> Enhancer) {
    bytes_on(criterion, "cpu", name, set);
}

fn bytes_on(criterion: &mut Criterion, device: &str, name: &str, set: fn(Enhancer) -> Enhancer) {
    let Some(enhancer) = enhancer(device).map(set) else { return };
    let mut group = criterion.benchmark_group(format!("enhance/{name}"));
    group.sample_size(20);
    for (width, height) in SIZES {
        let dark: Vec<u8> = (0..width * height * 3).map(|i| (i * 7 % 100) as u8).collect();
        let mut bright = vec![0; dark.len()];
        let mut enhance = || {
            let source = Frame::<Rgb<u8>>::new(&dark, width, height, width * 3).unwrap();
            let target = FrameMut::<Rgb<u8>>::new(&mut bright, width, height, width * 3).unwrap();
            enhancer.enhance_into(source, target).unwrap();
        };
        group.throughput(Throughput::Elements((width * height) as u64));
        common::on_device(device, &mut group, &format!("{width}x{height}"), &mut enhance);
    }
}

fn tone(criterion: &mut Criterion) {
    let Some(enhancer) = enhancer("cpu") else { return };
    let enhancer = enhancer.with_color(Color::Kept).with_exposure(CURVED).unwrap();
    let mut group = criterion.benchmark_group("enhance/tone");
    group.sample_size(20);
    for (width, height) in SIZES {
        let dark: Vec<u8> = (0..width * height * 3).map(|i| (i * 7 % 100) as u8).collect();
        let source = Frame::<Rgb<u8>>::new(&dark, width, height, width * 3).unwrap();
        group.throughput(Throughput::Elements((width * height) as u64));
        common::on_threads(&mut group, &format!("{width}x{height}"), &mut || {
            enhancer.tone(source).unwrap()
        });
    }
}

fn tensors(criterion: &mut Criterion) {
    for name in device_names() {
        let Some(enhancer) = enhancer(name) else { continue };
        let mut group = criterion.benchmark_group(format!("enhance/tensor/{name}"));
        group.sample_size(10);
        for &(width, height) in &SIZES[..3] {
            let range = Distribution::Uniform(0.0, 0.4);
            let dark = Tensor::random([1, 3, height, width], range, enhancer.device());
            group.throughput(Throughput::Elements((width * height) as u64));
            common::on_device(name, &mut group, &format!("{width}x{height}"), &mut || {
                let enhanced = enhancer.forward(dark.clone());
                enhancer.device().sync().unwrap();
                enhanced
            });
        }
    }
}

criterion_group!(benches, rgb8, auto, denoise, tone, tensors);
criterion_main!(benches);
