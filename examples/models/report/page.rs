//! The page: self-contained, for a laptop and a phone.

use std::fmt::Write;

use super::chart::Chart;
use super::panels::Panel;
use crate::compare::{Results, Row};

const STYLE: &str = include_str!("page.css");

pub(super) fn page(results: &Results, panels: &[Panel], charts: &[Chart]) -> String {
    let machine = &results.machine;
    let mut figures = String::new();
    for (panel, chart) in panels.iter().zip(charts) {
        // The chart's own size is its largest: it shrinks with the page.
        let svg = chart.svg.replacen("<svg ", "<svg role=\"img\" ", 1);
        let _ = writeln!(
            figures,
            "<figure>{}<figcaption>{}</figcaption></figure>",
            sized(&svg),
            escaped(&panel.text)
        );
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Server models side by side</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Server models side by side</h1>\n\
         <p>One protocol, {models} models, the same load for all; each a process of its own, {cores}. \
         {cpu}, {all} cores, Linux {kernel}; {date}. Models with a number of threads or processes have {workers}. \
         <b class=\"ours\">Green</b> is withy.</p>\n\
         <main>\n{figures}</main>\n<h2>All figures</h2>\n<div class=\"wide\">\n{table}</div>\n</body>\n</html>\n",
        models = models(results),
        cores = match machine.cores {
            1 => "server and clients on the same core".to_owned(),
            _ => format!(
                "server on {} of the cores, clients on the others",
                machine.server_cores
            ),
        },
        cpu = escaped(&machine.cpu),
        all = machine.cores,
        kernel = escaped(&machine.kernel),
        date = escaped(&results.date),
        workers = results.workers,
        table = table(&results.results),
    )
}

fn models(results: &Results) -> usize {
    let mut names: Vec<_> = results.results.iter().map(|row| row.model).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// A drawing's size becomes its proportions.
fn sized(svg: &str) -> String {
    let Some(end) = svg.find('>') else {
        return svg.to_owned();
    };
    let (head, rest) = svg.split_at(end);
    let without: Vec<_> = head
        .split(' ')
        .filter(|part| !part.starts_with("width=") && !part.starts_with("height="))
        .collect();
    without.join(" ") + rest
}

const COLUMNS: [&str; 16] = [
    "model",
    "service",
    "variant",
    "load",
    "connections",
    "offered/s",
    "requests/s",
    "spread",
    "p50 µs",
    "p99 µs",
    "p99.9 µs",
    "CPU µs",
    "bytes/connection",
    "threads",
    "processes",
    "switches",
];

fn table(rows: &[Row]) -> String {
    let mut table = String::from("<table>\n<thead><tr>");
    for column in COLUMNS {
        let _ = write!(table, "<th>{column}</th>");
    }
    table.push_str("<th>errors</th></tr></thead>\n<tbody>\n");
    for row in rows {
        let class = if row.model.starts_with("coroutines") {
            " class=\"ours\""
        } else {
            ""
        };
        let _ = write!(table, "<tr{class}>");
        for text in super::table::cells(row) {
            let _ = write!(table, "<td>{}</td>", escaped(&text));
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody>\n</table>\n");
    table
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
