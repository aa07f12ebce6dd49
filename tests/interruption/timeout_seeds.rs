//! Timeouts, deadlines, tokens, shields, clean-up and scopes in random trees, in virtual time under thousands of seeds,
//! against an oracle that works out by arithmetic which of them elapses, and when.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fastrand::Rng;
use withy::{
    CancelToken, Runtime, deadline, now, park_timeout, scope, shield, sleep, sleep_until, spawn,
    timeout, yield_now,
};

use crate::support::{LIMIT, within};

/// How a step ended: after so many nanoseconds, and by itself (or else by being cut short).
type Log = BTreeMap<u32, (u64, bool)>;

/// A program. Durations are multiples of `TICK`. The tokens' times, and their distances, are not: so a token is never
/// cancelled at the moment at which something else happens.
#[derive(Debug)]
enum Node {
    Sleep(u32, u64),
    SleepUntil(u32, u64),
    Park(u32, u64),
    /// For another coroutine: a wait that no timer ends.
    Join(u32, u64),
    Yield(u32),
    Steps(Vec<Node>),
    Timeout(u32, u64, Box<Node>),
    Deadline(u32, u64, Box<Node>),
    Token(u32, usize, Box<Node>),
    Shield(u32, Box<Node>),
    /// Catches whatever unwinds, as careless code does.
    Swallow(u32, Box<Node>),
    /// The second is done by a destructor.
    Cleanup(u32, Box<Node>, Box<Node>),
    /// Children, a body, and whom the body then joins, each with a timeout or without.
    Scope(u32, Vec<Node>, Box<Node>, Vec<(u32, usize, Option<u64>)>),
}

// ---- making programs ----

#[derive(Clone, Copy, PartialEq)]
enum Style {
    /// One coroutine, destructors that wait, and tokens.
    Single,
    /// Scopes. Without tokens, whose cancellation of a parent reaches the children by ways of which the oracle knows
    /// nothing; and without destructors that wait, during which other coroutines on the thread are not interrupted.
    Scopes,
}

struct Maker {
    rng: Rng,
    style: Style,
    ids: u32,
}

const TOKENS: usize = 3;
const TICK: u64 = 8;

impl Maker {
    fn id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    fn ns(&mut self) -> u64 {
        TICK * self.rng.u64(1..20)
    }

    fn steps(&mut self, depth: u32) -> Box<Node> {
        let count = self.rng.usize(1..4);
        Box::new(Node::Steps((0..count).map(|_| self.node(depth)).collect()))
    }

    fn node(&mut self, depth: u32) -> Node {
        let id = self.id();
        if depth == 0 || self.rng.u32(0..4) == 0 {
            return match self.rng.u32(0..9) {
                0 => Node::SleepUntil(id, TICK * self.rng.u64(0..60)),
                1 => Node::Park(id, self.ns()),
                2 => Node::Yield(id),
                3 => Node::Sleep(id, 0),
                4 | 5 => Node::Join(id, self.ns()),
                _ => Node::Sleep(id, self.ns()),
            };
        }
        let depth = depth - 1;
        match (self.rng.u32(0..9), self.style) {
            (0, _) => Node::Shield(id, self.steps(depth)),
            (1, _) => Node::Swallow(id, self.steps(depth)),
            (2, _) => Node::Deadline(id, TICK * self.rng.u64(0..60), self.steps(depth)),
            (3, Style::Single) => Node::Token(id, self.rng.usize(0..TOKENS), self.steps(depth)),
            (4, Style::Single) => Node::Cleanup(id, self.steps(depth), self.steps(depth)),
            (5, Style::Single) => Node::Timeout(id, 0, self.steps(depth)),
            (3..=5, Style::Scopes) => self.scope(id, depth),
            _ => Node::Timeout(id, self.ns(), self.steps(depth)),
        }
    }

    fn scope(&mut self, id: u32, depth: u32) -> Node {
        let count = self.rng.usize(0..4);
        let children = (0..count).map(|_| *self.steps(depth)).collect();
        let body = self.steps(depth);
        let mut joins = Vec::new();
        for child in 0..count {
            if self.rng.bool() {
                let limit = self.rng.bool().then(|| self.ns());
                joins.push((self.id(), child, limit));
            }
        }
        Node::Scope(id, children, body, joins)
    }
}

// ---- running them ----

struct Stage {
    start: Instant,
    log: Mutex<Log>,
    tokens: [CancelToken; TOKENS],
}

impl Stage {
    fn note(&self, id: u32, whole: bool) {
        let ns = (now() - self.start).as_nanos() as u64;
        let earlier = self.log.lock().unwrap().insert(id, (ns, whole));
        assert!(earlier.is_none(), "step {id} ended twice");
    }

    fn at(&self, ns: u64) -> Instant {
        self.start + Duration::from_nanos(ns)
    }

    fn play(&self, node: &Node) {
        let (id, whole) = match node {
            Node::Sleep(id, ns) => (id, (sleep(Duration::from_nanos(*ns)), true).1),
            Node::SleepUntil(id, at) => (id, (sleep_until(self.at(*at)), true).1),
            Node::Park(id, ns) => (id, (park_timeout(Duration::from_nanos(*ns)), true).1),
            Node::Join(id, ns) => {
                let ns = Duration::from_nanos(*ns);
                (id, spawn(move || sleep(ns)).join().is_ok())
            }
            Node::Yield(id) => (id, (yield_now(), true).1),
            Node::Steps(steps) => return steps.iter().for_each(|step| self.play(step)),
            Node::Timeout(id, ns, body) => (
                id,
                timeout(Duration::from_nanos(*ns), || self.play(body)).is_ok(),
            ),
            Node::Deadline(id, at, body) => {
                (id, deadline(self.at(*at), || self.play(body)).is_ok())
            }
            Node::Token(id, token, body) => {
                (id, self.tokens[*token].run(|| self.play(body)).is_ok())
            }
            Node::Shield(id, body) => (id, (shield(|| self.play(body)), true).1),
            Node::Swallow(id, body) => (
                id,
                catch_unwind(AssertUnwindSafe(|| self.play(body))).is_ok(),
            ),
            Node::Cleanup(id, body, clean) => {
                let guard = OnDrop(|| self.play(clean));
                self.play(body);
                drop(guard);
                (id, true)
            }
            Node::Scope(id, children, body, joins) => {
                self.play_scope(children, body, joins);
                (id, true)
            }
        };
        self.note(*id, whole);
    }

    fn play_scope(&self, children: &[Node], body: &Node, joins: &[(u32, usize, Option<u64>)]) {
        scope(|s| {
            let mut handles: Vec<_> = children
                .iter()
                .map(|child| Some(s.spawn(|| self.play(child))))
                .collect();
            self.play(body);
            for &(id, child, limit) in joins {
                let handle = handles[child].take().unwrap();
                let join = || drop(handle.join());
                let whole = match limit {
                    Some(ns) => timeout(Duration::from_nanos(ns), join).is_ok(),
                    None => (join(), true).1,
                };
                self.note(id, whole);
            }
        });
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Plays a program; `tokens` says when each is cancelled.
fn play(seed: u64, node: &Node, tokens: [u64; TOKENS]) -> Log {
    let runtime = Runtime::builder()
        .virtual_time()
        .seed(seed)
        .build()
        .unwrap();
    runtime.run(|| {
        let stage = Stage {
            start: now(),
            log: Mutex::default(),
            tokens: std::array::from_fn(|_| CancelToken::new()),
        };
        scope(|s| {
            for (token, at) in stage.tokens.iter().zip(tokens) {
                s.spawn(move || {
                    sleep(Duration::from_nanos(at));
                    token.cancel();
                });
            }
            s.spawn(|| stage.play(node));
        });
        stage.log.into_inner().unwrap()
    })
}

// ---- what must happen ----

/// An unwinding to a frame, and when it arrived where it is.
struct Thrown {
    frame: u32,
    at: u64,
}

struct Oracle {
    log: Log,
    /// Deadlines around the current step that can interrupt it, outermost first.
    frames: Vec<(u32, u64)>,
    numbers: u32,
    tokens: [u64; TOKENS],
    /// Inside a destructor of something that unwinds: nothing interrupts.
    unwinding: bool,
    /// Two things happen at one moment whose order is not told.
    ambiguous: bool,
}

impl Oracle {
    fn limit(&self) -> u64 {
        self.frames
            .iter()
            .map(|frame| frame.1)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// A wait from `from` to `to`. What is due comes before what is ready.
    fn wait(&self, from: u64, to: u64) -> Result<u64, Thrown> {
        let limit = self.limit();
        if self.unwinding || limit > to {
            return Ok(to);
        }
        let at = limit.max(from);
        let outermost = self.frames.iter().find(|frame| frame.1 <= at);
        let frame = outermost.expect("one is due").0;
        Err(Thrown { frame, at })
    }

    /// `node` in a frame.
    fn within(&mut self, id: u32, from: u64, due: u64, node: &Node) -> Result<u64, Thrown> {
        self.numbers += 1;
        let number = self.numbers;
        self.frames.push((number, due));
        let result = self.run(from, node);
        self.frames.pop();
        match result {
            Ok(at) => Ok(self.note(id, at, true)),
            Err(thrown) if thrown.frame == number => Ok(self.note(id, thrown.at, false)),
            Err(thrown) => Err(thrown),
        }
    }

    fn note(&mut self, id: u32, at: u64, whole: bool) -> u64 {
        self.log.insert(id, (at, whole));
        at
    }

    /// When `node`, begun at `from`, ends.
    fn run(&mut self, from: u64, node: &Node) -> Result<u64, Thrown> {
        let (id, at) = match node {
            Node::Sleep(id, ns) | Node::Park(id, ns) | Node::Join(id, ns) => {
                (id, self.wait(from, from + ns)?)
            }
            Node::SleepUntil(id, at) if *at <= from => (id, from),
            Node::SleepUntil(id, at) => (id, self.wait(from, *at)?),
            Node::Yield(id) => (id, self.wait(from, from)?),
            Node::Steps(steps) => {
                return steps
                    .iter()
                    .try_fold(from, |from, step| self.run(from, step));
            }
            Node::Timeout(id, ns, body) => return self.within(*id, from, from + ns, body),
            Node::Deadline(id, at, body) => return self.within(*id, from, *at, body),
            Node::Token(id, token, _) if self.tokens[*token] <= from => {
                return Ok(self.note(*id, from, false));
            }
            Node::Token(id, token, body) => {
                return self.within(*id, from, self.tokens[*token], body);
            }
            Node::Shield(id, body) => {
                let frames = std::mem::take(&mut self.frames);
                let result = self.run(from, body);
                self.frames = frames;
                (id, result?)
            }
            Node::Swallow(id, body) => {
                return Ok(match self.run(from, body) {
                    Ok(at) => self.note(*id, at, true),
                    Err(thrown) => self.note(*id, thrown.at, false),
                });
            }
            Node::Cleanup(id, body, clean) => (id, self.cleanup(from, body, clean)?),
            Node::Scope(id, children, body, joins) => {
                (id, self.scope(from, children, body, joins)?)
            }
        };
        Ok(self.note(*id, at, true))
    }

    fn cleanup(&mut self, from: u64, body: &Node, clean: &Node) -> Result<u64, Thrown> {
        match self.run(from, body) {
            Ok(at) => self.run(at, clean),
            Err(Thrown { frame, at }) => {
                let unwinding = std::mem::replace(&mut self.unwinding, true);
                let at = self.run(at, clean).unwrap_or_else(|_| unreachable!());
                self.unwinding = unwinding;
                Err(Thrown { frame, at })
            }
        }
    }

    fn scope(
        &mut self,
        from: u64,
        children: &[Node],
        body: &Node,
        joins: &[(u32, usize, Option<u64>)],
    ) -> Result<u64, Thrown> {
        let limit = self.limit();
        // Whether a child that does not wait still runs is not told.
        self.ambiguous |= limit <= from;
        // The children have the deadline for themselves; when the parent cancels them it has passed already.
        let frames = std::mem::take(&mut self.frames);
        let mut cut_short = false;
        let ends: Vec<u64> = children
            .iter()
            .map(|child| {
                if limit != u64::MAX {
                    self.frames = vec![(0, limit)];
                }
                let end = self.run(from, child);
                self.frames.clear();
                end.unwrap_or_else(|thrown| {
                    cut_short = true;
                    thrown.at
                })
            })
            .collect();
        self.frames = frames;
        let all = ends.iter().copied().max().unwrap_or(0);
        let mut ended = self.run(from, body);
        for &(id, child, limit) in joins {
            let Ok(from) = ended else { break };
            ended = self.join(id, from, ends[child], limit);
        }
        let mut ended = ended.and_then(|from| self.wait_until_ended(from, all));
        if let (Ok(at), true) = (&ended, cut_short) {
            // A deadline that has ended a child ends the parent, too, also when it need not wait any more.
            let at = (*at).max(all);
            ended = self.wait(at, at);
        }
        // Whatever interrupts the parent, it leaves after its children.
        ended.map(|at| at.max(all)).map_err(|thrown| Thrown {
            at: thrown.at.max(all),
            ..thrown
        })
    }

    fn join(&mut self, id: u32, from: u64, end: u64, limit: Option<u64>) -> Result<u64, Thrown> {
        let Some(ns) = limit else {
            let at = self.wait_until_ended(from, end)?;
            return Ok(self.note(id, at, true));
        };
        self.numbers += 1;
        let number = self.numbers;
        self.frames.push((number, from + ns));
        let waited = self.wait_until_ended(from, end);
        self.frames.pop();
        match waited {
            Err(thrown) if thrown.frame != number => Err(thrown),
            Err(thrown) => Ok(self.note(id, thrown.at, false)),
            Ok(at) => Ok(self.note(id, at, true)),
        }
    }

    /// A wait for somebody who ends at `end`, perhaps before.
    fn wait_until_ended(&mut self, from: u64, end: u64) -> Result<u64, Thrown> {
        if end < from {
            return Ok(from);
        }
        self.ambiguous |= end == from && self.limit() <= from;
        self.wait(from, end)
    }
}

/// Compares play and oracle for programs of `style` under `seeds` seeds.
fn compare(style: Style, seeds: u64) {
    let (mut compared, mut cut_short) = (0, 0);
    for seed in 0..seeds {
        let mut maker = Maker {
            rng: Rng::with_seed(seed),
            style,
            ids: 0,
        };
        let node = Node::Timeout(0, TICK * maker.rng.u64(1..100), maker.steps(4));
        let mut oracle = Oracle {
            log: Log::new(),
            frames: Vec::new(),
            numbers: 0,
            tokens: std::array::from_fn(|i| 1 + i as u64 + TICK * maker.rng.u64(0..60)),
            unwinding: false,
            ambiguous: false,
        };
        let _ = oracle.run(0, &node);
        if oracle.ambiguous {
            continue;
        }
        let seen = play(seed, &node, oracle.tokens);
        if seen != oracle.log {
            let wrong: Vec<_> = (0..=maker.ids)
                .map(|id| (id, oracle.log.get(&id), seen.get(&id)))
                .filter(|(_, expected, seen)| expected != seen)
                .collect();
            panic!(
                "seed {seed}: (step, expected, seen): {wrong:?}\ntokens {:?}\n{node:?}",
                oracle.tokens
            );
        }
        compared += 1;
        cut_short += seen.values().filter(|(_, whole)| !whole).count();
    }
    assert!(
        compared > seeds / 2,
        "{compared} of {seeds} programs compared"
    );
    assert!(cut_short as u64 > seeds, "{cut_short} steps cut short");
}

/// In a coroutine, whatever nests in whatever, every deadline ends what it should at the nanosecond that it should.
#[test]
fn nested_deadlines_end_what_they_should_when_they_should() {
    within(4 * LIMIT, "3,000 seeds", || compare(Style::Single, 3000));
}

/// So do those around and inside of scopes and their children.
#[test]
fn deadlines_around_scopes_end_what_they_should_when_they_should() {
    within(4 * LIMIT, "3,000 seeds", || compare(Style::Scopes, 3000));
}
