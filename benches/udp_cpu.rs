//! What a packet costs: withy's UDP echo against a raw edge-triggered epoll loop.
//!
//! `cargo bench --bench udp_cpu -- [--rounds N] [--seconds S] [--connections 1,4,16,64]
//! [--layout separate,shared] [--only udp-raw,udp-withy-no-spin]`
//!
//! As `echo_cpu` does it, over UDP: each of the clients' sockets has one packet of 64 bytes under way, and the server
//! one socket for all. withy's server is one coroutine; the raw one is one loop. CPU time is that of the server process
//! alone. The peers without spin are to be compared with each other, and those with it.

mod peers;

use std::process::ExitCode;

fn main() -> ExitCode {
    peers::main(peers::Protocol::Udp)
}
