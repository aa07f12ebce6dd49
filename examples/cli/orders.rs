//! How servers are told to end.

use std::io::{self, Write};
use std::thread;

use withy::CancelToken;
use withy::signal::{Signal, Signals};

/// What a server is told, in this order: what `Server` takes as `until` and `cut_by`.
#[derive(Clone, Default)]
pub(crate) struct Orders {
    /// Accept no more.
    pub(crate) close: CancelToken,
    /// End at once.
    pub(crate) cut: CancelToken,
}

impl Orders {
    /// By signals, which from here on do not end the process: the first Ctrl-C or SIGTERM closes, and prints `what` that means; a second
    /// one cuts.
    pub(crate) fn by_signals(what: String) -> io::Result<Orders> {
        let signals = Signals::new([Signal::INTERRUPT, Signal::TERMINATE])?;
        let orders = Orders::default();
        let theirs = orders.clone();
        // A thread, since printing blocks. It waits for as long as the process lives.
        thread::spawn(move || -> io::Result<()> {
            let signal = signals.wait()?;
            // Whether anybody reads it or not.
            let _ = writeln!(io::stdout(), "{signal}: {what}");
            theirs.close.cancel();
            signals.wait()?;
            theirs.cut.cancel();
            Ok(())
        });
        Ok(orders)
    }
}
