//! The client process: one thread on raw epoll, one request of 64 bytes under way per connection.

use std::error::Error;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Protocol;
use super::process::parse_seconds;
use super::sys::{self, Epoll, NO_EVENTS};

const REQUEST: [u8; 64] = [b'w'; 64];
const WARM_UP: Duration = Duration::from_millis(200);
const STALL_LIMIT_MS: i32 = 5_000;

#[derive(clap::Args)]
pub(crate) struct ClientOptions {
    pub(crate) address: SocketAddr,
    #[arg(long)]
    pub(crate) protocol: Protocol,
    #[arg(long)]
    pub(crate) connections: usize,
    #[arg(long, value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    #[arg(long, value_delimiter = ',')]
    pub(crate) cores: Vec<usize>,
}

impl ClientOptions {
    /// Connects, warms up, says `ready`, waits for a line, loads the server, and says
    /// `done REQUESTS ELAPSED_NS P50_NS P99_NS`. No request is under way when it says so, in
    /// either case: the server's CPU time between the two belongs to exactly these requests.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        sys::bind_to_cores(&self.cores)?;
        let mut load = Load::connect(self)?;
        load.run_for(WARM_UP)?;
        load.latencies.reset();
        println!("ready");
        io::stdin().read_line(&mut String::new())?;
        let started = Instant::now();
        load.run_for(self.seconds)?;
        let latencies = &load.latencies;
        println!(
            "done {} {} {} {}",
            latencies.len(),
            started.elapsed().as_nanos(),
            latencies.value_at_quantile(0.5),
            latencies.value_at_quantile(0.99),
        );
        io::stdout().flush()?;
        Ok(())
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        match self.protocol {
            Protocol::Tcp => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(self.address)?;
                Ok(socket.into())
            }
        }
    }
}

struct Connection {
    socket: OwnedFd,
    sent: Instant,
    received: usize,
}

struct Load {
    epoll: Epoll,
    connections: Vec<Connection>,
    under_way: usize,
    latencies: Histogram<u64>,
}

impl Load {
    fn connect(options: &ClientOptions) -> Result<Load, Box<dyn Error>> {
        let mut load = Load {
            epoll: Epoll::new()?,
            connections: Vec::new(),
            under_way: 0,
            latencies: Histogram::new(3)?,
        };
        for index in 0..options.connections {
            let socket = options.connect()?;
            load.epoll.add(socket.as_raw_fd(), index as u64)?;
            load.connections.push(Connection {
                socket,
                sent: Instant::now(),
                received: 0,
            });
        }
        Ok(load)
    }

    /// Sends on all connections, answers each echo by the next request until the time is over,
    /// then waits for the last echoes.
    fn run_for(&mut self, duration: Duration) -> Result<(), Box<dyn Error>> {
        let end = Instant::now() + duration;
        for connection in &mut self.connections {
            connection.send()?;
        }
        self.under_way = self.connections.len();
        let mut events = NO_EVENTS;
        while self.under_way > 0 {
            let n = self.epoll.wait(&mut events, STALL_LIMIT_MS)?;
            if n == 0 {
                return Err(format!("no echo for {STALL_LIMIT_MS} ms").into());
            }
            for event in &events[..n] {
                let connection = &mut self.connections[event.u64 as usize];
                if !connection.receive()? {
                    continue;
                }
                let now = Instant::now();
                self.latencies += now.duration_since(connection.sent).as_nanos() as u64;
                if now < end {
                    connection.send()?;
                } else {
                    self.under_way -= 1;
                }
            }
        }
        Ok(())
    }
}

impl Connection {
    fn send(&mut self) -> io::Result<()> {
        self.received = 0;
        self.sent = Instant::now();
        // Nothing else is under way on the connection, so its buffer has room.
        let n = sys::send(self.socket.as_raw_fd(), &REQUEST)?;
        if n == REQUEST.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Reads what has arrived; true when the echo is complete. Nothing can follow a whole echo,
    /// and more of a partial one comes with an event of its own.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buf = REQUEST;
        match sys::recv(self.socket.as_raw_fd(), &mut buf[self.received..]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.received += n;
                Ok(self.received == REQUEST.len())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
