//! Clients of both services, which know what must come back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::{PATIENCE, Server, Service};

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Makes what it sends its own.
    number: usize,
    asked: usize,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr, number: usize) -> Client {
        let stream = TcpStream::connect(addr).expect("it listens");
        stream.set_nodelay(true).expect("a socket of TCP");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Client {
            stream,
            number,
            asked: 0,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is read from");
    }

    /// Exactly these bytes come.
    pub(crate) fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        self.stream.read_exact(&mut got).expect("an answer comes");
        assert!(
            got == bytes,
            "got {:?}, expected {:?}",
            shown(&got),
            shown(bytes)
        );
    }

    /// Nothing more comes.
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.stream
            .read_to_end(&mut rest)
            .expect("an end, no reset");
        assert!(rest.is_empty(), "got {:?}, expected the end", shown(&rest));
    }

    /// What comes until the end, which may be a reset.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                panic!("neither an end nor a reset came: {error}")
            }
            _ => rest,
        }
    }

    pub(crate) fn ends(&self) {
        // It may have been reset.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("linger can be set");
    }

    /// What comes before the first exchange.
    pub(crate) fn begin(&mut self, service: Service) {
        if service == Service::Session {
            self.send(&self.login());
            self.expect(&self.welcome());
        }
    }

    /// One request, and its answer.
    pub(crate) fn exchange(&mut self, service: Service) {
        let request = self.request(service);
        self.send(&request);
        let answer = self.answer(service);
        self.expect(&answer);
    }

    /// Says good-bye, and sees the end.
    pub(crate) fn finish(&mut self, service: Service) {
        match service {
            Service::Echo => self.ends(),
            Service::Session => {
                self.send(b"quit\n");
                self.expect(&self.bye());
            }
        }
        self.expect_end();
    }

    /// The next request. Echo's are of 1 byte to 70,000.
    pub(crate) fn request(&mut self, service: Service) -> Vec<u8> {
        self.asked += 1;
        match service {
            Service::Echo => self.noise([1, 1000, 70_000][self.asked % 3]),
            Service::Session => format!("ask {}\n", self.text()).into_bytes(),
        }
    }

    /// To the last request.
    pub(crate) fn answer(&self, service: Service) -> Vec<u8> {
        match service {
            Service::Echo => self.noise([1, 1000, 70_000][self.asked % 3]),
            Service::Session => format!("answer {} {}\n", self.asked, self.text()).into_bytes(),
        }
    }

    pub(crate) fn login(&self) -> Vec<u8> {
        format!("login client-{}\n", self.number).into_bytes()
    }

    pub(crate) fn welcome(&self) -> Vec<u8> {
        format!("welcome client-{}\n", self.number).into_bytes()
    }

    pub(crate) fn bye(&self) -> Vec<u8> {
        format!("bye client-{} {}\n", self.number, self.asked).into_bytes()
    }

    fn text(&self) -> String {
        format!("what {} of {}", self.asked, self.number)
    }

    fn noise(&self, length: usize) -> Vec<u8> {
        noise((self.number * 1000 + self.asked) as u64, length)
    }
}

/// Bytes that no other seed gives.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// Somebody comes, is served, and goes.
pub(crate) fn visit(server: &Server, number: usize) {
    let mut client = Client::connect(server.addr(), number);
    client.begin(server.service);
    (0..3).for_each(|_| client.exchange(server.service));
    client.finish(server.service);
}

/// Sends all of it on a thread, and then `ends`, while what comes back is read to the end.
pub(crate) fn send_and_collect(client: &mut Client, bytes: &[u8], ends: bool) -> Vec<u8> {
    let mut sending = client.stream.try_clone().expect("a descriptor is free");
    thread::scope(|threads| {
        threads.spawn(move || {
            sending.write_all(bytes).expect("it is read from");
            if ends {
                sending.shutdown(Shutdown::Write).expect("it is connected");
            }
        });
        let mut got = Vec::new();
        client
            .stream
            .read_to_end(&mut got)
            .expect("an end, no reset");
        got
    })
}

/// The beginning, as text.
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned()
}
