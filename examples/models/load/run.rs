//! All clients of a plan, at once.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use withy::sync::{Barrier, Mutex};

use super::client::Client;
use super::{Outcome, Pace, Plan};

/// Longer than any client waits.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What the clients count together.
struct Counts {
    latencies: Histogram<u64>,
    /// Between warm-up and end.
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

/// Runs it to its end. `connected` is called when all are connected and have been answered once: the server is idle then.
///
/// # Errors
/// If there can be no histogram.
pub(crate) fn run(plan: &Plan, connected: impl FnOnce()) -> io::Result<Outcome> {
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
                let client = (!plan.reconnects).then(|| {
                    let mut client = Client::connect(plan.addr, plan.asks)?;
                    // It is the server's now, and not only the kernel's.
                    client.request()?;
                    Ok(client)
                });
                barrier.wait();
                barrier.wait();
                let times = times.lock().unwrap().expect("set between the two");
                let pacer = Pacer::new(plan, number, times);
                let result = match client {
                    None => reconnecting(plan, pacer, counts),
                    Some(client) => client.and_then(|client| persistent(client, pacer, counts)),
                };
                if let Err(error) = result {
                    log::debug!("client {number}: {error}");
                    counts.lock().unwrap().errors += 1;
                }
            });
        }
        barrier.wait();
        connected();
        let begin = Instant::now();
        let warm = begin + plan.warm_up;
        let end = warm + plan.duration;
        *times.lock().unwrap() = Some(Times { begin, warm, end });
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

fn persistent(mut client: Client, mut pacer: Pacer, counts: &Mutex<Counts>) -> io::Result<()> {
    while let Some(due) = pacer.next(counts) {
        client.request()?;
        pacer.answered(due, counts);
    }
    client.quit()
}

fn reconnecting(plan: &Plan, mut pacer: Pacer, counts: &Mutex<Counts>) -> io::Result<()> {
    while let Some(due) = pacer.next(counts) {
        let mut client = Client::connect(plan.addr, plan.asks)?;
        client.request()?;
        pacer.answered(due, counts);
        client.reset()?;
    }
    Ok(())
}

/// When one connection sends.
struct Pacer {
    times: Times,
    /// Of this connection, when the load is open: when the next is due, and how long after it the one after that.
    schedule: Option<(Instant, Duration)>,
}

impl Pacer {
    fn new(plan: &Plan, number: usize, times: Times) -> Pacer {
        let schedule = match plan.pace {
            Pace::Closed => None,
            Pace::Open(per_s) => {
                let interval = Duration::from_secs_f64(plan.connections as f64 / per_s);
                // They take turns.
                let phase = interval.mul_f64(number as f64 / plan.connections as f64);
                Some((times.begin + phase, interval))
            }
        };
        Pacer { times, schedule }
    }

    /// Waits until the next request is due: since when it is. `None`: the time is over.
    fn next(&mut self, counts: &Mutex<Counts>) -> Option<Instant> {
        let Some((next, interval)) = &mut self.schedule else {
            return Some(Instant::now()).filter(|&now| now < self.times.end);
        };
        let due = *next;
        *next += *interval;
        // One that is late is sent at once; it was due all the same.
        withy::sleep_until(due.min(self.times.end));
        if Instant::now() < self.times.end {
            return Some(due);
        }
        self.missed(due, counts);
        None
    }

    fn answered(&self, due: Instant, counts: &Mutex<Counts>) {
        let now = Instant::now();
        let mut counts = counts.lock().unwrap();
        counts.requests_in_all += 1;
        if due >= self.times.warm {
            counts.answered += u64::from(now <= self.times.end);
            record(&mut counts.latencies, now - due);
        }
    }

    /// Requests that could not even be sent in time, from `due` on: they would have taken at least until the end.
    fn missed(&self, mut due: Instant, counts: &Mutex<Counts>) {
        let Some((_, interval)) = self.schedule else {
            return;
        };
        let mut counts = counts.lock().unwrap();
        while due < self.times.end {
            if due >= self.times.warm {
                record(&mut counts.latencies, self.times.end - due);
            }
            due += interval;
        }
    }
}

fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX);
    latencies.saturating_record(latency_ns);
}
