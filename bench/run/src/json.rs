//! The report for programs. Names and messages are escaped; all else is numbers.

use std::fmt::Write;

use crate::figures::Measured;
use crate::machine::Machine;
use crate::options::Options;
use crate::tables::{Row, Table};

pub(crate) fn of(
    options: &Options,
    machine: &Machine,
    tables: &[Table<'_>],
    measured: &[Measured],
) -> String {
    let versions = machine.versions.iter();
    let versions = versions.map(|(peer, version)| format!("{}: {}", quoted(peer), quoted(version)));
    let figures = tables
        .iter()
        .flat_map(|table| table.rows.iter().map(|row| figure(table, row)));
    format!(
        "{{\n\"machine\": {{\"cpu\": {}, \"cores\": {}, \"kernel\": {}, \"load\": {}}},\n\
         \"versions\": {{{}}},\n\
         \"rounds\": {}, \"samples\": {}, \"sample_ms\": {}, \"leaves\": {},\n\
         \"figures\": [\n{}\n],\n\"failures\": [\n{}\n]\n}}\n",
        quoted(&machine.cpu),
        machine.cores,
        quoted(&machine.kernel),
        machine.load,
        joined(versions, ", "),
        options.rounds,
        options.samples,
        options.sample_ms,
        options.leaves,
        joined(figures, ",\n"),
        joined(measured.iter().filter_map(failure), ",\n"),
    )
}

fn figure(table: &Table<'_>, row: &Row<'_>) -> String {
    let spread = row.spread;
    format!(
        "{{\"case\": {}, \"workers\": {}, \"metric\": {}, \"unit\": {}, \"peer\": {}, \"variant\": {}, \
         \"median\": {:.3}, \"min\": {:.3}, \"q1\": {:.3}, \"q3\": {:.3}, \"to_withy\": {:.4}, \"rounds\": [{}]}}",
        quoted(table.case.name()),
        table.workers,
        quoted(table.metric),
        quoted(table.case.unit()),
        quoted(row.job.peer.name()),
        quoted(&row.job.variant),
        spread.median,
        spread.min,
        spread.lower,
        spread.upper,
        row.ratio,
        joined(row.rounds.iter().map(|ns| format!("{ns:.3}")), ", "),
    )
}

fn failure(one: &Measured) -> Option<String> {
    let failure = one.failure.as_ref()?;
    Some(format!(
        "{{\"case\": {}, \"workers\": {}, \"peer\": {}, \"variant\": {}, \"error\": {}}}",
        quoted(one.job.case.name()),
        one.job.workers,
        quoted(one.job.peer.name()),
        quoted(&one.job.variant),
        quoted(failure),
    ))
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => _ = write!(quoted, "\\u{:04x}", char as u32),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
