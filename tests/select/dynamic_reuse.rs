//! A `Select` and what it gives as things: used again, cloned, sent, taken from, dropped.

use withy::sync::channel::{
    Select, SelectTimeoutError, Sender, TrySelectError, bounded, never, unbounded,
};

use crate::support::{LIMIT, matrix, within};
use crate::{AGES, rig};

/// Indices stay what they were, and removed operations are chosen no more.
#[test]
fn an_operation_can_be_removed() {
    within(LIMIT, "the removal of an operation", || {
        let (sender, receiver) = unbounded();
        let (gone, disconnected) = unbounded::<i32>();
        drop(gone);
        let mut select = Select::new();
        let first = select.recv(&disconnected);
        let second = select.recv(&receiver);
        assert_eq!(select.try_ready(), Ok(first));
        select.remove(first);
        assert!(select.try_select().is_err());
        sender.send(3).unwrap();
        let operation = select.select();
        assert_eq!(operation.index(), second);
        assert_eq!(operation.recv(&receiver), Ok(3));
        assert_eq!(select.send(&sender), 2);
        for missing in [first, 3, usize::MAX] {
            let text = rig::text_of(
                &*std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| select.remove(missing)))
                    .unwrap_err(),
            )
            .to_owned();
            assert!(text.contains(&format!("the index {missing}")), "{text}");
        }
        assert_eq!(select.try_ready(), Ok(2));
    });
}

/// The same select again and again, in each of its ways.
#[test]
fn a_select_can_be_reused() {
    matrix(LIMIT, "one select many times", |case| {
        let (a, one) = unbounded();
        let (b, two) = bounded(0);
        let (c, three) = bounded(3);
        // Nothing is disconnected: those would be ready for ever.
        let senders = [a, b, c];
        let producer = case.spawn({
            let senders = senders.clone();
            move || (0..300).for_each(|round| senders[round % 3].send(round).unwrap())
        });
        let sum = case.run(move || {
            let receivers = [one, two, three];
            let mut select = Select::new();
            for receiver in &receivers {
                select.recv(receiver);
            }
            let mut sum = 0;
            let mut got = 0;
            while got < 300 {
                let message = if got % 2 == 0 {
                    let operation = select.select();
                    let index = operation.index();
                    operation.recv(&receivers[index]).ok()
                } else {
                    let index = if got % 3 == 0 {
                        select.ready()
                    } else {
                        select.ready_timeout(AGES).unwrap()
                    };
                    receivers[index].try_recv().ok()
                };
                got += usize::from(message.is_some());
                sum += message.unwrap_or(0);
            }
            sum
        });
        producer.join();
        drop(senders);
        assert_eq!(sum, (0..300).sum::<usize>());
    });
}

/// It may be sent, shared and cloned, with its indices.
#[test]
fn a_select_is_send_sync_and_clone() {
    fn assert<T: Send + Sync + Clone>(_: &T) {}
    within(LIMIT, "clones of a select", || {
        let (sender, receiver) = unbounded();
        (0..8).for_each(|n| sender.send(n).unwrap());
        let mut select = Select::new();
        let index = select.recv(&receiver);
        assert(&select);
        let sum: i32 = withy::scope(|s| {
            let clones: Vec<_> = (0..8)
                .map(|_| {
                    let (mut clone, receiver) = (select.clone(), &receiver);
                    s.spawn(move || {
                        let operation = clone.select();
                        assert_eq!(operation.index(), index);
                        operation.recv(receiver).unwrap()
                    })
                })
                .collect();
            clones.into_iter().map(|clone| clone.join().unwrap()).sum()
        });
        assert_eq!(sum, 28);
    });
}

/// An operation that is dropped gives back what it has taken: no message is lost, and none overtaken.
#[test]
fn a_dropped_operation_gives_back_what_it_took() {
    matrix(LIMIT, "operations that are dropped", |case| {
        case.run(|| {
            let (sender, receiver) = bounded(2);
            sender.send(1).unwrap();
            sender.send(2).unwrap();
            let mut select = Select::new();
            select.recv(&receiver);
            drop(select.select());
            assert_eq!(receiver.try_recv(), Ok(1));
            assert_eq!(receiver.try_recv(), Ok(2));

            let mut select = Select::new();
            select.send(&sender);
            let kept = [select.select(), select.select()];
            assert!(select.try_select().is_err(), "all the room is kept");
            assert!(sender.is_full());
            assert!(sender.try_send(3).is_err());
            drop(kept);
            assert!(sender.try_send(3).is_ok());
        });
        // With somebody who waits for what comes back.
        let (sender, receiver) = bounded(1);
        let mut select = Select::new();
        select.send(&sender);
        let kept = select.select();
        let waiter = case.spawn({
            let sender = sender.clone();
            move || sender.send(4).unwrap()
        });
        drop(kept);
        waiter.join();
        assert_eq!(receiver.try_recv(), Ok(4));
    });
}

/// Completing an operation on another channel is refused, and loses nothing.
#[test]
fn an_operation_is_completed_on_its_own_channel_only() {
    within(LIMIT, "operations on other channels", || {
        fn refused(f: impl FnOnce()) {
            let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_err();
            let text = rig::text_of(&*payload);
            assert!(text.contains("the operation that was chosen"), "{text}");
        }
        let (sender, receiver) = bounded(1);
        let (other_sender, other_receiver) = bounded::<i32>(1);
        sender.send(1).unwrap();
        let mut select = Select::new();
        select.recv(&receiver);
        refused(|| _ = select.select().recv(&other_receiver));
        refused(|| _ = select.select().send(&sender, 5));
        refused(|| _ = select.select().recv(&never::<u8>()));
        let operation = select.select();
        // A clone is the same channel.
        assert_eq!(operation.recv(&receiver.clone()), Ok(1));
        let mut select = Select::new();
        select.send(&sender);
        refused(|| _ = select.select().send(&other_sender, 5));
        refused(|| _ = select.select().recv(&receiver));
        select.select().send(&sender.clone(), 6).unwrap();
        assert_eq!(receiver.recv(), Ok(6));
    });
}

/// Names and types as crossbeam's.
#[test]
fn the_types_are_as_they_should_be() {
    fn error<E: std::error::Error + Clone + Copy + PartialEq + Send + Sync + 'static>(e: E) {
        let text = e.to_string();
        assert!(text.chars().next().is_some_and(char::is_lowercase) && !text.ends_with('.'));
    }
    use withy::sync::channel::{ReadyTimeoutError, TryReadyError};
    error(TrySelectError);
    error(SelectTimeoutError);
    error(TryReadyError);
    error(ReadyTimeoutError);
    let (sender, receiver): (Sender<i32>, _) = unbounded();
    let mut select = Select::default();
    assert_eq!(select.recv(&receiver), 0);
    assert_eq!(format!("{select:?}"), "Select { .. }");
    sender.send(0).unwrap();
    let operation = select.select();
    assert_eq!(
        format!("{operation:?}"),
        "SelectedOperation { index: 0, .. }"
    );
}
