//! docs/models.md says of the example `models` what is so: its rows are the models, with their processes, threads and epoll
//! instances; what it quotes from the sources stands there; and its figures of ergonomics are those that are counted.

#[path = "../examples/models/ergonomics.rs"]
mod ergonomics;
mod models;
mod rig;
mod support;

use ergonomics::{all, regions};
use models::{WORKERS, listed};

const DOCS: &str = include_str!("../docs/models.md");

const CONNECTIONS: usize = 64;

#[test]
fn the_first_table_has_a_row_for_each_model_in_order() {
    let names: Vec<_> = table("| # |").iter().map(|row| name(&row[1])).collect();
    let expected: Vec<_> = listed(CONNECTIONS)
        .into_iter()
        .map(|row| row.name)
        .collect();
    assert_eq!(names, expected);
}

#[test]
fn each_row_says_what_the_model_is_made_of() {
    for (row, cells) in listed(CONNECTIONS).iter().zip(table("| # |")) {
        let [processes, threads, epolls] = &cells[6..] else {
            panic!("expected three counts at the end of {cells:?}");
        };
        let documented = [processes, threads, epolls].map(|formula| evaluate(formula));
        let expected = [row.processes, row.threads, row.epolls];
        assert_eq!(documented, expected, "{}", row.name);
    }
}

#[test]
fn numbers_of_the_books_are_theirs() {
    for cells in table("| # |") {
        for (number, max) in [(&cells[2], 8), (&cells[3], 11)] {
            let is_number = number.parse().is_ok_and(|number: u32| number <= max);
            assert!(is_number || number == "–", "{cells:?}");
        }
    }
}

#[test]
fn figures_of_ergonomics_are_those_that_are_counted() {
    let documented = table("| service | style |");
    let expected: Vec<_> = all()
        .iter()
        .map(|one| {
            let models = listed(CONNECTIONS).into_iter();
            let models = models.filter(|row| row.style == one.style).count();
            [
                one.service.to_owned(),
                one.style.to_owned(),
                models.to_string(),
                one.lines.to_string(),
                one.functions.to_string(),
                one.fields.to_string(),
            ]
        })
        .collect();
    assert_eq!(documented, expected);
}

#[test]
fn the_session_is_quoted_as_it_is_by_a_coroutine_and_by_callbacks() {
    for style in ["sequential", "callbacks"] {
        let region = regions()
            .into_iter()
            .find(|region| (region.service, region.style) == ("session", style))
            .unwrap_or_else(|| panic!("nothing is marked as a session by {style}"));
        let quoted = format!("```rust\n{}\n```", region.code);
        assert!(DOCS.contains(&quoted), "docs/models.md has not:\n{quoted}");
    }
}

/// The rows of the table whose head begins like that.
fn table(head: &str) -> Vec<Vec<String>> {
    let lines = DOCS.lines().skip_while(|line| !line.starts_with(head));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows
        .map(|row| {
            let cells = row.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "docs/models.md has no table {head:?}");
    rows
}

fn name(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// As `1 + 32w + c`.
fn evaluate(formula: &str) -> usize {
    let terms = formula.split('+').map(str::trim);
    terms
        .map(|term| {
            let (factor, value) = match (term.strip_suffix('w'), term.strip_suffix('c')) {
                (Some(factor), _) => (factor, WORKERS),
                (_, Some(factor)) => (factor, CONNECTIONS),
                _ => (term, 1),
            };
            match factor {
                "" => value,
                factor => factor.parse::<usize>().expect("a number") * value,
            }
        })
        .sum()
}
