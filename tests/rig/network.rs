//! Networks of a test's own, and what the kernel says of a network.

use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{child, tools};

/// Runs test `name` again in a network namespace of its own, in which this returns true. The parent gets false once that
/// has passed, or where there is none to be had.
pub(crate) fn in_own_network(name: &str) -> bool {
    if child::role(name).is_some() {
        set_loopback("up");
        return true;
    }
    let trial = ["-rn", "ip", "link", "set", "lo", "up"];
    if !tools::need("unshare")
        || !tools::need("ip")
        || !tools::need_that(
            "the right to make a network namespace",
            Command::new("unshare").args(trial),
        )
    {
        return false;
    }
    let child = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().expect("a test knows its program"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(child::ROLE, format!("{name}=inside"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare can be started");
    let (output, text) = child::output_of(child);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "in the namespace: {}\n{text}",
        output.status
    );
    false
}

/// The only network of the namespace: while it is down every packet is lost.
pub(crate) fn set_loopback(state: &str) {
    let mut command = Command::new("ip");
    let done = command.args(["link", "set", "lo", state]).status();
    assert!(done.expect("ip can be started").success());
}

/// The numbers of a sysctl of this network; `None` if this kernel does not have it.
pub(crate) fn sysctl(name: &str) -> Option<Vec<u64>> {
    let text = fs::read_to_string(path_of(name)).ok()?;
    let numbers = text.split_ascii_whitespace().map(str::parse);
    Some(numbers.map(|number| number.expect("a number")).collect())
}

/// Sets a sysctl of this network, which should be the test's own.
pub(crate) fn set_sysctl(name: &str, value: impl Display) {
    fs::write(path_of(name), value.to_string()).expect("the network is ours");
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}

/// A count that the kernel keeps for all of this network, by its name in /proc/net/netstat or /proc/net/snmp.
pub(crate) fn count(name: &str) -> u64 {
    let tables = ["/proc/net/netstat", "/proc/net/snmp"];
    let tables = tables.map(|table| fs::read_to_string(table).expect("/proc is mounted"));
    let lines: Vec<_> = tables.iter().flat_map(|table| table.lines()).collect();
    // In pairs: names, and their numbers.
    let mut counts = lines.chunks_exact(2).flat_map(|pair| {
        let [names, numbers] = [pair[0], pair[1]].map(str::split_ascii_whitespace);
        names.zip(numbers)
    });
    let found = counts.find(|(found, _)| *found == name);
    let (_, number) = found.unwrap_or_else(|| panic!("the kernel counts {name}"));
    number.parse().expect("a number")
}

/// How many connections of this network are in TIME_WAIT.
pub(crate) fn time_waits() -> u64 {
    let table = fs::read_to_string("/proc/net/sockstat").expect("/proc is mounted");
    let tcp = table.lines().find(|line| line.starts_with("TCP:"));
    let mut words = tcp.expect("the kernel has TCP").split_ascii_whitespace();
    let number = words.find(|word| *word == "tw").and(words.next());
    number.and_then(|word| word.parse().ok()).expect("a number")
}

/// The words of a connection's row in /proc/net/tcp.
pub(crate) fn row(local: SocketAddr, peer: SocketAddr) -> Option<Vec<String>> {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => {
            let ip = u32::from_ne_bytes(addr.ip().octets());
            format!("{ip:08X}:{:04X}", addr.port())
        }
        SocketAddr::V6(_) => panic!("got {addr}, expected an IPv4 address"),
    };
    let (local, peer) = (hex(local), hex(peer));
    // The table is read in pieces, and others change it meanwhile: a row that is missing is looked for again.
    (0..3).find_map(|_| {
        let table = fs::read_to_string("/proc/net/tcp").expect("/proc is mounted");
        table.lines().find_map(|line| {
            let words: Vec<_> = line.split_ascii_whitespace().map(str::to_owned).collect();
            (words.len() > 6 && words[1] == local && words[2] == peer).then_some(words)
        })
    })
}

/// How often the oldest segment of a connection was sent again, and after how many hundredths of a second it will be.
pub(crate) fn retransmissions(local: SocketAddr, peer: SocketAddr) -> Option<(u64, u64)> {
    let row = row(local, peer)?;
    let times = u64::from_str_radix(&row[6], 16).ok()?;
    Some((times, row.get(12)?.parse().ok()?))
}
