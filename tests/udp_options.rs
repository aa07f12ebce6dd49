//! What is set on a UDP socket before it is bound, and how much sockets hold: asked for, and as the kernel has it.

mod support;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::SockRef;
use support::{LIMIT, within};
use withy::net::{UdpBuilder, UdpSocket, UnixDatagram, UnixStream};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[test]
fn several_members_of_a_group_share_a_port_and_all_hear_it() {
    within(LIMIT, "two members of a group", || {
        let group = Ipv4Addr::new(239, 255, 77, 1);
        let member = |port| {
            let socket = UdpBuilder::v4().unwrap();
            socket.set_reuse_addr(true).unwrap();
            let socket = socket.bind((Ipv4Addr::UNSPECIFIED, port).into()).unwrap();
            socket
                .join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
                .unwrap();
            socket
        };
        let one = member(0);
        let port = one.local_addr().unwrap().port();
        let other = member(port);
        let sender = std::net::UdpSocket::bind(ANY_PORT).unwrap();
        SockRef::from(&sender)
            .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
            .unwrap();
        sender.send_to(b"to all", (group, port)).unwrap();
        for member in [one, other] {
            let mut buf = [0; 16];
            let (len, from) = member.recv_from(&mut buf).unwrap();
            assert_eq!(
                (&buf[..len], from),
                (&b"to all"[..], sender.local_addr().unwrap())
            );
        }
    });
}

#[test]
fn an_address_is_shared_only_if_both_say_so() {
    let first = UdpBuilder::for_addr(ANY_PORT).unwrap();
    first.set_reuse_port(true).unwrap();
    assert!(SockRef::from(&first).reuse_port().unwrap());
    let first = first.bind(ANY_PORT).unwrap();
    let addr = first.local_addr().unwrap();
    let second = UdpBuilder::v4().unwrap();
    second.set_reuse_port(true).unwrap();
    assert_eq!(second.bind(addr).unwrap().local_addr().unwrap(), addr);
    let error = UdpBuilder::v4().unwrap().bind(addr).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_socket_for_ipv6_takes_ipv4_unless_it_is_told_not_to() {
    if UdpBuilder::v6().is_err() {
        eprintln!("this machine has no IPv6: nothing tested");
        return;
    }
    let mixed = UdpBuilder::v6()
        .unwrap()
        .bind((Ipv6Addr::UNSPECIFIED, 0).into())
        .unwrap();
    let port = mixed.local_addr().unwrap().port();
    assert_eq!(
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
            .unwrap_err()
            .kind(),
        ErrorKind::AddrInUse
    );
    drop(mixed);
    // The port may be another's for IPv4, but not ten times.
    let shared = (0..10).any(|_| {
        let pure = UdpBuilder::v6().unwrap();
        pure.set_only_v6(true).unwrap();
        let pure = pure.bind((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = pure.local_addr().unwrap().port();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    assert!(shared);
    assert!(UdpBuilder::v4().unwrap().set_only_v6(true).is_err());
}

#[test]
fn sizes_of_buffers_are_the_kernels_doubles() {
    macro_rules! check {
        ($socket:expr) => {
            let socket = $socket;
            socket.set_recv_buffer_size(20_000).unwrap();
            socket.set_send_buffer_size(30_000).unwrap();
            assert_eq!(
                (
                    socket.recv_buffer_size().unwrap(),
                    socket.send_buffer_size().unwrap()
                ),
                (40_000, 60_000)
            );
            let kernels = SockRef::from(&socket);
            assert_eq!(
                (
                    kernels.recv_buffer_size().unwrap(),
                    kernels.send_buffer_size().unwrap()
                ),
                (40_000, 60_000)
            );
        };
    }
    check!(UdpSocket::bind(ANY_PORT).unwrap());
    check!(UnixDatagram::unbound().unwrap());
    check!(UnixStream::pair().unwrap().0);
}
