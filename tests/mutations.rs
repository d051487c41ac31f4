//! The fuzz targets on stable Rust: on their seeds, and for a while on random changes of these.
//!
//! libFuzzer, which sees what code an input reaches, finds more: `fuzz/README.md`. `SCI_FUZZ_SECONDS` is how long each
//! target is tried with new inputs, 1 by default. `SCI_FUZZ_SEED` makes those of an earlier run again.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest that an input becomes.
const MOST_BYTES: usize = 64 << 10;

/// Longer than any input may take, even without optimization.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether an input was what is expected.
type Target = fn(&[u8]) -> Option<()>;

/// Runs a target on its seeds, and on new inputs.
fn fuzz(name: &str, target: Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for (path, seed) in paths.iter().zip(&seeds) {
        assert!(run(name, target, seed), "{} is refused", path.display());
    }

    let seconds = std::env::var("SCI_FUZZ_SECONDS").map_or(1.0, |text| text.parse().unwrap());
    let seed = std::env::var("SCI_FUZZ_SEED").map(|text| text.parse().unwrap());
    let seed = seed.unwrap_or_else(|_| RandomState::new().hash_one(name));
    println!("{name}: SCI_FUZZ_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let begun = Instant::now();
    let [mut inputs, mut taken] = [0u64; 2];
    while begun.elapsed() < Duration::from_secs_f64(seconds) {
        let mut input = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..=8) {
            let other = &seeds[random.random_range(0..seeds.len())];
            change(&mut random, &mut input, other);
        }
        input.truncate(MOST_BYTES);
        if random.random_ratio(7, 8) {
            repair(&mut input);
        }
        inputs += 1;
        taken += u64::from(run(name, target, &input));
    }
    println!("{name}: {} seeds, {inputs} new inputs, {taken} not refused", seeds.len());
}

/// Runs a target on an input, and keeps the input if it fails or takes too long.
fn run(name: &str, target: Target, input: &[u8]) -> bool {
    let begun = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| target(input)));
    let slow = begun.elapsed() > PATIENCE;
    if result.is_err() || slow {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-failed"));
        std::fs::write(&path, input).unwrap();
        eprintln!("{name}: the input is in {}", path.display());
    }
    let result = result.unwrap_or_else(|panic| resume_unwind(panic));
    assert!(!slow, "it took {:?}", begun.elapsed());
    result.is_some()
}

/// One change of the kinds that damage and malice make.
fn change(random: &mut impl Rng, input: &mut Vec<u8>, other: &[u8]) {
    let length = input.len();
    // A range of it that is mostly short.
    let range = |random: &mut dyn Rng, length: usize| {
        let start = random.random_range(0..=length);
        let most = 1usize << random.random_range(0..16);
        start..start + random.random_range(0..=most.min(length - start))
    };
    match random.random_range(0..8) {
        // A number of a header, in either byte order.
        0 | 1 => {
            let size = 1usize << random.random_range(0..4);
            if length >= size {
                let at = random.random_range(0..=length - size);
                let number = number(random);
                let bytes = match random.random() {
                    true => number.to_le_bytes()[..size].to_vec(),
                    false => number.to_be_bytes()[8 - size..].to_vec(),
                };
                input[at..at + size].copy_from_slice(&bytes);
            }
        }
        // One written in digits.
        2 => {
            let digits: Vec<_> = (0..length).filter(|&at| input[at].is_ascii_digit()).collect();
            if let Some(&at) = digits.get(random.random_range(0..digits.len().max(1))) {
                let end = (at..length).find(|&at| !input[at].is_ascii_digit()).unwrap_or(length);
                let number = number(random);
                let text = match random.random_range(0..4) {
                    0 => number.to_string(),
                    1 => (number as i64).to_string(),
                    2 => format!("{:e}", f64::from_bits(number)),
                    _ => (number % 100).to_string(),
                };
                input.splice(at..end, text.into_bytes());
            }
        }
        3 => drop(input.drain(range(random, length))),
        4 => {
            let part = input[range(random, length)].to_vec();
            let at = random.random_range(0..=length);
            for _ in 0..random.random_range(1..4) {
                input.splice(at..at, part.iter().copied());
            }
        }
        5 => {
            let part = other[range(random, other.len())].to_vec();
            let at = range(random, length);
            input.splice(at, part);
        }
        6 => input.truncate(random.random_range(0..=length)),
        _ => {
            if length > 0 {
                input[random.random_range(0..length)] ^= 1 << random.random_range(0..8);
            }
        }
    }
}

/// A number near to where something ends, or any.
fn number(random: &mut impl Rng) -> u64 {
    let near =
        (1u64 << random.random_range(0..64)).wrapping_add_signed(random.random_range(-2..=2));
    match random.random_range(0..4) {
        0 => random.random(),
        1 => near.wrapping_neg(),
        2 => random.random_range(0..=20),
        _ => near,
    }
}

/// Makes true again what a file says of itself, so that it is read further: checksums of a PNG, the length of a RIFF.
fn repair(input: &mut [u8]) {
    if input.starts_with(b"\x89PNG\r\n\x1a\n") {
        let mut at = 8;
        while let Some(length) = input.get(at..).and_then(|rest| rest.first_chunk()) {
            let end = (at + 8).saturating_add(u32::from_be_bytes(*length) as usize);
            let Some(content) = input.get(at + 4..end) else { return };
            let checksum = crc32fast::hash(content).to_be_bytes();
            let Some(stored) = input.get_mut(end..end + 4) else { return };
            stored.copy_from_slice(&checksum);
            at = end + 4;
        }
    } else if input.starts_with(b"RIFF") && input.len() >= 12 {
        let length = (input.len() as u32 - 8).to_le_bytes();
        input[4..8].copy_from_slice(&length);
    }
}

macro_rules! targets {
    ($($target:ident),*) => {$(
        #[test]
        fn $target() {
            fuzz(stringify!($target), targets::$target::run);
        }
    )*};
}
targets!(configuration, exposure, kernels, paths, photo, video, weights);
