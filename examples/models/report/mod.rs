//! The report: a page that is looked at (`index.html`, self-contained), its charts alone (`report.svg`), all figures
//! (`report.json`), and a table on the terminal.
//!
//! | file | what it makes |
//! | --- | --- |
//! | `panels.rs` | charts as data: which figures stand in which chart |
//! | `chart.rs` | a chart as SVG, by plotters |
//! | `page.rs` | the page |
//! | `summary.rs` | its first table: a line for each model |
//! | `table.rs` | the table |

mod chart;
mod page;
mod panels;
mod summary;
mod table;

use std::fs::{self, File};
use std::io;
use std::path::Path;

pub(crate) use table::table;

use crate::compare::Results;

/// What a report is made of.
const FILES: [&str; 3] = ["report.json", "report.svg", "index.html"];

/// Makes the folder, and sees whether a report can be written there.
///
/// # Errors
/// If it cannot.
pub(crate) fn prepare(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error))?;
    for name in FILES {
        let path = folder.join(name);
        match File::options().write(true).open(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unwritten(&path, &error));
            }
            _ => {}
        }
    }
    let probe = folder.join(".report");
    fs::write(&probe, "")
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|error| unwritten(folder, &error))
}

/// Writes the three files into a folder, which is made if need be.
///
/// # Errors
/// If one cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error))?;
    let panels = panels::of(results);
    let charts: Vec<_> = panels.iter().map(chart::draw).collect::<Result<_, _>>()?;
    let texts = [
        serde_json::to_string_pretty(results)?,
        chart::sheet(&charts),
        page::page(results, &panels, &charts),
    ];
    for (name, text) in FILES.iter().zip(texts) {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| unwritten(&path, &error))?;
    }
    Ok(())
}

fn unwritten(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!(
            "{} cannot be written: {error}; choose another folder by --out",
            path.display()
        ),
    )
}
