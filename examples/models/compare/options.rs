//! What is compared.

use std::path::PathBuf;
use std::time::Duration;

use crate::catalog::{self, Model};
use crate::load::Asks;

/// What `models compare` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Services
    #[arg(long, value_delimiter = ',', default_value = "echo,session", value_parser = asks)]
    pub(crate) services: Vec<Asks>,

    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_value = "1,64,1000", value_parser = clap::value_parser!(u16).range(1..=8000))]
    pub(crate) conns: Vec<u16>,

    /// How long each case is measured, all its rounds together, their warm-up included
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Rounds, interleaved
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) rounds: u8,

    /// Models [default: all]
    #[arg(long, value_delimiter = ',', value_parser = model)]
    pub(crate) models: Vec<&'static Model>,

    /// Folder for index.html, report.svg and report.json
    #[arg(long, value_name = "DIR", default_value = "report")]
    pub(crate) out: PathBuf,
}

fn asks(text: &str) -> Result<Asks, String> {
    match text {
        "echo" => Ok(Asks::Echo),
        "session" => Ok(Asks::Session),
        _ => Err("expected echo or session".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds")?;
    if (0.1..=600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("expected 0.1 to 600 seconds".into())
    }
}

fn model(name: &str) -> Result<&'static Model, String> {
    catalog::find(name).ok_or_else(|| "expected one of those that `models list` names".into())
}
