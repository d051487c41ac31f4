//! No weight file, whatever is in it, takes much memory or time. In a binary of its own with a single
//! test, since it counts what the whole process allocates.

mod common;

use common::allocation::{Counting, peak_of};
use common::{cpu, fixture};
use sci_burn::Error;
use sci_burn::model::{IlluminationEstimator, SciCascadeConfig, SciPlusPlusCascadeConfig};
use std::path::Path;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An entry of an archive: its name, its compression method, its size as claimed, and its bytes.
struct Entry<'a>(&'a str, u16, u32, &'a [u8]);

/// An archive without checksums.
fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for Entry(name, method, size, data) in entries {
        let offset = bytes.len() as u32;
        let common = |signature: &[u8]| {
            let mut header = signature.to_vec();
            header.extend([20, 0, 0, 0]);
            header.extend(method.to_le_bytes());
            header.extend([0; 8]);
            header.extend((data.len() as u32).to_le_bytes());
            header.extend(size.to_le_bytes());
            header.extend((name.len() as u32).to_le_bytes());
            header
        };
        bytes.extend(common(b"PK\x03\x04"));
        bytes.extend(name.as_bytes());
        bytes.extend(*data);
        directory.extend(common(b"PK\x01\x02\x14\x00"));
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([entries.len() as u16; 2].map(u16::to_le_bytes).concat());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    let weights = [0; 4096];
    archive(&[
        Entry("a/data.pkl", 0, pickle.len() as u32, pickle),
        Entry("a/data/0", 0, weights.len() as u32, &weights),
    ])
}

fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn small(value: u8) -> [u8; 2] {
    [b'K', value]
}

/// The opcodes of a tensor whose sizes and strides are pickled integers.
fn tensor(shape: &[&[u8]], stride: &[&[u8]]) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".as_slice(),
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        &small(9),
        b"tQ",
        &small(0),
        b"(",
        &shape.concat(),
        b"t(",
        &stride.concat(),
        b"t\x89NtR",
    ]
    .concat()
}

/// Dictionaries in dictionaries under long keys, in the innermost as many tensors as that.
fn nested(levels: usize) -> Vec<u8> {
    let key = text(&"k".repeat(90));
    let mut pickle = b"\x80\x02}(".to_vec();
    for _ in 0..levels {
        pickle.extend(&key);
        pickle.extend(b"}(");
    }
    let tensor = tensor(&[&small(1)], &[&small(1)]);
    for leaf in 0..levels.min(255) {
        pickle.extend(text(&leaf.to_string()));
        pickle.extend(&tensor);
    }
    pickle.extend(b"u".repeat(levels + 1));
    pickle.push(b'.');
    pickle
}

/// A state dict of one tensor of the model.
fn state_dict(tensor: &[u8]) -> Vec<u8> {
    [b"\x80\x02}(", text("enhance.in_conv.0.bias").as_slice(), tensor, b"u."].concat()
}

/// The bytes of a file that is just not too large to be looked at.
const LARGE: usize = 10_200_000;

fn hostile_files() -> Vec<(&'static str, Vec<u8>)> {
    let pickled = |parts: &[&[u8]]| checkpoint(&parts.concat());
    let many = |opcodes: &[u8], count: usize| pickled(&[b"\x80\x02", &opcodes.repeat(count), b"."]);
    let huge = b"\x8a\x07\xff\xff\xff\xff\xff\xff\x00";
    // Each tuple holds the one before twice; or every tensor of a state dict is the same 4 kB.
    let laughs = pickled(&[b"\x80\x02)q\x00", &b"h\x00h\x00\x86q\x00".repeat(10_000), b"."]);
    let whole = tensor(&[&[b'M', 0, 4]], &[&small(1)]);
    let mut shared = [b"\x80\x02}(".as_slice(), &text("x"), &whole, b"q\x00"].concat();
    for index in 0..2500 {
        shared.extend(text(&format!("enhance.in_conv.0.{index}")));
        shared.extend(b"h\x00");
    }
    shared.extend(b"u.");

    let json = |length: usize| {
        let header = format!("{{\"__metadata__\":{{\"a\":\"{}\"}}}}", "b".repeat(length));
        [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
    };
    let claimed = |length: u64| [&length.to_le_bytes(), b"{}".as_slice()].concat();
    let objects = [b"{\"a\":".repeat(20_000), b"}".repeat(20_000)].concat();
    let objects = [&(objects.len() as u64).to_le_bytes(), objects.as_slice()].concat();
    let burnpack = |claimed: u32, metadata: &[u8]| {
        [b"NRUB\x01\x00".as_slice(), &claimed.to_le_bytes(), metadata].concat()
    };
    let zeros = vec![0; 100_000];
    // As many tensors as a header of the greatest length can describe.
    let listed: Vec<_> = (0..2400)
        .map(|n| format!("\"{n}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"))
        .collect();
    let listed = format!("{{{}}}", listed.join(","));
    let listed = [&(listed.len() as u64).to_le_bytes(), listed.as_bytes()].concat();
    // Weights that fill a whole file, and a block with the greatest number.
    let large = {
        let name = "{\"ha.in_conv.0.weight\":{\"dtype\":\"F32\",\"shape\":";
        let header = format!("{name}[{}],\"data_offsets\":[0,{LARGE}]}}}}", LARGE / 4);
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; LARGE]].concat()
    };
    let blocks = {
        let name = format!("ha.blocks.{}.0.bias", usize::MAX);
        let header =
            format!("{{\"{name}\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}}}");
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat()
    };
    let overlapping = {
        // Every entry of the directory is the first one's 10 MB.
        let data = vec![1; LARGE];
        let names: Vec<_> = (0..2000).map(|index| format!("{index}")).collect();
        let empty = |name| Entry(name, 0, 0, b"");
        let mut entries: Vec<_> = names.iter().map(|name| empty(name.as_str())).collect();
        entries[0] = Entry("0", 0, data.len() as u32, &data);
        let mut bytes = archive(&entries);
        let mut at = bytes.len() - 22;
        at = u32::from_le_bytes(bytes[at + 16..at + 20].try_into().unwrap()) as usize;
        for name in &names {
            for size in [20, 24] {
                bytes[at + size..at + size + 4].copy_from_slice(&(LARGE as u32).to_le_bytes());
            }
            bytes[at + 42..at + 46].copy_from_slice(&[0; 4]);
            at += 46 + name.len();
        }
        bytes
    };
    vec![
        ("nested-100.pt", checkpoint(&nested(100))),
        ("nested-900.pt", checkpoint(&nested(900))),
        ("marks.pt", many(b"(", 100_000)),
        ("marks-5-million.pt", many(b"(", 5_000_000)),
        ("dictionaries.pt", many(b"}", 130_000)),
        ("memo.pt", many(b"}\x94", 65_000)),
        ("tuples.pt", pickled(&[b"\x80\x02)", &b"\x85".repeat(130_000), b"."])),
        ("lists.pt", pickled(&[b"\x80\x02", &b"](".repeat(40_000), &b"e".repeat(40_000), b"."])),
        ("laughs.pt", laughs),
        ("doubled.pt", pickled(&[b"\x80\x02)", &b"2\x86".repeat(60_000), b"."])),
        ("self.pt", pickled(&[b"\x80\x02}q\x00(", &text("a"), b"h\x00u."])),
        ("long.pt", pickled(&[b"\x80\x02\x8b\xff\xff\xff\x7f."])),
        ("text.pt", pickled(&[b"\x80\x02X\xff\xff\xff\xff."])),
        ("text-8.pt", pickled(&[b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff."])),
        ("underflow.pt", pickled(&[b"\x80\x02}(0000R."])),
        ("expanded.pt", checkpoint(&state_dict(&tensor(&[huge], &[&small(0)])))),
        ("stride.pt", checkpoint(&state_dict(&tensor(&[&small(3)], &[huge])))),
        ("overflow.pt", checkpoint(&state_dict(&tensor(&[huge, huge], &[huge, huge])))),
        ("shared.pt", checkpoint(&shared)),
        ("deflated.pt", archive(&[Entry("a/data.pkl", 8, 1 << 30, &zeros)])),
        ("larger.pt", archive(&[Entry("a/data.pkl", 0, u32::MAX, &zeros)])),
        ("overlapping.pt", overlapping),
        ("two.pt", archive(&[Entry("data.pkl", 0, 1, b"."), Entry("a/data.pkl", 0, 1, b".")])),
        ("directory.pt", archive(&[const { Entry("", 0, 0, b"") }; 60_000])),
        ("legacy.pt", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec()),
        ("header-40-mb.safetensors", json(40_000_000)),
        ("header-10-mb.safetensors", json(LARGE)),
        ("claims-2-63.safetensors", claimed(1 << 63)),
        ("claims-100-mb.safetensors", claimed(100_000_000)),
        ("objects.safetensors", objects),
        ("tensors.safetensors", listed),
        ("claims.bpk", burnpack(u32::MAX, b"\xa0")),
        ("metadata-10-mb.bpk", burnpack(LARGE as u32, &vec![0x81; LARGE])),
        ("large.safetensors", large),
        ("blocks.safetensors", blocks),
        ("arrays.bpk", burnpack(100_000, &vec![0x81; 100_000])),
        ("array-2-63.bpk", burnpack(10, b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\x00")),
        ("text-2-63.bpk", burnpack(10, b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff\x00")),
    ]
}

type Loader = fn(&Path) -> Result<(), Error>;

/// All that reads weight files.
const LOADERS: [Loader; 3] = [
    |path| SciCascadeConfig::new().load(path, &cpu()).map(drop),
    |path| SciPlusPlusCascadeConfig::new().load(path, &cpu()).map(drop),
    |path| IlluminationEstimator::from_file(path, &cpu()).map(drop),
];

/// Loads a file on a thread of its own, so that a file that never ends fails the test. Gives the
/// peak of what was allocated meanwhile.
fn load(path: &Path, load: Loader) -> (Result<(), Error>, usize) {
    peak_of(|| {
        let loader = {
            let path = path.to_owned();
            std::thread::spawn(move || load(&path))
        };
        let start = Instant::now();
        while !loader.is_finished() {
            assert!(start.elapsed() < Duration::from_secs(20), "{} does not end", path.display());
            std::thread::sleep(Duration::from_millis(1));
        }
        loader.join().unwrap()
    })
}

#[test]
fn hostile_files_end_in_one_line_and_take_little() {
    for (file, loader) in ["weights/cascade.pt", "weights/plus-plus.pt"].into_iter().zip(LOADERS) {
        let (result, peak) = load(&fixture(file), loader);
        result.unwrap();
        assert!(peak > 40_000, "the reading of 40 kB was not seen: {peak}");
    }

    let folder = tempfile::tempdir().unwrap();
    let check = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        for loader in LOADERS {
            let (result, peak) = load(path, loader);
            let message = result.unwrap_err().to_string();
            println!("{:>5} kB  {message}", peak / 1000);
            assert!(message.contains(name) && !message.contains('\n'), "{name}: {message}");
            assert!(message.len() < 1000, "{name}: {message}");
            assert!(peak < 64 << 20, "{name} takes {peak} bytes");
        }
    };
    for (name, bytes) in hostile_files() {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        check(&path);
    }
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe.pt");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        check(&pipe);
        let endless = folder.path().join("zero.safetensors");
        std::os::unix::fs::symlink("/dev/zero", &endless).unwrap();
        check(&endless);
    }
}
