//! The table on the terminal, and what stands in the cells of any table.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use crate::compare::{Load, Results, Row};

/// What is worth a column on a terminal: model, service, variant, load, connections, rate, latencies, CPU, memory, threads.
const SHOWN: [(usize, &str); 12] = [
    (0, "model"),
    (1, "service"),
    (2, "variant"),
    (3, "load"),
    (4, "conns"),
    (6, "req/s"),
    (8, "p50 µs"),
    (9, "p99 µs"),
    (11, "CPU µs"),
    (12, "B/conn"),
    (13, "threads"),
    (16, "errors"),
];

/// All rows; those that could not be measured say why below.
pub(crate) fn table(results: &Results) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(SHOWN.map(|(_, name)| name));
    for row in results.results.iter().filter(|row| row.skipped.is_none()) {
        let cells = cells(row);
        table.add_row(SHOWN.map(|(column, _)| cells[column].clone()));
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n");
    for row in &results.results {
        if let Some(why) = &row.skipped {
            text.push_str(&format!(
                "{} ({}) was not measured: {why}\n",
                row.model, row.service
            ));
        }
    }
    text
}

/// A row's values as text.
pub(super) fn cells(row: &Row) -> [String; 17] {
    let load = match row.load {
        Load::Closed => "closed",
        Load::Open => "open",
    };
    let whole = |value: f64| format!("{value:.0}");
    let fine = |value: f64| format!("{value:.2}");
    [
        row.model.to_owned(),
        row.service.to_owned(),
        row.variant.to_owned(),
        load.to_owned(),
        row.connections.to_string(),
        row.offered_per_s.map_or_else(String::new, whole),
        whole(row.requests_per_s),
        format!("{:.0} %", row.spread * 100.0),
        whole(row.p50_us),
        whole(row.p99_us),
        whole(row.p999_us),
        fine(row.cpu_us_per_request),
        whole(row.memory_bytes_per_connection),
        row.threads.to_string(),
        row.processes.to_string(),
        fine(row.context_switches),
        row.errors.to_string(),
    ]
}
