//! Which public functions say that they wait.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const HEADING: &str = "# Cancellation";

/// The functions whose docs have the heading, as `module::Type::function`: with the module if it is public, and
/// without generics.
pub(crate) fn functions_that_wait() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    for (source, prefix) in [("runtime/src", ""), ("net/src", "net::")] {
        let folder = root.join(source);
        let lib = fs::read_to_string(folder.join("lib.rs")).expect("a crate has a lib.rs");
        for file in sources_in(&folder) {
            let text = fs::read_to_string(&file).expect("a source file can be read");
            let inside = file.strip_prefix(&folder).expect("it was found in there");
            let module = public_module(inside, &lib);
            for function in functions_in(&text) {
                names.insert(format!("{prefix}{module}{function}"));
            }
        }
    }
    names
}

fn sources_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .expect("a folder of sources can be read")
        .map(|entry| entry.expect("an entry can be read").path())
        .flat_map(|path| match path.is_dir() {
            true => sources_in(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// `fs::` for fs/file.rs, if lib.rs has `pub mod fs`; nothing for what is re-exported at the root.
fn public_module(file: &Path, lib: &str) -> String {
    let first = file.components().next().expect("a file has a name");
    let module = Path::new(&first)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .expect("a source file's name is text");
    match lib.contains(&format!("pub mod {module};")) {
        true => format!("{module}::"),
        false => String::new(),
    }
}

/// `Type::function` or `function`, for each whose doc comment has the heading.
fn functions_in(source: &str) -> Vec<String> {
    let mut functions = Vec::new();
    let mut owner = (0, "");
    let mut waits = false;
    for line in source.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if let Some(doc) = code.strip_prefix("///") {
            waits |= doc.trim() == HEADING;
        } else if let Some(owned) = code.strip_prefix("impl") {
            owner = (indent, type_of(owned));
            waits = false;
        } else if let Some((_, rest)) = code.split_once("fn ")
            && (code.starts_with("pub ")
                || code.starts_with("fn ")
                || code.starts_with("pub const "))
        {
            if std::mem::take(&mut waits) {
                let name = rest.split(['(', '<']).next().unwrap_or(rest);
                functions.push(match indent > owner.0 && !owner.1.is_empty() {
                    true => format!("{}::{name}", owner.1),
                    false => name.to_owned(),
                });
            }
        } else if !code.starts_with("#[") && !code.starts_with("//") && !code.ends_with(")]") {
            waits = false;
        }
    }
    functions
}

/// The type of `<'a> Scope<'a> {`, `Iterator for Incoming<'_> {`.
fn type_of(owned: &str) -> &str {
    let owned = owned.trim_end_matches('{').trim();
    let named = match owned.rsplit_once(" for ") {
        Some((_, named)) => named,
        None => match owned.strip_prefix('<') {
            Some(rest) => after_generics(rest),
            None => owned,
        },
    };
    let named = named.trim().trim_start_matches('&');
    named.split(['<', ' ']).next().unwrap_or(named)
}

fn after_generics(rest: &str) -> &str {
    let mut depth = 1;
    let mut before = ' ';
    for (at, letter) in rest.char_indices() {
        match letter {
            '<' => depth += 1,
            // Not that of an arrow.
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        before = letter;
        if depth == 0 {
            return &rest[at + 1..];
        }
    }
    rest
}

/// The reader itself: it neither overlooks nor invents a function.
#[test]
fn functions_are_found_by_their_headings() {
    let source = "/// Waits.\n///\n/// # Cancellation\n/// It unwinds.\n#[track_caller]\npub fn free<T>(f: T) {\n}\n\
                  /// Does not.\npub fn quick() {}\n\
                  impl<T, F: FnOnce() -> T> Lazy<T, F> {\n    /// # Cancellation\n    pub fn force(this: &Lazy<T, F>) -> &T {}\n}\n\
                  impl<'a, T: Into<u8>> Wide<'a, T> {\n    /// # Cancellation\n    pub fn wait(self) {}\n\n    fn other() {}\n}\n\
                  impl Iterator for Incoming<'_> {\n    type Item = ();\n\n    /// # Cancellation\n    fn next(&mut self) {}\n}\n\
                  macro_rules! io {\n        impl Read for $stream {\n            /// # Cancellation\n            fn read(\n";
    assert_eq!(
        functions_in(source),
        [
            "free",
            "Lazy::force",
            "Wide::wait",
            "Incoming::next",
            "$stream::read"
        ]
    );
}
