//! A relay between client and server that can break their connections, in the two ways that networks do.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use withy::net::{Shutdown, TcpListener, TcpStream};

pub(crate) struct Relay {
    server: SocketAddr,
    /// Bytes vanish, and nobody is told: what a cut cable looks like from either end.
    swallows: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Relays connections to `server`, and gives the address to connect to instead.
    pub(crate) fn start(server: SocketAddr) -> io::Result<(Arc<Relay>, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let relay = Arc::new(Relay {
            server,
            swallows: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&relay);
        withy::spawn(move || {
            for stream in listener.incoming() {
                let relay = Arc::clone(&accepting);
                withy::spawn(move || relay.relay(&stream?));
            }
        });
        Ok((relay, address))
    }

    /// Ends all connections, wherever they are in a frame.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // One that has ended by itself needs no end.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on, bytes vanish or pass.
    pub(crate) fn swallow(&self, swallows: bool) {
        self.swallows.store(swallows, Ordering::SeqCst);
    }

    fn relay(&self, client: &TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.server)?;
        for stream in [client, &server] {
            stream.set_nodelay(true)?;
            self.open.lock().unwrap().push(stream.try_clone()?);
        }
        withy::scope(|s| {
            s.spawn(|| self.pump(client, &server));
            self.pump(&server, client);
        });
        Ok(())
    }

    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buf = [0; 4096];
        loop {
            let passed = match from.read(&mut buf) {
                Ok(n) if n > 0 && self.swallows.load(Ordering::SeqCst) => Ok(()),
                Ok(n) if n > 0 => to.write_all(&buf[..n]),
                Ok(_) => break,
                Err(error) => Err(error),
            };
            if passed.is_err() {
                break;
            }
        }
        // The other direction ends with it: a half is of no use to this protocol.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
