//! The report: one table for each kind of work, and a summary of the best of each peer.

use std::fmt::Write;

use crate::cases::{Case, Target};
use crate::figures::{Measured, Spread};
use crate::peers::{Job, Peer};

/// Figures that can be compared.
pub(crate) struct Table<'a> {
    pub(crate) case: Case,
    pub(crate) workers: usize,
    pub(crate) metric: &'a str,
    pub(crate) rows: Vec<Row<'a>>,
}

pub(crate) struct Row<'a> {
    pub(crate) job: &'a Job,
    pub(crate) rounds: &'a [f64],
    pub(crate) spread: Spread,
    /// To the best row of withy, or of the first peer without withy: the median of the rounds' ratios.
    pub(crate) ratio: f64,
}

/// All tables, in the order of the cases.
pub(crate) fn of(measured: &[Measured]) -> Vec<Table<'_>> {
    let mut tables = Vec::<Table<'_>>::new();
    for one in measured {
        for (metric, rounds) in &one.figures {
            let row = Row {
                job: &one.job,
                rounds,
                spread: Spread::of(rounds.iter().copied()),
                ratio: 1.0,
            };
            let fits = |table: &&mut Table<'_>| {
                (table.case, table.workers, table.metric) == (row.job.case, row.job.workers, metric)
            };
            match tables.iter_mut().find(fits) {
                Some(table) => table.rows.push(row),
                None => tables.push(Table {
                    case: row.job.case,
                    workers: row.job.workers,
                    metric,
                    rows: vec![row],
                }),
            }
        }
    }
    tables.iter_mut().for_each(Table::compare);
    tables
}

impl<'a> Table<'a> {
    fn compare(&mut self) {
        let first = self.rows[0].job.peer;
        let base = self.best(Peer::Withy).or_else(|| self.best(first));
        let Some(base) = base.map(|row| row.rounds) else {
            return;
        };
        for row in &mut self.rows {
            let ratios = row.rounds.iter().zip(base).map(|(one, base)| one / base);
            row.ratio = Spread::of(ratios).median;
        }
    }

    /// The variant with the lowest median.
    fn best(&self, peer: Peer) -> Option<&Row<'a>> {
        let rows = self.rows.iter().filter(|row| row.job.peer == peer);
        rows.min_by(|a, b| a.spread.median.total_cmp(&b.spread.median))
    }

    fn title(&self) -> String {
        let plural = if self.workers == 1 { "" } else { "s" };
        let round = match self.metric {
            "each" => String::new(),
            round => format!(", {round} round"),
        };
        format!("{}{round}, {} worker{plural}", self.case, self.workers)
    }
}

/// Every figure with its spread.
pub(crate) fn detail(tables: &[Table<'_>]) -> String {
    let mut text = String::new();
    for table in tables {
        let heading = format!("{}: {}", table.title(), table.case.unit());
        _ = writeln!(text, "{heading}");
        _ = writeln!(
            text,
            "  {:33} {:>10}  {:>32}  {:>8}",
            "", "median", "[min, quartiles]", "to withy"
        );
        for row in &table.rows {
            let Spread {
                min,
                lower,
                median,
                upper,
            } = row.spread;
            _ = writeln!(
                text,
                "  {:11} {:21} {median:10.1}  {:>32}  {:7.2}×",
                row.job.peer,
                row.job.variant,
                format!("[{min:.1}, {lower:.1}..{upper:.1}]"),
                row.ratio,
            );
        }
        text.push('\n');
    }
    text
}

/// What could not be measured, and why.
pub(crate) fn failures(measured: &[Measured]) -> String {
    let mut text = String::new();
    for Measured { job, failure, .. } in measured {
        if let Some(failure) = failure {
            let Job { peer, case, .. } = job;
            let (variant, workers) = (&job.variant, job.workers);
            _ = writeln!(
                text,
                "{peer} fails at {case} {variant}, {workers} workers: {failure}"
            );
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// The best variant of each peer, in one line for each table.
pub(crate) fn summary(tables: &[Table<'_>], peers: &[Peer]) -> String {
    let mut text = String::from("The median of each one's best variant, ns\n");
    _ = write!(text, "  {:28} {:>12}", "", "target");
    for peer in peers {
        _ = write!(text, " {peer:>10}");
    }
    text.push('\n');
    for table in tables {
        let target = table.case.target(table.workers, table.metric);
        let target_text = target.map_or(String::new(), |target| target.to_string());
        _ = write!(text, "  {:28} {target_text:>12}", table.title());
        for &peer in peers {
            match table.best(peer) {
                Some(row) => _ = write!(text, " {:>10.1}", row.spread.median),
                None => _ = write!(text, " {:>10}", "–"),
            }
        }
        if target.is_some_and(|target| is_missed(table, target)) {
            text.push_str("  missed");
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

fn is_missed(table: &Table<'_>, target: Target) -> bool {
    let median = |peer| table.best(peer).map(|row| row.spread.median);
    let at_most = match target {
        Target::AtMostNs(ns) => Some(ns),
        Target::AtMostNsOverStd(ns) => median(Peer::Std).map(|std| std + ns),
    };
    matches!((median(Peer::Withy), at_most), (Some(ns), Some(at_most)) if ns > at_most)
}
