//! Weight files: what PyTorch wrote is read, what we write comes back, and what is broken is named.

mod common;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use common::{Stored, cpu, fixture, image, largest_difference, stored};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use sci_burn::model::{
    IlluminationEstimator, IlluminationEstimatorConfig, IlluminationIncrementConfig, Method,
    SciCascade, SciCascadeConfig, SciPlusPlusCalibratorConfig, SciPlusPlusCascade,
    SciPlusPlusCascadeConfig, SelfCalibratorConfig,
};
use sci_burn::{Enhancer, Error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn pytorch_fixture() -> SciCascade {
    SciCascadeConfig::new().load(fixture("weights/cascade.pt"), &cpu()).unwrap()
}

fn plus_plus_fixture() -> SciPlusPlusCascade {
    SciPlusPlusCascadeConfig::new().load(fixture("weights/plus-plus.pt"), &cpu()).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// All weights of a cascade, in the order in which they are drawn.
fn drawn(seed: u64, device: &Device) -> Vec<f32> {
    let cascade = SciCascadeConfig::new().init_with_seed(seed, device).unwrap();
    let SciCascade { estimator, calibrator, .. } = &cascade;
    [
        estimator.input_conv.weight.val().flatten::<1>(0, 3),
        estimator.block_convs[0].weight.val().flatten(0, 3),
        estimator.block_norm.as_ref().unwrap().weight.val(),
        estimator.output_conv.weight.val().flatten(0, 3),
        calibrator.input_conv.weight.val().flatten(0, 3),
        calibrator.input_norm.weight.val(),
        calibrator.block_conv_1.weight.val().flatten(0, 3),
        calibrator.block_norm_1.weight.val(),
        calibrator.block_conv_2.weight.val().flatten(0, 3),
        calibrator.block_norm_2.weight.val(),
        calibrator.output_conv.weight.val().flatten(0, 3),
    ]
    .into_iter()
    .flat_map(|values| values.try_into_vec_as::<f32>().unwrap())
    .collect()
}

#[test]
fn a_seed_gives_the_same_weights_on_every_device() {
    let expected = drawn(7, &cpu());
    assert_eq!(expected[..3], [-0.015507438, -0.027668435, 0.017794259]);
    for (name, device) in common::devices() {
        assert_eq!(drawn(7, &device), expected, "{name}");
        #[cfg(feature = "train")]
        assert_eq!(drawn(7, &device.clone().autodiff()), expected, "{name}");
        assert_ne!(drawn(8, &device), expected, "{name}");
    }
    let default = SciCascadeConfig::new().init(&cpu()).unwrap();
    let weight = default.estimator.input_conv.weight.val().try_into_vec_as::<f32>().unwrap();
    assert_eq!(weight, drawn(0, &cpu())[..weight.len()]);
    let alone = IlluminationEstimatorConfig::new().init_with_seed(7, &cpu()).unwrap();
    let weight = alone.output_conv.weight.val().try_into_vec_as::<f32>().unwrap();
    assert_eq!(weight, expected[81 + 81 + 3..][..weight.len()]);
}

#[test]
fn initial_weights_have_the_published_distributions() {
    let config = SelfCalibratorConfig::new().with_channels(64);
    let calibrator = config.init_with_seed(3, &cpu()).unwrap();
    let moments = |values: Vec<f32>| {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        [mean, variance.sqrt()]
    };
    // Both bounds are more than five standard errors wide.
    let [mean, deviation] =
        moments(calibrator.block_conv_1.weight.val().try_into_vec_as::<f32>().unwrap());
    assert!(mean.abs() < 6e-4 && (deviation - 0.02).abs() < 4e-4, "{mean} {deviation}");
    let [mean, deviation] =
        moments(calibrator.block_norm_1.weight.val().try_into_vec_as::<f32>().unwrap());
    assert!((mean - 1.0).abs() < 0.0125 && (deviation - 0.02).abs() < 0.009, "{mean} {deviation}");
    for zeros in [&calibrator.block_conv_1.bias, &calibrator.block_norm_1.bias] {
        assert!(zeros.val().try_into_vec_as::<f32>().unwrap().iter().all(|value| *value == 0.0));
    }
}

/// Of the kaiming-uniform weights and uniform biases of PyTorch's `Conv2d`.
#[test]
fn initial_weights_of_sci_plus_plus_are_uniform_within_their_bounds() {
    let config = SciPlusPlusCalibratorConfig::new().with_channels(64);
    let calibrator = config.init_with_seed(3, &cpu()).unwrap();
    let values = |tensor: Tensor<1>| tensor.try_into_vec_as::<f32>().unwrap();
    let conv = &calibrator.block_convs_2[1];
    let bound = 1.0 / (9.0f32 * 64.0).sqrt();
    for (drawn, slack) in
        [(values(conv.weight.val().flatten(0, 3)), 1e-3), (values(conv.bias.val()), 0.15)]
    {
        let extreme = |pick: fn(f32, f32) -> f32| drawn.iter().copied().reduce(pick).unwrap();
        let [least, most] = [extreme(f32::min) / bound, extreme(f32::max) / bound];
        assert!((-1.0..slack - 1.0).contains(&least), "{least}");
        assert!(most > 1.0 - slack && most <= 1.0, "{most}");
        let mean = drawn.iter().sum::<f32>() / drawn.len() as f32 / bound;
        assert!(mean.abs() < 5.0 / (3.0 * drawn.len() as f32).sqrt(), "{mean}");
    }
    let again = config.init_with_seed(3, &cpu()).unwrap();
    assert_eq!(values(again.block_convs_2[1].bias.val()), values(conv.bias.val()));
    let other = config.init_with_seed(4, &cpu()).unwrap();
    assert_ne!(values(other.block_convs_2[1].bias.val()), values(conv.bias.val()));
}

#[test]
fn initialization_leaves_the_generator_of_the_device_alone() {
    for (name, device) in common::devices() {
        let next = || {
            let uniform = burn::tensor::Distribution::Uniform(0.0, 1.0);
            Tensor::<1>::random([8], uniform, &device).try_into_vec_as::<f32>().unwrap()
        };
        device.seed(5);
        let expected = next();
        device.seed(5);
        SciCascadeConfig::new().init_with_seed(7, &device).unwrap();
        assert_eq!(next(), expected, "{name}");
    }
}

#[test]
fn settings_out_of_range_are_refused_before_anything_is_allocated() {
    let refused = |config: SciCascadeConfig, says: &str| {
        let path = fixture("weights/cascade.pt");
        for error in [config.init(&cpu()).unwrap_err(), config.load(&path, &cpu()).unwrap_err()] {
            assert!(matches!(error, Error::Setting { .. }), "{error}");
            assert_eq!(error.to_string(), says);
        }
    };
    let published = SciCascadeConfig::new;
    let estimator = IlluminationEstimatorConfig::new;
    let calibrator = SelfCalibratorConfig::new;
    let says = |setting: &str, count, most| {
        format!("setting `{setting}`: is {count}, must be from 1 to {most}")
    };
    for count in [0, 65, 1 << 31, usize::MAX] {
        refused(published().with_stages(count), &says("stages", count, 64));
    }
    for count in [0, 17, 1 << 31, usize::MAX] {
        let config = published().with_estimator(estimator().with_blocks(count));
        refused(config, &says("estimator.blocks", count, 16));
        let config = published().with_calibrator(calibrator().with_blocks(count));
        refused(config, &says("calibrator.blocks", count, 16));
    }
    for count in [0, 65, 1 << 31, usize::MAX] {
        let config = published().with_estimator(estimator().with_channels(count));
        refused(config, &says("estimator.channels", count, 64));
        let config = published().with_calibrator(calibrator().with_channels(count));
        refused(config, &says("calibrator.channels", count, 64));
        let alone = estimator().with_channels(count).load(fixture("weights/cascade.pt"), &cpu());
        assert_eq!(alone.unwrap_err().to_string(), says("channels", count, 64));
    }
}

#[test]
fn a_checkpoint_in_the_authors_layout_is_read() {
    let folder = folder();
    let path = folder.path().join("cascade.safetensors");
    pytorch_fixture().save(&path).unwrap();
    let ours = stored(&path);

    let names = compare_with_sums(&ours, "weights/cascade.json");
    assert_eq!(names.len(), 30);
    // With the aliases, and without PyTorch's batch counters, which it does not need.
    assert_eq!(ours.len(), 83 - 11);
    assert_eq!(
        ours["calibrate.blocks.2.4.running_var"].values,
        ours["calibrate.convs.4.running_var"].values
    );
}

#[test]
fn a_checkpoint_of_sci_plus_plus_is_read_and_written_under_the_authors_names() {
    let folder = folder();
    let path = folder.path().join("plus-plus.safetensors");
    plus_plus_fixture().save(&path).unwrap();
    let ours = stored(&path);

    let names = compare_with_sums(&ours, "weights/plus-plus.json");
    assert_eq!(names.len(), 32);
    assert!(ours.keys().eq(&names), "{:?}", ours.keys());
}

#[test]
fn every_format_of_sci_plus_plus_comes_back_the_same() {
    let folder = folder();
    let named = |name: &str| folder.path().join(name);
    let cascade = plus_plus_fixture();
    let [reference, own_names, copy] =
        ["reference.safetensors", "own-names.safetensors", "copy.safetensors"].map(named);
    cascade.save(&reference).unwrap();
    rewrite(&reference, &own_names, |tensors| {
        for (name, ..) in tensors {
            let number = |list: &str| name.strip_prefix(list).map(|rest| &rest[..1]);
            let layer =
                match (number("ha.blocks."), number("hb.blocks."), number("calibrate.blocks.")) {
                    (Some(n), ..) => format!("estimator.block_convs.{n}"),
                    (_, Some(n), _) => format!("increment.block_convs.{n}"),
                    (.., Some(n)) => match name.contains(".0.weight") || name.contains(".0.bias") {
                        true => format!("calibrator.block_convs_1.{n}"),
                        false => format!("calibrator.block_convs_2.{n}"),
                    },
                    _ => name
                        .replace("ha.", "estimator.")
                        .replace("hb.", "increment.")
                        .replace("calibrate.", "calibrator.")
                        .replace("in_conv", "input_conv")
                        .replace("out_conv", "output_conv")
                        .split(".0.")
                        .next()
                        .unwrap()
                        .to_owned(),
                };
            let parameter = name.rsplit('.').next().unwrap();
            *name = format!("{layer}.{parameter}");
        }
    });
    let burnpack = named("cascade.bpk");
    cascade.save(&burnpack).unwrap();
    for path in [&reference, &own_names, &burnpack] {
        let again = SciPlusPlusCascadeConfig::new().load(path, &cpu()).unwrap();
        again.save(&copy).unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&reference).unwrap(), "{path:?}");
    }

    // The estimator alone, and out of the whole, in every format.
    let image = image(2, [1, 3, 9, 8], &cpu());
    let expected = cascade.estimator.forward(image.clone());
    let [alone, packed] = ["alone.safetensors", "alone.bpk"].map(named);
    for path in [&alone, &packed] {
        cascade.estimator.save(path).unwrap();
    }
    assert_eq!(stored(&alone).len(), 6);
    assert!(stored(&alone).keys().all(|name| name.starts_with("ha.")));
    let published = fixture("weights/plus-plus.pt");
    for path in [&reference, &own_names, &burnpack, &alone, &packed, &published] {
        let estimator = IlluminationEstimator::from_file(path, &cpu()).unwrap();
        assert_eq!(estimator.method(), Method::SciPlusPlus, "{path:?}");
        let difference = largest_difference(estimator.forward(image.clone()), expected.clone());
        assert_eq!(difference, 0.0, "{path:?}");
    }
    let error = SciPlusPlusCascadeConfig::new().load(alone, &cpu()).unwrap_err();
    assert!(
        matches!(&error, Error::MissingTensor { tensor, .. } if tensor == "hb.in_conv.0.weight")
    );
}

#[test]
fn a_file_of_the_other_method_is_an_error_that_says_so() {
    let folder = folder();
    let named = |name: &str| folder.path().join(name);
    let (sci, plus_plus) = (pytorch_fixture(), plus_plus_fixture());
    let mut files = Vec::new();
    for extension in ["safetensors", "bpk"] {
        let [one, two] = ["sci", "sci-alone"].map(|name| named(&format!("{name}.{extension}")));
        sci.save(&one).unwrap();
        sci.estimator.save(&two).unwrap();
        files.extend([one, two].map(|path| (path, Method::Sci)));
        let [one, two] = ["plus", "plus-alone"].map(|name| named(&format!("{name}.{extension}")));
        plus_plus.save(&one).unwrap();
        plus_plus.estimator.save(&two).unwrap();
        files.extend([one, two].map(|path| (path, Method::SciPlusPlus)));
    }
    files.push((fixture("weights/cascade.pt"), Method::Sci));
    files.push((fixture("weights/plus-plus.pt"), Method::SciPlusPlus));
    for (path, method) in files {
        // What takes either takes it.
        Enhancer::from_file(&path, &cpu()).unwrap();
        let (wanted, errors) = match method {
            Method::Sci => (
                Method::SciPlusPlus,
                [
                    SciPlusPlusCascadeConfig::new().load(&path, &cpu()).map(drop).unwrap_err(),
                    IlluminationEstimatorConfig::new()
                        .with_method(Method::SciPlusPlus)
                        .load(&path, &cpu())
                        .map(drop)
                        .unwrap_err(),
                ],
            ),
            _ => (
                Method::Sci,
                [
                    SciCascadeConfig::new().load(&path, &cpu()).map(drop).unwrap_err(),
                    IlluminationEstimatorConfig::new().load(&path, &cpu()).map(drop).unwrap_err(),
                ],
            ),
        };
        for error in errors {
            let [is, wanted] = [method, wanted].map(Method::title);
            let says =
                format!("{} holds weights of {is}, expected those of {wanted}", path.display());
            assert_eq!(error.to_string(), says);
        }
    }
}

#[test]
fn other_sizes_of_sci_plus_plus_come_back_and_are_told_apart() {
    let folder = folder();
    let method = |config: IlluminationEstimatorConfig| config.with_method(Method::SciPlusPlus);
    let estimator = method(IlluminationEstimatorConfig::new()).with_blocks(2).with_channels(5);
    let config = SciPlusPlusCascadeConfig::new()
        .with_estimator(estimator)
        .with_increment(IlluminationIncrementConfig::new().with_blocks(1).with_channels(2))
        .with_calibrator(SciPlusPlusCalibratorConfig::new().with_blocks(4).with_channels(1));
    for name in ["wide.safetensors", "wide.bpk"] {
        let path = folder.path().join(name);
        config.init(&cpu()).unwrap().save(&path).unwrap();
        config.load(&path, &cpu()).unwrap();
        // Neither more nor fewer blocks are taken, of any of the networks.
        let refused = |config: SciPlusPlusCascadeConfig| {
            config.load(&path, &cpu()).map(drop).unwrap_err().to_string()
        };
        for blocks in [1, 3] {
            let estimator = config.estimator.clone().with_blocks(blocks);
            let message = refused(config.clone().with_estimator(estimator));
            assert!(message.ends_with(&format!("the estimator has 2 blocks, expected {blocks}")));
        }
        let increment = config.increment.clone().with_blocks(2);
        let message = refused(config.clone().with_increment(increment));
        assert!(message.ends_with("the increment has 1 blocks, expected 2"), "{message}");
        let calibrator = config.calibrator.clone().with_blocks(3);
        let message = refused(config.clone().with_calibrator(calibrator));
        assert!(message.ends_with("the calibrator has 4 blocks, expected 3"), "{message}");
    }
}

#[test]
fn every_format_and_both_vocabularies_come_back_the_same() {
    let folder = folder();
    let cascade = pytorch_fixture();
    let reference = folder.path().join("reference.safetensors");
    cascade.save(&reference).unwrap();
    let own_names = folder.path().join("own-names.safetensors");
    rewrite(&reference, &own_names, |tensors| {
        tensors.retain(|(name, ..)| !name.contains(".blocks."));
        let names = [
            ("enhance.in_conv.0", "estimator.input_conv"),
            ("enhance.conv.0", "estimator.block_convs.0"),
            ("enhance.conv.1", "estimator.block_norm"),
            ("enhance.out_conv.0", "estimator.output_conv"),
            ("calibrate.in_conv.0", "calibrator.input_conv"),
            ("calibrate.in_conv.1", "calibrator.input_norm"),
            ("calibrate.convs.0", "calibrator.block_conv_1"),
            ("calibrate.convs.1", "calibrator.block_norm_1"),
            ("calibrate.convs.3", "calibrator.block_conv_2"),
            ("calibrate.convs.4", "calibrator.block_norm_2"),
            ("calibrate.out_conv.0", "calibrator.output_conv"),
        ];
        for (name, ..) in tensors.iter_mut() {
            let (theirs, ours) = names.iter().find(|(theirs, _)| name.starts_with(theirs)).unwrap();
            *name = name.replace(theirs, ours);
        }
    });
    let burnpack = folder.path().join("cascade.bpk");
    cascade.save(&burnpack).unwrap();

    for path in [&reference, &own_names, &burnpack] {
        let again = SciCascadeConfig::new().load(path, &cpu()).unwrap();
        let copy = folder.path().join("copy.safetensors");
        again.save(&copy).unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&reference).unwrap(), "{path:?}");
    }

    // Burn's own loader takes our burnpack.
    let plain = SciCascadeConfig::new().init(&cpu()).unwrap().try_load_file(&burnpack).unwrap();
    let image = image(1, [1, 3, 6, 7], &cpu());
    assert_eq!(
        largest_difference(
            plain.estimator.forward(image.clone()),
            cascade.estimator.forward(image)
        ),
        0.0
    );
}

#[test]
fn estimators_are_saved_alone_and_taken_out_of_cascades() {
    let folder = folder();
    let cascade = pytorch_fixture();
    let image = image(2, [1, 3, 9, 8], &cpu());
    let expected = cascade.estimator.forward(image.clone());
    for name in ["alone.safetensors", "alone.bpk"] {
        let path = folder.path().join(name);
        cascade.estimator.save(&path).unwrap();
        for path in [path, fixture("weights/cascade.pt")] {
            let estimator = IlluminationEstimatorConfig::new().load(&path, &cpu()).unwrap();
            let difference = largest_difference(estimator.forward(image.clone()), expected.clone());
            assert_eq!(difference, 0.0, "{path:?}");
        }
    }
    let alone = stored(&folder.path().join("alone.safetensors"));
    assert!(alone.keys().all(|name| name.starts_with("enhance.")));

    let path = folder.path().join("alone.safetensors");
    let error = SciCascadeConfig::new().load(path, &cpu()).unwrap_err();
    assert!(
        matches!(&error, Error::MissingTensor { tensor, .. } if tensor.starts_with("calibrate."))
    );
}

#[test]
fn other_sizes_than_the_published_ones_come_back() {
    let folder = folder();
    let config = SciCascadeConfig::new()
        .with_estimator(IlluminationEstimatorConfig::new().with_blocks(2).with_channels(5))
        .with_calibrator(SelfCalibratorConfig::new().with_blocks(1).with_channels(4));
    let path = folder.path().join("wide.safetensors");
    config.init(&cpu()).unwrap().save(&path).unwrap();
    config.load(&path, &cpu()).unwrap();
    let narrow = config.with_estimator(IlluminationEstimatorConfig::new().with_blocks(2));
    let error = narrow.load(&path, &cpu()).unwrap_err();
    assert!(matches!(
        error,
        Error::TensorShape { found, expected, .. } if found[0] == 5 && expected[0] == 3
    ));
}

#[test]
fn another_number_of_blocks_is_refused() {
    let folder = folder();
    let twice = IlluminationEstimatorConfig::new().with_blocks(2);
    let config = SciCascadeConfig::new().with_estimator(twice.clone());
    for name in ["twice.safetensors", "twice.bpk"] {
        let path = folder.path().join(name);
        config.init(&cpu()).unwrap().save(&path).unwrap();
        config.load(&path, &cpu()).unwrap();
        refused(&path, &["the estimator has 2 blocks, expected 1"]);
        config.init(&cpu()).unwrap().estimator.save(&path).unwrap();
        twice.load(&path, &cpu()).unwrap();
        let error = Enhancer::from_file(&path, &cpu()).unwrap_err();
        assert!(matches!(error, Error::BlockCount { expected: 1, found: 2, .. }), "{error}");
    }
}

#[test]
#[cfg(feature = "train")]
fn training_statistics_are_in_the_file_to_the_last_update() {
    let folder = folder();
    let training = cpu().autodiff();
    let cascade = SciCascadeConfig::new().init(&training).unwrap();
    let before = folder.path().join("before.safetensors");
    let after = folder.path().join("after.safetensors");
    cascade.save(&before).unwrap();
    cascade.estimator.forward(image(3, [1, 3, 8, 8], &training));
    cascade.save(&after).unwrap();
    let name = "enhance.conv.1.running_mean";
    assert_ne!(stored(&before)[name].values, stored(&after)[name].values);
}

#[test]
fn broken_files_are_named() {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let checkpoint = std::fs::read(fixture("weights/cascade.pt")).unwrap();
    pytorch_fixture().save(folder.path().join("good.bpk")).unwrap();
    let burnpack = std::fs::read(folder.path().join("good.bpk")).unwrap();
    pytorch_fixture().save(folder.path().join("good.safetensors")).unwrap();
    let safetensors = std::fs::read(folder.path().join("good.safetensors")).unwrap();

    for (extension, whole) in
        [("pt", &checkpoint), ("bpk", &burnpack), ("safetensors", &safetensors)]
    {
        let name = |what: &str| format!("{what}.{extension}");
        for (path, says) in [
            (write(&name("empty"), b""), "is not a readable"),
            (write(&name("text"), b"These are not the weights.\nReally.\n"), "is not a readable"),
            (write(&name("half"), &whole[..whole.len() / 2]), "is not a readable"),
            (folder.path().join(name("missing")), "No such file"),
        ] {
            refused(&path, &[says]);
        }
    }

    // A header that claims 2^63 bytes, and one that claims more than the file has.
    let claims = |size: u64| [&size.to_le_bytes(), &safetensors[8..]].concat();
    refused(&write("huge.safetensors", &claims(1 << 63)), &["is not a readable safetensors"]);
    refused(&write("long.safetensors", &claims(99_999)), &["is not a readable safetensors"]);

    let sparse = folder.path().join("sparse.bpk");
    std::fs::File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
    refused(&sparse, &["too large for an SCI model"]);

    refused(&write("weights.onnx", b""), &["unknown extension", ".safetensors"]);
    refused(folder.path(), &["unknown extension"]);
    let pretender = folder.path().join("folder.pt");
    std::fs::create_dir(&pretender).unwrap();
    refused(&pretender, &["it is a folder"]);
}

#[test]
fn bad_tensors_are_named() {
    let folder = folder();
    let good = folder.path().join("good.safetensors");
    pytorch_fixture().save(&good).unwrap();
    let weight = "enhance.conv.0.weight";
    let with = |name: &str, change: &dyn Fn(&mut Entry)| {
        let path = folder.path().join("bad.safetensors");
        rewrite(&good, &path, |tensors| {
            change(tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap());
        });
        path
    };

    refused(&with(weight, &|tensor| tensor.0 = "other".to_owned()), &["has no tensor", weight]);
    refused(
        &with(weight, &|tensor| tensor.2 = vec![9, 9]),
        &[weight, "has shape [9, 9], expected [3, 3, 3, 3]"],
    );
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let path = with(weight, &|tensor| tensor.3[40..44].copy_from_slice(&value.to_le_bytes()));
        refused(&path, &[weight, &format!("holds a value of {name}")]);
    }
    refused(&with(weight, &|tensor| tensor.1 = Dtype::I32), &[weight, "is I32, expected a float"]);
    let variance = "enhance.conv.1.running_var";
    refused(
        &with(variance, &|tensor| tensor.3[..4].copy_from_slice(&(-1.0f32).to_le_bytes())),
        &[variance, "negative variance"],
    );
}

#[test]
fn half_precision_and_double_precision_files_are_read() {
    let folder = folder();
    let good = folder.path().join("good.safetensors");
    pytorch_fixture().save(&good).unwrap();
    let double = folder.path().join("double.safetensors");
    rewrite(&good, &double, |tensors| {
        for tensor in tensors {
            let values = tensor.3.as_chunks::<4>().0.iter();
            tensor.3 =
                values.flat_map(|v| f64::from(f32::from_le_bytes(*v)).to_le_bytes()).collect();
            tensor.1 = Dtype::F64;
        }
    });
    let half = folder.path().join("half.safetensors");
    rewrite(&good, &half, |tensors| {
        for tensor in tensors {
            // Cut to bfloat16: the upper half of a float's bits.
            let values = tensor.3.as_chunks::<4>().0.iter();
            tensor.3 = values.flat_map(|v| [v[2], v[3]]).collect();
            tensor.1 = Dtype::BF16;
        }
    });
    let image = image(4, [1, 3, 5, 5], &cpu());
    let illumination = |path: &Path| {
        let enhancer = Enhancer::from_file(path, &cpu()).unwrap();
        enhancer.forward(image.clone()).illumination
    };
    assert_eq!(largest_difference(illumination(&good), illumination(&double)), 0.0);
    assert!(largest_difference(illumination(&good), illumination(&half)) < 0.02);
}

#[test]
fn writing_that_fails_keeps_the_old_file() {
    let folder = folder();
    let cascade = pytorch_fixture();
    let error = cascade.save(folder.path().join("model.pt")).unwrap_err();
    assert!(error.to_string().contains("only read"), "{error}");
    let error = cascade.save(folder.path().join("nowhere/model.bpk")).unwrap_err();
    assert!(error.to_string().contains("there is no folder"), "{error}");
    let taken = folder.path().join("folder.bpk");
    std::fs::create_dir(&taken).unwrap();
    assert!(cascade.save(&taken).unwrap_err().to_string().contains("it is a folder"));

    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, b"old").unwrap();
    cascade.save(&path).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), b"old");
    // No scratch file is left behind by any of these.
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["folder.bpk", "model.safetensors"]);
}

#[test]
fn equal_weights_make_equal_files() {
    let folder = folder();
    for name in ["model.bpk", "model.safetensors"] {
        let path = folder.path().join(name);
        let saved = || {
            let cascade = SciCascadeConfig::new().init_with_seed(1, &cpu()).unwrap();
            cascade.save(&path).unwrap();
            std::fs::read(&path).unwrap()
        };
        assert!(saved() == saved(), "{name}");
    }
}

/// No model within the limits of its configuration is refused as too large.
#[test]
fn the_largest_models_can_be_saved_and_loaded() {
    let folder = folder();
    let estimator = IlluminationEstimatorConfig::new().with_blocks(16).with_channels(64);
    let calibrator = SelfCalibratorConfig::new().with_blocks(16).with_channels(64);
    let sci = SciCascadeConfig::new()
        .with_stages(64)
        .with_estimator(estimator.clone())
        .with_calibrator(calibrator);
    let increment = IlluminationIncrementConfig::new().with_blocks(16).with_channels(64);
    let calibrator = SciPlusPlusCalibratorConfig::new().with_blocks(16).with_channels(64);
    let plus_plus = SciPlusPlusCascadeConfig::new()
        .with_stages(64)
        .with_estimator(estimator.with_method(Method::SciPlusPlus))
        .with_increment(increment)
        .with_calibrator(calibrator);
    for name in ["model.bpk", "model.safetensors"] {
        let path = folder.path().join(name);
        sci.init(&cpu()).unwrap().save(&path).unwrap();
        assert_eq!(sci.load(&path, &cpu()).unwrap().config(), sci, "{name}");
        plus_plus.init(&cpu()).unwrap().save(&path).unwrap();
        assert_eq!(plus_plus.load(&path, &cpu()).unwrap().config(), plus_plus, "{name}");
    }
}

#[test]
#[cfg(feature = "train")]
fn checkpoints_of_a_training_run_are_read() {
    use sci_burn::loss::SciLossConfig;
    use sci_burn::train::{AlternationConfig, OptimizerConfig};
    let folder = folder();
    let path = folder.path().join("model-1.bpk");
    let loss = || SciLossConfig::new().init().unwrap();
    let photo = image(5, [1, 3, 6, 6], &cpu());

    let cascade = SciCascadeConfig::new().init_with_seed(4, &cpu().autodiff()).unwrap();
    let expected = cascade.estimator.valid().forward(photo.clone());
    let learner = OptimizerConfig::new().learner(cascade, loss()).unwrap();
    learner.model().into_record().save(&path).unwrap();
    SciCascadeConfig::new().load(&path, &cpu()).unwrap();
    let alone = IlluminationEstimatorConfig::new().load(&path, &cpu()).unwrap();
    assert_eq!(largest_difference(alone.forward(photo.clone()), expected.clone()), 0.0);
    let enhanced = Enhancer::from_file(&path, &cpu()).unwrap().forward(photo.clone());
    // The enhancer folds the normalization into the convolution.
    assert!(largest_difference(enhanced.illumination, expected.clone()) < 1e-6);

    // As fine-tuning writes them: of an estimator alone.
    let device = cpu().autodiff();
    let estimator = IlluminationEstimatorConfig::new().init_with_seed(4, &device).unwrap();
    let learner = OptimizerConfig::new().learner(estimator, loss()).unwrap();
    learner.model().into_record().save(&path).unwrap();
    let alone = IlluminationEstimatorConfig::new().load(&path, &cpu()).unwrap();
    assert_eq!(largest_difference(alone.forward(photo.clone()), expected), 0.0);

    let cascade = SciPlusPlusCascadeConfig::new().init_with_seed(4, &device).unwrap();
    let expected = cascade.estimator.valid().forward(photo.clone());
    let alternation = AlternationConfig::new().init(loss()).unwrap();
    let learner = OptimizerConfig::new().learner(cascade, alternation).unwrap();
    learner.model().into_record().save(&path).unwrap();
    SciPlusPlusCascadeConfig::new().load(&path, &cpu()).unwrap();
    let alone = IlluminationEstimator::from_file(&path, &cpu()).unwrap();
    assert_eq!(largest_difference(alone.forward(photo), expected), 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    /// Damage of any kind ends in an error that names the file, or in a whole model.
    #[test]
    fn damaged_files_never_panic(
        format in 0..3usize,
        method in prop::sample::select(&Method::ALL[..]),
        cut in any::<Option<prop::sample::Index>>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        head in any::<bool>(),
    ) {
        let folder = folder();
        let name = ["cascade.pt", "cascade.bpk", "cascade.safetensors"][format];
        let path = folder.path().join(name);
        match (format, method) {
            (0, Method::Sci) => { std::fs::copy(fixture("weights/cascade.pt"), &path).unwrap(); }
            (0, _) => { std::fs::copy(fixture("weights/plus-plus.pt"), &path).unwrap(); }
            (_, Method::Sci) => pytorch_fixture().save(&path).unwrap(),
            (..) => plus_plus_fixture().save(&path).unwrap(),
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // Half of the cases aim at the header, where the damage is most telling.
        let reach = if head { bytes.len().min(2000) } else { bytes.len() };
        for (index, value) in flips.into_iter().filter(|_| reach > 0) {
            bytes[index.index(reach)] = value;
        }
        std::fs::write(&path, bytes).unwrap();
        let loaded = match method {
            Method::Sci => SciCascadeConfig::new().load(&path, &cpu()).map(drop),
            _ => SciPlusPlusCascadeConfig::new().load(&path, &cpu()).map(drop),
        };
        for error in [loaded, Enhancer::from_file(&path, &cpu()).map(drop)].into_iter().filter_map(Result::err) {
            prop_assert!(error.to_string().contains(name));
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}

/// Loading fails with one line that has the file's name and all of `says` in it.
fn refused(path: &Path, says: &[&str]) {
    let message = SciCascadeConfig::new().load(path, &cpu()).unwrap_err().to_string();
    let name = path.file_name().unwrap().to_str().unwrap();
    for part in says.iter().chain([&name]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains('\n'), "{message}");
}

/// Compares tensors with the shapes and sums that PyTorch wrote down, and returns the names of these.
fn compare_with_sums(ours: &BTreeMap<String, Stored>, sums: &str) -> Vec<String> {
    let json = std::fs::read_to_string(fixture(sums)).unwrap();
    let sums: BTreeMap<String, (Vec<usize>, f64)> = serde_json::from_str(&json).unwrap();
    for (name, (shape, sum)) in &sums {
        assert_eq!(&ours[name].shape, shape, "{name}");
        let found: f64 = ours[name].values.iter().sum();
        assert!((found - sum).abs() < 1e-9 * sum.abs().max(1.0), "{name}: {found} is not {sum}");
    }
    sums.into_keys().collect()
}

/// Name, type, shape and bytes.
type Entry = (String, Dtype, Vec<usize>, Vec<u8>);

/// Copies a safetensors file with changes.
fn rewrite(from: &Path, to: &PathBuf, change: impl FnOnce(&mut Vec<Entry>)) {
    let bytes = std::fs::read(from).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<Entry> = file
        .iter()
        .map(|(name, view)| {
            (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec())
        })
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    std::fs::write(to, safetensors::serialize(views, None).unwrap()).unwrap();
}
