//! What it is to write a service in each of the styles, counted in the sources.
//!
//! Handler code, which is what the author of a service writes, stands between `// ergonomics: SERVICE, STYLE` and
//! `// ergonomics: end`. What is counted there:
//! - **lines**, without blank ones and comments;
//! - **functions and states** that one request's logic is spread over: functions, except constructors (`new`), and variants of
//!   enums, each of which is a place where the logic can be interrupted;
//! - **fields** of structs and of variants, by name: what must be remembered from one call to the next. Where control flows
//!   from one message to the next by itself they are local variables.

use std::collections::HashSet;

use serde::Serialize;

/// What the handler of a service is made of, in one style.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Ergonomics {
    pub(crate) service: &'static str,
    pub(crate) style: &'static str,
    pub(crate) lines: usize,
    pub(crate) functions: usize,
    pub(crate) fields: usize,
}

/// Code between two markers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Region {
    pub(crate) service: &'static str,
    pub(crate) style: &'static str,
    pub(crate) code: &'static str,
}

/// In the order of docs/models.md.
const SOURCES: &[&str] = &[
    include_str!("protocol/sequential.rs"),
    include_str!("protocol/asynchronous.rs"),
    include_str!("protocol/request.rs"),
    include_str!("protocol/machine.rs"),
    include_str!("actors.rs"),
];

/// Of every style, echo first.
pub(crate) fn all() -> Vec<Ergonomics> {
    let mut all: Vec<_> = regions().iter().map(count).collect();
    all.sort_by_key(|one| one.service);
    all
}

/// All that are marked.
pub(crate) fn regions() -> Vec<Region> {
    SOURCES
        .iter()
        .flat_map(|source| regions_of(source))
        .collect()
}

const MARKER: &str = "// ergonomics: ";

/// Those of one file.
///
/// # Panics
/// If a marker has no end, or says something else.
pub(crate) fn regions_of(source: &'static str) -> Vec<Region> {
    let mut pieces = source.split(MARKER);
    // What is before the first.
    pieces.next();
    pieces
        .filter_map(|piece| {
            let (label, code) = piece.split_once('\n').expect("a marker is a line");
            let is_end = label == "end";
            (!is_end).then(|| {
                let (service, style) = label
                    .split_once(", ")
                    .unwrap_or_else(|| panic!("got {label:?}, expected SERVICE, STYLE or end"));
                Region {
                    service,
                    style,
                    code: code.trim_end(),
                }
            })
        })
        .collect()
}

/// What a region is made of.
pub(crate) fn count(region: &Region) -> Ergonomics {
    let code = region.code.lines().map(str::trim);
    let code: Vec<_> = code
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .collect();
    let functions = code.iter().filter_map(|line| function(line));
    let mut counted = Ergonomics {
        service: region.service,
        style: region.style,
        lines: code.len(),
        functions: functions.filter(|&name| name != "new").count(),
        fields: 0,
    };
    let mut fields = HashSet::new();
    let mut kind = None;
    for line in code {
        match (kind, item(line)) {
            (_, Some(item)) if line.ends_with('{') => kind = Some(item),
            (Some(_), _) if line == "}" => kind = None,
            (Some(Item::Struct), _) => fields.extend(field(line)),
            (Some(Item::Enum), _) if !line.starts_with('#') => {
                counted.functions += 1;
                let inside = line.split_once('{').map_or("", |(_, inside)| inside);
                fields.extend(inside.split(',').filter_map(field));
            }
            _ => {}
        }
    }
    counted.fields = fields.len();
    counted
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    Struct,
    Enum,
}

/// What begins in that line, in the layout of rustfmt: a brace at the end, one by itself closes it, and a variant on one line.
fn item(line: &str) -> Option<Item> {
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    match line.split_ascii_whitespace().next() {
        Some("struct") => Some(Item::Struct),
        Some("enum") => Some(Item::Enum),
        _ => None,
    }
}

/// The function that begins in that line.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let name = line.strip_prefix("fn ")?;
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .next()
}

/// The field that is declared there.
fn field(line: &str) -> Option<&str> {
    let name = line.split_once(':')?.0.trim();
    name.strip_prefix("pub(crate) ").or(Some(name))
}
