//! Rows of what waits for descriptors that are no sockets (`Pollable`, pipes, children), and of what keeps connections.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use withy::io::{PipeReader, PipeWriter};
use withy::net::{Backoff, Heartbeat, Jitter, Pollable, reconnect};

use crate::rows::{AGES, Call, Row, forever, row};

/// One line each.
#[rustfmt::skip]
pub(crate) fn waits() -> Vec<Row> {
    vec![
        row("net::Pollable::wait_readable", || read_from_pollable(|ours| drop(ours.wait_readable()))),
        row("net::Pollable::read_with", || read_from_pollable(|ours| drop(ours.read_with(|mut ours| ours.read(&mut [0]))))),
        row("net::Pollable::read_with_mut", || read_from_pollable(|ours| drop(ours.read_with_mut(|ours| ours.read(&mut [0]))))),
        row("net::Pollable::read", || read_from_pollable(|ours| drop(ours.read(&mut [0])))),
        row("net::Pollable::read_vectored", || read_from_pollable(|ours| drop(ours.read_vectored(&mut [IoSliceMut::new(&mut [0])])))),
        row("net::Pollable::wait_writable", || write_to_pollable(|ours| ours.wait_writable().and_then(|()| ours.get_ref().write(&[7; 4096])))),
        row("net::Pollable::write_with", || write_to_pollable(|ours| ours.write_with(|mut ours| ours.write(&[7; 4096])))),
        row("net::Pollable::write_with_mut", || write_to_pollable(|ours| ours.write_with_mut(|ours| ours.write(&[7; 4096])))),
        row("net::Pollable::write", || write_to_pollable(|ours| ours.write(&[7; 4096]))),
        row("net::Pollable::write_vectored", || write_to_pollable(|ours| ours.write_vectored(&[IoSlice::new(&[7; 4096])]))),
        Row { like: Some("net::Pollable::write"), ..row("net::Pollable::flush", || read_from_pollable(|_| ())) },
        row("net::io::PipeReader::read", || read_from_pipe(|ours| drop(ours.read(&mut [0])))),
        row("net::io::PipeReader::read_vectored", || read_from_pipe(|ours| drop(ours.read_vectored(&mut [IoSliceMut::new(&mut [0])])))),
        row("net::io::PipeWriter::write", || write_to_pipe(|ours| ours.write(&[7; 4096]))),
        row("net::io::PipeWriter::write_vectored", || write_to_pipe(|ours| ours.write_vectored(&[IoSlice::new(&[7; 4096])]))),
        row("net::process::wait", wait_for_child),
        row("net::Heartbeat::watch", || forever(|| drop(Heartbeat::new(AGES, AGES).watch(|| Ok(()))))),
        row("net::reconnect", || forever(|| drop(reconnect(&mut Backoff::new(AGES, AGES).jitter(Jitter::None), || Err::<(), _>(std::io::ErrorKind::Other.into()))))),
    ]
}

/// A byte that comes later is read, through the other end's clone of the description.
fn read_from_pollable(wait: fn(&mut Pollable<UnixStream>)) -> Call {
    let (ours, mut peer) = UnixStream::pair().expect("descriptors are free");
    let again = ours.try_clone().expect("a descriptor is free");
    let mut ours = Pollable::new(ours).expect("it can be waited for");
    Call {
        wait: Box::new(move || wait(&mut ours)),
        after: Box::new(move || {
            peer.write_all(b"x").expect("it is connected");
            let mut byte = [0];
            let mut again = Pollable::new(again).expect("it can be waited for");
            again.read_exact(&mut byte).expect("a byte comes");
            assert_eq!(&byte, b"x");
        }),
    }
}

/// What was written before is all that arrives.
fn write_to_pollable(write: fn(&mut Pollable<UnixStream>) -> std::io::Result<usize>) -> Call {
    let (ours, peer) = UnixStream::pair().expect("descriptors are free");
    let mut ours = Pollable::new(ours).expect("it can be waited for");
    fills(move || write(&mut ours), peer)
}

fn read_from_pipe(wait: fn(&mut PipeReader)) -> Call {
    let (mut ours, mut writer) = withy::io::pipe().expect("descriptors are free");
    let mut again = ours.try_clone().expect("it cannot fail");
    Call {
        wait: Box::new(move || wait(&mut ours)),
        after: Box::new(move || {
            writer.write_all(b"x").expect("there is a reader");
            let mut byte = [0];
            again.read_exact(&mut byte).expect("a byte comes");
            assert_eq!(&byte, b"x");
        }),
    }
}

fn write_to_pipe(write: fn(&mut PipeWriter) -> std::io::Result<usize>) -> Call {
    let (reader, writer) = std::io::pipe().expect("descriptors are free");
    let mut ours = PipeWriter::from(writer);
    fills(move || write(&mut ours), reader)
}

fn fills(
    mut write: impl FnMut() -> std::io::Result<usize> + Send + 'static,
    mut peer: impl Read + Send + 'static,
) -> Call {
    let written = Arc::new(AtomicUsize::new(0));
    Call {
        wait: Box::new({
            let written = written.clone();
            move || loop {
                written.fetch_add(write().expect("there is a reader"), Ordering::SeqCst);
            }
        }),
        after: Box::new(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).expect("the other end is closed");
            assert_eq!(all.len(), written.load(Ordering::SeqCst));
        }),
    }
}

/// One that ends when its input does, which is after the wait.
fn wait_for_child() -> Call {
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .spawn()
        .expect("cat can be started");
    let input = child.stdin.take();
    let child = Arc::new(std::sync::Mutex::new(child));
    Call {
        wait: Box::new({
            let child = child.clone();
            move || {
                let mut child = child
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                drop(withy::process::wait(&mut child));
            }
        }),
        after: Box::new(move || {
            drop(input);
            let mut child = child
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            let status = withy::process::wait(&mut child).expect("it was waited for by nobody");
            assert!(status.success());
        }),
    }
}
