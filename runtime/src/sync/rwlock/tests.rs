//! Who comes next, in each order of arrivals that matters. Here the word and the queues can be looked at, so a test knows who
//! waits; `tests/sync/rwlock*.rs` see the lock from outside.

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use self::stage::{Actor, each_single_worker, each_stage, until};
use crate::atomic::Ordering;
use crate::sync::raw_rwlock::{Ends, READER, STARVING, WOKEN, WRITER, WRITERS, WRITING};

/// Promise 42. A reader waits for one writer at most: the one that holds the lock, however many wait before it.
#[test]
fn a_writer_that_unlocks_lets_all_waiting_readers_in_first() {
    each_stage(|stage| {
        stage.lock.write();
        let writer = stage.waiting_writer("writer");
        let more = [
            stage.writer("writer"),
            stage.writer("writer"),
            stage.writer("writer"),
        ];
        let readers = ["reader"; 5].map(|name| stage.waiting_reader(name));
        stage.lock.unlock_write();
        readers.into_iter().for_each(Actor::join);
        writer.join();
        more.into_iter().for_each(Actor::join);
        let log = stage.log();
        assert_eq!(log[..5], ["reader"; 5]);
        assert_eq!(log[5..], ["writer"; 4]);
    });
}

/// Promise 42. A reader that comes when readers hold the lock and a writer waits, waits for these and this one. A writer waits for the
/// readers that hold the lock when it comes.
#[test]
fn a_waiting_writer_goes_before_readers_that_come_later() {
    each_stage(|stage| {
        stage.lock.read();
        stage.lock.read();
        let writer = stage.waiting_writer("writer");
        let readers = ["reader"; 5].map(|name| stage.waiting_reader(name));
        assert!(!stage.lock.try_read());
        stage.lock.unlock_read();
        assert!(stage.log().is_empty());
        stage.lock.unlock_read();
        writer.join();
        readers.into_iter().for_each(Actor::join);
        assert_eq!(stage.log()[0], "writer");
    });
}

/// Whoever is let in as one of many readers is let in with them: all of them hold the lock at once.
#[test]
fn readers_that_are_let_in_hold_the_lock_together() {
    each_stage(|stage| {
        let inside = Arc::new(AtomicUsize::new(0));
        let all_in = Arc::new(AtomicBool::new(false));
        stage.lock.write();
        let readers = [(); 5].map(|()| {
            let before = stage.lock.readers_waiting();
            let (inside, all_in) = (inside.clone(), all_in.clone());
            let reader = stage.start(move |lock| {
                lock.read();
                inside.fetch_add(1, Ordering::SeqCst);
                while !all_in.load(Ordering::SeqCst) {
                    crate::sleep(Duration::from_micros(50));
                }
                lock.unlock_read();
            });
            until("a reader waits", || stage.lock.readers_waiting() > before);
            reader
        });
        stage.lock.unlock_write();
        until("all are in", || inside.load(Ordering::SeqCst) == 5);
        assert!(!stage.lock.try_write());
        all_in.store(true, Ordering::SeqCst);
        readers.into_iter().for_each(Actor::join);
    });
}

/// A writer that goes on as a reader lets in the readers that wait, and no writer.
#[test]
fn a_downgrade_lets_waiting_readers_in_beside_it() {
    each_stage(|stage| {
        stage.lock.write();
        let writer = stage.waiting_writer("writer");
        let readers = ["reader"; 3].map(|name| stage.waiting_reader(name));
        stage.lock.downgrade();
        readers.into_iter().for_each(Actor::join);
        assert!(
            !stage.lock.try_read(),
            "a writer waits, so nobody new comes in"
        );
        assert_eq!(stage.log(), ["reader"; 3]);
        stage.lock.unlock_read();
        writer.join();
    });
}

/// Promise 29. Readers that wait because of a writer are let in when that leaves, beside those that hold the lock.
#[test]
fn a_writer_that_leaves_lets_in_the_readers_behind_it() {
    each_stage(|stage| {
        stage.lock.read();
        let writer = stage.waiting_writer("writer");
        let readers = ["reader"; 3].map(|name| stage.waiting_reader(name));
        writer.token.cancel();
        writer.was_cancelled();
        readers.into_iter().for_each(Actor::join);
        assert_eq!(stage.log(), ["reader"; 3]);
        stage.lock.unlock_read();
    });
}

/// Promise 29. As long as another writer waits, they are not.
#[test]
fn a_writer_that_leaves_lets_in_nobody_before_another_writer() {
    each_stage(|stage| {
        stage.lock.read();
        let first = stage.waiting_writer("first");
        let second = stage.writer("second");
        // It waits by now, or comes before the reader does: either way the first is not the last that keeps readers out.
        until("two writers wait", || {
            stage
                .lock
                .queues
                .with(|queues| !queues.is_empty(WRITING) && !queues.is_last(WRITING))
        });
        let reader = stage.waiting_reader("reader");
        first.token.cancel();
        first.was_cancelled();
        assert_eq!(stage.lock.readers_waiting(), 1);
        stage.lock.unlock_read();
        second.join();
        reader.join();
        assert_eq!(stage.log(), ["second", "reader"]);
    });
}

/// Promise 29. A reader that leaves the queue leaves it in order, the last one too.
#[test]
fn readers_that_leave_are_not_waited_for() {
    each_stage(|stage| {
        stage.lock.write();
        let [first, second, third] = ["first", "second", "third"].map(|n| stage.waiting_reader(n));
        second.token.cancel();
        second.was_cancelled();
        assert_eq!(stage.lock.readers_waiting(), 2);
        first.token.cancel();
        first.was_cancelled();
        third.token.cancel();
        third.was_cancelled();
        assert_eq!(stage.lock.word.load(Ordering::SeqCst), WRITER);
        stage.lock.unlock_write();
        assert!(stage.log().is_empty());
    });
}

/// Promise 29. A reader that was let in and unwinds all the same gives the lock up, and the writer behind it gets it.
#[test]
fn a_reader_that_was_let_in_and_unwinds_makes_room() {
    each_single_worker(|stage| {
        stage.lock.write();
        let reader = stage.waiting_reader("reader");
        let writer = stage.waiting_writer("writer");
        let busy = stage.busy_worker();
        stage.lock.unlock_write();
        assert!(!stage.lock.try_write(), "the reader holds it");
        reader.token.cancel();
        drop(busy);
        reader.was_cancelled();
        writer.join();
        assert_eq!(stage.log(), ["writer"]);
    });
}

/// Promise 29. A writer that was woken to compete and unwinds wakes the next writer, or lets the readers in.
#[test]
fn a_writer_that_was_woken_and_unwinds_passes_that_on() {
    for next in ["reader", "writer"] {
        each_single_worker(|stage| {
            stage.lock.read();
            let leaver = stage.waiting_writer("leaver");
            let next = match next {
                "reader" => stage.waiting_reader("next"),
                _ => {
                    let next = stage.writer("next");
                    until("two writers wait", || {
                        stage.lock.queues.with(|queues| !queues.is_last(WRITING))
                    });
                    next
                }
            };
            let busy = stage.busy_worker();
            stage.lock.unlock_read();
            assert!(stage.lock.has(WOKEN));
            assert!(!stage.lock.try_read(), "it goes before any reader");
            leaver.token.cancel();
            drop(busy);
            leaver.was_cancelled();
            next.join();
            assert_eq!(stage.log(), ["next"]);
        });
    }
}

/// Whoever settles late, or leaves, while a writer was woken for the free lock or somebody holds it, wakes no second one.
#[test]
fn a_late_settle_does_no_harm() {
    each_single_worker(|stage| {
        let settle_late = || {
            let word = stage.lock.word.load(Ordering::SeqCst);
            let queues = &stage.lock.queues;
            queues.with(|queues| stage.lock.settle(queues, Ends::Nothing));
            assert_eq!(stage.lock.word.load(Ordering::SeqCst), word);
        };
        stage.lock.read();
        let first = stage.waiting_writer("first");
        let second = stage.writer("second");
        until("two writers wait", || {
            stage.lock.queues.with(|queues| !queues.is_last(WRITING))
        });
        let reader = stage.waiting_reader("reader");
        settle_late();
        let busy = stage.busy_worker();
        stage.lock.unlock_read();
        assert!(stage.lock.has(WOKEN) && stage.lock.has(WRITERS));
        settle_late();
        assert!(stage.lock.try_write());
        settle_late();
        stage.lock.unlock_write();
        drop(busy);
        [first, second, reader].into_iter().for_each(Actor::join);
        assert_eq!(stage.log(), ["reader", "first", "second"]);
    });
}

/// Promise 42. A writer that was woken in vain is handed the lock after 16 times at most; nobody goes first then.
#[test]
fn a_writer_loses_sixteen_times_at_most() {
    each_single_worker(|stage| {
        stage.lock.write();
        let writer = stage.waiting_writer("writer");
        let times = stage.starve();
        assert!((1..=16).contains(&times), "{times}");
        let busy = stage.busy_worker();
        stage.lock.unlock_write();
        assert!(!stage.lock.try_write() && !stage.lock.try_read());
        assert!(stage.log().is_empty());
        drop(busy);
        writer.join();
    });
}

/// Promise 42. Readers that wait go before a writer that is to be handed the lock, and it comes next.
#[test]
fn a_starving_writer_is_handed_the_lock_by_the_last_reader() {
    each_single_worker(|stage| {
        stage.lock.write();
        let writer = stage.waiting_writer("writer");
        stage.starve();
        let readers = ["reader"; 2].map(|name| stage.waiting_reader(name));
        let later = stage.writer("later");
        until("two writers wait", || {
            stage.lock.queues.with(|queues| !queues.is_last(WRITING))
        });
        let busy = stage.busy_worker();
        stage.lock.unlock_write();
        assert!(!stage.lock.try_write());
        drop(busy);
        readers.into_iter().for_each(Actor::join);
        writer.join();
        later.join();
        assert_eq!(stage.log(), ["reader", "reader", "writer", "later"]);
    });
}

/// Promise 42. Nobody comes in between the last reader's unlock and its handing the lock over.
#[test]
fn a_lock_that_a_starving_writer_is_due_is_not_free() {
    each_single_worker(|stage| {
        stage.lock.write();
        let writer = stage.waiting_writer("writer");
        stage.starve();
        stage.lock.downgrade();
        // The first half of an unlock, and back.
        stage.lock.word.fetch_sub(READER, Ordering::SeqCst);
        assert!(!stage.lock.try_write() && !stage.lock.try_read());
        stage.lock.word.fetch_add(READER, Ordering::SeqCst);
        stage.lock.unlock_read();
        writer.join();
    });
}

/// Promise 29. A writer that was handed the lock and unwinds passes it on; one that was to be handed it and leaves lets others in.
#[test]
fn a_starving_writer_that_unwinds_passes_the_lock_on() {
    for handed_over in [false, true] {
        each_single_worker(|stage| {
            stage.lock.write();
            let leaver = stage.waiting_writer("leaver");
            stage.starve();
            let next = stage.writer("next");
            until("two writers wait", || {
                stage.lock.queues.with(|queues| !queues.is_last(WRITING))
            });
            if handed_over {
                let busy = stage.busy_worker();
                stage.lock.unlock_write();
                leaver.token.cancel();
                drop(busy);
                leaver.was_cancelled();
            } else {
                leaver.token.cancel();
                leaver.was_cancelled();
                assert!(!stage.lock.has(STARVING));
                stage.lock.unlock_write();
            }
            next.join();
            assert_eq!(stage.log(), ["next"]);
        });
    }
}
