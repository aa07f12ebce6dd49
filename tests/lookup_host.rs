//! Looking names up: as std does, without holding a worker, and with callers that can leave.

mod rig;
mod support;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rig::process::tasks;
use rig::{child, tools, until};
use support::sockets::kind;
use support::{Callers, Case, LIMIT, matrix, within};
use withy::net::{TcpListener, TcpStream, lookup_host, lookup_host_timeout};

fn std_says(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    name.to_socket_addrs().map(Iterator::collect)
}

fn withy_says(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    lookup_host(name).map(Iterator::collect)
}

/// Promise 12. Names, addresses and bad input: the answers and errors are std's.
#[test]
fn the_answers_are_stds() {
    matrix(LIMIT, "names as std has them", |case| {
        case.run(|| {
            let names = ["localhost:80", "127.0.0.1:1", "[::1]:2"];
            let bad = [
                "",
                ":",
                "no port",
                "localhost:99999",
                "localhost:http",
                "a\0b:1",
            ];
            for name in names.into_iter().chain(bad) {
                let (ours, stds) = (withy_says(name), std_says(name));
                assert_eq!(kind(&ours), kind(&stds), "{name}");
                match (ours, stds) {
                    (Ok(ours), Ok(stds)) => assert_eq!(ours, stds, "{name}"),
                    (Err(ours), Err(stds)) => assert_eq!(ours.to_string(), stds.to_string()),
                    odd => panic!("{name}: {odd:?}"),
                }
            }
            let pair = lookup_host(("localhost", 7)).unwrap().collect::<Vec<_>>();
            assert_eq!(pair, std_says("localhost:7").unwrap());
            let given = [SocketAddr::from(([127, 0, 0, 1], 1)); 3];
            assert!(lookup_host(&given[..]).unwrap().eq(given));
        });
    });
}

/// Promise 19. A limit of zero is invalid, a huge one is none, and an address needs no time.
#[test]
fn odd_limits_are_stds() {
    matrix(LIMIT, "odd limits of lookups", |case| {
        case.run(|| {
            let zero = lookup_host_timeout("localhost:80", Duration::ZERO).map(drop);
            assert_eq!(kind(&zero), Some(ErrorKind::InvalidInput));
            let long = lookup_host_timeout("localhost:80", Duration::MAX).unwrap();
            assert!(long.count() > 0);
            let ns = Duration::from_nanos(1);
            assert_eq!(lookup_host_timeout("127.0.0.1:1", ns).unwrap().count(), 1);
        });
    });
}

/// A name that does not exist fails in every call that takes one, with std's error. In the namespace the name server is ours, for
/// another one might be away for a moment.
#[test]
fn a_name_that_does_not_exist_fails_everywhere() {
    if !in_own_resolver("a_name_that_does_not_exist_fails_everywhere") {
        return;
    }
    NameServer::silent().speak();
    let name = "nobody.example:80";
    let expected = std_says(name).unwrap_err().to_string();
    for callers in [Callers::Coroutines, Callers::Threads] {
        within(LIMIT, "a name that does not exist", || {
            let case = Case::new(1, false, callers);
            let failures = [
                case.spawn(move || TcpStream::connect(name).map(drop)),
                case.spawn(move || TcpListener::bind(name).map(drop)),
                case.spawn(move || lookup_host(name).map(drop)),
                case.spawn(move || lookup_host_timeout(name, LIMIT).map(drop)),
            ];
            for failure in failures {
                assert_eq!(failure.join().unwrap_err().to_string(), expected);
            }
        });
    }
}

/// Law 1. On a plain thread no runtime is started for a plain lookup.
#[test]
fn a_plain_thread_needs_no_runtime() {
    if !child::alone("a_plain_thread_needs_no_runtime", &[]) {
        return;
    }
    let before = tasks().len();
    assert!(lookup_host("localhost:80").unwrap().count() > 0);
    assert!(TcpStream::connect("localhost:0").is_err());
    assert_eq!(tasks().len(), before);
    // One that must be able to leave needs somebody else to do it.
    lookup_host_timeout("localhost:80", LIMIT)
        .map(drop)
        .unwrap();
    assert!(tasks().len() > before);
}

/// A question's bytes, and who asks.
type Question = (Vec<u8>, SocketAddr);

/// A name server on this host that is silent until it is told to deny everything.
struct NameServer {
    speaks: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Question>>>,
    socket: Arc<UdpSocket>,
}

impl NameServer {
    fn silent() -> NameServer {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:53").expect("the namespace is ours"));
        let server = NameServer {
            speaks: Arc::default(),
            asked: Arc::default(),
            socket,
        };
        let (speaks, asked) = (server.speaks.clone(), server.asked.clone());
        let socket = server.socket.clone();
        std::thread::spawn(move || {
            let mut buf = [0; 512];
            while let Ok((len, peer)) = socket.recv_from(&mut buf) {
                let question = (buf[..len].to_vec(), peer);
                let mut asked = asked.lock().unwrap();
                if speaks.load(Ordering::SeqCst) {
                    deny(&socket, &question);
                }
                asked.push(question);
            }
        });
        server
    }

    fn questions(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// How many names were asked for, each of them by one lookup: the bytes behind the header, but for the sort of address.
    fn names(&self) -> usize {
        const HEADER: usize = 12;
        let asked = self.asked.lock().unwrap();
        let names = asked.iter().map(|(question, _)| {
            let name = question[HEADER..].split(|&byte| byte == 0).next();
            name.unwrap_or_default()
        });
        names.collect::<BTreeSet<_>>().len()
    }

    /// Denies all that was asked and will be.
    fn speak(&self) {
        let asked = self.asked.lock().unwrap();
        self.speaks.store(true, Ordering::SeqCst);
        asked
            .iter()
            .for_each(|question| deny(&self.socket, question));
    }
}

/// The question as the answer that there is no such name (RFC 1035, section 4.1.1: QR, RA and RCODE 3).
fn deny(socket: &UdpSocket, (question, peer): &Question) {
    let mut answer = question.clone();
    answer[2] |= 0x80;
    answer[3] = 0x83;
    let _ = socket.send_to(&answer, peer);
}

/// The system's own resolver, asking a server that does not answer: in a namespace whose resolv.conf(5) is ours. Promises 12, 23 and
/// 28, law 8: callers leave at once, however many; 64 threads at most are held, and files are read beside them.
#[test]
fn a_name_that_never_resolves_holds_nobody_up() {
    if in_own_resolver("a_name_that_never_resolves_holds_nobody_up") {
        within(2 * LIMIT, "a name that never resolves", never_resolves);
    }
}

/// Runs test `name` again in namespaces of its own, in which this returns true and names are asked for at 127.0.0.1. The parent gets
/// false once that has passed, or where there are none to be had.
fn in_own_resolver(name: &str) -> bool {
    let unshare = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "--net", program]);
        command
    };
    if child::role(name).is_some() {
        set_resolver();
        return true;
    }
    if !tools::need("ip") || !tools::need_that("namespaces of its own", &mut unshare("true")) {
        return false;
    }
    let program = std::env::current_exe().expect("a test knows its program");
    let mut command = unshare(program.to_str().expect("its path is text"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let output = command
        .env("WITHY_TEST_ROLE", format!("{name}=resolver"))
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    false
}

fn set_resolver() {
    let conf = std::env::temp_dir().join(format!("withy-resolv-{}.conf", std::process::id()));
    std::fs::write(
        &conf,
        "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n",
    )
    .unwrap();
    for command in [
        "ip link set lo up".to_owned(),
        format!("mount --bind {} /etc/resolv.conf", conf.display()),
    ] {
        let mut words = command.split(' ');
        let status = Command::new(words.next().unwrap()).args(words).status();
        assert!(status.unwrap().success(), "{command}");
    }
    std::fs::remove_file(&conf).unwrap();
}

fn never_resolves() {
    let server = NameServer::silent();
    let runtime = withy::Runtime::builder()
        .workers(2)
        .name("names")
        .build()
        .unwrap();
    let short = Duration::from_millis(20);

    // A timeout around it, a limit of its own, a cancellation; of coroutines, and of a plain thread.
    let leave = move || {
        let ended = withy::timeout(short, || TcpStream::connect("a.example:80").map(drop));
        assert!(ended.is_err());
        let late = lookup_host_timeout("b.example:80", short).map(drop);
        assert_eq!(kind(&late), Some(ErrorKind::TimedOut));
    };
    runtime.spawn(leave).join().unwrap();
    leave();
    let caller = runtime.spawn(|| TcpStream::connect("c.example:80").map(drop));
    until(|| server.questions() >= 3);
    caller.cancel();
    assert!(caller.join().is_err());

    // More than may ask at a time.
    let callers: Vec<_> = (0..200)
        .map(|n| runtime.spawn(move || TcpStream::connect(format!("n{n}.example:80")).map(drop)))
        .collect();
    // Those whose callers have left are under way still; two of them have the name of another.
    until(|| server.names() >= 60);
    for _ in 0..100 {
        let comm = runtime.run(|| withy::fs::read_to_string("/proc/self/comm"));
        assert!(!comm.unwrap().is_empty());
    }
    // In lookups, not in threads: a thread that has read a file may be slow to rest, and the next file gets another.
    let held = server.names();
    assert!(held <= 64, "{held} lookups at a time");
    for caller in &callers[100..] {
        caller.cancel();
    }
    // Now the server speaks: all that wait get their answer, and what was left behind ends as well.
    server.speak();
    for (n, caller) in callers.into_iter().enumerate() {
        match caller.join() {
            Ok(answer) => assert!(answer.is_err()),
            Err(_) => assert!(n >= 100, "it was not cancelled"),
        }
    }
    runtime.shutdown(LIMIT).unwrap();
}
