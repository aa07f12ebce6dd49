//! All clients of a plan, at once.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use withy::sync::{Barrier, Mutex};

use super::client::Client;
use super::{Moment, Outcome, Pace, Plan};

/// Longer than any client waits.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What the clients count together.
struct Counts {
    latencies: Histogram<u64>,
    /// When the warm-up was over, and until the end.
    answered: u64,
    requests_in_all: u64,
    errors: u64,
}

/// When the plan's phases begin.
#[derive(Clone, Copy)]
struct Times {
    begin: Instant,
    warm: Instant,
    end: Instant,
}

/// Runs it to its end. `look` is called when all are connected and have been answered once, so that the server is idle, and again
/// when all have their last answer, before they leave.
///
/// # Errors
/// If there can be no histogram.
pub(crate) fn run(plan: &Plan, mut look: impl FnMut(Moment)) -> io::Result<Outcome> {
    let latencies = Histogram::new_with_max(LATENCY_NS_MAX, 3).map_err(io::Error::other)?;
    let counts = Mutex::new(Counts {
        latencies,
        answered: 0,
        requests_in_all: 0,
        errors: 0,
    });
    let barrier = Barrier::new(plan.connections + 1);
    let times = Mutex::new(None);
    withy::scope(|clients| {
        for number in 0..plan.connections {
            let (counts, barrier, times) = (&counts, &barrier, &times);
            clients.spawn(move || {
                let client = (!plan.reconnects).then(|| begin(plan));
                barrier.wait();
                barrier.wait();
                let times = times.lock().unwrap().expect("set between the two");
                let mut pacer = Pacer::new(plan, number, times);
                let result = match client {
                    None => reconnecting(plan, &mut pacer, counts),
                    Some(client) => persistent(client, &mut pacer, counts),
                };
                pacer.give_up(counts);
                barrier.wait();
                barrier.wait();
                if let Err(error) = result.and_then(|client| client.map_or(Ok(()), Client::quit)) {
                    fail(number, &error, counts);
                }
            });
        }
        barrier.wait();
        look(Moment::Connected);
        let begin = Instant::now();
        let warm = begin + plan.warm_up;
        let end = warm + plan.duration;
        *times.lock().unwrap() = Some(Times { begin, warm, end });
        barrier.wait();
        barrier.wait();
        look(Moment::Answered);
        barrier.wait();
    });
    let counts = counts.into_inner().unwrap();
    Ok(Outcome {
        requests_per_s: counts.answered as f64 / plan.duration.as_secs_f64(),
        latencies: counts.latencies,
        requests_in_all: counts.requests_in_all,
        errors: counts.errors,
    })
}

fn begin(plan: &Plan) -> io::Result<Client> {
    let mut client = Client::connect(plan.addr, plan.asks)?;
    // It is the server's now, and not only the kernel's.
    client.request()?;
    Ok(client)
}

/// Asks over one connection, which is given back if it has not failed.
fn persistent(
    client: io::Result<Client>,
    pacer: &mut Pacer,
    counts: &Mutex<Counts>,
) -> io::Result<Option<Client>> {
    let mut client = client?;
    while pacer.wait() {
        client.request()?;
        pacer.answered(counts);
    }
    Ok(Some(client))
}

/// Asks over a connection each. One that fails is no reason to stay away.
fn reconnecting(
    plan: &Plan,
    pacer: &mut Pacer,
    counts: &Mutex<Counts>,
) -> io::Result<Option<Client>> {
    while pacer.wait() {
        let answered = Client::connect(plan.addr, plan.asks).and_then(|mut client| {
            client.request()?;
            pacer.answered(counts);
            client.reset()
        });
        if let Err(error) = answered {
            fail(pacer.number, &error, counts);
        }
    }
    Ok(None)
}

fn fail(number: usize, error: &io::Error, counts: &Mutex<Counts>) {
    log::debug!("client {number}: {error}");
    counts.lock().unwrap().errors += 1;
}

/// When one client sends.
struct Pacer {
    number: usize,
    times: Times,
    /// Since when the next request is due, or the one that is under way.
    due: Instant,
    /// How long after it the one after that is due, if the load is open.
    interval: Option<Duration>,
}

impl Pacer {
    fn new(plan: &Plan, number: usize, times: Times) -> Pacer {
        let (due, interval) = match plan.pace {
            Pace::Closed => (times.begin, None),
            Pace::Open(per_s) => {
                let interval = Duration::from_secs_f64(plan.connections as f64 / per_s);
                // They take turns.
                let phase = interval.mul_f64(number as f64 / plan.connections as f64);
                (times.begin + phase, Some(interval))
            }
        };
        Pacer {
            number,
            times,
            due,
            interval,
        }
    }

    /// Waits until the next request is due. False: the time is over.
    fn wait(&mut self) -> bool {
        match self.interval {
            None => self.due = Instant::now(),
            // One that is late is sent at once; it was due all the same.
            Some(_) => withy::sleep_until(self.due.min(self.times.end)),
        }
        Instant::now() < self.times.end
    }

    fn answered(&mut self, counts: &Mutex<Counts>) {
        let now = Instant::now();
        let mut counts = counts.lock().unwrap();
        counts.requests_in_all += 1;
        // Also one that was under way when the warm-up ended: another is when the time is over.
        counts.answered += u64::from((self.times.warm..=self.times.end).contains(&now));
        let since = match self.interval {
            None => now,
            Some(_) => self.due,
        };
        if since >= self.times.warm {
            record(&mut counts.latencies, now - self.due);
        }
        if let Some(interval) = self.interval {
            self.due += interval;
        }
    }

    /// Counts those that were due and have no answer, since the time is over or the connection has failed: they would have taken
    /// until now at least, and until the end.
    fn give_up(&mut self, counts: &Mutex<Counts>) {
        let Some(interval) = self.interval else {
            return;
        };
        let until = Instant::now().max(self.times.end);
        let mut counts = counts.lock().unwrap();
        while self.due < self.times.end {
            if self.due >= self.times.warm {
                record(&mut counts.latencies, until - self.due);
            }
            self.due += interval;
        }
    }
}

fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX);
    latencies.saturating_record(latency_ns);
}
