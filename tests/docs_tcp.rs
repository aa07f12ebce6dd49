//! What docs/tcp.md says of TCP, shown. Each section there names its tests, which stand in the files of tests/docs_tcp/ by theme.

mod rig;
mod support;

#[path = "docs_tcp/ends.rs"]
mod ends;
#[path = "docs_tcp/idle.rs"]
mod idle;
#[path = "docs_tcp/queues.rs"]
mod queues;
#[path = "docs_tcp/sharing.rs"]
mod sharing;
#[path = "docs_tcp/small_writes.rs"]
mod small_writes;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;

use rig::network::{in_own_network, row, sysctl};
use withy::net::{TcpListener, TcpSocket, TcpStream};

const GUIDE: &str = include_str!("../docs/tcp.md");

/// The files in which the guide's tests stand.
const SOURCES: [&str; 6] = [
    include_str!("docs_tcp.rs"),
    include_str!("docs_tcp/ends.rs"),
    include_str!("docs_tcp/idle.rs"),
    include_str!("docs_tcp/queues.rs"),
    include_str!("docs_tcp/sharing.rs"),
    include_str!("docs_tcp/small_writes.rs"),
];

/// States of connections, as the kernel numbers them in /proc/net/tcp.
const ESTABLISHED: &str = "01";
const TIME_WAIT: &str = "06";
const CLOSE_WAIT: &str = "08";

/// More than any buffer of a narrow pair.
const ANSWER: usize = 1 << 20;

/// A listener on a port of its own.
fn listening(backlog: u32) -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket.listen(backlog).unwrap(), addr)
}

/// The state of this host's end of a connection, if it has one.
fn state(local: SocketAddr, peer: SocketAddr) -> Option<String> {
    row(local, peer).map(|row| row[3].clone())
}

/// The timer that runs for a connection, as the kernel numbers them there.
fn timer(local: SocketAddr, peer: SocketAddr) -> Option<String> {
    let row = row(local, peer)?;
    Some(row[5].split_once(':')?.0.to_owned())
}

const NO_TIMER: &str = "00";
const RETRANSMISSION: &str = "01";
const KEEPALIVE: &str = "02";
const WINDOW_PROBE: &str = "04";

/// Both addresses of a stream: ours, and its peer's.
fn ends_of(stream: &TcpStream) -> (SocketAddr, SocketAddr) {
    (stream.local_addr().unwrap(), stream.peer_addr().unwrap())
}

/// Writes what fits, and gives how much that was.
fn write_what_fits(stream: &TcpStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(count) = (&*stream).write(&[7; 4096]) {
        written += count;
    }
    stream.set_nonblocking(false).unwrap();
    written
}

/// A new network has the numbers that the kernel was built with. The guide has them in italics.
#[test]
fn a_new_network_has_the_numbers_in_italics() {
    if !in_own_network("a_new_network_has_the_numbers_in_italics") {
        return;
    }
    let defaults: [(&str, &[u64], &str); 6] = [
        ("net.core.somaxconn", &[4096], "*4096* (`"),
        (
            "net.ipv4.ip_local_port_range",
            &[32_768, 60_999],
            "*28,000* ports (`",
        ),
        ("net.ipv4.tcp_syncookies", &[1], "*on*: `"),
        ("net.ipv4.tcp_syn_linear_timeouts", &[4], "*4*: `"),
        ("net.ipv4.tcp_migrate_req", &[0], "*off*: `"),
        ("net.ipv4.tcp_retries2", &[15], "*15*: `"),
    ];
    for (name, numbers, text) in defaults {
        // An older kernel does not have all of them.
        if let Some(found) = sysctl(name) {
            assert_eq!(found, numbers, "{name}");
        }
        assert!(
            GUIDE.contains(&format!("{text}{name}`")),
            "{name} is {text} in the guide"
        );
    }
    // "Over two hours" are the idle time, and all probes.
    let number = |name| sysctl(name).expect("every kernel has it")[0];
    let idle = number("net.ipv4.tcp_keepalive_time");
    let probes = number("net.ipv4.tcp_keepalive_intvl") * number("net.ipv4.tcp_keepalive_probes");
    assert_eq!((idle, probes), (7200, 675));
    // "924.6 s" are 16 times, each twice the last, from 0.2 s to at most 120.
    let tenths: u64 = (0..=15).map(|nth| (2_u64 << nth).min(1200)).sum();
    assert_eq!(tenths, 9246);
    assert!(GUIDE.contains("924.6 s"));
}

/// The tests of this guide, by their names.
fn tests() -> Vec<&'static str> {
    let tests = |source: &'static str| source.split("#[test]\nfn ").skip(1);
    let all = SOURCES.into_iter().flat_map(tests);
    all.filter_map(|rest| rest.split('(').next()).collect()
}

/// Every section of the guide has a snippet and names tests, all of which exist; and every test here is named.
#[test]
fn each_section_of_the_guide_names_its_tests() {
    let tests = tests();
    let of_all = [
        "each_section_of_the_guide_names_its_tests",
        "a_new_network_has_the_numbers_in_italics",
    ];
    let mut named = BTreeSet::from(of_all);
    for section in GUIDE.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        let shown = section.rsplit_once("\nShown by ");
        let (text, shown) = shown.unwrap_or_else(|| panic!("{title:?} says by what it is shown"));
        let by: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!by.is_empty(), "{title:?} names a test");
        assert!(text.contains("\n```rust\n"), "{title:?} has a snippet");
        named.extend(by);
    }
    let existing: BTreeSet<_> = tests.iter().copied().collect();
    assert_eq!(existing.len(), tests.len(), "two tests have one name");
    let missing: Vec<_> = named.difference(&existing).collect();
    assert!(
        missing.is_empty(),
        "docs/tcp.md names no test by {missing:?}"
    );
    let unnamed: Vec<_> = existing.difference(&named).collect();
    assert!(unnamed.is_empty(), "docs/tcp.md does not name {unnamed:?}");
}
