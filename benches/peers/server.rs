//! The server process: one of the peers, and the reports of its CPU time on request.

use std::error::Error;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use clap::ValueEnum;
use withy::{Runtime, Steal};

use super::{raw_epoll, sys, udp, withy_echo};

/// How long the naive spin of [`Peer::RawSpin`] lasts.
const SPIN: Duration = Duration::from_micros(50);

/// The timeout of [`Peer::WithyTimeouts`].
const TIMEOUT: Duration = Duration::from_secs(30);

/// What clients and servers speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// The servers that are compared.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Raw edge-triggered epoll loop that sleeps at once
    Raw,
    /// The same, looking with zero timeout for 50 µs before it sleeps
    RawSpin,
    /// withy, fresh-stealing, adaptive spin on
    Withy,
    /// The same, with read and write timeouts of 30 s on each connection
    WithyTimeouts,
    /// withy, fresh-stealing, spin off
    WithyNoSpin,
    /// withy, full stealing, adaptive spin on
    WithyFull,
    /// Over UDP, the raw loop that sleeps at once
    UdpRaw,
    /// The same, with the naive spin
    UdpRawSpin,
    /// Over UDP, a coroutine of withy, adaptive spin on
    UdpWithy,
    /// The same, spin off
    UdpWithyNoSpin,
}

impl Peer {
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Peer::UdpRaw | Peer::UdpRawSpin | Peer::UdpWithy | Peer::UdpWithyNoSpin => {
                Protocol::Udp
            }
            _ => Protocol::Tcp,
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct ServerOptions {
    pub(crate) peer: Peer,
    #[arg(long)]
    pub(crate) workers: usize,
    #[arg(long, value_delimiter = ',')]
    pub(crate) cores: Vec<usize>,
}

impl ServerOptions {
    /// Says `listening PORT`, then answers each line of standard input by the CPU time used so far
    /// (`cpu USER_US SYSTEM_US`), until that is closed.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        sys::bind_to_cores(&self.cores)?;
        let (port, runtime) = match self.peer.protocol() {
            Protocol::Tcp => self.serve_tcp()?,
            Protocol::Udp => self.serve_udp()?,
        };
        println!("listening {port}");
        for line in io::stdin().lines() {
            line?;
            let (user, system) = sys::cpu_time()?;
            println!("cpu {} {}", user.as_micros(), system.as_micros());
        }
        // The connections are the client's to close; a shutdown would be measured by nobody.
        std::mem::forget(runtime);
        Ok(())
    }

    /// Starts the server; it runs as long as the runtime that comes back, if it needs one.
    fn serve_tcp(&self) -> Result<(u16, Option<Runtime>), Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let workers = self.workers;
        let withy = |steal, spin, timeout| {
            withy_echo::start(listener.try_clone()?, workers, steal, spin, timeout).map(Some)
        };
        let runtime = match self.peer {
            Peer::Raw => raw_epoll::start(listener, workers, None).map(|()| None),
            Peer::RawSpin => raw_epoll::start(listener, workers, Some(SPIN)).map(|()| None),
            Peer::Withy => withy(Steal::fresh(), true, None),
            Peer::WithyTimeouts => withy(Steal::fresh(), true, Some(TIMEOUT)),
            Peer::WithyNoSpin => withy(Steal::fresh(), false, None),
            Peer::WithyFull => {
                // SAFETY: over its blocking calls the echo keeps a socket and a buffer of its own,
                // nothing that is bound to a thread, and it uses no thread-locals.
                let steal = unsafe { Steal::started() };
                withy(steal, true, None)
            }
            _ => return Err("got a peer of another protocol, expected one of TCP".into()),
        }?;
        Ok((port, runtime))
    }

    fn serve_udp(&self) -> Result<(u16, Option<Runtime>), Box<dyn Error>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let port = socket.local_addr()?.port();
        let runtime = match self.peer {
            Peer::UdpRaw => udp::start_raw(socket, None).map(|()| None),
            Peer::UdpRawSpin => udp::start_raw(socket, Some(SPIN)).map(|()| None),
            Peer::UdpWithy => udp::start_withy(socket, self.workers, true).map(Some),
            Peer::UdpWithyNoSpin => udp::start_withy(socket, self.workers, false).map(Some),
            _ => return Err("got a peer of another protocol, expected one of UDP".into()),
        }?;
        Ok((port, runtime))
    }
}
