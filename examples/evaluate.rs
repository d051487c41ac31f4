//! Measures how well photographs are enhanced, with ground truth or without.
//!
//! ```text
//! cargo run --release --example evaluate -- photos --baselines
//! cargo run --release --example evaluate -- low --truth high --preset medium --weights mine.pt --csv figures.csv
//! ```

mod common;

use clap::Parser;
use common::Result;
use common::classical::CLASSICAL;
use indicatif::ProgressBar;
use sci_burn::image::RgbImage;
use sci_burn::metrics::{
    clipped_share, color_cast, entropy, lightness_order_error, mean_luminance,
    measure_of_enhancement, psnr, ssim,
};
use sci_burn::photo::find_photos;
use sci_burn::{Enhancer, Exposure, Preset, open_device, open_photo};
use serde_json::{Map, Value, json};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures how well photographs are enhanced, with ground truth or without. All are taken as 8-bit RGB.
#[derive(Parser)]
struct Options {
    /// Dark photographs, or folders of them.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// The folder of the ground truths, under the photographs' names; the extension may differ.
    #[arg(short, long)]
    truth: Option<PathBuf>,
    /// Weights of this crate to measure, any number: easy, medium or difficult. All three if no
    /// weights are named.
    #[arg(short, long)]
    preset: Vec<Preset>,
    /// Other weights to measure, any number: .pt, .safetensors or .bpk.
    #[arg(short, long)]
    weights: Vec<PathBuf>,
    /// How far they brighten: full (as published), a strength from 0 to 1, auto or auto:LUMINANCE.
    #[arg(short, long, default_value = "full")]
    exposure: Exposure,
    /// Measure gamma, histogram equalization and Retinex as well.
    #[arg(short, long)]
    baselines: bool,
    /// Write every photograph's figures into this file.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Write every photograph's figures, and the means, into this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What computes: cpu, ndarray, wgpu, vulkan, metal or cuda.
    #[arg(short, long, default_value = "cpu")]
    device: String,
    /// Replace files of figures that exist already.
    #[arg(short, long)]
    force: bool,
}

fn main() -> ExitCode {
    common::exit_whole(run(&Options::parse()))
}

/// Measures every photograph that can be, and returns whether those were all.
fn run(options: &Options) -> Result<bool> {
    let inputs: Vec<&Path> = options.inputs.iter().map(PathBuf::as_path).collect();
    for file in options.csv.iter().chain(&options.json) {
        common::may_write(file, options.force, &inputs)?;
    }
    if let (Some(csv), Some(json)) = (&options.csv, &options.json)
        && csv == json
    {
        return Err(common::unwritable(csv, "both figures would be written there"));
    }
    let methods = methods(options)?;
    let truths = match &options.truth {
        Some(folder) => Some(Truths { folder, files: find_photos(folder)? }),
        None => None,
    };
    let (photos, refused) = photos(&options.inputs);
    for error in &refused {
        eprintln!("error: {error}");
    }

    let columns = &COLUMNS[if truths.is_some() { 0 } else { WITH_TRUTH }..];
    let bar = ProgressBar::new(photos.len() as u64);
    bar.set_style(common::style("{bar:30} {pos}/{len} photographs  {wide_msg}"));
    let mut rows = Vec::new();
    let mut failed = refused.len();
    for photo in &photos {
        bar.set_message(photo.path.display().to_string());
        match measure(photo, truths.as_ref(), &methods, columns) {
            Ok(measured) => rows.extend(measured),
            Err(error) => {
                bar.suspend(|| eprintln!("error: {}", common::describe(&photo.path, &error)));
                failed += 1;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();

    match failed {
        0 => {}
        1 => eprintln!("error: 1 input was left out"),
        _ => eprintln!("error: {failed} inputs were left out"),
    }
    if rows.is_empty() {
        return Ok(false);
    }
    let means: Vec<_> = methods.iter().filter_map(|(name, _)| mean(name, &rows)).collect();
    if let Some(path) = &options.csv {
        common::write_whole(path, &csv(columns, &rows))?;
    }
    if let Some(path) = &options.json {
        common::write_whole(path, &json(columns, &means, &rows))?;
    }
    print_table(columns, &means);
    match rows.len() / methods.len() {
        1 => {}
        photos => common::say(format_args!("means over {photos} photographs")),
    }
    Ok(failed == 0)
}

/// The pictures that are compared. Without ground truth, no column asks for it.
struct Pictures<'a> {
    dark: &'a RgbImage,
    bright: &'a RgbImage,
    truth: Option<&'a RgbImage>,
}

impl Pictures<'_> {
    fn truth(&self) -> &RgbImage {
        self.truth.expect("measured only where it is there")
    }
}

/// What is measured: its name, how many decimals make sense, and how.
type Column = (&'static str, usize, fn(&Pictures) -> sci_burn::Result<f64>);

const COLUMNS: [Column; 8] = [
    ("PSNR", 2, |pictures| psnr(pictures.bright, pictures.truth())),
    ("SSIM", 4, |pictures| ssim(pictures.bright, pictures.truth())),
    ("LOE", 1, |pictures| lightness_order_error(pictures.bright, pictures.dark)),
    ("entropy", 3, |pictures| Ok(entropy(pictures.bright))),
    ("EME", 2, |pictures| Ok(measure_of_enhancement(pictures.bright))),
    ("luminance", 3, |pictures| Ok(mean_luminance(pictures.bright))),
    ("clipped", 4, |pictures| Ok(clipped_share(pictures.bright))),
    ("color cast", 3, |pictures| color_cast(pictures.bright, pictures.dark)),
];

/// So many of them, the first, need the ground truth.
const WITH_TRUTH: usize = 2;

/// A dark photograph in, a brighter one out.
type Method = Box<dyn Fn(&RgbImage) -> Result<RgbImage>>;

/// Each with its name. The first leaves the photograph as it is.
fn methods(options: &Options) -> Result<Vec<(String, Method)>> {
    let device = open_device(&options.device)?;
    let mut methods: Vec<(String, Method)> =
        vec![("input".to_owned(), Box::new(|dark| Ok(dark.clone())))];
    if options.baselines {
        for (name, method) in CLASSICAL {
            methods.push((name.to_owned(), Box::new(move |dark| Ok(method(dark)))));
        }
    }
    let presets = match options.preset.is_empty() && options.weights.is_empty() {
        true => &Preset::ALL[..],
        false => &options.preset,
    };
    for preset in presets {
        let enhancer = Enhancer::from_preset(*preset, &device).with_exposure(options.exposure)?;
        methods.push((format!("SCI {preset}"), sci(enhancer)));
    }
    for weights in &options.weights {
        let enhancer = Enhancer::from_file(weights, &device)?.with_exposure(options.exposure)?;
        methods.push((weights.display().to_string(), sci(enhancer)));
    }
    Ok(methods)
}

fn sci(enhancer: Enhancer) -> Method {
    Box::new(move |dark| Ok(enhancer.enhance(&dark.clone().into())?.into_rgb8()))
}

struct Photo {
    path: PathBuf,
    /// Where it is below the folder that was named.
    name: PathBuf,
}

/// All photographs of the inputs, and what is wrong with those inputs that lead to none.
fn photos(inputs: &[PathBuf]) -> (Vec<Photo>, Vec<sci_burn::Error>) {
    let (mut photos, mut refused) = (Vec::new(), Vec::new());
    for input in inputs {
        if !input.is_dir() {
            let name = input.file_name().unwrap_or_default().into();
            photos.push(Photo { path: input.clone(), name });
            continue;
        }
        match find_photos(input) {
            Ok(found) => photos.extend(found.into_iter().map(|path| {
                let name = path.strip_prefix(input).unwrap_or(&path).to_owned();
                Photo { path, name }
            })),
            Err(error) => refused.push(error),
        }
    }
    (photos, refused)
}

struct Truths<'a> {
    folder: &'a Path,
    files: Vec<PathBuf>,
}

impl Truths<'_> {
    /// The ground truth under a photograph's name, or else one with another extension.
    fn open(&self, name: &Path) -> Result<RgbImage> {
        let path = self.folder.join(name);
        let same = self.files.iter().find(|file| **file == path);
        let stem = path.with_extension("");
        let truth = same.or_else(|| self.files.iter().find(|file| file.with_extension("") == stem));
        let missing = || common::unreadable(&path, "there is no such ground truth");
        Ok(open_photo(truth.ok_or_else(missing)?)?.pixels.into_rgb8())
    }
}

/// A method's figures, one for each column.
struct Row {
    /// None where they are means.
    photo: Option<String>,
    method: String,
    figures: Vec<f64>,
}

/// A row for each method.
fn measure(
    photo: &Photo,
    truths: Option<&Truths>,
    methods: &[(String, Method)],
    columns: &[Column],
) -> Result<Vec<Row>> {
    let dark = open_photo(&photo.path)?.pixels.into_rgb8();
    let truth = truths.map(|truths| truths.open(&photo.name)).transpose()?;
    let row = |(name, method): &(String, Method)| {
        let bright = method(&dark)?;
        let pictures = Pictures { dark: &dark, bright: &bright, truth: truth.as_ref() };
        let figures = columns.iter().map(|(_, _, measure)| measure(&pictures));
        Ok(Row {
            photo: Some(photo.path.display().to_string()),
            method: name.clone(),
            figures: figures.collect::<sci_burn::Result<_>>()?,
        })
    };
    methods.iter().map(row).collect()
}

/// The means of a method's figures, if there are any.
fn mean(method: &str, rows: &[Row]) -> Option<Row> {
    let rows: Vec<_> = rows.iter().filter(|row| row.method == method).collect();
    let mean = |column| rows.iter().map(|row| row.figures[column]).sum::<f64>() / rows.len() as f64;
    let columns = rows.first()?.figures.len();
    Some(Row { photo: None, method: method.to_owned(), figures: (0..columns).map(mean).collect() })
}

/// Names to the left, numbers to the right, each column as wide as it must be.
fn print_table(columns: &[Column], rows: &[Row]) {
    let names = columns.iter().map(|(name, ..)| (*name).to_owned());
    let mut lines: Vec<Vec<String>> = vec![iter::once(String::new()).chain(names).collect()];
    for row in rows {
        let figures = row.figures.iter().zip(columns);
        let cells = figures.map(|(figure, (_, decimals, _))| format!("{figure:.decimals$}"));
        lines.push(iter::once(row.method.clone()).chain(cells).collect());
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<_> = (0..=columns.len()).map(|column| width(column).unwrap_or(0)).collect();
    for line in &lines {
        let mut text = format!("{:<1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            text.push_str(&format!("  {cell:>width$}"));
        }
        common::say(text);
    }
}

/// A line for each photograph and method.
fn csv(columns: &[Column], rows: &[Row]) -> Vec<u8> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let in_memory = "memory takes every record";
    let names = columns.iter().map(|(name, ..)| *name);
    table.write_record(["photograph", "method"].into_iter().chain(names)).expect(in_memory);
    for row in rows {
        let figures = row.figures.iter().map(ToString::to_string);
        let names = [row.photo.clone().unwrap_or_default(), row.method.clone()];
        table.write_record(names.into_iter().chain(figures)).expect(in_memory);
    }
    table.into_inner().expect(in_memory)
}

/// An infinite PSNR becomes null: JSON has no such number.
fn json(columns: &[Column], means: &[Row], rows: &[Row]) -> Vec<u8> {
    let object = |row: &Row| {
        let mut object = Map::new();
        if let Some(photo) = &row.photo {
            object.insert("photograph".to_owned(), json!(photo));
        }
        object.insert("method".to_owned(), json!(row.method));
        let figures = columns.iter().zip(&row.figures);
        object.extend(figures.map(|((name, ..), figure)| ((*name).to_owned(), json!(figure))));
        Value::Object(object)
    };
    let [means, rows] = [means, rows].map(|rows| rows.iter().map(object).collect::<Vec<_>>());
    let mut text = serde_json::to_vec_pretty(&json!({ "means": means, "photographs": rows }))
        .expect("names and numbers can be written");
    text.push(b'\n');
    text
}
