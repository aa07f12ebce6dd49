//! Reading about coroutines while their workers go on: which one runs, which are ready, which are left at the end.
//!
//! A record may be freed at any moment by its worker, so it is never touched: its bytes are copied through
//! `/proc/self/mem`, which gives an error where nothing is mapped, and believed only if the worker's [`Watched`] says
//! afterwards that all of the copying fell into one run or sleep (in full stealing, lists are read under their locks).
//!
//! [`Watched`]: crate::scheduler::watched::Watched

use core::fmt;
use core::mem::offset_of;
use core::panic::Location;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::scheduler::watched::Seen;
use crate::scheduler::{Remote, Shared};
use crate::task::header::{Header, Spec};
use crate::task::live::Links;
use crate::task::state::State;

/// Coroutines that a report names; the others are counted.
const NAMED_MAX: usize = 8;
/// Members of a list that are looked at; under a lock in full stealing, so a few milliseconds' worth.
const MEMBERS_MAX: usize = 10_000;
/// Bytes of a name that a report shows.
const NAME_MAX: usize = 100;
/// Looks at a worker that keeps going on.
const TRIES: usize = 100;

/// A coroutine, as reports name it.
pub(super) struct Sighting {
    name: Option<String>,
    /// None: nobody has asked for it yet, so nobody could recognise it.
    id: Option<u64>,
    location: &'static Location<'static>,
    /// The worker on which it runs, if the report is about many.
    worker: Option<usize>,
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.id) {
            (Some(name), Some(id)) => write!(f, "'{name}' #{id}")?,
            (Some(name), None) => write!(f, "'{name}'")?,
            (None, Some(id)) => write!(f, "#{id}")?,
            (None, None) => write!(f, "one without a name")?,
        }
        match self.worker {
            Some(worker) => write!(
                f,
                " (spawned at {}, runs on worker {worker})",
                self.location
            ),
            None => write!(f, " (spawned at {})", self.location),
        }
    }
}

/// Some coroutines by name, and how many there are in all.
#[derive(Default)]
pub(super) struct Crowd {
    pub(super) count: usize,
    named: Vec<Sighting>,
    /// There are more than were looked at.
    truncated: bool,
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, sighting) in self.named.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{sighting}")?;
        }
        match self.count - self.named.len() {
            more if self.truncated => write!(f, ", and at least {more} more"),
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// The process's memory, as a file.
struct Memory(File);

impl Memory {
    /// # Errors
    /// Without /proc, or where the process may not look at itself (it has given up privileges).
    fn open() -> io::Result<Memory> {
        File::open("/proc/self/mem").map(Memory)
    }

    fn bytes<const N: usize>(&self, address: usize) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact_at(&mut bytes, address as u64)?;
        Ok(bytes)
    }

    fn word(&self, address: usize) -> io::Result<usize> {
        self.bytes(address).map(usize::from_ne_bytes)
    }

    fn record(&self, address: usize) -> io::Result<Copied> {
        let bytes = self.bytes(address)?;
        Ok(Copied { address, bytes })
    }
}

/// The bytes of a record, or of what took its place.
struct Copied {
    address: usize,
    bytes: [u8; size_of::<Header>()],
}

impl Copied {
    fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        *self.bytes[offset..]
            .first_chunk()
            .expect("a field lies within its record")
    }

    fn word(&self, offset: usize) -> usize {
        usize::from_ne_bytes(self.field(offset))
    }

    fn next(&self) -> usize {
        self.word(offset_of!(Header, live) + Links::NEXT)
    }

    fn is_ready(&self) -> bool {
        State::is_ready(u32::from_ne_bytes(self.field(offset_of!(Header, state))))
    }

    /// Whether worker `index` is the one that must run it.
    fn is_bound_to(&self, index: usize, shared: &Shared) -> bool {
        let home = u32::from_ne_bytes(self.field(offset_of!(Header, home)));
        let [pinned] = self.field(offset_of!(Header, pinned));
        home as usize == index && (!shared.config.steal_started || pinned != 0)
    }

    /// Names it, if `is_valid` says that what was copied was the record. The name is copied now, so that the caller must ask
    /// again.
    fn sighting(&self, memory: &Memory, is_valid: impl Fn() -> bool) -> Option<Sighting> {
        const SPEC: usize = offset_of!(Header, spec);
        if !is_valid() {
            return None;
        }
        let location = self.word(SPEC + offset_of!(Spec, location));
        // SAFETY: `is_valid`: the record was alive while it was copied, and its `spec` is written once, before anybody
        // else knows of the record. So this is the reference that stands there, and it is 'static.
        let location = unsafe { &*core::ptr::with_exposed_provenance(location) };
        // A boxed str is its address and its length; a unit test holds on to that. Nothing is followed here.
        let name = SPEC + offset_of!(Spec, name);
        let (at, len) = (self.word(name), self.word(name + size_of::<usize>()));
        let name = (at != 0).then(|| memory.text(at, len)).transpose().ok()?;
        let id = u64::from_ne_bytes(self.field(Header::ID));
        Some(Sighting {
            name,
            id: (id != 0).then_some(id),
            location,
            worker: None,
        })
    }
}

impl Memory {
    fn text(&self, address: usize, len: usize) -> io::Result<String> {
        let mut bytes = vec![0; len.min(NAME_MAX)];
        self.0.read_exact_at(&mut bytes, address as u64)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The coroutine that runs in `seen`, a run of that worker's.
pub(super) fn running(remote: &Remote, seen: Seen) -> Option<Sighting> {
    let memory = Memory::open().ok()?;
    let is_valid = || remote.watched.is_still(seen);
    let record = memory.record(seen.current?).ok()?;
    let sighting = record.sighting(&memory, is_valid)?;
    is_valid().then_some(sighting)
}

/// The started coroutines that are ready, but must wait until worker `index` ends the run `seen`.
pub(super) fn waiting_behind(shared: &Shared, index: usize, seen: Seen) -> Option<Crowd> {
    let memory = Memory::open().ok()?;
    let is_still = || shared.remotes[index].watched.is_still(seen);
    // In full stealing a coroutine that is pinned here may stand in any list; their locks make the copies good.
    let locked = shared.config.steal_started;
    let lists = if locked {
        &*shared.remotes
    } else {
        &shared.remotes[index..=index]
    };
    let mut crowd = Crowd::default();
    for remote in lists {
        let complete = walk(&memory, remote, |record| {
            let waits = Some(record.address) != seen.current
                && record.is_ready()
                && record.is_bound_to(index, shared);
            if waits && crowd.named.len() < NAMED_MAX {
                crowd
                    .named
                    .push(record.sighting(&memory, || locked || is_still())?);
            }
            if waits {
                crowd.count += 1;
            }
            Some(true)
        })?;
        crowd.truncated |= !complete;
    }
    is_still().then_some(crowd)
}

/// What has not ended, as "3 coroutine(s) (…)". Some of it goes unnamed if its worker does not stand still for as long as
/// a look takes.
pub(crate) fn left_over(shared: &Shared) -> String {
    let named = Memory::open().map_or_else(|_| Vec::new(), |memory| name_some(shared, &memory));
    let crowd = Crowd {
        // Those that ended during the looks are told of all the same.
        count: shared.unfinished().max(named.len()),
        named,
        truncated: false,
    };
    if crowd.named.is_empty() {
        return format!("{} coroutine(s)", crowd.count);
    }
    format!("{} coroutine(s) ({crowd})", crowd.count)
}

/// Those that run come first: mostly they are the reason.
fn name_some(shared: &Shared, memory: &Memory) -> Vec<Sighting> {
    let mut found = Vec::new();
    for (index, remote) in shared.remotes.iter().enumerate() {
        let running = in_one_moment(remote, |seen, is_valid| {
            let Some(address) = seen.current else {
                return Some(None);
            };
            let mut sighting = memory.record(address).ok()?.sighting(memory, is_valid)?;
            sighting.worker = Some(index);
            Some(Some((address, sighting)))
        });
        found.extend(running.flatten());
    }
    let running: Vec<usize> = found.iter().map(|&(address, _)| address).collect();
    for remote in &shared.remotes {
        let members = if shared.config.steal_started {
            first_members(memory, remote, &running, &|| true)
        } else {
            in_one_moment(remote, |_, is_valid| {
                first_members(memory, remote, &running, is_valid)
            })
        };
        found.extend(members.into_iter().flatten());
    }
    found.truncate(NAMED_MAX);
    found.into_iter().map(|(_, sighting)| sighting).collect()
}

/// As many of a worker's list as a report names, but for some.
fn first_members(
    memory: &Memory,
    remote: &Remote,
    without: &[usize],
    is_valid: &dyn Fn() -> bool,
) -> Option<Vec<(usize, Sighting)>> {
    let mut members = Vec::new();
    walk(memory, remote, |record| {
        if !without.contains(&record.address) {
            members.push((record.address, record.sighting(memory, is_valid)?));
        }
        Some(members.len() < NAMED_MAX)
    })?;
    Some(members)
}

/// What `read` reads within one run or sleep of a worker. It gives `None` where it reads nonsense, and is called again.
fn in_one_moment<R>(
    remote: &Remote,
    mut read: impl FnMut(Seen, &dyn Fn() -> bool) -> Option<R>,
) -> Option<R> {
    (0..TRIES).find_map(|_| {
        let seen = remote.watched.look()?;
        let is_valid = || remote.watched.is_still(seen);
        read(seen, &is_valid).filter(|_| is_valid())
    })
}

/// Copies the members of a worker's list, newest first, until `f` has seen enough. True: up to the last one. `None`: the
/// memory was no list, or `f` says so.
fn walk(
    memory: &Memory,
    remote: &Remote,
    mut f: impl FnMut(&Copied) -> Option<bool>,
) -> Option<bool> {
    remote.list.observed(|head| {
        let mut at = memory.word(head).ok()?;
        for _ in 0..MEMBERS_MAX {
            if at == 0 {
                return Some(true);
            }
            let record = memory.record(at).ok()?;
            at = record.next();
            if !f(&record)? {
                break;
            }
        }
        Some(at == 0)
    })
}
