//! The inbox (`scheduler/inbox.rs`) under every interleaving: nothing is lost, nothing comes twice, each pusher's order
//! is kept, and what was done before a push is seen after the take.
//!
//! Each model names what it hangs on: change that, and the model fails (tried; the outcomes are in
//! `scheduler/README.md`).

use std::ptr::{self, NonNull};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

mod model;

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicPtr, Ordering};
}
#[allow(dead_code)]
#[path = "../src/scheduler/inbox.rs"]
mod inbox;

use inbox::{Inbox, Linked};
use model::{Gate, with_preemptions};

struct Node {
    next: loom::sync::atomic::AtomicPtr<Node>,
    /// Written before the push, and by the taker: a race here is a missing Release or Acquire, or a node with two owners.
    number: UnsafeCell<u32>,
}

impl Linked for Node {
    fn next(&self) -> &loom::sync::atomic::AtomicPtr<Node> {
        &self.next
    }
}

fn push(gate: &Gate, inbox: &Inbox<Node>, number: u32) {
    let node = Box::new(Node {
        next: loom::sync::atomic::AtomicPtr::new(ptr::null_mut()),
        number: UnsafeCell::new(0),
    });
    // SAFETY: the node is ours until it is pushed.
    node.number.with_mut(|cell| unsafe { *cell = number });
    gate.pass();
    // SAFETY: it stays allocated until `take` frees it.
    unsafe { inbox.push(NonNull::from(Box::leak(node))) };
}

fn take(gate: &Gate, inbox: &Inbox<Node>, taken: &mut Vec<u32>) {
    gate.pass();
    for node in inbox.take_all() {
        // SAFETY: the inbox gives a node out once; loom checks it.
        let node = unsafe { Box::from_raw(node.as_ptr()) };
        // SAFETY: as above.
        taken.push(node.number.with_mut(|cell| unsafe { *cell }));
    }
}

/// Two pushers against a taker.
///
/// Hangs on: the pusher's Release and the taker's Acquire; the taker taking the list by one exchange; the reversal.
#[test]
fn nothing_is_lost_and_each_pushers_order_is_kept() {
    with_preemptions(3, || {
        let (gate, inbox) = (Arc::new(Gate::new()), Arc::new(Inbox::new()));
        let pushers = [10, 20].map(|first| {
            let (gate, inbox) = (gate.clone(), inbox.clone());
            thread::spawn(move || {
                push(&gate, &inbox, first);
                push(&gate, &inbox, first + 1);
            })
        });
        let mut taken = Vec::new();
        take(&gate, &inbox, &mut taken);
        for pusher in pushers {
            pusher.join().unwrap();
        }
        take(&gate, &inbox, &mut taken);
        assert!(inbox.is_empty());
        for first in [10, 20] {
            let of_one: Vec<_> = taken
                .iter()
                .filter(|&&n| n / 10 == first / 10)
                .copied()
                .collect();
            assert_eq!(of_one, [first, first + 1]);
        }
        assert_eq!(taken.len(), 4);
    });
}

/// A node that is taken out and pushed again while a pusher has seen its address as the newest: no ABA.
///
/// Hangs on: nobody but the taker reading links; popping a single node by compare-exchange would break it.
#[test]
fn a_node_that_comes_back_confuses_nobody() {
    loom::model(|| {
        let (gate, inbox) = (Arc::new(Gate::new()), Arc::new(Inbox::new()));
        push(&gate, &inbox, 1);
        let pusher = thread::spawn({
            let (gate, inbox) = (gate.clone(), inbox.clone());
            move || push(&gate, &inbox, 2)
        });
        let mut taken = Vec::new();
        gate.pass();
        for node in inbox.take_all() {
            gate.pass();
            // SAFETY: taken out, so it may be pushed again.
            unsafe { inbox.push(node) };
        }
        pusher.join().unwrap();
        take(&gate, &inbox, &mut taken);
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
    });
}
