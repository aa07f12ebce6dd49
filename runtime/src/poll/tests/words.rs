//! The transitions of one word, without concurrency; `tests/loom_slot.rs` has the rest.

use std::ptr::NonNull;

use crate::poll::lobby::{Lobby, Withdraw};
use crate::poll::slot::{
    Announce, Beginning, Carried, Clear, EnterLobby, Retract, Signal, Slot, Waiter,
};

fn slot(ready: bool) -> Slot {
    let slot = Slot::new();
    let beginning = Beginning {
        ready,
        lobby: false,
        carried: Carried::NONE,
    };
    slot.begin(1, beginning, beginning);
    slot
}

fn waiter(number: usize) -> Waiter {
    NonNull::new(std::ptr::without_provenance_mut(number * 16)).expect("not 0")
}

/// The highest address that a waiter can have is kept whole, beside all flags.
#[test]
fn a_waiter_comes_out_as_it_went_in() {
    let slot = slot(false);
    for number in [1, (1 << 44) - 1] {
        let seen = slot.read.load();
        assert_eq!(slot.read.announce(seen, waiter(number)), Announce::Waiting);
        assert!(slot.read.holds(waiter(number)));
        let signal = Signal::READY.hung_up(true).urgent(true);
        assert_eq!(slot.read.deliver(signal), Some(waiter(number)));
        let seen = slot.read.load();
        assert!(seen.is_ready() && !seen.trusts_short_transfers() && !seen.has_waiter());
        assert!(matches!(slot.read.clear(seen), Clear::Cleared(_)));
    }
}

/// The tick wraps without touching anything else.
#[test]
fn forty_thousand_events_leave_the_flags_alone() {
    let slot = slot(true);
    for _ in 0..40_000 {
        assert_eq!(slot.write.deliver(Signal::READY), None);
    }
    let seen = slot.write.load();
    assert!(seen.is_ready() && seen.trusts_short_transfers());
    assert!(!seen.is_closed() && !seen.has_lobby() && !seen.has_waiter());
}

/// Both an event and an interruption make a `clear` or an announcement fail that looked before.
#[test]
fn what_came_since_is_seen() {
    let slot = slot(false);
    let seen = slot.read.load();
    assert_eq!(slot.read.interrupt(), None);
    assert_eq!(slot.read.announce(seen, waiter(1)), Announce::Changed);
    assert_eq!(slot.read.deliver(Signal::READY), None);
    let seen = slot.read.load();
    assert_eq!(slot.read.deliver(Signal::READY), None);
    assert_eq!(slot.read.clear(seen), Clear::Changed);
}

/// HUP lasts through `clear` and `close`, and into the next life if it is carried there.
#[test]
fn a_hang_up_is_carried_into_the_next_life() {
    let slot = slot(false);
    assert_eq!(slot.read.deliver(Signal::READY.hung_up(true)), None);
    assert!(matches!(
        slot.read.clear(slot.read.load()),
        Clear::Cleared(_)
    ));
    assert_eq!(slot.read.close(), None);
    let seen = slot.read.load();
    assert!(seen.is_closed() && !seen.is_ready());
    let beginning = Beginning {
        ready: false,
        lobby: true,
        carried: seen.carried(),
    };
    let before = slot.generation();
    assert_eq!(slot.begin(2, beginning, beginning), before + 1);
    let seen = slot.read.load();
    assert!(!seen.is_closed() && seen.has_lobby() && !seen.trusts_short_transfers());
}

/// Waits on the poller's own worker start the count of foreign ones again.
#[test]
fn only_foreign_waits_in_a_row_count() {
    let slot = slot(false);
    assert_eq!(
        [2, 2, 1, 3].map(|driver| slot.note_wait(driver)),
        [1, 2, 0, 1]
    );
}

/// A guest that returns keeps its place; one that was called is not there any more.
#[test]
fn guests_are_called_in_the_order_of_their_first_coming() {
    let slot = slot(false);
    assert_eq!(
        slot.read.announce(slot.read.load(), waiter(9)),
        Announce::Waiting
    );
    let mut lobby = Lobby::default();
    let tickets = [lobby.ticket(), lobby.ticket(), lobby.ticket()];
    for (guest, &ticket) in tickets.iter().enumerate().rev() {
        let entered = lobby.enter(&slot.read, slot.read.load(), ticket, || guest);
        assert_eq!(entered, EnterLobby::Entered);
    }
    assert!(slot.read.load().has_lobby());
    assert!(matches!(lobby.withdraw(tickets[1]), Withdraw::Withdrawn(1)));
    assert_eq!(lobby.call(Some((&slot.read, slot.read.load()))), Some(0));
    assert!(slot.read.load().has_lobby() && !lobby.holds(tickets[0]));
    assert_eq!(lobby.call(Some((&slot.read, slot.read.load()))), Some(2));
    // Those who were called are on their way: a newcomer must still see that somebody is before it.
    assert!(slot.read.load().has_lobby());
    let newcomer = lobby.ticket();
    assert!(lobby.queue_up(newcomer, || 3));
    assert!(matches!(lobby.withdraw(newcomer), Withdraw::Withdrawn(3)));
    assert!(matches!(lobby.withdraw(tickets[2]), Withdraw::Called));
    lobby.settle_called();
    lobby.settle_called();
    assert!(!lobby.queue_up(newcomer, || 3), "nobody is before it");
    assert_eq!(lobby.call(Some((&slot.read, slot.read.load()))), None);
    assert!(!slot.read.load().has_lobby());
    assert_eq!(slot.read.retract(waiter(9)), Retract::Retracted);
    assert_eq!(slot.read.retract(waiter(9)), Retract::Taken);
}
