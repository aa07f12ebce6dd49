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
    for line in skipped(&results.results) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// How many cases are named for one reason.
const NAMED_MAX: usize = 8;

/// What was not measured: a line for each reason.
pub(super) fn skipped(rows: &[Row]) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for row in rows {
        let Some(why) = row.skipped.as_deref() else {
            continue;
        };
        let (variant, load) = (row.variant, load(row));
        let case = format!(
            "{} ({}, {variant}, {} connections, {load})",
            row.model, row.service, row.connections
        );
        match reasons.iter_mut().find(|(other, _)| *other == why) {
            Some((_, cases)) => cases.push(case),
            None => reasons.push((why, vec![case])),
        }
    }
    let line = |(why, cases): &(&str, Vec<String>)| {
        let named = cases[..cases.len().min(NAMED_MAX)].join(", ");
        match cases.len().saturating_sub(NAMED_MAX) {
            0 => format!("Not measured: {named}: {why}"),
            others => format!("Not measured: {named} and {others} more: {why}"),
        }
    };
    reasons.iter().map(line).collect()
}

fn load(row: &Row) -> &'static str {
    match row.load {
        Load::Closed => "closed",
        Load::Open => "open",
    }
}

/// A row's values as text.
pub(super) fn cells(row: &Row) -> [String; 18] {
    let whole = |value: f64| format!("{value:.0}");
    let fine = |value: f64| format!("{value:.2}");
    [
        row.model.to_owned(),
        row.service.to_owned(),
        row.variant.to_owned(),
        load(row).to_owned(),
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
        row.wasted_wake_ups.map_or_else(String::new, fine),
    ]
}
