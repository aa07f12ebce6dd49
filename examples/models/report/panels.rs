//! Charts as data: which figures stand in which chart.

use crate::catalog::{self, Kind};
use crate::compare::{Load, Results, Row, middle};

/// One chart: bars, or points on a line, for each model.
pub(crate) struct Panel {
    /// What it is about: a service, or the code. Panels of one group stand together.
    pub(crate) group: String,
    pub(crate) title: String,
    /// What it shows, and how to read it, in a sentence.
    pub(crate) text: String,
    pub(crate) unit: &'static str,
    pub(crate) scale: Scale,
    /// Names of the values of each line.
    pub(crate) series: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scale {
    /// Bars from zero.
    Linear,
    /// Points on a logarithmic axis.
    Logarithmic,
}

/// One model's values.
pub(crate) struct Line {
    pub(crate) name: String,
    /// `None`: several kinds have it.
    pub(crate) kind: Option<Kind>,
    pub(crate) values: Vec<Option<f64>>,
}

impl Panel {
    /// There is something to tell apart.
    pub(crate) fn has_legend(&self) -> bool {
        self.series.len() > 1
    }
}

/// Which end of the scale is on top.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Best {
    Most,
    Least,
}

/// If values differ by more than that, short bars cannot be told from each other.
const LINEAR_RATIO_MAX: f64 = 40.0;

/// All charts, in the order of the page.
pub(crate) fn of(results: &Results) -> Vec<Panel> {
    let mut panels = Vec::new();
    for service in distinct(&results.results, |row| row.service) {
        let rows = measured(results, service);
        panels.extend(of_service(service, &rows));
    }
    panels.push(ergonomics(results));
    panels.retain(|panel| !panel.lines.is_empty());
    panels
}

/// What there is to show of a service.
pub(super) fn measured<'r>(results: &'r Results, service: &str) -> Vec<&'r Row> {
    let such = |row: &&Row| row.service == service && row.skipped.is_none();
    results.results.iter().filter(such).collect()
}

fn of_service(service: &str, rows: &[&Row]) -> Vec<Panel> {
    let mut counts = distinct(rows, |row| row.connections);
    counts.sort_unstable();
    let middle = middle(counts.iter().copied());
    let most = counts.last().copied().unwrap_or(middle);
    let held = closed(rows, middle, false);
    let panels = vec![
        throughput(rows, &counts, middle),
        latency(rows, &held, middle),
        Panel::of(&held, Best::Least, &["CPU"], |row| vec![row.cpu_us_per_request])
            .about("CPU per request", "µs")
            .text(format!("user and system time of all the server's processes, {middle} connections, closed load. Less is better.")),
        Panel::of(&closed(rows, most, false), Best::Least, &["memory"], |row| {
            vec![row.memory_bytes_per_connection / 1024.0]
        })
        .about("memory per connection", "KiB")
        .text(format!("what the server has grown by with {most} idle connections. Less is better; what the kernel keeps for it does not count. Models that cannot hold as many are missing.")),
        Panel::of(&held, Best::Least, &["switches"], |row| vec![row.context_switches])
            .about("context switches", "per request")
            .text(format!("of all threads, {middle} connections, closed load. Less is better.")),
        Panel::of(&held, Best::Least, &["threads", "processes"], |row| {
            vec![count(row.threads), count(row.processes)]
        })
        .about("threads and processes", "")
        .text(format!("of the server while {middle} connections are open.")),
        Panel::of(&closed(rows, middle, true), Best::Most, &["requests"], |row| vec![row.requests_per_s])
            .about("a connection for each request", "requests/s")
            .text(format!("{middle} clients that connect, ask and close: for models that hold a bounded number of connections. More is better.")),
    ];
    let of_service = |panel: Panel| Panel {
        group: service.to_owned(),
        title: format!("{service}: {}", panel.title),
        ..panel
    };
    panels.into_iter().map(of_service).collect()
}

/// Rows of the closed load with that many connections; of those that connect for each request, or of the others.
pub(super) fn closed<'r>(rows: &[&'r Row], connections: usize, reconnect: bool) -> Vec<&'r Row> {
    let such = |row: &&&Row| {
        row.load == Load::Closed && row.connections == connections && reconnects(row) == reconnect
    };
    rows.iter().filter(such).copied().collect()
}

pub(super) fn reconnects(row: &Row) -> bool {
    row.variant == "connection-per-request"
}

/// Under the open load, if it was measured: it is the one whose latencies can be believed.
fn latency(rows: &[&Row], held: &[&Row], connections: usize) -> Panel {
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
    let mut panel = Panel::of(rows, Best::Least, &["p50", "p99", "p99.9"], |row| {
        vec![row.p50_us, row.p99_us, row.p999_us]
    });
    panel.scale = Scale::Logarithmic;
    panel
        .about("latency", "µs")
        .text(format!("{how}; {connections} connections. Left is better; in the order of the 99th percentile. † cannot do as many: its requests wait longer and longer."))
}

impl Panel {
    /// A line for each row, the best on top: by the middle one of its values.
    fn of(rows: &[&Row], best: Best, series: &[&str], values: impl Fn(&Row) -> Vec<f64>) -> Panel {
        let by = (series.len() - 1) / 2;
        let line = |row: &&Row| Line {
            name: name(row),
            kind: kind(row),
            values: values(row).into_iter().map(Some).collect(),
        };
        let series = series.iter().map(|&name| name.to_owned()).collect();
        Panel::sorted(rows.iter().map(line).collect(), series, best, by)
    }

    /// By the values of one series.
    fn sorted(mut lines: Vec<Line>, series: Vec<String>, best: Best, by: usize) -> Panel {
        // Who has no value comes last.
        let place = |line: &Line| match (line.values[by], best) {
            (Some(value), Best::Most) => -value,
            (Some(value), Best::Least) => value,
            (None, _) => f64::INFINITY,
        };
        lines.sort_by(|a, b| place(a).total_cmp(&place(b)));
        Panel {
            group: String::new(),
            title: String::new(),
            text: String::new(),
            unit: "",
            scale: scale(&lines),
            series,
            lines,
        }
    }

    fn about(self, title: &str, unit: &'static str) -> Panel {
        Panel {
            title: title.to_owned(),
            unit,
            ..self
        }
    }

    fn text(self, text: String) -> Panel {
        Panel { text, ..self }
    }
}

fn scale(lines: &[Line]) -> Scale {
    let values = lines.iter().flat_map(|line| line.values.iter().flatten());
    let (least, most) = values
        .filter(|&&value| value > 0.0)
        .fold((f64::INFINITY, 0.0f64), |(least, most), &value| {
            (least.min(value), most.max(value))
        });
    if most / least > LINEAR_RATIO_MAX {
        Scale::Logarithmic
    } else {
        Scale::Linear
    }
}

fn throughput(rows: &[&Row], counts: &[usize], middle: usize) -> Panel {
    let rows: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.load == Load::Closed && !reconnects(row))
        .collect();
    let mut lines: Vec<Line> = Vec::new();
    for row in &rows {
        let name = name(row);
        if lines.iter().any(|line| line.name == name) {
            continue;
        }
        let of_count = |&count: &usize| {
            let mut rows = rows.iter();
            let row = rows.find(|row| row.connections == count && self::name(row) == name);
            row.map(|row| row.requests_per_s)
        };
        lines.push(Line {
            kind: kind(row),
            values: counts.iter().map(of_count).collect(),
            name,
        });
    }
    let series = counts.iter().map(|count| match count {
        1 => "1 connection".to_owned(),
        count => format!("{count} connections"),
    });
    let by = counts.iter().position(|&count| count == middle);
    let mut panel = Panel::sorted(lines, series.collect(), Best::Most, by.unwrap_or(0));
    // One connection does little in any model; lengths are compared among the others.
    panel.scale = Scale::Linear;
    panel.about("throughput", "requests/s").text(format!(
        "closed load: each connection asks again when it has its answer. More is better; in the order of {middle} connections."
    ))
}

/// What the handlers are made of, by style; counted from the source.
fn ergonomics(results: &Results) -> Panel {
    let lines = results.ergonomics.iter().map(|one| Line {
        name: format!("{}, {}", one.service, one.style),
        kind: kind_of_style(one.style),
        values: [one.lines, one.functions, one.fields]
            .map(|number| Some(count(number)))
            .into(),
    });
    Panel {
        group: "code".into(),
        title: "what a handler takes to write".into(),
        text: "counted in the source: lines of code; functions and states that one request's logic is spread over; local variables that had to become fields. Less is better. Threads, processes and coroutines run the same sequential handlers.".into(),
        unit: "",
        scale: Scale::Linear,
        series: ["lines", "functions and states", "fields"].map(str::to_owned).into(),
        lines: lines.collect(),
    }
}

/// `None`: models of several kinds are written in it.
fn kind_of_style(style: &str) -> Option<Kind> {
    let models = catalog::MODELS.iter();
    let mut kinds = models
        .filter(|model| model.style.name() == style)
        .map(catalog::Model::kind);
    let first = kinds.next()?;
    kinds.all(|kind| kind == first).then_some(first)
}

/// The model, and what is special about the row.
pub(super) fn name(row: &Row) -> String {
    let name = match row.variant {
        "default" | "connection-per-request" | "epoll" => row.model.to_owned(),
        variant => format!("{} ({variant})", row.model),
    };
    match row.offered_per_s {
        Some(offered) if row.requests_per_s < OVERLOADED_PART * offered => {
            format!("{name} †")
        }
        _ => name,
    }
}

/// A model that answers less than this part of what is asked falls behind; short rounds have an edge on both sides.
const OVERLOADED_PART: f64 = 0.9;

pub(super) fn kind(row: &Row) -> Option<Kind> {
    catalog::find(row.model).map(catalog::Model::kind)
}

fn count(number: usize) -> f64 {
    number as f64
}

/// Each value once, in the order in which they come.
pub(super) fn distinct<T, K: PartialEq>(rows: &[T], of: impl Fn(&T) -> K) -> Vec<K> {
    let mut found = Vec::new();
    for row in rows {
        let key = of(row);
        if !found.contains(&key) {
            found.push(key);
        }
    }
    found
}
