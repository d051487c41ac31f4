//! Process CPU time of this crate's kernels and of Burn's own operations on a GPU in software, where wall time is
//! noise: `cargo bench --features train,wgpu,autotune --bench software_gpu [-- <part of a name>]`.

#[cfg(unix)]
fn main() {
    unix::main();
}

#[cfg(not(unix))]
fn main() {
    println!("process CPU time is only read on Unix");
}

#[cfg(unix)]
mod unix {
    use burn::module::Module;
    use burn::tensor::{Device, Distribution, Tensor};
    use image::{DynamicImage, RgbImage};
    use rustix::time::{ClockId, clock_gettime};
    use sci_burn::loss::{SciLossConfig, SmoothnessLossConfig};
    use sci_burn::model::{
        Conv3x3, IlluminationEstimatorConfig, SciCascadeConfig, SelfCalibratorConfig,
    };
    use sci_burn::train::{Batch, OptimizerConfig};
    use sci_burn::{Enhancer, open_device, use_kernels};

    /// Measured runs, of which the median counts, after as many that are not measured.
    const RUNS: usize = 5;
    /// For what takes many seconds.
    const FEW_RUNS: usize = 2;

    pub fn main() {
        let device = open_device("wgpu").unwrap_or_else(|error| panic!("{error}"));
        let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
        println!("{:32} {:>10} {:>10} {:>7}", "CPU ms", "plain", "kernels", "ratio");
        let mut measure = |name: &str, runs: usize, work: &mut dyn FnMut()| {
            if filter.as_ref().is_some_and(|part| !name.contains(part)) {
                return;
            }
            use_kernels(false);
            let plain = median(runs, work);
            use_kernels(true);
            let kernels = median(runs, work);
            println!("{name:32} {plain:10.1} {kernels:10.1} {:7.1}", plain / kernels);
        };
        enhance(&device, &mut measure);
        loss(&device.clone().autodiff(), &mut measure);
        convolution(&device, &mut measure);
        train_step(&device.autodiff(), &mut measure);
    }

    type Measure<'a> = dyn FnMut(&str, usize, &mut dyn FnMut()) + 'a;

    /// CPU time of the process, in milliseconds.
    fn cpu_time() -> f64 {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
    }

    fn median(runs: usize, work: &mut dyn FnMut()) -> f64 {
        (0..runs).for_each(|_| work());
        let run = |_| {
            let start = cpu_time();
            work();
            cpu_time() - start
        };
        let mut times: Vec<f64> = (0..runs).map(run).collect();
        times.sort_by(f64::total_cmp);
        times[runs / 2]
    }

    fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
        let image = Tensor::random(shape, Distribution::Uniform(0.0, 0.4), device);
        device.sync().unwrap();
        image
    }

    fn enhance(device: &Device, measure: &mut Measure) {
        // The published network, in one launch; and a large one, in one for each layer.
        let published = IlluminationEstimatorConfig::new();
        let large = published.clone().with_blocks(3).with_channels(16);
        for (config, sizes, name) in [
            (published, &[[400, 600], [1080, 1920]][..], "enhance"),
            (large, &[[400, 600]], "enhance-large"),
        ] {
            let enhancer = Enhancer::new(config.init(device).unwrap(), device);
            for &[height, width] in sizes {
                let image = random([1, 3, height, width], device);
                measure(&format!("{name}/tensor/{width}x{height}"), RUNS, &mut || {
                    let enhanced = enhancer.forward(image.clone());
                    device.sync().unwrap();
                    drop(enhanced);
                });
                let levels = (0..width * height * 3).map(|i| (i * 7 % 100) as u8).collect();
                let dark = RgbImage::from_raw(width as u32, height as u32, levels).unwrap();
                let dark = DynamicImage::from(dark);
                measure(&format!("{name}/rgb8/{width}x{height}"), RUNS, &mut || {
                    enhancer.enhance(&dark).unwrap();
                });
            }
        }
    }

    fn loss(device: &Device, measure: &mut Measure) {
        let loss = SmoothnessLossConfig::new().init().unwrap();
        let [input, light] = [0; 2].map(|_| random([1, 3, 400, 600], device));
        measure("loss/600x400", RUNS, &mut || {
            let [input, light] = [&input, &light].map(|image| image.clone().require_grad());
            let gradients = loss.forward(input.clone(), light.clone()).backward();
            let both = (input.grad(&gradients), light.grad(&gradients));
            device.sync().unwrap();
            drop(both);
        });
    }

    /// 16 to 16 channels: forward, and the forward and backward pass for either gradient alone, which are compared
    /// with the forward pass by hand.
    fn convolution(device: &Device, measure: &mut Measure) {
        let make = |device: &Device| -> Conv3x3 {
            SelfCalibratorConfig::new().init(device).unwrap().block_conv_1
        };
        let conv = make(device);
        let image = random([1, 16, 400, 600], device);
        measure("conv3x3/forward", RUNS, &mut || {
            let result = conv.forward(image.clone());
            device.sync().unwrap();
            drop(result);
        });
        let device = &device.clone().autodiff();
        let conv = make(device);
        let fixed = make(device).no_grad();
        let image: Tensor<4> = random([1, 16, 400, 600], device);
        let gradient: Tensor<4> = random([1, 16, 400, 600], device);
        measure("conv3x3/with data gradient", RUNS, &mut || {
            let image = image.clone().require_grad();
            let loss = (fixed.forward(image.clone()) * gradient.clone()).sum();
            let result = image.grad(&loss.backward());
            device.sync().unwrap();
            drop(result);
        });
        measure("conv3x3/with weight gradient", RUNS, &mut || {
            let loss = (conv.forward(image.clone()) * gradient.clone()).sum();
            let result = conv.weight.val().grad(&loss.backward());
            device.sync().unwrap();
            drop(result);
        });
        measure("conv3x3/product and sum alone", RUNS, &mut || {
            let image = image.clone().require_grad();
            let loss = (image.clone() * gradient.clone()).sum();
            let result = image.grad(&loss.backward());
            device.sync().unwrap();
            drop(result);
        });
    }

    fn train_step(device: &Device, measure: &mut Measure) {
        let loss = SciLossConfig::new().init().unwrap();
        let image = random([1, 3, 200, 300], device);
        let cascade = SciCascadeConfig::new().init(device).unwrap();
        let mut learner = OptimizerConfig::new().learner(cascade, loss).unwrap();
        measure("train_step/300x200", FEW_RUNS, &mut || {
            let output = learner.train_step(Batch::new(image.clone()));
            learner.lr_step();
            learner.optimizer_step(output.grads);
            device.sync().unwrap();
        });
    }
}
