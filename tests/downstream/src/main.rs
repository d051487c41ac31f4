//! Enhances a picture in memory and, with the feature `photo`, a photograph in a file.

use sci_burn::image::{DynamicImage, Rgb, RgbImage};
use sci_burn::model::IlluminationEstimatorConfig;
use sci_burn::{Enhancer, Exposure, Frame, FrameMut, open_device};

fn main() -> sci_burn::Result<()> {
    let device = open_device("cpu")?;
    let estimator = IlluminationEstimatorConfig::new().init(&device)?;
    let enhancer = Enhancer::new(estimator, &device).with_exposure(Exposure::AUTO)?;

    let dark = DynamicImage::from(RgbImage::from_pixel(64, 48, Rgb([20, 30, 10])));
    let bright = enhancer.enhance(&dark)?;
    assert!(bright.as_bytes()[0] > dark.as_bytes()[0]);

    let (width, height) = (64, 48);
    let mut frame = vec![0; width * height * 3];
    let source = Frame::<Rgb<u8>>::new(dark.as_bytes(), width, height, width * 3)?;
    enhancer.enhance_into(source, FrameMut::new(&mut frame, width, height, width * 3)?)?;
    assert_eq!(frame, bright.as_bytes());

    #[cfg(feature = "photo")]
    photograph(&device)?;
    Ok(())
}

#[cfg(feature = "photo")]
fn photograph(device: &sci_burn::burn::tensor::Device) -> sci_burn::Result<()> {
    use sci_burn::{Preset, metrics, open_photo, save_photo};

    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/samples/coffee-dark.png");
    let dark = open_photo(sample)?;
    let bright = Enhancer::from_preset(Preset::default(), device).enhance_photo(&dark)?;
    let path = std::env::temp_dir().join(format!("downstream-{}.jpg", std::process::id()));
    save_photo(&bright, &path)?;
    let again = open_photo(&path)?;
    std::fs::remove_file(&path).expect("the file was just written");
    let luminance = |photo: &sci_burn::Photo| metrics::mean_luminance(&photo.pixels.to_rgb8());
    assert!(luminance(&again) > 2.0 * luminance(&dark));

    let missing = open_photo("missing.jpg").unwrap_err();
    assert_eq!(missing.io_kind(), Some(std::io::ErrorKind::NotFound));
    Ok(())
}
