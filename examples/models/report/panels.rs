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
    let counts = distinct(rows, |row| row.connections);
    let near = counts
        .iter()
        .min_by_key(|&&count| count.abs_diff(CONNECTIONS));
    let middle = near.copied().unwrap_or(CONNECTIONS);
    let most = counts.last().copied().unwrap_or(CONNECTIONS);
    let held = closed(rows, middle, false);
    vec![
        throughput(service, rows, &counts),
        latency(service, rows, &held, middle),
        Panel::of(&held, Kind::Bars, &["CPU"], |row| vec![row.cpu_us_per_request])
            .about(format!("{service}: CPU per request"), "µs")
            .text(format!("user and system time of all the server's processes, {middle} connections, closed load. Less is better.")),
        Panel::of(&closed(rows, most, false), Kind::Bars, &["memory"], |row| {
            vec![row.memory_bytes_per_connection / 1024.0]
        })
        .about(format!("{service}: memory per connection"), "KiB")
        .text(format!("with {most} idle connections: what the server grew by. Less is better; kernel memory does not count.")),
        Panel::of(&held, Kind::Bars, &["switches"], |row| vec![row.context_switches])
            .about(format!("{service}: context switches"), "per request")
            .text(format!("of all threads, {middle} connections, closed load. Less is better.")),
        Panel::of(&held, Kind::Bars, &["threads", "processes"], |row| {
            vec![count(row.threads), count(row.processes)]
        })
        .about(format!("{service}: threads and processes"), "")
        .text(format!("while {middle} connections are open.")),
        Panel::of(&closed(rows, middle, true), Kind::Bars, &["requests"], |row| vec![row.requests_per_s])
            .about(format!("{service}: a connection for each request"), "requests/s")
            .text(format!("{middle} clients that connect, ask and close: for models that hold few connections at once. More is better.")),
    ]
}

/// Rows of the closed load with that many connections; of those that connect for each request, or of the others.
fn closed<'r>(rows: &[&'r Row], connections: usize, reconnect: bool) -> Vec<&'r Row> {
    let such = |row: &&&Row| {
        row.load == Load::Closed && row.connections == connections && reconnects(row) == reconnect
    };
    rows.iter().filter(such).copied().collect()
}

fn reconnects(row: &Row) -> bool {
    row.variant == "connection-per-request"
}

/// Under the open load, if it was measured: it is the one whose latencies can be believed.
fn latency(service: &str, rows: &[&Row], held: &[&Row], connections: usize) -> Panel {
    let open: Vec<&Row> = rows
        .iter()
        .filter(|row| row.load == Load::Open)
        .copied()
        .collect();
    let how = match open.first().and_then(|row| row.offered_per_s) {
        Some(offered) => {
            format!("at {offered:.0} requests/s, the same for all, counted from when each was due")
        }
        None => "under a closed load".to_owned(),
    };
    let rows = if open.is_empty() { held } else { &open };
    Panel::of(rows, Kind::Points, &["p50", "p99", "p99.9"], |row| vec![row.p50_us, row.p99_us, row.p999_us])
        .about(format!("{service}: latency"), "µs")
        .text(format!("{how}; {connections} connections. Left is better; points are the 50th, 99th and 99.9th percentile."))
}

impl Panel {
    /// A line for each row.
    fn of(rows: &[&Row], kind: Kind, series: &[&str], values: impl Fn(&Row) -> Vec<f64>) -> Panel {
        let line = |row: &&Row| {
            let name = name(row);
            Line {
                is_ours: is_ours(&name),
                values: values(row).into_iter().map(Some).collect(),
                name,
            }
        };
        Panel {
            title: String::new(),
            text: String::new(),
            unit: "",
            kind,
            series: series.iter().map(|&name| name.to_owned()).collect(),
            lines: rows.iter().map(line).collect(),
        }
    }

    fn about(self, title: String, unit: &'static str) -> Panel {
        Panel {
            title,
            unit,
            ..self
        }
    }

    fn text(self, text: String) -> Panel {
        Panel { text, ..self }
    }
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
