//! The promises that are due against the tests that name them.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The promises of finished issues.
const DUE: [RangeInclusive<u32>; 1] = [1..=56];

/// Where tests stand.
const FOLDERS: [&str; 4] = ["tests", "runtime/tests", "runtime/src", "net"];

/// Each promise that is due is named by the doc comment of at least one test.
#[test]
fn every_promise_that_is_due_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = BTreeSet::new();
    for file in FOLDERS
        .iter()
        .flat_map(|folder| sources_in(&root.join(folder)))
    {
        let text = fs::read_to_string(&file).expect("a source file can be read");
        for doc in docs_of_tests(&text) {
            named.extend(promises_in(&doc));
        }
    }
    let missing: Vec<u32> = DUE
        .into_iter()
        .flatten()
        .filter(|promise| !named.contains(promise))
        .collect();
    assert!(missing.is_empty(), "promises without a test: {missing:?}");
}

fn sources_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .flat_map(|path| match path.is_dir() {
            true => sources_in(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The doc comments that stand above `#[test]`, or above a test for several types (`tests/endpoints/`), each as one line.
fn docs_of_tests(source: &str) -> Vec<String> {
    let mut docs = Vec::new();
    let mut doc = String::new();
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push(' ');
            doc.push_str(text.trim());
        } else if line == "#[test]" || line.contains(">() for [") {
            docs.push(std::mem::take(&mut doc));
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
    docs
}

/// The numbers after "Promise" or "Promises": `Promises 31, 33 and 35.`
fn promises_in(doc: &str) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    for rest in doc.split("Promise").skip(1) {
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        let words = rest
            .split([' ', ','])
            .filter(|word| !word.is_empty() && *word != "and");
        numbers.extend(words.map_while(number));
    }
    numbers
}

fn number(word: &str) -> Option<u32> {
    word.trim_end_matches(['.', ',', ':', ';', ')'])
        .parse()
        .ok()
}

/// The reader of doc comments itself: it neither overlooks nor invents a promise.
#[test]
fn promises_are_read_from_the_docs_of_tests_alone() {
    let source = "/// Promises 31, 33 and 35. At most 61 runs.\n#[test]\nfn a() {}\n\
                  /// Promise 2\nfn helper() {}\n/// Promise 9: never.\n#[ignore]\n#[test]\nfn b() {}\n\
                  /// Promise 4.\nfn c<E: Stream>() for [TcpStream, UnixStream] {";
    let docs = docs_of_tests(source);
    assert_eq!(docs.len(), 3);
    assert_eq!(promises_in(&docs[0]), BTreeSet::from([31, 33, 35]));
    assert_eq!(promises_in(&docs[1]), BTreeSet::from([9]));
    assert_eq!(promises_in(&docs[2]), BTreeSet::from([4]));
}
