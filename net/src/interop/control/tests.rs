use std::fs::File;
use std::os::fd::IntoRawFd;

use super::*;

fn part(length: usize, level: c_int, kind: c_int, data: &[u8]) -> Vec<u8> {
    let mut part = [
        &length.to_ne_bytes()[..],
        &level.to_ne_bytes(),
        &kind.to_ne_bytes(),
        data,
    ]
    .concat();
    part.resize(part_bytes(data.len()), 0);
    part
}

/// A descriptor as the kernel would hand it out.
fn fresh() -> [u8; FD_BYTES] {
    let file = File::open("/dev/null").expect("every system has one");
    file.into_raw_fd().to_ne_bytes()
}

fn taken(control: &[u8]) -> Message {
    let mut message = Message {
        bytes: 0,
        fds: Vec::new(),
        credentials: None,
        control_truncated: false,
        bytes_truncated: false,
    };
    message.take_parts(control);
    message
}

#[test]
fn parts_are_laid_out_as_the_kernels_are() {
    // SAFETY: both compute with a length.
    let (header, whole) = unsafe { (libc::CMSG_LEN(0), libc::CMSG_SPACE(5 * 4)) };
    assert_eq!(HEADER_BYTES, header as usize);
    assert_eq!(part_bytes(5 * 4), whole as usize);
    assert_eq!(CREDENTIALS_BYTES, mem::size_of::<libc::ucred>());
}

#[test]
fn all_parts_are_taken_whatever_their_order() {
    let credentials = [7_u32, 8, 9].map(u32::to_ne_bytes).concat();
    let control = [
        part(HEADER_BYTES + 4, SOL_SOCKET, SCM_RIGHTS, &fresh()),
        part(HEADER_BYTES + 12, SOL_SOCKET, SCM_CREDENTIALS, &credentials),
        part(HEADER_BYTES + 4, SOL_SOCKET, SCM_PIDFD, &fresh()),
        part(
            HEADER_BYTES + 4,
            SOL_SOCKET,
            SCM_PIDFD,
            &(-1_i32).to_ne_bytes(),
        ),
        part(
            HEADER_BYTES + 8,
            SOL_SOCKET,
            SCM_RIGHTS,
            &[fresh(), fresh()].concat(),
        ),
    ]
    .concat();
    let message = taken(&control);
    assert_eq!(message.fds.len(), 3);
    let got = message.credentials.expect("they were there");
    assert_eq!((got.pid, got.uid, got.gid), (7, 8, 9));
}

/// What a kernel would not write. None of it is out of bounds, or goes round for ever.
#[test]
fn malformed_parts_end_it() {
    assert!(taken(&[]).fds.is_empty());
    assert!(taken(&[0; HEADER_BYTES - 1]).fds.is_empty());
    for length in [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3] {
        let message = taken(&part(length, SOL_SOCKET, SCM_RIGHTS, &[]));
        assert!(message.fds.is_empty());
    }
    for length in [HEADER_BYTES + 5, usize::MAX] {
        let control = part(length, SOL_SOCKET, SCM_RIGHTS, &fresh());
        assert_eq!(taken(&control[..HEADER_BYTES + 4]).fds.len(), 1);
    }
    assert!(
        taken(&part(
            HEADER_BYTES + 8,
            SOL_SOCKET,
            SCM_CREDENTIALS,
            &[0; 8]
        ))
        .credentials
        .is_none()
    );
    assert!(
        taken(&part(HEADER_BYTES + 4, SOL_SOCKET, 99, &[0xff; 4]))
            .fds
            .is_empty()
    );
    assert!(
        taken(&part(HEADER_BYTES + 4, libc::SOL_TCP, SCM_RIGHTS, &[0; 4]))
            .fds
            .is_empty()
    );
}
