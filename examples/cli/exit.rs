//! Exit codes: 0 done, 1 failed, 2 wrong usage (clap ends the process with that itself).

use std::error::Error;
use std::process::ExitCode;

/// Reports a failure on standard error and turns the result into the process's exit code.
pub(crate) fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
