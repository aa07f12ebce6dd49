//! The options of the runtime that every example takes, and the parsers of values they share.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Which runtime the example runs on.
#[derive(clap::Args)]
pub(crate) struct RuntimeOptions {
    /// Worker threads; without it WITHY_WORKERS, or as many as there are cores
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,

    /// Let idle workers take coroutines that have already started, too
    #[arg(long)]
    full_stealing: bool,
}

impl RuntimeOptions {
    /// Starts the default runtime as the environment says, changed by these options. Comes before
    /// the first use of withy, which would start it with a panic where this gives an error.
    pub(crate) fn install(&self) -> io::Result<()> {
        let mut builder = withy::RuntimeBuilder::from_env()?;
        if let Some(workers) = self.workers {
            builder = builder.workers(workers.get());
        }
        if self.full_stealing {
            // SAFETY: over their blocking calls the examples keep sockets, buffers and `Arc`s: no
            // `!Send` value, no lock guard, no scope of threads. No function of theirs touches a
            // thread-local on both sides of one: those of the allocator and of `env_logger` are
            // used within calls that are not inlined (into libc, through `dyn Log`) and do not
            // block on withy.
            builder = builder.steal(unsafe { withy::Steal::started() });
        }
        builder.install()
    }
}

/// Parses a number of seconds, with or without a fraction: more than 0, at most a day.
pub(crate) fn positive_seconds(text: &str) -> Result<Duration, String> {
    const DAY_S: f64 = 86_400.0;
    let expected = || format!("expected a number of seconds above 0, at most {DAY_S}");
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    if seconds > 0.0 && seconds <= DAY_S {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(expected())
    }
}
