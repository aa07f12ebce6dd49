//! What is compared.

use std::fmt;
use std::str::FromStr;

/// In the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    Lock,
    Mutex8,
    PingPong,
    FanIn,
    Skynet,
}

/// What withy sets out to reach.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMostNs(f64),
    AtMostNsOverStd(f64),
}

impl Case {
    pub(crate) const ALL: [Case; 5] = [
        Case::Lock,
        Case::Mutex8,
        Case::PingPong,
        Case::FanIn,
        Case::Skynet,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::Lock => "lock",
            Case::Mutex8 => "mutex8",
            Case::PingPong => "pingpong",
            Case::FanIn => "fanin",
            Case::Skynet => "skynet",
        }
    }

    /// What the figures are of.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Case::Lock => "ns per lock and unlock",
            Case::Mutex8 => "ns per section",
            Case::PingPong => "ns per round trip",
            Case::FanIn => "ns per message",
            Case::Skynet => "ns per leaf",
        }
    }

    pub(crate) fn target(self, workers: usize, metric: &str) -> Option<Target> {
        let ns = match (self, workers, metric) {
            (Case::Lock, ..) => return Some(Target::AtMostNsOverStd(1.0)),
            (Case::Mutex8, 1, _) => 16.0,
            (Case::Mutex8, 2, _) => 40.0,
            (Case::PingPong, 1, _) => 80.0,
            (Case::PingPong, 2, _) => 300.0,
            (Case::FanIn, 1, _) => 20.0,
            (Case::FanIn, 2, _) => 40.0,
            (Case::Skynet, 1, "second") => 300.0,
            _ => return None,
        };
        Some(Target::AtMostNs(ns))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::AtMostNs(ns) => write!(f, "≤ {ns}"),
            Target::AtMostNsOverStd(ns) => write!(f, "≤ std + {ns}"),
        }
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(name: &str) -> Result<Case, String> {
        let is_it = |case: &Case| case.name() == name;
        let unknown = || {
            format!(
                "unknown case, expected one of {:?}",
                Case::ALL.map(Case::name)
            )
        };
        Case::ALL.into_iter().find(is_it).ok_or_else(unknown)
    }
}
