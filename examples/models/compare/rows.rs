//! From the rounds of one case to one row of the report.

use hdrhistogram::Histogram;
use serde::Serialize;

/// How requests come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Load {
    Closed,
    Open,
}

/// One case as measured: medians over the rounds, but for the latencies, which are of all rounds together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) model: &'static str,
    pub(crate) service: &'static str,
    /// `default`, `connection-per-request`, or the poller.
    pub(crate) variant: &'static str,
    pub(crate) load: Load,
    pub(crate) connections: usize,
    /// What was asked for, if the load is open.
    pub(crate) offered_per_s: Option<f64>,
    pub(crate) requests_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    /// User and system time of the server's processes, from when all are connected to the last answer. With a connection for each
    /// request, from the first connection to the end of the server: who has served it may have ended before.
    pub(crate) cpu_us_per_request: f64,
    /// Proportional set size with all connected, each answered once, less that of a server without connections. Nothing with a
    /// connection for each request.
    pub(crate) memory_bytes_per_connection: f64,
    pub(crate) threads: usize,
    pub(crate) processes: usize,
    /// For each request, voluntary and others, of all the server's threads, from when all are connected to the end of the server:
    /// only then it is known of threads that have ended.
    pub(crate) context_switches: f64,
    pub(crate) errors: u64,
    /// Processes that were woken for a connection and found none, for each connection; where the model counts them.
    pub(crate) wasted_wake_ups: Option<f64>,
    pub(crate) rounds: usize,
    /// Of `requests_per_s`: the greatest less the least round, by the median.
    pub(crate) spread: f64,
    /// Why there is nothing: the model could not be measured.
    pub(crate) skipped: Option<String>,
}

/// What one round of one case has given.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) latencies: Histogram<u64>,
    pub(super) requests_per_s: f64,
    pub(super) cpu_us_per_request: f64,
    pub(super) memory_bytes_per_connection: f64,
    pub(super) threads: usize,
    pub(super) processes: usize,
    pub(super) context_switches: f64,
    pub(super) errors: u64,
    pub(super) wasted_wake_ups: Option<f64>,
}

/// Fills in what was measured. `row` says of what. A round that failed after others is an error.
pub(super) fn settle(row: &mut Row, rounds: &[Round]) {
    let Some((first, others)) = rounds.split_first() else {
        return;
    };
    let failed = u64::from(row.skipped.take().is_some());
    let mut latencies = first.latencies.clone();
    for round in others {
        // Equal bounds and precision, so it cannot fail.
        let _ = latencies.add(&round.latencies);
    }
    if latencies.is_empty() {
        row.skipped = Some("nothing was answered; more --seconds may do".into());
    }
    let rates = sorted(rounds, |round| round.requests_per_s);
    row.rounds = rounds.len();
    row.requests_per_s = middle(&rates);
    row.spread = match row.requests_per_s {
        0.0 => 0.0,
        rate => (rates[rates.len() - 1] - rates[0]) / rate,
    };
    let quantile_us = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    (row.p50_us, row.p99_us, row.p999_us) =
        (quantile_us(0.5), quantile_us(0.99), quantile_us(0.999));
    let median = |of: fn(&Round) -> f64| middle(&sorted(rounds, of));
    row.cpu_us_per_request = median(|round| round.cpu_us_per_request);
    row.memory_bytes_per_connection = median(|round| round.memory_bytes_per_connection);
    row.context_switches = median(|round| round.context_switches);
    row.threads = rounds.iter().map(|round| round.threads).max().unwrap_or(0);
    row.processes = rounds
        .iter()
        .map(|round| round.processes)
        .max()
        .unwrap_or(0);
    row.errors = rounds.iter().map(|round| round.errors).sum::<u64>() + failed;
    if first.wasted_wake_ups.is_some() {
        row.wasted_wake_ups = Some(median(|round| round.wasted_wake_ups.unwrap_or(0.0)));
    }
}

fn sorted(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of values in order, of which there are some.
fn middle(values: &[f64]) -> f64 {
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        values[half]
    } else {
        f64::midpoint(values[half - 1], values[half])
    }
}
