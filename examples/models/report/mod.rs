//! The report: a page that is looked at (`index.html`, self-contained), its charts alone (`report.svg`), all figures
//! (`report.json`), and a table on the terminal.
//!
//! | file | what it makes |
//! | --- | --- |
//! | `panels.rs` | charts as data: which figures stand in which chart |
//! | `chart.rs` | a chart as SVG, by plotters |
//! | `page.rs` | the page |
//! | `table.rs` | the table |

mod chart;
mod page;
mod panels;
mod table;

use std::fs;
use std::io;
use std::path::Path;

pub(crate) use table::table;

use crate::compare::Results;

/// Writes the three files into a folder, which is made if need be.
///
/// # Errors
/// If one cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let panels = panels::of(results);
    let charts: Vec<_> = panels.iter().map(chart::draw).collect::<Result<_, _>>()?;
    fs::write(
        folder.join("report.json"),
        serde_json::to_string_pretty(results)?,
    )?;
    fs::write(folder.join("report.svg"), chart::sheet(&charts))?;
    fs::write(
        folder.join("index.html"),
        page::page(results, &panels, &charts),
    )
}
