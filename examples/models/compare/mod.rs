//! `models compare`: each model as a process of its own, the same load for all, in interleaved rounds.
//!
//! | file | what it does |
//! | --- | --- |
//! | `options.rs` | what is compared |
//! | `cells.rs` | which measurements that makes: models × services × connections × loads |
//! | `process.rs` | starts a server on cores of its own, stops it, and says what it has used |
//! | `tree.rs` | what /proc says of a server with its children |
//! | `rows.rs` | rounds of one cell to one row of the report |

mod cells;
mod options;
mod process;
mod rows;
mod run;
mod tree;

pub(crate) use cells::middle;
pub(crate) use options::Options;
pub(crate) use rows::{Load, Row};
pub(crate) use run::{Results, compare};
