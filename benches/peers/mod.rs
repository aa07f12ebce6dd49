//! Echo servers to compare, the client that loads them, and the processes both run in.
//!
//! Servers and clients are child processes of the bench (it runs itself again), so that the CPU
//! time of a server is exactly that of its process, and each side can be bound to its own cores.

mod client;
mod command;
mod comparison;
mod process;
mod raw_epoll;
mod server;
mod spread;
mod sys;
mod udp;
mod withy_echo;

pub(crate) use command::main;
pub(crate) use server::Protocol;

use client::ClientOptions;
use comparison::Comparison;
use process::{Layout, Sample, measure};
use server::{Peer, ServerOptions};
