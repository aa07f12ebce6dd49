//! One address, bound several times.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::TcpListener;
use crate::listen::BACKLOG;
use crate::resolve::each_addr;

impl TcpListener {
    /// As many listeners of one address as the runtime has workers, for
    /// [`Server::serve_each`](crate::Server::serve_each): each worker accepts from a queue of its own.
    ///
    /// The kernel spreads connections over them by a hash of their addresses and ports (`SO_REUSEPORT`). One listener
    /// serves most programs as well or better; this is for those that accept very many short connections. What it
    /// costs, and who is woken by what, is told in the sources (`net/src/serve/mod.rs`) and in socket(7).
    ///
    /// The runtime is the calling coroutine's, or else the default one. With port 0 the system chooses one for all.
    ///
    /// # Errors
    ///
    /// As [`bind`](TcpListener::bind). `AddrInUse` if somebody else has the address, also one who has bound it in this way as
    /// another user.
    ///
    /// # Cancellation
    ///
    /// As [`bind`](TcpListener::bind).
    ///
    /// # Differences from std
    ///
    /// std has no such method.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod withy { pub use withy_net as net; }
    /// use withy::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listeners = TcpListener::bind_per_worker("127.0.0.1:0")?;
    /// let address = listeners[0].local_addr()?;
    /// assert!(listeners.iter().all(|one| one.local_addr().is_ok_and(|addr| addr == address)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_per_worker<A: ToSocketAddrs>(addr: A) -> io::Result<Vec<TcpListener>> {
        let workers = withy_runtime::workers()?;
        each_addr(addr, |addr| bind_all(addr, workers))
    }
}

fn bind_all(addr: &SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = bind(addr)?;
    let addr = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(bind(&addr)?);
    }
    Ok(listeners)
}

fn bind(addr: &SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(*addr);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SockAddr::from(*addr))?;
    socket.listen(BACKLOG)?;
    Ok(std::net::TcpListener::from(socket).into())
}
