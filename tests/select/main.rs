//! Selects, by `Select` and by `select!`: what is chosen, when and how evenly, and what becomes of the rest.

#[path = "../rig/mod.rs"]
mod rig;
#[path = "../support/mod.rs"]
mod support;

mod dynamic;
mod dynamic_reuse;
mod fair;
mod grammar;
mod late;
mod macro_syntax;
mod races;
mod sockets;
mod sources;

use std::time::Duration;

/// Long enough for others to do something, and nothing is wrong if they do not.
const SHORT: Duration = Duration::from_millis(2);
/// Never reached.
const AGES: Duration = Duration::from_secs(3600);
