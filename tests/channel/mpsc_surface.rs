//! `withy::sync::mpsc` is `std::sync::mpsc`: every name, every bound, every error.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::mpsc as theirs;
use std::time::Duration;

use withy::sync::channel;
use withy::sync::mpsc as ours;

use crate::support::{LIMIT, within};

/// One program, compiled against either: what is used of the one is there in the other, and does the same.
macro_rules! same_program {
    ($name:ident, $mpsc:ident) => {
        fn $name() -> Vec<String> {
            use $mpsc::{
                IntoIter, Iter, Receiver, RecvError, RecvTimeoutError, SendError, Sender,
                SyncSender, TryIter, TryRecvError, TrySendError, channel, sync_channel,
            };
            let mut said = Vec::new();
            let (sender, receiver): (Sender<u8>, Receiver<u8>) = channel();
            said.push(format!("{sender:?} {receiver:?}"));
            said.push(format!(
                "{:?}",
                receiver.try_recv() == Err(TryRecvError::Empty)
            ));
            let clone: Sender<u8> = sender.clone();
            let sent: Result<(), SendError<u8>> = clone.send(1);
            said.push(format!("{sent:?}"));
            sender.send(2).unwrap();
            sender.send(3).unwrap();
            let mut iter: Iter<'_, u8> = receiver.iter();
            said.push(format!("{:?}", iter.next()));
            let mut tries: TryIter<'_, u8> = receiver.try_iter();
            said.push(format!(
                "{:?} {:?} {:?}",
                tries.next(),
                tries.next(),
                tries.next()
            ));
            said.push(format!(
                "{:?}",
                receiver.recv_timeout(Duration::from_millis(1))
            ));
            sender.send(4).unwrap();
            drop((sender, clone));
            said.push(format!("{:?}", (&receiver).into_iter().next()));
            let received: [String; 3] = [
                format!("{:?}", receiver.recv() == Err(RecvError)),
                format!(
                    "{:?}",
                    receiver.recv_timeout(Duration::MAX) == Err(RecvTimeoutError::Disconnected)
                ),
                format!("{:?}", receiver.try_recv()),
            ];
            said.extend(received);
            let mut owned: IntoIter<u8> = receiver.into_iter();
            said.push(format!("{:?}", owned.next()));

            let (sender, receiver): (SyncSender<u8>, Receiver<u8>) = sync_channel(1);
            said.push(format!("{sender:?}"));
            let sent: Result<(), TrySendError<u8>> = sender.clone().try_send(1);
            said.push(format!("{sent:?} {:?}", sender.try_send(2)));
            said.push(format!("{:?}", receiver.recv()));
            drop(receiver);
            said.push(format!("{:?} {:?}", sender.try_send(3), sender.send(4)));
            said.push(format!("{}", sender.send(5).unwrap_err()));

            let (sender, receiver) = sync_channel::<u8>(0);
            said.push(format!(
                "{:?} {:?}",
                sender.try_send(1),
                receiver.try_recv()
            ));
            drop(sender);
            said.push(format!("{:?}", receiver.recv().map_err(TryRecvError::from)));
            said
        }
    };
}

same_program!(with_ours, ours);
same_program!(with_theirs, theirs);

/// Item 2: porting is a changed `use`.
#[test]
fn a_program_does_the_same_with_either() {
    within(LIMIT, "the same program", || {
        assert_eq!(with_ours(), with_theirs());
    });
}

/// The errors are std's own.
#[test]
fn error_types_are_stds() {
    let _: ours::SendError<u8> = theirs::SendError(1);
    let _: ours::TrySendError<u8> = theirs::TrySendError::Full(1);
    let _: [ours::RecvError; 1] = [theirs::RecvError];
    let _: ours::TryRecvError = theirs::TryRecvError::Empty;
    let _: ours::RecvTimeoutError = theirs::RecvTimeoutError::Timeout;
}

/// std's bounds. That a receiver cannot be shared is a test of its docs, which must not compile.
#[test]
fn bounds_are_stds() {
    fn shared<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    fn sent<T: Send + UnwindSafe + RefUnwindSafe>() {}
    type NotSync = std::cell::Cell<u8>;
    shared::<ours::Sender<NotSync>>();
    shared::<ours::SyncSender<NotSync>>();
    sent::<ours::Receiver<NotSync>>();
    sent::<ours::IntoIter<NotSync>>();
    sent::<theirs::Receiver<u8>>();
}

/// The errors of `sync::channel` are std's, but for their names.
#[test]
fn the_other_channels_errors_convert_into_stds_and_back() {
    fn there_and_back<Ours, Theirs>(errors: &[(Ours, Theirs)])
    where
        Ours: Clone + PartialEq + std::fmt::Debug + From<Theirs> + std::error::Error,
        Theirs: Clone + PartialEq + std::fmt::Debug + From<Ours>,
    {
        for (ours, theirs) in errors {
            assert_eq!(&Theirs::from(ours.clone()), theirs);
            assert_eq!(&Ours::from(theirs.clone()), ours);
            assert!(!ours.to_string().is_empty());
        }
    }
    there_and_back(&[(channel::RecvError, theirs::RecvError)]);
    there_and_back(&[
        (channel::TryRecvError::Empty, theirs::TryRecvError::Empty),
        (
            channel::TryRecvError::Disconnected,
            theirs::TryRecvError::Disconnected,
        ),
    ]);
    there_and_back(&[
        (
            channel::RecvTimeoutError::Timeout,
            theirs::RecvTimeoutError::Timeout,
        ),
        (
            channel::RecvTimeoutError::Disconnected,
            theirs::RecvTimeoutError::Disconnected,
        ),
    ]);
    there_and_back(&[(channel::SendError(1), theirs::SendError(1))]);
    there_and_back(&[
        (
            channel::TrySendError::Full(1),
            theirs::TrySendError::Full(1),
        ),
        (
            channel::TrySendError::Disconnected(1),
            theirs::TrySendError::Disconnected(1),
        ),
    ]);
}

/// crossbeam-channel's methods of its errors.
#[test]
fn errors_answer_questions() {
    use channel::{
        RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
    };
    let (full, gone) = (TrySendError::Full(1), TrySendError::from(SendError(2)));
    assert!(full.is_full() && !full.is_disconnected());
    assert!(!gone.is_full() && gone.is_disconnected());
    assert_eq!((full.into_inner(), gone.into_inner()), (1, 2));
    let (late, gone) = (
        SendTimeoutError::Timeout(1),
        SendTimeoutError::from(SendError(2)),
    );
    assert!(late.is_timeout() && !late.is_disconnected());
    assert!(!gone.is_timeout() && gone.is_disconnected());
    assert_eq!((late.into_inner(), gone.into_inner()), (1, 2));
    assert_eq!(SendError(3).into_inner(), 3);
    assert!(TryRecvError::Empty.is_empty() && !TryRecvError::Empty.is_disconnected());
    assert!(TryRecvError::from(RecvError).is_disconnected());
    assert!(RecvTimeoutError::Timeout.is_timeout());
    let gone = RecvTimeoutError::from(RecvError);
    assert!(gone.is_disconnected() && !gone.is_timeout());
    // Padded, as text is.
    assert_eq!(format!("{:14?}|", SendError(1)), "SendError(..) |");
}

/// Debug and Display of the errors ask nothing of the message.
#[test]
fn errors_tell_without_the_message() {
    struct Plain;
    let texts = [
        format!("{:?} {0}", channel::SendError(Plain)),
        format!("{:?} {0}", channel::TrySendError::Full(Plain)),
        format!("{:?} {0}", channel::TrySendError::Disconnected(Plain)),
        format!("{:?} {0}", channel::SendTimeoutError::Timeout(Plain)),
        format!("{:?} {0}", channel::SendTimeoutError::Disconnected(Plain)),
    ];
    let begins = [
        "SendError(..)",
        "Full(..)",
        "Disconnected(..)",
        "Timeout(..)",
        "Disconnected(..)",
    ];
    for (text, begin) in texts.iter().zip(begins) {
        assert!(text.starts_with(begin), "{text}");
        assert!(!text.ends_with('.'));
    }
}
