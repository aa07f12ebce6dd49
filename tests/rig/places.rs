//! What a server listens on, and std's clients of it, so that a behaviour of servers is written down once for all sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as StdTcp};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream as StdUnix};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use withy::net::{Listener, TcpListener, UnixListener};

use crate::support::addresses::kept_listener;

/// Such a listener.
pub(crate) trait Place: Listener<Connection: Read + Write + AsFd> + Sized + 'static {
    type Address: Address;
    type Client: Client;
    /// Keeps the address from others when the listener is gone.
    type Keeper;
    const DOMAIN: Domain;
    /// What a client reads that is turned away.
    const REFUSAL: Result<usize, ErrorKind>;

    /// A listener at an address of its own.
    fn open() -> (Self, Self::Address, Self::Keeper);

    /// A client that exists, and has not connected.
    fn client() -> Socket {
        Socket::new(Self::DOMAIN, Type::STREAM, None).expect("a descriptor is free")
    }
    /// Connects it.
    fn connect(client: Socket, address: &Self::Address) -> Self::Client {
        let connected = client.connect(&address.to_connect());
        connected.expect("there is somebody who listens");
        client.into()
    }
}

/// An address, and its text for other processes.
pub(crate) trait Address: Clone + Send + 'static {
    fn text(&self) -> String;
    fn of_text(text: &str) -> Self;
    fn to_connect(&self) -> SockAddr;
}

impl Address for SocketAddr {
    fn text(&self) -> String {
        self.to_string()
    }
    fn of_text(text: &str) -> SocketAddr {
        text.parse().expect("it is an address's text")
    }
    fn to_connect(&self) -> SockAddr {
        (*self).into()
    }
}

/// By an abstract name, which is its text.
#[derive(Clone)]
pub(crate) struct UnixName(String);

impl Address for UnixName {
    fn text(&self) -> String {
        self.0.clone()
    }
    fn of_text(text: &str) -> UnixName {
        UnixName(text.to_owned())
    }
    fn to_connect(&self) -> SockAddr {
        SockAddr::unix(format!("\0{}", self.0)).expect("it is short")
    }
}

/// The other end of a connection, which blocks its thread.
pub(crate) trait Client: From<Socket> + AsFd + Send + 'static {
    fn io(&self) -> impl Read + Write;

    /// Writes until no more is taken, and gives how much that was.
    fn send_until_held_up(&self) -> usize {
        let nonblocking = SockRef::from(self).set_nonblocking(true);
        nonblocking.expect("it is open");
        let (mut sent, mut stuck) = (0, 0);
        while stuck < 20 {
            match self.io().write(&[7; 10_000]) {
                Ok(n) => (sent, stuck) = (sent + n, 0),
                // Or it has ended: that is for its reader to tell.
                Err(_) => {
                    stuck += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            assert!(sent < 64 << 20, "the sender was never held up");
        }
        sent
    }

    /// Ends both directions, and keeps the descriptor.
    fn leave(&self) {
        let both = std::net::Shutdown::Both;
        SockRef::from(self).shutdown(both).expect("it is connected");
    }
}

impl Client for StdTcp {
    fn io(&self) -> impl Read + Write {
        self
    }
}

impl Client for StdUnix {
    fn io(&self) -> impl Read + Write {
        self
    }
}

impl Place for TcpListener {
    type Address = SocketAddr;
    type Client = StdTcp;
    type Keeper = Socket;
    const DOMAIN: Domain = Domain::IPV4;
    const REFUSAL: Result<usize, ErrorKind> = Err(ErrorKind::ConnectionReset);

    fn open() -> (TcpListener, SocketAddr, Socket) {
        let (keeper, listener, address) = kept_listener();
        (listener, address, keeper)
    }
}

impl Place for UnixListener {
    type Address = UnixName;
    type Client = StdUnix;
    /// It has a name that is never used again.
    type Keeper = ();
    const DOMAIN: Domain = Domain::UNIX;
    /// There are no resets without bytes that were lost.
    const REFUSAL: Result<usize, ErrorKind> = Ok(0);

    fn open() -> (UnixListener, UnixName, ()) {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let name = format!("withy-place-{}-{number}", std::process::id());
        let address = UnixAddr::from_abstract_name(&name).expect("it is short");
        let listener = UnixListener::bind_addr(&address).expect("nobody else has this name");
        (listener, UnixName(name), ())
    }
}

/// A test for each place: `each_place! { /// docs #[test] fn name<P>(test) { … } }`, where `test` is the full name of the
/// test that runs.
#[allow(unused_macros, reason = "each test crate uses its own part")]
macro_rules! each_place {
    ($($(#[$attribute:meta])* fn $name:ident<$place:ident>($test:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            fn check<$place: crate::rig::places::Place>($test: &str) $body

            each_place!(@test [$(#[$attribute])*] $name over_tcp TcpListener);
            each_place!(@test [$(#[$attribute])*] $name over_unix_sockets UnixListener);
        }
    )*};
    (@test [$($attribute:tt)*] $name:ident $over:ident $listener:ident) => {
        $($attribute)*
        fn $over() {
            check::<withy::net::$listener>(concat!(stringify!($name), "::", stringify!($over)));
        }
    };
}
#[allow(unused_imports, reason = "each test crate uses its own part")]
pub(crate) use each_place;
