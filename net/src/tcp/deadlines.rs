//! How long the calls of TCP sockets wait.

use super::listener::TcpListener;
use super::stream::TcpStream;
use crate::shell::{accept_limits, limits};

limits!(
    TcpStream,
    new: "let listener = withy::net::TcpListener::bind(\"127.0.0.1:0\")?;\nlet socket = TcpStream::connect(listener.local_addr()?)?;",
    read: "socket.peek(&mut [0; 8])"
);

accept_limits!(TcpListener, new: "let listener = TcpListener::bind(\"127.0.0.1:0\")?;");
