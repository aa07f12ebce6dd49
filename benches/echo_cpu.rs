//! What a request costs: withy's echo server against a raw edge-triggered epoll loop.
//!
//! `cargo bench --bench echo_cpu -- [--rounds N] [--seconds S] [--connections 1,4,16,64]
//! [--layout separate,shared] [--only raw,withy]`
//!
//! Clients ping-pong 64 bytes, one request under way per connection. All peers are measured in
//! turn within each round, in an order that moves from round to round, since figures of a virtual
//! machine drift; the table gives medians with their spread, and ratios to the first peer that are
//! medians of ratios within a round. CPU time is that of the server process alone.

mod peers;

use std::process::ExitCode;

fn main() -> ExitCode {
    peers::main(peers::Protocol::Tcp)
}
