//! Photographs that the authors' own code enhanced. They are not in the repository: the test runs
//! where `SCI_REFERENCE_DIR` names a folder with `weights/NAME.pt`, `photos/NAME/*.png` and
//! `photos/NAME-reference/*.png`.

mod common;

use sci_burn::{Enhancer, open_photo};
use std::path::{Path, PathBuf};

fn pngs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("SCI_REFERENCE_DIR: {}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    paths.sort();
    paths
}

#[test]
fn photographs_are_within_one_level_of_the_reference() {
    let Some(root) = std::env::var_os("SCI_REFERENCE_DIR").map(PathBuf::from) else {
        println!("SCI_REFERENCE_DIR is not set: nothing to compare with");
        return;
    };
    let mut compared = 0;
    for weights in std::fs::read_dir(root.join("weights")).unwrap().map(|e| e.unwrap().path()) {
        if weights.extension().is_none_or(|extension| extension != "pt") {
            continue;
        }
        let name = weights.file_stem().unwrap().to_str().unwrap();
        for (device_name, device) in common::devices() {
            let enhancer = Enhancer::from_file(&weights, &device).unwrap_or_else(|e| panic!("{e}"));
            let references = pngs(&root.join(format!("photos/{name}-reference")));
            assert!(!references.is_empty(), "no reference photographs for {}", weights.display());
            for reference in references {
                let dark = root.join("photos").join(name).join(reference.file_name().unwrap());
                let ours =
                    enhancer.enhance(&open_photo(&dark).unwrap().pixels).unwrap().into_rgb8();
                let truth = open_photo(&reference).unwrap().pixels.into_rgb8();
                assert_eq!(ours.dimensions(), truth.dimensions(), "{}", dark.display());
                let worst = ours.iter().zip(truth.iter()).map(|(a, b)| a.abs_diff(*b)).max();
                println!("{device_name:8} {}: at most {worst:?} levels apart", dark.display());
                assert!(worst <= Some(1), "{device_name} {}: {worst:?}", dark.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "{} has no reference photographs", root.display());
}
