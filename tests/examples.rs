//! What the examples share, and the examples `evaluate` and `compare` from outside.

#[path = "../examples/common/mod.rs"]
mod common;
#[path = "common/program.rs"]
#[allow(dead_code, reason = "only the path of a program is needed here")]
mod program;

use sci_burn::image::{DynamicImage, Rgb, RgbImage};
use sci_burn::metrics::{mean_luminance, niqe, psnr, psnr_gt_mean, ssim};
use sci_burn::{Enhancer, Preset, open_device, open_photo};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(example: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    Command::new(program::example(example)).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples")
}

/// Two dark photographs and a broken one, and the ground truths, under other extensions.
fn pairs(root: &Path) -> [PathBuf; 2] {
    let [dark, truth] = ["dark", "truth"].map(|name| root.join(name));
    for folder in [&dark, &truth] {
        std::fs::create_dir(folder).unwrap();
    }
    for name in ["coffee", "rocket"] {
        let sample = |kind| samples().join(format!("{name}-{kind}.png"));
        std::fs::copy(sample("dark"), dark.join(name).with_extension("png")).unwrap();
        let clean = open_photo(sample("clean")).unwrap().pixels;
        clean.save(truth.join(name).with_extension("bmp")).unwrap();
    }
    std::fs::write(dark.join("broken.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    [dark, truth]
}

#[test]
fn evaluate_measures_what_the_metrics_measure() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let [dark, truth] = pairs(root);
    let [csv, json] = ["figures.csv", "figures.json"].map(|name| root.join(name));
    let arguments = ["--truth", "--preset", "--csv", "--json"].map(OsStr::new);
    let values =
        [truth.as_os_str(), OsStr::new("published-easy"), csv.as_os_str(), json.as_os_str()];
    let options = arguments.into_iter().zip(values).flat_map(|(name, value)| [name, value]);
    let output =
        run("evaluate", [dark.as_os_str(), "--baselines".as_ref()].into_iter().chain(options));
    // The broken one is named, and the others are measured.
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("broken.png") && error.lines().count() == 1, "{error}");

    const COLUMNS: [&str; 12] = [
        "PSNR",
        "GT-mean",
        "SSIM",
        "LOE",
        "entropy",
        "EME",
        "NIQE",
        "luminance",
        "clipped",
        "chroma",
        "color cast",
        "color shift",
    ];
    const METHODS: [&str; 5] = ["input", "gamma", "CLAHE", "Retinex", "SCI published-easy"];
    let mut table = csv::Reader::from_path(&csv).unwrap();
    let header = table.headers().unwrap().clone();
    assert!(header.iter().eq(["photograph", "method"].into_iter().chain(COLUMNS)), "{header:?}");
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2 * METHODS.len());
    let enhancer = Enhancer::from_preset(Preset::PublishedEasy, &open_device("cpu").unwrap());
    for (rows, name) in rows.chunks(METHODS.len()).zip(["coffee", "rocket"]) {
        for (row, method) in rows.iter().zip(METHODS) {
            assert!(row[0].ends_with(&format!("{name}.png")) && &row[1] == method, "{row:?}");
        }
        let open = |path: PathBuf| open_photo(path).unwrap().pixels.into_rgb8();
        let input = open(dark.join(name).with_extension("png"));
        let clean = open(truth.join(name).with_extension("bmp"));
        let bright = enhancer.enhance(&input.clone().into()).unwrap().into_rgb8();
        for (row, picture) in [(&rows[0], &input), (&rows[4], &bright)] {
            let expected = [psnr(picture, &clean).unwrap(), ssim(picture, &clean).unwrap()];
            let [psnr, ssim] = expected;
            let expected = [psnr, ssim, niqe(picture).unwrap(), mean_luminance(picture)];
            let found = [2, 4, 8, 9].map(|column| row[column].parse::<f64>().unwrap());
            assert_eq!(found, expected, "{row:?}");
        }
        // The input compared with itself: its order of lightness and its colors are kept.
        assert_eq!([5, 12, 13].map(|column| rows[0][column].parse::<f64>().unwrap()), [0.0; 3]);
        let scaled = psnr_gt_mean(&bright, &clean).unwrap();
        assert_eq!(rows[4][3].parse::<f64>().unwrap(), scaled);
    }

    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let [means, photographs] = ["means", "photographs"].map(|part| file[part].as_array().unwrap());
    assert_eq!((means.len(), photographs.len()), (METHODS.len(), rows.len()));
    let printed = text(&output.stdout);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        COLUMNS.join(" ").split(' ').collect::<Vec<_>>()
    );
    for (index, method) in METHODS.iter().enumerate() {
        assert_eq!(means[index]["method"], *method);
        let luminances = [index, METHODS.len() + index].map(|row| &photographs[row]["luminance"]);
        let [first, second] = luminances.map(|luminance| luminance.as_f64().unwrap());
        let mean = means[index]["luminance"].as_f64().unwrap();
        assert!((mean - (first + second) / 2.0).abs() < 1e-12, "{method}");
        let line = lines[index + 1];
        assert!(line.starts_with(method) && line.contains(&format!("{mean:.3}")), "{line}");
    }
    assert_eq!(lines[METHODS.len() + 1..], ["means of 2 measured, 1 failed"]);

    // Without --force, figures are not replaced.
    let again = run("evaluate", [dark.as_os_str(), "--csv".as_ref(), csv.as_os_str()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).ends_with("figures.csv: it exists already (--force replaces it)\n")
    );
}

#[test]
fn evaluate_without_ground_truth_has_no_columns_for_it() {
    let root = tempfile::tempdir().unwrap();
    let csv = root.path().join("figures.csv");
    let photo = samples().join("coffee-dark.png");
    let output = run("evaluate", [photo.as_os_str(), "--csv".as_ref(), csv.as_os_str()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let header = std::fs::read_to_string(csv).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(
        header,
        "photograph,method,LOE,entropy,EME,NIQE,luminance,clipped,chroma,color cast,color shift"
    );
    let printed = text(&output.stdout);
    let presets = Preset::ALL.map(|preset| format!("{} {preset}", preset.method().title()));
    let methods: Vec<_> = ["input".to_owned()].into_iter().chain(presets).collect();
    for (line, method) in printed.lines().skip(1).zip(&methods) {
        assert!(line.starts_with(method), "{line}");
    }
    assert_eq!(printed.lines().count(), 1 + methods.len() + 1);
    assert!(printed.ends_with("1 measured, 0 failed\n"), "{printed}");
}

#[test]
fn evaluate_leaves_out_what_a_small_photograph_does_not_have() {
    let root = tempfile::tempdir().unwrap();
    let [small, csv, json] =
        ["small.png", "figures.csv", "figures.json"].map(|name| root.path().join(name));
    RgbImage::from_fn(60, 40, |x, y| Rgb([x as u8, y as u8, 20])).save(&small).unwrap();
    let large = samples().join("coffee-dark.png");
    let evaluate = |photos: &[&Path]| {
        let options = ["--preset", "published-easy", "--force", "--csv"].map(OsStr::new);
        let files = [csv.as_os_str(), "--json".as_ref(), json.as_os_str()];
        let photos = photos.iter().map(|photo| photo.as_os_str());
        let output = run("evaluate", photos.chain(options).chain(files));
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mut table = csv::Reader::from_path(&csv).unwrap();
        let column = table.headers().unwrap().iter().position(|name| name == "NIQE").unwrap();
        let cells: Vec<_> = table.records().map(|row| row.unwrap()[column].to_owned()).collect();
        let figures: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        let mean = figures["means"][0]["NIQE"].clone();
        let line = text(&output.stdout).lines().nth(1).unwrap().to_owned();
        (cells, mean, line)
    };
    let (cells, mean, line) = evaluate(&[&small]);
    assert_eq!((cells, mean), (vec![String::new(); 2], serde_json::Value::Null));
    assert!(line.split_whitespace().any(|cell| cell == "-"), "{line}");
    // The mean is that of the photographs which have one.
    let (cells, mean, line) = evaluate(&[&small, &large]);
    assert!(cells[..2].iter().all(String::is_empty), "{cells:?}");
    assert_eq!(cells[2].parse::<f64>().unwrap(), mean.as_f64().unwrap());
    assert!(line.split_whitespace().all(|cell| cell != "-"), "{line}");
}

#[test]
fn evaluate_says_how_many_even_if_there_are_none() {
    let output = run("evaluate", ["no-such-photograph.png", "no-such-folder/x.jpg"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "0 measured, 2 failed\n");
    assert_eq!(text(&output.stderr).lines().count(), 2);
}

/// The size of the sheet of a photograph, with `options`.
fn sheet(photo: &RgbImage, options: &[&str]) -> (u32, u32) {
    let root = tempfile::tempdir().unwrap();
    let [input, output] = ["input.png", "sheet.png"].map(|name| root.path().join(name));
    DynamicImage::from(photo.clone()).save(&input).unwrap();
    let paths = [input.as_os_str(), "-o".as_ref(), output.as_os_str()];
    let result = run("compare", paths.into_iter().chain(options.iter().map(OsStr::new)));
    assert!(result.status.success(), "{}", text(&result.stderr));
    let sheet = open_photo(&output).unwrap().pixels;
    (sheet.width(), sheet.height())
}

#[test]
fn compare_draws_a_sheet_of_two_or_three_rows() {
    let photo = |width, height| {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x % 60) as u8, (y % 50) as u8, 20]))
    };
    // Four columns of 200 and the gaps around them; each row a label, pictures and a gap.
    assert_eq!(sheet(&photo(100, 50), &["--width", "200"]), (4 * 212 + 12, 2 * (24 + 50 + 12)));
    let three = sheet(&photo(400, 300), &["--width", "200", "--illumination"]);
    assert_eq!(three, (4 * 212 + 12, 3 * (24 + 150 + 12)));
    // Forty pixels are enlarged to five times their size, and a part must lie within the photograph.
    let part = sheet(&photo(100, 50), &["--width", "200", "--part", "60,20,40,30"]);
    assert_eq!(part, (4 * 212 + 12, 2 * (24 + 150 + 12)));
    for part in ["60,20,41,30", "0,0,4294967295,9", "1,2,3", "0,0,0,5"] {
        let root = tempfile::tempdir().unwrap();
        let [input, output] = ["input.png", "sheet.png"].map(|name| root.path().join(name));
        photo(100, 50).save(&input).unwrap();
        let paths = [input.as_os_str(), "-o".as_ref(), output.as_os_str(), "--part".as_ref()];
        let result = run("compare", paths.into_iter().chain([OsStr::new(part)]));
        assert!(!result.status.success() && !output.exists(), "{part}");
        assert!(text(&result.stderr).contains("part"), "{}", text(&result.stderr));
    }
    // A tall picture is reduced to four times the width of a column.
    assert_eq!(sheet(&photo(2, 5000), &["--width", "160"]), (4 * 172 + 12, 2 * (24 + 640 + 12)));
}

/// Twelve dark photographs in two folders, and a broken one.
fn night(root: &Path) -> PathBuf {
    let night = root.join("night");
    for index in 0..12u8 {
        let folder = night.join(if index % 2 == 0 { "first" } else { "second" });
        std::fs::create_dir_all(&folder).unwrap();
        let dark = RgbImage::from_fn(9, 7, |x, y| Rgb([x as u8, y as u8, index]));
        dark.save(folder.join(format!("{index}.png"))).unwrap();
    }
    std::fs::write(night.join("broken, \"cut\".png"), b"\x89PNG\r\n\x1a\n").unwrap();
    night
}

#[test]
fn shards_do_every_photograph_once_and_reports_name_what_failed() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let (night, results) = (night(root), root.join("results"));
    let shard = |number: usize| {
        let report = root.join(format!("failures-{number}.csv"));
        let shard = format!("{number}/3");
        let arguments = [night.as_os_str(), "-o".as_ref(), results.as_os_str()];
        let options = ["--shard".as_ref(), shard.as_ref(), "--report".as_ref(), report.as_os_str()];
        let output = run("enhance", arguments.into_iter().chain(options));
        let table = csv::Reader::from_path(&report).unwrap().into_records();
        let rows: Vec<_> = table.map(Result::unwrap).collect();
        assert_eq!(output.status.success(), rows.is_empty(), "{}", text(&output.stderr));
        (text(&output.stdout), rows)
    };
    let done = || {
        let folders = ["first", "second"].map(|name| results.join(name));
        let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
        entries.flatten().count()
    };
    let mut failures = Vec::new();
    for number in 1..=3 {
        let before = done();
        let (printed, rows) = shard(number);
        let enhanced = done() - before;
        let says = format!("{enhanced} enhanced, 0 skipped because they exist, {}", rows.len());
        assert!(printed.starts_with(&says), "{printed}");
        failures.extend(rows);
    }
    assert_eq!(done(), 12);
    let [failure] = &failures[..] else { panic!("{failures:?}") };
    assert!(failure[0].ends_with("broken, \"cut\".png"), "{failure:?}");
    assert!(failure[1].starts_with("cannot read ") && !failure[1].contains('\n'), "{failure:?}");

    // A share that was not finished is finished by the same command, and its report replaced.
    std::fs::remove_dir_all(results.join("first")).unwrap();
    (1..=3).for_each(|number| _ = shard(number));
    assert_eq!(done(), 12);
}

/// A machine that does not see the photographs must not seem to have done its share.
#[test]
fn a_folder_that_is_missing_fails_in_every_share() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("missing");
    let results = root.path().join("results");
    for share in ["1/3", "2/3", "3/3"] {
        let arguments = [missing.as_os_str(), "-o".as_ref(), results.as_os_str()];
        let output =
            run("enhance", arguments.into_iter().chain(["--shard", share].map(OsStr::new)));
        assert_eq!(output.status.code(), Some(1), "{share}");
        assert!(text(&output.stderr).contains("missing"), "{share}");
    }
}

#[test]
fn a_report_replaces_no_file_but_a_report() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let (night, results) = (night(root), root.join("results"));
    let first = night.join("first/0.png");
    let other = root.join("other.csv");
    std::fs::write(&other, "photograph,reasons\n").unwrap();
    let missing = root.join("missing/failures.csv");
    for (report, says) in [
        (&other, "it exists and is not the report of an earlier run"),
        (&first, "it is one of the inputs"),
        (&missing, "there is no folder"),
        (&night, "it is a folder"),
    ] {
        let photo = [first.as_os_str(), "-o".as_ref(), results.as_os_str(), "--report".as_ref()];
        let output = run("enhance", photo.into_iter().chain([report.as_os_str()]));
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(error.contains(says) && error.lines().count() == 1, "{error}");
        assert!(!results.exists(), "{says}");
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "photograph,reasons\n");
    assert!(open_photo(&first).is_ok());
}
