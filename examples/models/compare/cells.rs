//! Which measurations a comparison is made of.

use super::Options;
use super::rows::Load;
use crate::catalog::{AtOnce, Model};
use crate::load::Asks;

/// How many connections the open load uses.
const OPEN_CONNECTIONS: usize = 64;

/// One case: measured once in each round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) model: &'static Model,
    pub(super) asks: Asks,
    pub(super) connections: usize,
    pub(super) load: Load,
    pub(super) variant: Variant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    let mut cells = Vec::new();
    for &asks in &options.services {
        for &connections in &options.conns {
            for &model in &options.models {
                cells.extend(of_model(model, asks, connections.into()));
            }
        }
    }
    cells
}

fn of_model(model: &'static Model, asks: Asks, connections: usize) -> Vec<Cell> {
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
        if connections == OPEN_CONNECTIONS {
            cells.push(cell(Load::Open, cells[0].variant));
        }
    }
    // Those that cannot hold many take turns, which is what they are made for.
    if model.at_once != AtOnce::Any && connections > 1 {
        cells.push(cell(Load::Closed, Variant::ConnectionPerRequest));
    }
    cells
}
