//! The messages of RFC 1928 and RFC 1929. Each has a length byte for what varies, so none is longer than
//! [`MESSAGE_BYTES_MAX`], and a reader never waits for more than the client has announced.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;
/// Of the sub-negotiation of RFC 1929.
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const SUCCEEDED: u8 = 0;

/// The longest: version, a name and a password with their lengths.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 + 2 * 256;

#[derive(Clone, Debug)]
pub(crate) struct User {
    name: Vec<u8>,
    password: Vec<u8>,
}

/// What a client wants.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) command: Command,
    /// A name or an address in text, as `TcpStream::connect` takes them.
    pub(crate) host: String,
    pub(crate) port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Connect,
    /// BIND, UDP ASSOCIATE, or none that is known.
    Other,
}

/// Why not; the values of the reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Refusal {
    GeneralFailure = 1,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    ConnectionRefused = 5,
    CommandNotSupported = 7,
    AddressTypeNotSupported = 8,
}

/// `NAME:PASSWORD`; the name has no colon.
pub(crate) fn parse_user(text: &str) -> Result<User, String> {
    let expected = || "expected NAME:PASSWORD, each of 1 to 255 bytes".to_owned();
    let (name, password) = text.split_once(':').ok_or_else(expected)?;
    if [name, password]
        .iter()
        .any(|part| part.is_empty() || part.len() > 255)
    {
        return Err(expected());
    }
    Ok(User {
        name: name.into(),
        password: password.into(),
    })
}

/// From the first byte to the request. What is refused on the way is told to the client.
///
/// # Errors
/// Those of the streams; `InvalidData` for what is no SOCKS5; `PermissionDenied` for a wrong password.
pub(crate) fn shake_hands(
    reader: &mut impl Read,
    writer: &mut impl Write,
    users: &[User],
) -> io::Result<Target> {
    choose_method(reader, writer, users)?;
    if !users.is_empty() {
        check_password(reader, writer, users)?;
    }
    read_request(reader, writer)
}

fn choose_method(
    reader: &mut impl Read,
    writer: &mut impl Write,
    users: &[User],
) -> io::Result<()> {
    let [version] = read_array(reader)?;
    if version != VERSION {
        return Err(invalid("SOCKS version", version, VERSION));
    }
    let methods = read_counted(reader)?;
    let method = match users.is_empty() {
        true => NO_AUTHENTICATION,
        false => USER_AND_PASSWORD,
    };
    if !methods.contains(&method) {
        writer.write_all(&[VERSION, NO_ACCEPTABLE_METHOD])?;
        let text = format!("got the methods {methods:?}, expected {method} among them");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    writer.write_all(&[VERSION, method])
}

fn check_password(
    reader: &mut impl Read,
    writer: &mut impl Write,
    users: &[User],
) -> io::Result<()> {
    let [version] = read_array(reader)?;
    if version != PASSWORD_VERSION {
        return Err(invalid(
            "version of the password's message",
            version,
            PASSWORD_VERSION,
        ));
    }
    let name = read_counted(reader)?;
    let password = read_counted(reader)?;
    // All are compared, and all of each: how long it takes says nothing about them.
    let known = users.iter().fold(false, |known, user| {
        known | (same(&user.name, &name) & same(&user.password, &password))
    });
    writer.write_all(&[PASSWORD_VERSION, u8::from(!known)])?;
    match known {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "wrong name or password",
        )),
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    let different = one
        .iter()
        .zip(other)
        .fold(0, |different, (a, b)| different | (a ^ b));
    (one.len() == other.len()) & (different == 0)
}

fn read_request(reader: &mut impl Read, writer: &mut impl Write) -> io::Result<Target> {
    let [version, command, _reserved, address_type] = read_array(reader)?;
    if version != VERSION {
        return Err(invalid("SOCKS version of the request", version, VERSION));
    }
    let host = match address_type {
        IPV4 => Ipv4Addr::from(read_array(reader)?).to_string(),
        IPV6 => Ipv6Addr::from(read_array(reader)?).to_string(),
        NAME => match String::from_utf8(read_counted(reader)?) {
            Ok(name) => name,
            Err(_) => return refused(writer, Refusal::GeneralFailure, "a name that is no text"),
        },
        _ => {
            return refused(
                writer,
                Refusal::AddressTypeNotSupported,
                "an unknown type of address",
            );
        }
    };
    Ok(Target {
        command: match command {
            CONNECT => Command::Connect,
            _ => Command::Other,
        },
        host,
        port: u16::from_be_bytes(read_array(reader)?),
    })
}

/// Tells the client that it is connected, from which address.
pub(crate) fn accept(writer: &mut impl Write, from: SocketAddr) -> io::Result<()> {
    reply(writer, SUCCEEDED, from)
}

/// Tells the client why not.
pub(crate) fn refuse(writer: &mut impl Write, refusal: Refusal) -> io::Result<()> {
    reply(
        writer,
        refusal as u8,
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    )
}

fn refused<T>(writer: &mut impl Write, refusal: Refusal, got: &str) -> io::Result<T> {
    refuse(writer, refusal)?;
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("got {got}"),
    ))
}

/// In one write, hence one segment.
fn reply(writer: &mut impl Write, code: u8, address: SocketAddr) -> io::Result<()> {
    let mut message = vec![VERSION, code, 0];
    match address.ip() {
        IpAddr::V4(ip) => {
            message.push(IPV4);
            message.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            message.push(IPV6);
            message.extend(ip.octets());
        }
    }
    message.extend(address.port().to_be_bytes());
    writer.write_all(&message)
}

fn read_array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A byte that says how many, and these.
fn read_counted(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let [len] = read_array(reader)?;
    let mut bytes = vec![0; usize::from(len)];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn invalid(what: &str, got: u8, expected: u8) -> io::Error {
    let text = format!("got {got} as {what}, expected {expected}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl From<&io::Error> for Refusal {
    fn from(error: &io::Error) -> Refusal {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Refusal::ConnectionRefused,
            io::ErrorKind::NetworkUnreachable => Refusal::NetworkUnreachable,
            io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => Refusal::HostUnreachable,
            // Names that do not exist have no kind of their own; what is left, either.
            _ => Refusal::GeneralFailure,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} port {}", self.command, self.host, self.port)
    }
}
