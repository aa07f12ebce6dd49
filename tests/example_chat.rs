//! The chat room of the examples, as a program, with guests by std's sockets, python and socat.

mod rig;
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rig::example::Example;
use rig::tools::{self, Python};
use socket2::{Domain, Socket, Type};
use support::{LIMIT, within};

fn room(more: &[&str]) -> Example {
    let mut arguments = vec!["--listen", "127.0.0.1:0"];
    arguments.extend(more);
    Example::start("chat", &arguments)
}

struct Guest(BufReader<TcpStream>);

impl Guest {
    fn connect(room: &Example) -> Guest {
        Guest::at_door(TcpStream::connect(room.address).unwrap())
    }

    fn at_door(stream: TcpStream) -> Guest {
        let mut guest = Guest(BufReader::new(stream));
        guest.hear("* your name?");
        guest
    }

    fn enter(room: &Example, name: &str) -> Guest {
        Guest::connect(room).named(name)
    }

    /// With as little room as can be for what it does not read.
    fn enter_narrow(room: &Example, name: &str) -> Guest {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&SocketAddr::into(room.address)).unwrap();
        Guest::at_door(socket.into()).named(name)
    }

    fn named(mut self, name: &str) -> Guest {
        self.say(name);
        self.hear(&format!("* {name} came"));
        self
    }

    fn say(&mut self, text: &str) {
        self.say_bytes(format!("{text}\n").as_bytes());
    }

    fn say_bytes(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// The next line; "" at the end, a reset too.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.0.read_line(&mut line);
        line.trim_end_matches('\n').to_owned()
    }

    fn hear(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    /// Hears no more than the end, or a reset.
    fn ends(mut self) {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

/// All hear the same, in one order, whatever they are written in.
#[test]
fn guests_of_three_kinds_talk() {
    const SCRIPT: &str = r#"
import socket, sys
f = socket.create_connection((sys.argv[1], int(sys.argv[2]))).makefile("rw", newline="\n")
def hear(expected):
    line = f.readline()
    assert line == expected + "\n", (line, expected)
def say(text):
    f.write(text + "\n"); f.flush()
hear("* your name?"); say("py"); hear("* py came")
say("hello from python"); hear("<py> hello from python")
hear("<alice> bye, python"); say("/who"); hear("* here: alice, py"); say("/quit")
assert f.readline() == ""
"#;
    if !tools::need("python3") || !tools::need("socat") {
        return;
    }
    within(LIMIT, "a talk", || {
        let room = room(&[]);
        let mut alice = Guest::enter(&room, "alice");
        let python = Python::start(SCRIPT, room.address);
        alice.hear("* py came");
        alice.hear("<py> hello from python");
        alice.say("bye, python");
        alice.hear("<alice> bye, python");
        alice.hear("* py left");
        python.end_well();

        let mut socat = Command::new("socat")
            .args(["-", &format!("TCP:{}", room.address)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = socat.stdin.take().unwrap();
        input.write_all(b"soc\nby socat\n").unwrap();
        alice.hear("* soc came");
        alice.hear("<soc> by socat");
        alice.say("bye, socat");
        alice.hear("<alice> bye, socat");
        let mut output = BufReader::new(socat.stdout.take().unwrap()).lines();
        let heard = output.by_ref().take(4).map(Result::unwrap);
        assert_eq!(
            heard.collect::<Vec<_>>(),
            [
                "* your name?",
                "* soc came",
                "<soc> by socat",
                "<alice> bye, socat"
            ]
        );
        input.write_all(b"/quit\n").unwrap();
        alice.hear("* soc left");
        assert!(output.next().is_none());
        assert!(socat.wait().unwrap().success());
    });
}

/// Who reads slowly hears lines in their order, then how many it has missed, and no more. The others miss nothing.
#[test]
fn a_slow_reader_is_told_and_dropped_and_the_others_miss_nothing() {
    /// More than all buffers between two guests hold.
    const LINES: usize = 1_500;
    within(LIMIT, "a slow reader", || {
        let room = room(&["--patience", "600"]);
        let mut slow = Guest::enter_narrow(&room, "slow");
        let mut others = [Guest::enter(&room, "alice"), Guest::enter(&room, "bob")];
        slow.hear("* alice came");
        slow.hear("* bob came");
        others[0].hear("* bob came");
        let text = |number| format!("{number} {}", "x".repeat(500));
        let mut know = [false; 2];
        for number in 0..LINES {
            others[0].say(&text(number));
            // In step, so that these two are never behind. The slow one goes when the kernel has taken a line more for it: now or later.
            for (guest, knows) in others.iter_mut().zip(&mut know) {
                let mut line = guest.line();
                if line == "* slow left" && !*knows {
                    *knows = true;
                    line = guest.line();
                }
                assert_eq!(line, format!("<alice> {}", text(number)));
            }
        }
        let mut heard = 0;
        let notice = loop {
            match slow.line() {
                line if line == format!("<alice> {}", text(heard)) => heard += 1,
                line => break line,
            }
        };
        assert!(
            notice.starts_with("* you read too slowly and missed ") && heard < LINES,
            "after {heard} lines: {notice}"
        );
        slow.ends();
        for (guest, knows) in others.iter_mut().zip(know) {
            if !knows {
                guest.hear("* slow left");
            }
        }
    });
}

/// Who reads nothing at all holds nobody up, and is dropped when the patience is over.
#[test]
fn a_guest_who_does_not_read_is_dropped() {
    within(LIMIT, "a deaf guest", || {
        let room = room(&["--patience", "0.3"]);
        let _deaf = Guest::enter_narrow(&room, "deaf");
        let mut alice = Guest::enter(&room, "alice");
        let text = "x".repeat(1000);
        loop {
            alice.say(&text);
            match alice.line() {
                line if line == format!("<alice> {text}") => {}
                line => break assert_eq!(line, "* deaf left"),
            }
        }
        alice.hear(&format!("<alice> {text}"));
    });
}

/// What is no line ends the guest who said it. What terminals obey is not passed on. Names are as they have to be.
#[test]
fn guests_without_manners_are_shown_out() {
    within(LIMIT, "bad lines", || {
        let room = room(&[]);
        let mut alice = Guest::enter(&room, "alice");
        let long = [&[b'x'; 5000][..], b"\n"].concat();
        for bad in [&long[..], &long[..1024], b"\xff\xfe\xfd\n", b"\xc3\n"] {
            let mut nameless = Guest::connect(&room);
            nameless.say_bytes(bad);
            nameless.ends();
            let mut named = Guest::enter(&room, "bob");
            named.say_bytes(bad);
            named.ends();
            alice.hear("* bob came");
            alice.hear("* bob left");
        }
        // The longest line that is one.
        let mut bob = Guest::connect(&room);
        for bad in [
            "",
            "two words",
            "alice",
            "123456789012345678901",
            "a/b",
            "\x1b",
        ] {
            bob.say(bad);
            assert!(bob.line().starts_with("* "), "{bad}");
            bob.hear("* your name?");
        }
        let mut bob = bob.named("b\u{e4}rbel");
        alice.hear("* b\u{e4}rbel came");
        let longest = "y".repeat(1023);
        bob.say(&longest);
        bob.say("a\x1b[31mb\x07c\r");
        bob.say_bytes(b"\n\r\n\x00\n");
        bob.say("in ");
        for guest in [&mut alice, &mut bob] {
            guest.hear(&format!("<b\u{e4}rbel> {longest}"));
            guest.hear("<b\u{e4}rbel> a[31mbc");
            guest.hear("<b\u{e4}rbel> in ");
        }
        // In pieces, and two at a time.
        bob.say_bytes(b"one pi");
        thread::sleep(Duration::from_millis(20));
        bob.say_bytes(b"ece\ntwo\nthr");
        bob.say_bytes(b"ee\n");
        for text in ["one piece", "two", "three"] {
            alice.hear(&format!("<b\u{e4}rbel> {text}"));
        }
        // Gone in the middle of a line: what was said of it is said.
        bob.say_bytes(b"half");
        drop(bob);
        let mut last = alice.line();
        if last == "<b\u{e4}rbel> half" {
            last = alice.line();
        }
        assert_eq!(last, "* b\u{e4}rbel left");
    });
}

/// A name has one limit for all of it: none, half of one, and one that drips.
#[test]
fn who_has_no_name_in_time_goes() {
    within(LIMIT, "guests without a name", || {
        let room = room(&["--naming", "0.3"]);
        let silent = Guest::connect(&room);
        let mut half = Guest::connect(&room);
        half.say_bytes(b"hal");
        let mut drips = TcpStream::connect(room.address).unwrap();
        while drips.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
        silent.ends();
        half.ends();
        // Who has one may be silent for longer.
        let mut alice = Guest::enter(&room, "alice");
        thread::sleep(Duration::from_millis(500));
        alice.say("still here");
        alice.hear("<alice> still here");
    });
}

/// Promise 55. What was said before the end is heard by all, also by who is in the middle of a line; then the program ends.
#[test]
fn the_room_closes_in_order() {
    within(LIMIT, "closing time", || {
        let mut room = room(&[]);
        let mut alice = Guest::enter(&room, "alice");
        let mut bob = Guest::enter(&room, "bob");
        alice.hear("* bob came");
        let nameless = Guest::connect(&room);
        bob.say_bytes(b"last orders\nand then");
        alice.hear("<bob> last orders");
        room.send(libc::SIGTERM);
        assert_eq!(room.line(), "SIGTERM: the room closes\n");
        bob.hear("<bob> last orders");
        for mut guest in [alice, bob] {
            let mut rest = String::new();
            let _ = guest.0.read_to_string(&mut rest);
            assert!(
                matches!(&rest[..], "" | "* alice left\n" | "* bob left\n"),
                "{rest}"
            );
        }
        nameless.ends();
        let (status, said) = room.end();
        assert!(status.success(), "{status}");
        assert_eq!(said, "3 guests in all\n");
    });
}
