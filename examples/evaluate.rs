//! Measures how well photographs are enhanced, with ground truth or without.
//!
//! ```text
//! cargo run --release --example evaluate -- photos --baselines
//! cargo run --release --example evaluate -- low --truth high --preset published-medium --weights mine.pt --csv figures.csv
//! ```

mod common;

use clap::Parser;
use common::classical::CLASSICAL;
use common::{Failure, Result, complain, escaped, guarded, shown};
use indicatif::ProgressBar;
use sci_burn::image::RgbImage;
use sci_burn::metrics::{
    chromaticity_shift, clipped_share, color_cast, entropy, lightness_order_error, mean_chroma,
    mean_luminance, measure_of_enhancement, niqe, psnr, psnr_gt_mean, ssim,
};
use sci_burn::photo::find_photos_except;
use sci_burn::{Enhancer, Exposure, Preset, open_device};
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
    /// The folder of the ground truths, which have the photographs' names; extensions may differ.
    #[arg(short, long)]
    truth: Option<PathBuf>,
    /// Presets to measure, by name; may be repeated. All of them if neither presets
    /// nor weights are given.
    #[arg(short, long)]
    preset: Vec<Preset>,
    /// Weight files to measure: .pt, .safetensors or .bpk; may be repeated.
    #[arg(short, long)]
    weights: Vec<PathBuf>,
    /// How far to brighten: full (as published), auto, auto:LUMINANCE, a strength from 0 to 1, or
    /// STRENGTH:GAMMA with a tone curve.
    #[arg(short, long, default_value = "full")]
    exposure: Exposure,
    #[command(flatten)]
    look: common::LookOptions,
    /// Also measure gamma, histogram equalization (CLAHE) and Retinex.
    #[arg(short, long)]
    baselines: bool,
    /// Write the figures of every photograph to this file.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Write the figures of every photograph, and their means, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The device to compute on: cpu, ndarray, wgpu, vulkan, metal, cuda or rocm.
    #[arg(short, long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    reading: common::ReadingOptions,
    /// Replace files of figures that exist already.
    #[arg(short, long)]
    force: bool,
}

fn main() -> ExitCode {
    common::exit_whole(run(&Options::parse()))
}

/// Measures every photograph that can be, and returns whether that was all of them.
fn run(options: &Options) -> Result<bool> {
    let inputs = options.inputs.iter().chain(&options.truth);
    let inputs: Vec<&Path> = inputs.map(PathBuf::as_path).collect();
    for file in options.csv.iter().chain(&options.json) {
        common::may_write(file, options.force, &inputs)?;
    }
    if let (Some(csv), Some(json)) = (&options.csv, &options.json)
        && csv == json
    {
        return Err(common::unwritable(csv, "--csv and --json name the same file"));
    }
    let methods = methods(options)?;
    let (photos, mut refused) = photos(&options.inputs);
    let truths = match &options.truth {
        Some(folder) => {
            let found = find_photos_except(folder, None)?;
            refused.extend(found.unreadable.into_iter().map(Failure::from));
            Some(Truths { folder, files: found.photos })
        }
        None => None,
    };
    refused.iter().for_each(complain);

    let columns = &COLUMNS[if truths.is_some() { 0 } else { WITH_TRUTH }..];
    let bar = ProgressBar::new(photos.len() as u64);
    bar.set_style(common::style("{bar:30} {pos}/{len} photographs  {wide_msg}"));
    let mut rows = Vec::new();
    let (mut measured, mut failed) = (0, refused.len());
    for photo in &photos {
        bar.set_message(shown(&photo.path));
        let one = || measure(photo, truths.as_ref(), &methods, columns, &options.reading);
        match guarded(one) {
            Ok(figures) => {
                rows.extend(figures);
                measured += 1;
            }
            Err(error) => {
                bar.suspend(|| complain(common::describe(&photo.path, &error)));
                failed += 1;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();

    let means: Vec<_> = methods.iter().filter_map(|(name, _)| mean(name, &rows)).collect();
    if !means.is_empty() {
        if let Some(path) = &options.csv {
            common::write_whole(path, &csv(columns, &rows), options.force)?;
        }
        if let Some(path) = &options.json {
            common::write_whole(path, &json(columns, &means, &rows), options.force)?;
        }
        print_table(columns, &means);
    }
    common::say(match measured {
        0 | 1 => format!("{measured} measured, {failed} failed"),
        _ => format!("means of {measured} measured, {failed} failed"),
    });
    Ok(failed == 0)
}

/// The pictures that a figure is computed from.
struct Pictures<'a> {
    dark: &'a RgbImage,
    bright: &'a RgbImage,
    truth: Option<&'a RgbImage>,
}

impl Pictures<'_> {
    fn truth(&self) -> &RgbImage {
        self.truth.expect("columns that need it are measured only if it is there")
    }
}

/// A metric: its name, its decimals in the table, and its function. The function gives no figure for
/// pictures that the metric is not defined for.
type Column = (&'static str, usize, fn(&Pictures) -> sci_burn::Result<Option<f64>>);

const COLUMNS: [Column; 12] = [
    ("PSNR", 2, |pictures| psnr(pictures.bright, pictures.truth()).map(Some)),
    ("GT-mean", 2, |pictures| psnr_gt_mean(pictures.bright, pictures.truth()).map(Some)),
    ("SSIM", 4, |pictures| ssim(pictures.bright, pictures.truth()).map(Some)),
    ("LOE", 1, |pictures| lightness_order_error(pictures.bright, pictures.dark).map(Some)),
    ("entropy", 3, |pictures| Ok(Some(entropy(pictures.bright)))),
    ("EME", 2, |pictures| Ok(Some(measure_of_enhancement(pictures.bright)))),
    // Its only error is that there are too few blocks.
    ("NIQE", 2, |pictures| Ok(niqe(pictures.bright).ok())),
    ("luminance", 3, |pictures| Ok(Some(mean_luminance(pictures.bright)))),
    ("clipped", 4, |pictures| Ok(Some(clipped_share(pictures.bright)))),
    ("chroma", 1, |pictures| Ok(Some(mean_chroma(pictures.bright)))),
    ("color cast", 3, |pictures| color_cast(pictures.bright, pictures.dark).map(Some)),
    ("color shift", 2, |pictures| chromaticity_shift(pictures.bright, pictures.dark).map(Some)),
];

/// The number of columns, the first ones, that need the ground truth.
const WITH_TRUTH: usize = 3;

/// A dark photograph in, a brighter one out.
type Method = Box<dyn Fn(&RgbImage) -> Result<RgbImage>>;

/// The methods and their names. The first one leaves the photograph as it is.
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
    let set = |enhancer| options.look.apply(enhancer, options.exposure);
    for preset in presets {
        let enhancer = set(Enhancer::from_preset(*preset, &device))?;
        methods.push((format!("{} {preset}", preset.method().title()), sci(enhancer)));
    }
    for weights in &options.weights {
        common::regular(weights)?;
        let enhancer = set(Enhancer::from_file(weights, &device)?)?;
        methods.push((weights.display().to_string(), sci(enhancer)));
    }
    Ok(methods)
}

fn sci(enhancer: Enhancer) -> Method {
    Box::new(move |dark| Ok(enhancer.enhance(&dark.clone().into())?.into_rgb8()))
}

struct NamedPhoto {
    path: PathBuf,
    /// The path below the folder that was given.
    name: PathBuf,
}

/// All photographs of the inputs, and an error for each input that cannot be read.
fn photos(inputs: &[PathBuf]) -> (Vec<NamedPhoto>, Vec<Failure>) {
    let (mut photos, mut refused) = (Vec::new(), Vec::new());
    for input in inputs {
        if !input.is_dir() {
            let name = input.file_name().unwrap_or_default().into();
            photos.push(NamedPhoto { path: input.clone(), name });
            continue;
        }
        match find_photos_except(input, None) {
            Ok(found) => {
                photos.extend(found.photos.into_iter().map(|path| {
                    let name = path.strip_prefix(input).unwrap_or(&path).to_owned();
                    NamedPhoto { path, name }
                }));
                refused.extend(found.unreadable.into_iter().map(Failure::from));
            }
            Err(error) => refused.push(error.into()),
        }
    }
    (photos, refused)
}

struct Truths<'a> {
    folder: &'a Path,
    files: Vec<PathBuf>,
}

impl Truths<'_> {
    /// The ground truth of a photograph's name, or else one with another extension.
    fn open(&self, name: &Path, reading: &common::ReadingOptions) -> Result<RgbImage> {
        let path = self.folder.join(name);
        let same = self.files.iter().find(|file| **file == path);
        let stem = path.with_extension("");
        let truth = same.or_else(|| self.files.iter().find(|file| file.with_extension("") == stem));
        let missing = || common::unreadable(&path, "there is no such ground truth");
        Ok(reading.open(truth.ok_or_else(missing)?)?.pixels.into_rgb8())
    }
}

/// A method's figures, one for each column, where there is one.
struct Row {
    /// None if the figures are means.
    photo: Option<String>,
    method: String,
    figures: Vec<Option<f64>>,
}

/// Measures a photograph: a row for each method.
fn measure(
    photo: &NamedPhoto,
    truths: Option<&Truths>,
    methods: &[(String, Method)],
    columns: &[Column],
    reading: &common::ReadingOptions,
) -> Result<Vec<Row>> {
    let dark = reading.open(&photo.path)?.pixels.into_rgb8();
    let truth = truths.map(|truths| truths.open(&photo.name, reading)).transpose()?;
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

/// The means of a method's figures, if there are figures.
fn mean(method: &str, rows: &[Row]) -> Option<Row> {
    let rows: Vec<_> = rows.iter().filter(|row| row.method == method).collect();
    let mean = |column: usize| {
        let figures: Vec<f64> = rows.iter().filter_map(|row| row.figures[column]).collect();
        (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
    };
    let columns = rows.first()?.figures.len();
    Some(Row { photo: None, method: method.to_owned(), figures: (0..columns).map(mean).collect() })
}

/// Prints a table: names left-aligned, numbers right-aligned, columns as wide as their contents.
fn print_table(columns: &[Column], rows: &[Row]) {
    let names = columns.iter().map(|(name, ..)| (*name).to_owned());
    let mut lines: Vec<Vec<String>> = vec![iter::once(String::new()).chain(names).collect()];
    for row in rows {
        let figures = row.figures.iter().zip(columns);
        let cells = figures.map(|(figure, (_, decimals, _))| match figure {
            Some(figure) => format!("{figure:.decimals$}"),
            None => "-".to_owned(),
        });
        lines.push(iter::once(escaped(&row.method)).chain(cells).collect());
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

/// The figures as CSV: a line for each photograph and method. A missing figure is empty.
fn csv(columns: &[Column], rows: &[Row]) -> Vec<u8> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let in_memory = "memory takes every record";
    let names = columns.iter().map(|(name, ..)| *name);
    table.write_record(["photograph", "method"].into_iter().chain(names)).expect(in_memory);
    for row in rows {
        let figures = row.figures.iter();
        let figures = figures.map(|figure| figure.map_or(String::new(), |it| it.to_string()));
        let names = [row.photo.clone().unwrap_or_default(), row.method.clone()];
        table.write_record(names.into_iter().chain(figures)).expect(in_memory);
    }
    table.into_inner().expect(in_memory)
}

/// Figures and means as JSON. A missing figure becomes null, and an infinite PSNR too, since JSON has no
/// such number.
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
