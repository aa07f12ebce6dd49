//! From arguments to an exit code: 0 done, 1 failed, 2 wrong usage (clap ends the process with that itself).

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

/// An example's whole `main`: parses its options, sets up its log, runs it, and reports a failure on standard error.
pub(crate) fn main<O: Parser>(run: fn(&O) -> Result<(), Box<dyn Error>>) -> ExitCode {
    let options = O::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
