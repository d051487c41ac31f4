//! Times [`Enhancer`] on photographs in memory: `enhance/<backend>/<width>x<height>`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::{DynamicImage, RgbImage};
use sci_burn::{Enhancer, IlluminationEstimatorConfig, device_names, open_device};

fn enhance(criterion: &mut Criterion) {
    for name in device_names() {
        let Ok(device) = open_device(name) else { continue };
        let estimator = IlluminationEstimatorConfig::new().init(&device).unwrap();
        let enhancer = Enhancer::new(estimator, &device);
        let mut group = criterion.benchmark_group(format!("enhance/{name}"));
        group.sample_size(10);
        for (width, height) in [(600, 400), (1920, 1080)] {
            let dark = dark_photo(width, height);
            group.throughput(Throughput::Elements(u64::from(width * height)));
            group.bench_function(format!("{width}x{height}"), |bencher| {
                bencher.iter(|| enhancer.enhance(&dark).unwrap());
            });
        }
    }
}

fn dark_photo(width: u32, height: u32) -> DynamicImage {
    let level = |x: u32, y: u32, channel: u32| ((x * 7 + y * 13 + channel * 29) % 100) as u8;
    RgbImage::from_fn(width, height, |x, y| image::Rgb([0, 1, 2].map(|c| level(x, y, c)))).into()
}

criterion_group!(benches, enhance);
criterion_main!(benches);
