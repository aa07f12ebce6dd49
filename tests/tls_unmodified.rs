//! A library that knows only `Read` and `Write` runs on our streams as it is: rustls.

mod support;

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use support::sockets::{fill, is_filled};
use support::{LIMIT, matrix};
use withy::net::{TcpListener, TcpStream};

/// A certificate for `localhost`, made here and trusted by the client alone.
fn configurations() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Reads everything up to the end of the stream and sends it back.
fn serve(config: Arc<ServerConfig>, stream: TcpStream) {
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut buf = [0; 10_000];
    loop {
        let n = tls.read(&mut buf).unwrap();
        if n == 0 {
            tls.conn.send_close_notify();
            return tls.flush().unwrap();
        }
        tls.write_all(&buf[..n]).unwrap();
        tls.flush().unwrap();
    }
}

/// Handshake, 200 KiB in uneven pieces, and a proper end, between any sorts of callers.
#[test]
fn rustls_runs_unmodified_over_our_streams() {
    let (server, client) = configurations();
    matrix(LIMIT, "TLS", |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = case.spawn({
            let server = server.clone();
            move || serve(server, listener.accept().unwrap().0)
        });
        let client = client.clone();
        let asking = case.spawn(move || {
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TcpStream::connect(address).unwrap();
            let mut tls = StreamOwned::new(ClientConnection::new(client, name).unwrap(), stream);
            let mut offset = 0;
            for size in (1..).map(|n| n * 700) {
                let mut message = vec![0; size];
                fill(&mut message, offset);
                tls.write_all(&message).unwrap();
                message.fill(0);
                tls.read_exact(&mut message).unwrap();
                assert!(is_filled(&message, offset));
                offset += size as u64;
                if offset > 200 << 10 {
                    break;
                }
            }
            tls.conn.send_close_notify();
            tls.flush().unwrap();
            assert_eq!(tls.read(&mut [0; 1]).unwrap(), 0);
        });
        asking.join();
        serving.join();
    });
}
