//! Charts as data: which figures stand in which chart.

use crate::compare::{Load, Results, Row};

/// The number of connections that the charts show, if it was measured: enough for models to differ, and few enough for all.
const CONNECTIONS: usize = 64;

/// One chart: bars, or points on a line, for each model.
pub(crate) struct Panel {
    pub(crate) title: String,
    /// What it shows, and how to read it, in a sentence.
    pub(crate) text: String,
    pub(crate) unit: &'static str,
    pub(crate) kind: Kind,
    /// Names of the values of each line.
    pub(crate) series: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From zero.
    Bars,
    /// On a logarithmic axis.
    Points,
}

/// One model's values.
pub(crate) struct Line {
    pub(crate) name: String,
    /// It is one of withy's.
    pub(crate) is_ours: bool,
    pub(crate) values: Vec<Option<f64>>,
}

/// All charts, in the order of the page.
pub(crate) fn of(results: &Results) -> Vec<Panel> {
    let mut panels = Vec::new();
    for service in distinct(&results.results, |row| row.service) {
        let rows: Vec<_> = results
            .results
            .iter()
            .filter(|row| row.service == service && row.skipped.is_none())
            .collect();
        panels.extend(of_service(service, &rows));
    }
    panels.push(ergonomics(results));
    panels.retain(|panel| !panel.lines.is_empty());
    panels
}

fn of_service(service: &str, rows: &[&Row]) -> Vec<Panel> {
    let closed = |connections: usize| -> Vec<&Row> {
        let these = rows
            .iter()
            .filter(|row| row.load == Load::Closed && row.connections == connections);
        these
            .copied()
            .filter(|row| row.variant != "connection-per-request")
            .collect()
    };
    let counts = distinct(rows, |row| row.connections);
    let middle = *counts
        .iter()
        .min_by_key(|&&count| count.abs_diff(CONNECTIONS))
        .unwrap_or(&CONNECTIONS);
    let most = counts.last().copied().unwrap_or(CONNECTIONS);
    let held = closed(middle);
    let open: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.load == Load::Open)
        .collect();
    let (timed, how) = match open.first().and_then(|row| row.offered_per_s) {
        Some(offered) => (
            open,
            format!("at {offered:.0} requests/s, the same for all, counted from when each was due"),
        ),
        None => (held.clone(), "under a closed load".to_owned()),
    };
    let reconnecting: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.variant == "connection-per-request" && row.connections == middle)
        .collect();
    let mut panels = vec![throughput(service, rows, &counts)];
    panels.push(panel(
        format!("{service}: latency"),
        format!("{how}; {middle} connections. Left is better; points are the 50th, 99th and 99.9th percentile."),
        "µs",
        Kind::Points,
        &["p50", "p99", "p99.9"],
        &timed,
        |row| vec![row.p50_us, row.p99_us, row.p999_us],
    ));
    panels.push(panel(
        format!("{service}: CPU per request"),
        format!("user and system time of all the server's processes, {middle} connections, closed load. Less is better."),
        "µs",
        Kind::Bars,
        &["CPU"],
        &held,
        |row| vec![row.cpu_us_per_request],
    ));
    panels.push(panel(
        format!("{service}: memory per connection"),
        format!("with {most} idle connections: what the server grew by. Less is better; kernel memory does not count."),
        "KiB",
        Kind::Bars,
        &["memory"],
        &closed(most),
        |row| vec![row.memory_bytes_per_connection / 1024.0],
    ));
    panels.push(panel(
        format!("{service}: context switches"),
        format!(
            "for each request, of all threads, {middle} connections, closed load. Less is better."
        ),
        "per request",
        Kind::Bars,
        &["switches"],
        &held,
        |row| vec![row.context_switches],
    ));
    panels.push(panel(
        format!("{service}: threads and processes"),
        format!("while {middle} connections are open."),
        "",
        Kind::Bars,
        &["threads", "processes"],
        &held,
        |row| vec![count(row.threads), count(row.processes)],
    ));
    panels.push(panel(
        format!("{service}: a connection for each request"),
        format!("{middle} clients that connect, ask and close: models that hold few connections at once. More is better."),
        "requests/s",
        Kind::Bars,
        &["requests"],
        &reconnecting,
        |row| vec![row.requests_per_s],
    ));
    panels
}

fn throughput(service: &str, rows: &[&Row], counts: &[usize]) -> Panel {
    let rows: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.load == Load::Closed && row.variant != "connection-per-request")
        .collect();
    let mut lines: Vec<Line> = Vec::new();
    for name in distinct(&rows, |row| name(row)) {
        let of_count = |&count: &usize| {
            let row = rows
                .iter()
                .find(|row| row.connections == count && self::name(row) == name);
            row.map(|row| row.requests_per_s)
        };
        lines.push(Line {
            is_ours: is_ours(&name),
            values: counts.iter().map(of_count).collect(),
            name,
        });
    }
    Panel {
        title: format!("{service}: throughput"),
        text: "closed load: each connection asks again when it has its answer. More is better."
            .into(),
        unit: "requests/s",
        kind: Kind::Bars,
        series: counts
            .iter()
            .map(|count| format!("{count} connections"))
            .collect(),
        lines,
    }
}

fn panel(
    title: String,
    text: String,
    unit: &'static str,
    kind: Kind,
    series: &[&str],
    rows: &[&Row],
    values: impl Fn(&Row) -> Vec<f64>,
) -> Panel {
    let line = |row: &&Row| {
        let name = name(row);
        Line {
            is_ours: is_ours(&name),
            values: values(row).into_iter().map(Some).collect(),
            name,
        }
    };
    Panel {
        title,
        text,
        unit,
        kind,
        series: series.iter().map(|&name| name.to_owned()).collect(),
        lines: rows.iter().map(line).collect(),
    }
}

/// What the handlers are made of, by style; counted from the source.
fn ergonomics(results: &Results) -> Panel {
    let lines = results.ergonomics.iter().map(|one| Line {
        name: format!("{}, {}", one.service, one.style),
        is_ours: one.style == "sequential",
        values: [one.lines, one.functions, one.fields]
            .map(|number| Some(count(number)))
            .into(),
    });
    Panel {
        title: "what a handler takes to write".into(),
        text: "lines of code; functions and states that one request's logic is spread over; local variables that had to become fields. Less is better.".into(),
        unit: "",
        kind: Kind::Bars,
        series: ["lines", "functions and states", "fields"].map(str::to_owned).into(),
        lines: lines.collect(),
    }
}

fn name(row: &Row) -> String {
    match row.variant {
        "default" | "connection-per-request" | "epoll" => row.model.to_owned(),
        variant => format!("{} ({variant})", row.model),
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("coroutines")
}

fn count(number: usize) -> f64 {
    number as f64
}

/// Each value once, in the order in which they come.
fn distinct<T, K: PartialEq>(rows: &[T], of: impl Fn(&T) -> K) -> Vec<K> {
    let mut found = Vec::new();
    for row in rows {
        let key = of(row);
        if !found.contains(&key) {
            found.push(key);
        }
    }
    found
}
