//! The page's first table: a line for each model, and the best of each column in bold.

use std::fmt::Write;

use super::page::{class, escaped};
use super::panels::{self, Panel};
use crate::catalog::{Kind, MODELS, Model};
use crate::compare::{Load, Results, Row, middle};

/// A column: what it is about, its head, how its numbers are written, and a value for each model that has one.
struct Column {
    group: &'static str,
    head: &'static str,
    decimals: usize,
    most_is_best: bool,
    values: Vec<Option<f64>>,
    /// Of models that were measured with a connection for each request instead.
    substitutes: Vec<bool>,
}

pub(super) fn summary(results: &Results) -> String {
    let models: Vec<&Model> = MODELS
        .iter()
        .filter(|model| {
            let mut rows = results.results.iter();
            rows.any(|row| row.model == model.name && row.skipped.is_none())
        })
        .collect();
    let columns = columns(results, &models);
    let mut table =
        String::from("<table class=\"summary\">\n<thead><tr><th rowspan=\"2\">model</th>");
    for group in panels::distinct(&columns, |column| column.group) {
        let width = columns.iter().filter(|column| column.group == group);
        let _ = write!(table, "<th colspan=\"{}\">{group}</th>", width.count());
    }
    table.push_str("</tr>\n<tr>");
    for column in &columns {
        let _ = write!(table, "<th>{}</th>", escaped(column.head));
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for (place, model) in models.iter().enumerate() {
        let class = class(Some(model.kind()));
        let _ = write!(
            table,
            "<tr><td><span class=\"{class}\"></span>{}</td>",
            escaped(model.name)
        );
        for column in &columns {
            table.push_str(&column.cell(place));
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody>\n</table>\n");
    table
}

fn columns(results: &Results, models: &[&Model]) -> Vec<Column> {
    let mut columns = Vec::new();
    for service in panels::distinct(&results.results, |row| row.service) {
        let rows = panels::measured(results, service);
        let counts = panels::distinct(&rows, |row| row.connections);
        let middle = middle(counts.iter().copied());
        let most = counts.iter().copied().max().unwrap_or(middle);
        let open: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| row.load == Load::Open)
            .collect();
        let at = |row: &&Row| row.load == Load::Closed && row.connections == middle;
        let closed: Vec<&Row> = rows.iter().copied().filter(at).collect();
        let full = panels::closed(&rows, most, false);
        let column = |head, decimals, most_is_best, rows: &[&Row], value: fn(&Row) -> f64| {
            let found: Vec<_> = models.iter().map(|model| row_of(rows, model)).collect();
            Column {
                group: service,
                head,
                decimals,
                most_is_best,
                values: found.iter().map(|row| row.map(value)).collect(),
                substitutes: found
                    .iter()
                    .map(|row| row.is_some_and(panels::reconnects))
                    .collect(),
            }
        };
        columns.extend([
            column("requests/s", 0, true, &closed, |row| row.requests_per_s),
            column("CPU µs", 1, false, &closed, |row| row.cpu_us_per_request),
            column("p99 µs", 0, false, &open, |row| row.p99_us),
            column("KiB each", 1, false, &full, |row| {
                row.memory_bytes_per_connection / 1024.0
            }),
        ]);
    }
    columns.retain(|column| column.values.iter().any(Option::is_some));
    columns.push(lines(results, models));
    columns
}

/// The row that holds its connections, or else the one with a connection for each request.
fn row_of<'r>(rows: &[&'r Row], model: &Model) -> Option<&'r Row> {
    let of_model = || rows.iter().copied().filter(|row| row.model == model.name);
    of_model()
        .find(|row| !panels::reconnects(row))
        .or_else(|| of_model().next())
}

fn lines(results: &Results, models: &[&Model]) -> Column {
    let of = |model: &&Model| {
        let mut all = results.ergonomics.iter();
        let one = all.find(|one| one.service == "session" && one.style == model.style.name());
        one.map(|one| one.lines as f64)
    };
    Column {
        group: "session’s code",
        head: "lines",
        decimals: 0,
        most_is_best: false,
        values: models.iter().map(of).collect(),
        substitutes: vec![false; models.len()],
    }
}

impl Column {
    fn cell(&self, place: usize) -> String {
        let Some(value) = self.values[place] else {
            return "<td>–</td>".into();
        };
        let class = match self.is_best(value) && !self.substitutes[place] {
            true => " class=\"best\"",
            false => "",
        };
        let mark = match self.substitutes[place] {
            true => "*",
            false => "",
        };
        format!("<td{class}>{value:.*}{mark}</td>", self.decimals)
    }

    /// As it is written: those that look alike are.
    fn is_best(&self, value: f64) -> bool {
        let held = self.values.iter().zip(&self.substitutes);
        let others = held.filter_map(|(value, is_substitute)| value.filter(|_| !is_substitute));
        let written = |value: f64| format!("{value:.*}", self.decimals);
        let best = match self.most_is_best {
            true => others.fold(f64::NEG_INFINITY, f64::max),
            false => others.fold(f64::INFINITY, f64::min),
        };
        written(value) == written(best)
    }
}

/// Which colour is which kind of model.
pub(super) fn legend(panels: &[Panel]) -> String {
    let lines = || panels.iter().flat_map(|panel| &panel.lines);
    let mut legend = String::from("<ul class=\"legend\">\n");
    for kind in Kind::ALL {
        if lines().any(|line| line.kind == Some(kind)) {
            let _ = writeln!(
                legend,
                "<li><span class=\"{}\"></span>{}</li>",
                class(Some(kind)),
                escaped(kind.name())
            );
        }
    }
    legend.push_str("</ul>\n");
    legend
}
