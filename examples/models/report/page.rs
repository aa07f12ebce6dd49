//! The page: self-contained, for a laptop and a phone.

use std::fmt::Write;

use super::chart::Chart;
use super::panels::{self, Panel};
use super::summary;
use crate::catalog::Kind;
use crate::compare::{Results, Row, middle};

const STYLE: &str = include_str!("page.css");

pub(super) fn page(results: &Results, panels: &[Panel], charts: &[Chart]) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Server models side by side</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Server models side by side</h1>\n\
         {introduction}{legend}<div class=\"wide\">\n{summary}</div>\n{note}<main>\n{charts}</main>\n\
         <details><summary>All figures</summary>\n<div class=\"wide\">\n{all}</div>\n</details>\n{skipped}</body>\n</html>\n",
        introduction = introduction(results),
        legend = summary::legend(panels),
        summary = summary::summary(results),
        note = note(results),
        charts = groups(panels, charts),
        all = table(&results.results),
        skipped = skipped(&results.results),
    )
}

fn introduction(results: &Results) -> String {
    let machine = &results.machine;
    format!(
        "<p>One protocol, {models} models, the same load for all; each a process of its own, {cores}. \
         {cpu}, {all} cores, Linux {kernel}; {date}. Models with a number of threads or processes have {workers}.</p>\n\
         <p><b>How to read this:</b> a colour is a kind of model, the same everywhere; the best is on top of each chart, and underlined in the table. \
         <i>Echo</i> gives back 64 bytes; a request of a <i>session</i> waits for another server, which answers after 1 ms. \
         Throughput and CPU tell what a request costs, latency how long it takes at a rate that most can do.</p>\n",
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
    )
}

fn note(results: &Results) -> String {
    let counts = results.results.iter().map(|row| row.connections);
    let (middle, most) = (middle(counts.clone()), counts.max().unwrap_or(0));
    format!(
        "<p class=\"note\">With {middle} connections, KiB for each of {most}; p99 under the open load, the rest under the closed one. \
         * holds fewer connections at once: measured with a connection for each request. – was not measured, or cannot be.</p>\n"
    )
}

/// The charts, by what they are about.
fn groups(panels: &[Panel], charts: &[Chart]) -> String {
    let mut text = String::new();
    for group in panels::distinct(panels, |panel| panel.group.clone()) {
        let _ = writeln!(text, "<h2>{}</h2>\n<div class=\"charts\">", heading(&group));
        for (panel, chart) in panels.iter().zip(charts) {
            if panel.group == group {
                let _ = writeln!(
                    text,
                    "<figure>{}<figcaption>{}</figcaption></figure>",
                    sized(chart),
                    escaped(&panel.text)
                );
            }
        }
        text.push_str("</div>\n");
    }
    text
}

fn heading(group: &str) -> String {
    let mut letters = group.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    escaped(&first.chain(letters).collect::<String>())
}

fn models(results: &Results) -> usize {
    let rows = results.results.iter().filter(|row| row.skipped.is_none());
    panels::distinct(&rows.collect::<Vec<_>>(), |row| row.model).len()
}

/// The page has the say about its size: what a drawing says of its own goes.
fn sized(chart: &Chart) -> String {
    let svg = chart.svg.replacen("<svg ", "<svg role=\"img\" ", 1);
    let Some(end) = svg.find('>') else {
        return svg;
    };
    let (head, rest) = svg.split_at(end);
    let without: Vec<_> = head
        .split(' ')
        .filter(|part| !part.starts_with("width=") && !part.starts_with("height="))
        .collect();
    without.join(" ") + rest
}

const COLUMNS: [&str; 18] = [
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
    "errors",
    "wasted wake-ups",
];

fn table(rows: &[Row]) -> String {
    let mut table = String::from("<table class=\"all\">\n<thead><tr>");
    for column in COLUMNS {
        let _ = write!(table, "<th>{column}</th>");
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for row in rows.iter().filter(|row| row.skipped.is_none()) {
        let _ = write!(
            table,
            "<tr><td><span class=\"{}\"></span>",
            class(panels::kind(row))
        );
        let cells = super::table::cells(row).map(|text| escaped(&text));
        table.push_str(&cells.join("</td><td>"));
        table.push_str("</td></tr>\n");
    }
    table.push_str("</tbody>\n</table>\n");
    table
}

fn skipped(rows: &[Row]) -> String {
    let mut text = String::new();
    for line in super::table::skipped(rows) {
        let _ = writeln!(text, "<p class=\"note\">{}</p>", escaped(&line));
    }
    text
}

/// In `page.css`.
pub(super) fn class(kind: Option<Kind>) -> &'static str {
    match kind {
        None => "",
        Some(Kind::Blocking) => "blocking",
        Some(Kind::Requests) => "requests",
        Some(Kind::Callbacks) => "callbacks",
        Some(Kind::Actors) => "actors",
        Some(Kind::Async) => "async",
        Some(Kind::Coroutines) => "coroutines",
    }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
