//! Channels against a model: what a queue under one lock would do. Several coroutines do random things in virtual time, on one
//! worker, where seeds decide who runs when.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;
use withy::sync::channel::{Receiver, Sender, TryRecvError, TrySendError};
use withy::{deadline, now, scope, sleep, yield_now};

use super::parcels::{CAPACITIES, MS, channel_of};
use crate::rig::parties::in_virtual_time;
use crate::rig::stress_rounds;

/// One queue, and those who wait.
#[derive(Default)]
struct Model {
    /// In the channel.
    queue: VecDeque<u64>,
    /// Of senders that wait, the longest first.
    senders: VecDeque<u64>,
    /// Receivers that wait.
    receivers: VecDeque<u64>,
    capacity: usize,
    /// To whom what was given.
    given: Vec<(u64, u64)>,
}

/// What the model says of a call.
#[derive(Debug, PartialEq, Eq)]
enum Say {
    Done,
    Received(u64),
    Waits,
}

impl Model {
    fn send(&mut self, message: u64) -> Say {
        if let Some(receiver) = self.receivers.pop_front() {
            self.given.push((receiver, message));
            return Say::Done;
        }
        if self.queue.len() < self.capacity {
            self.queue.push_back(message);
            return Say::Done;
        }
        self.senders.push_back(message);
        Say::Waits
    }

    fn recv(&mut self, who: u64) -> Say {
        if let Some(message) = self.queue.pop_front() {
            if self.queue.len() < self.capacity {
                self.queue.extend(self.senders.pop_front());
            }
            return Say::Received(message);
        }
        if let Some(message) = self.senders.pop_front() {
            return Say::Received(message);
        }
        self.receivers.push_back(who);
        Say::Waits
    }

    /// A wait is over, in vain. False: it had been served before.
    fn give_up_sending(&mut self, message: u64) -> bool {
        let waiting = self.senders.len();
        self.senders.retain(|&other| other != message);
        self.senders.len() < waiting
    }

    fn give_up_receiving(&mut self, who: u64) -> bool {
        let waiting = self.receivers.len();
        self.receivers.retain(|&other| other != who);
        self.receivers.len() < waiting
    }

    /// A receiver unwinds with a message in its hands.
    fn pass_on(&mut self, who: u64) {
        let message = self.given_to(who).expect("it was given one");
        match self.receivers.pop_front() {
            Some(next) => self.given.push((next, message)),
            None => self.queue.push_front(message),
        }
    }

    fn given_to(&mut self, who: u64) -> Option<u64> {
        let at = self
            .given
            .iter()
            .position(|(receiver, _)| *receiver == who)?;
        Some(self.given.swap_remove(at).1)
    }
}

struct World {
    /// Locked for as long as it takes to say something.
    model: Mutex<Model>,
    sender: Sender<u64>,
    receiver: Receiver<u64>,
}

impl World {
    fn say<R>(&self, f: impl FnOnce(&mut Model) -> R) -> R {
        f(&mut self.model.lock().unwrap())
    }

    /// Some calls, one after the other. The model is asked right before each: nobody runs in between, as the budget of a
    /// coroutine suffices for as many calls.
    fn act(&self, who: u64, rng: &mut Rng) {
        for n in 0..rng.u64(1..30) {
            let id = who * 1000 + n;
            let limit = Duration::from_micros(rng.u64(0..3000));
            match rng.u32(0..7) {
                0 => self.send(id, None),
                1 => self.send(id, Some(limit)),
                2 => self.try_send(id),
                3 => self.recv(id, None),
                4 => self.recv(id, Some(limit)),
                5 => self.try_recv(id),
                _ if rng.bool() => yield_now(),
                _ => sleep(limit),
            }
            let length = self.say(|model| model.queue.len());
            assert_eq!(self.receiver.len(), length, "length");
        }
    }

    /// Without a limit it is unwound after a time: the others may never come.
    fn send(&self, id: u64, limit: Option<Duration>) {
        let said = self.say(|model| model.send(id));
        let until = now() + limit.unwrap_or(2 * MS);
        let sent = match limit {
            Some(_) => self.sender.send_deadline(id, until).is_ok(),
            None => deadline(until, || self.sender.send(id).is_ok()) == Ok(true),
        };
        match said {
            Say::Done => assert!(sent, "{id} had room"),
            _ if sent => assert!(!self.say(|model| model.give_up_sending(id)), "{id} waits"),
            _ => {
                assert!(now() >= until, "{id} came back too soon");
                // Taken at the very moment at which it gave up: it was sent, and unwound.
                let waited = self.say(|model| model.give_up_sending(id));
                assert!(waited || limit.is_none(), "{id} was sent");
            }
        }
    }

    fn try_send(&self, id: u64) {
        let said = self.say(|model| model.send(id));
        match self.sender.try_send(id) {
            Ok(()) => assert_eq!(said, Say::Done),
            Err(error) => {
                assert_eq!((error, said), (TrySendError::Full(id), Say::Waits));
                assert!(self.say(|model| model.give_up_sending(id)));
            }
        }
    }

    fn recv(&self, id: u64, limit: Option<Duration>) {
        let said = self.say(|model| model.recv(id));
        let until = now() + limit.unwrap_or(2 * MS);
        let received = match limit {
            Some(_) => self.receiver.recv_deadline(until).ok(),
            None => deadline(until, || self.receiver.recv().ok()).unwrap_or(None),
        };
        match (said, received) {
            (Say::Received(expected), Some(message)) => assert_eq!(message, expected),
            (Say::Waits, Some(message)) => {
                assert_eq!(self.say(|model| model.given_to(id)), Some(message));
            }
            (Say::Waits, None) => {
                assert!(now() >= until, "{id} came back too soon");
                if !self.say(|model| model.give_up_receiving(id)) {
                    assert!(limit.is_none(), "{id} was given a message");
                    self.say(|model| model.pass_on(id));
                }
            }
            (said, received) => panic!("{id}: {received:?}, but {said:?}"),
        }
    }

    fn try_recv(&self, id: u64) {
        let said = self.say(|model| model.recv(id));
        match self.receiver.try_recv() {
            Ok(message) => assert_eq!(said, Say::Received(message)),
            Err(error) => {
                assert_eq!((error, said), (TryRecvError::Empty, Say::Waits));
                assert!(self.say(|model| model.give_up_receiving(id)));
            }
        }
    }
}

/// A property: whatever several coroutines do with a channel, it does what the model does, call by call; and what is left is the same.
#[test]
fn a_channel_does_what_its_model_does() {
    for seed in 0..40 * stress_rounds() as u64 {
        in_virtual_time(&format!("the model with seed {seed}"), || {
            CAPACITIES
                .into_iter()
                .for_each(|capacity| play(capacity, seed));
        });
    }
}

fn play(capacity: Option<usize>, seed: u64) {
    let (sender, receiver) = channel_of(capacity);
    let world = World {
        model: Mutex::new(Model {
            capacity: capacity.unwrap_or(usize::MAX),
            ..Model::default()
        }),
        sender,
        receiver,
    };
    scope(|s| {
        for who in 0..5 {
            let world = &world;
            s.spawn(move || world.act(who, &mut Rng::with_seed(seed * 100 + who)));
        }
    });
    let left: Vec<_> = world.receiver.try_iter().collect();
    world.say(|model| {
        assert_eq!(left, Vec::from(std::mem::take(&mut model.queue)));
        assert!(model.senders.is_empty() && model.receivers.is_empty() && model.given.is_empty());
    });
}
