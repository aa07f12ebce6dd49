//! Which measurations a comparison is made of.

use std::collections::HashSet;

use super::Options;
use super::rows::Load;
use crate::catalog::{AtOnce, Model};
use crate::load::Asks;

/// The open load uses as many connections, or what is measured that is next to it: enough for models to differ, and few enough for
/// most of them. Charts that have room for one number show the same.
const MIDDLE: usize = 64;

/// That number.
pub(crate) fn middle(counts: impl IntoIterator<Item = usize>) -> usize {
    let counts = counts.into_iter();
    counts
        .min_by_key(|&count| count.abs_diff(MIDDLE))
        .unwrap_or(MIDDLE)
}

/// One case: measured once in each round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) model: &'static Model,
    pub(super) asks: Asks,
    pub(super) connections: usize,
    pub(super) load: Load,
    pub(super) variant: Variant,
}

impl Cell {
    fn key(self) -> (&'static str, Asks, usize, Load, Variant) {
        let name = self.model.name;
        (name, self.asks, self.connections, self.load, self.variant)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Variant {
    Default,
    ConnectionPerRequest,
    /// Of a model that can wait in several ways.
    Poller(&'static str),
}

impl Variant {
    pub(super) fn name(self) -> &'static str {
        match self {
            Variant::Default => "default",
            Variant::ConnectionPerRequest => "connection-per-request",
            Variant::Poller(name) => name,
        }
    }
}

/// All cases, in the order of the report.
pub(super) fn of(options: &Options) -> Vec<Cell> {
    let counts: Vec<usize> = options.conns.iter().map(|&count| count.into()).collect();
    let middle = middle(counts.iter().copied());
    let mut cells: Vec<Cell> = Vec::new();
    for &asks in &options.services {
        for &connections in &counts {
            for &model in &options.models {
                cells.extend(of_model(model, asks, connections, connections == middle));
            }
        }
    }
    // Something may have been asked for twice.
    let mut seen = HashSet::new();
    cells.retain(|&cell| seen.insert(cell.key()));
    cells
}

fn of_model(model: &'static Model, asks: Asks, connections: usize, is_middle: bool) -> Vec<Cell> {
    let cell = |load, variant| Cell {
        model,
        asks,
        connections,
        load,
        variant,
    };
    let mut cells = Vec::new();
    let max = model.at_once.max(super::run::WORKERS);
    let holds_all = max.is_none_or(|max| connections <= max);
    if holds_all {
        let mut variants = vec![Variant::Default];
        if !model.pollers.is_empty() {
            variants = model
                .pollers
                .iter()
                .map(|&name| Variant::Poller(name))
                .collect();
        }
        cells.extend(
            variants
                .into_iter()
                .map(|variant| cell(Load::Closed, variant)),
        );
        if is_middle {
            cells.push(cell(Load::Open, cells[0].variant));
        }
    }
    // Those that cannot hold many take turns, which is what they are made for.
    if model.at_once != AtOnce::Any && connections > 1 {
        cells.push(cell(Load::Closed, Variant::ConnectionPerRequest));
    }
    cells
}
