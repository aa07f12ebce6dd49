//! Workers: what runs next, where it runs, who steals, who sleeps and who is woken.
#![doc = include_str!("README.md")]

mod budget;
pub(crate) mod idle;
pub(crate) mod inbox;
mod injector;
mod inspect;
mod placement;
mod queue;
mod rest;
mod seed;
mod shared;
mod shutdown;
mod spin;
mod thread_state;
pub(crate) mod turn;
pub(crate) mod watchdog;
pub(crate) mod watched;
mod worker;

pub(crate) use inspect::left_over;
pub(crate) use seed::Random;
pub(crate) use shared::{Config, Remote, Shared, schedule};
pub(crate) use shutdown::Ending;
pub(crate) use spin::LIMIT_DEFAULT as SPIN_LIMIT_DEFAULT;
pub(crate) use worker::Worker;
