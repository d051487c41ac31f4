//! The modules of the library import in one direction: there is no circle among them, nor among the
//! files of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module's path, without the crate.
type Module = Vec<String>;

/// Every module of the library with its code, without comments and tests.
fn modules(folder: &Path, parent: &[String], found: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut module = parent.to_vec();
        match name.as_str() {
            "lib" | "tests" => continue,
            "mod" => {}
            _ => module.push(name),
        }
        if path.is_dir() {
            modules(&path, &module, found);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("\nmod tests {").next().unwrap();
            let lines = code.lines().map(|line| line.split("//").next().unwrap());
            found.insert(module, lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The paths that begin here, such as `a::b` and `a::c::d` of `a::{b, c::d}`, and what follows them.
fn paths<'a>(code: &'a str, begun: &[String], found: &mut Vec<Module>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = paths(rest, begun, found).trim_start();
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let other = |letter: char| !letter.is_alphanumeric() && letter != '_';
    let (name, rest) = code.split_at(code.find(other).unwrap_or(code.len()));
    let mut path = begun.to_vec();
    match name {
        "super" => drop(path.pop()),
        "" | "self" => {}
        _ => path.push(name.to_owned()),
    }
    match rest.strip_prefix("::") {
        Some(rest) => paths(rest, &path, found),
        None => {
            found.push(path);
            rest
        }
    }
}

/// Edges between modules of one folder: what is in the first uses what is in the second.
fn edges(modules: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut edges = BTreeMap::<Module, BTreeSet<Module>>::new();
    for (module, code) in modules {
        let mut used = Vec::new();
        for (at, _) in code.match_indices("crate::") {
            paths(&code[at + "crate::".len()..], &[], &mut used);
        }
        for (at, _) in code.match_indices("super::") {
            // The later ones of `super::super::` are read with the first.
            if !code[..at].ends_with("super::") {
                paths(&code[at..], module, &mut used);
            }
        }
        for used in used {
            let shared = module.iter().zip(&used).take_while(|(ours, theirs)| ours == theirs);
            let shared = shared.count();
            let [Some(from), Some(to)] = [module, &used].map(|path| path.get(..=shared)) else {
                continue;
            };
            if modules.contains_key(to) {
                edges.entry(from.to_vec()).or_default().insert(to.to_vec());
            }
        }
    }
    edges
}

/// Takes away what leads nowhere until nothing does. Circles, and what leads to them, are left.
fn circles(mut edges: BTreeMap<Module, BTreeSet<Module>>) -> BTreeMap<Module, BTreeSet<Module>> {
    loop {
        let before = edges.len();
        let known: BTreeSet<Module> = edges.keys().cloned().collect();
        edges.values_mut().for_each(|used| used.retain(|module| known.contains(module)));
        edges.retain(|_, used| !used.is_empty());
        if edges.len() == before {
            return edges;
        }
    }
}

#[test]
fn no_circle_among_modules() {
    let mut found = BTreeMap::new();
    modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut found);
    let edges = edges(&found);
    let names = |path: &str| -> Module { path.split('/').map(str::to_owned).collect() };
    for (from, to) in [("enhance", "ops"), ("photo/read", "photo/demand"), ("weights", "error")] {
        assert!(edges[&names(from)].contains(&names(to)), "{from} uses {to}");
    }
    let left = circles(edges.clone());
    assert!(left.is_empty(), "{left:#?}");
    // One more import would close a circle.
    let mut closed = edges;
    closed.entry(names("photo/demand")).or_default().insert(names("photo/read"));
    assert!(!circles(closed).is_empty());
}
