//! Which stream of withy, if any, a generic reader or writer is: std's `io::copy` finds that out by specialisation,
//! which is not stable.

use withy_runtime::poll::{AsRegistration, Registration};

use super::name::erased_type_id;
use crate::io::{PipeReader, PipeWriter};
use crate::{TcpStream, UnixStream};

/// The descriptor behind `end`, if its bytes are the descriptor's and nothing is buffered in between.
pub(crate) fn registration_in<T: ?Sized>(end: &T) -> Option<&Registration> {
    stream_in::<TcpStream, T>(end)
        .or_else(|| stream_in::<UnixStream, T>(end))
        .or_else(|| stream_in::<PipeReader, T>(end))
        .or_else(|| stream_in::<PipeWriter, T>(end))
}

/// `end` if it is an `S`, or a reference to one.
fn stream_in<'a, S: AsRegistration + 'static, T: ?Sized>(end: &'a T) -> Option<&'a Registration> {
    let id = erased_type_id::<T>();
    let place: *const T = end;
    if id == erased_type_id::<S>() {
        // SAFETY: `T` is `S`, which is 'static: the ids say so, and there is no lifetime in it that they could hide.
        return unsafe { &*place.cast::<S>() }.registration();
    }
    if id == erased_type_id::<&S>() {
        // SAFETY: `T` is `&'x S`, and 'x outlives 'a since `&'a T` is well-formed; so this is the usual shortening.
        return unsafe { *place.cast::<&'a S>() }.registration();
    }
    if id == erased_type_id::<&mut S>() {
        // SAFETY: `T` is `&'x mut S`, borrowed for 'a: a shared reborrow for 'a of what it refers to.
        return unsafe { &**place.cast::<&'a mut S>() }.registration();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::registration_in;
    use crate::io::pipe;
    use crate::{TcpListener, TcpStream, UnixStream};

    #[test]
    fn streams_and_references_to_them_are_found_and_nothing_else_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(registration_in(&stream).is_some());
        assert!(registration_in(&&stream).is_some());
        assert!(registration_in(&&mut stream).is_some());
        assert!(registration_in(&&&stream).is_none());
        assert!(registration_in(&listener).is_none());
        assert!(registration_in(&std::io::BufReader::new(&stream)).is_none());
        let reader: &dyn Read = &stream;
        assert!(registration_in(reader).is_none());
        let writer: Box<dyn Write> = Box::new(stream);
        assert!(registration_in(&*writer).is_none());
        assert!(registration_in("text").is_none());
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(registration_in(&one).is_some());
        let (reader, writer) = pipe().unwrap();
        assert!(registration_in(&reader).is_some());
        assert!(registration_in(&writer).is_some());
    }
}
