//! Withy beside its peers: runs their programs in turn and compares the figures.
//!
//! `cargo run --release -- --help` in `bench/`; what the cases are and how to read the tables is in its README.

mod cases;
mod figures;
mod json;
mod machine;
mod options;
mod peers;
mod tables;

use std::error::Error;
use std::process::ExitCode;

use figures::Measured;
use options::Options;
use peers::Peer;

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), Box<dyn Error>> {
    let Some(options) = Options::parse()? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    let peers = built(&options.peers);
    let mut measured = plan(&options, &peers)?;
    let machine = machine::describe(&peers);
    println!("{machine}");
    if machine.load > 0.5 && !options.test {
        println!("Something else runs on this machine: the figures may mean little.\n");
    }
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for group in measured.chunk_by_mut(|a, b| a.job.same_work(&b.job)) {
            // Who is first moves from round to round.
            let begin = round % group.len();
            group.rotate_left(begin);
            group.iter_mut().for_each(|one| one.measure(&options));
            group.rotate_right(begin);
        }
    }
    let tables = tables::of(&measured);
    if !options.test {
        print!("{}", tables::detail(&tables));
        print!("{}", tables::summary(&tables, &peers));
    }
    print!("{}", tables::failures(&measured));
    if let Some(path) = &options.json {
        std::fs::write(path, json::of(&options, &machine, &tables, &measured))?;
    }
    verdict(&options, &measured)
}

/// A test passes when everything ran. Otherwise withy must run: a peer may fail at something.
fn verdict(options: &Options, measured: &[Measured]) -> Result<(), Box<dyn Error>> {
    let failed = measured.iter().filter(|one| one.failure.is_some());
    if options.test {
        let failed = failed.count();
        println!("{} passed, {failed} failed", measured.len() - failed);
        if failed > 0 || !options.peers.iter().all(|peer| ran(measured, *peer)) {
            return Err("not everything ran".into());
        }
    } else if failed.map(|one| one.job.peer).any(Peer::is_withy) {
        return Err("withy fails".into());
    }
    Ok(())
}

fn ran(measured: &[Measured], peer: Peer) -> bool {
    measured.iter().any(|one| one.job.peer == peer)
}

/// Those that could be built; says which could not.
fn built(wanted: &[Peer]) -> Vec<Peer> {
    let build = |peer: &Peer| {
        eprintln!("building {peer}");
        match peer.build() {
            Ok(()) => true,
            Err(error) => {
                println!("{peer} is left out: {error}");
                false
            }
        }
    };
    wanted.iter().copied().filter(build).collect()
}

/// Everything to measure, what is the same work side by side.
fn plan(options: &Options, peers: &[Peer]) -> Result<Vec<Measured>, Box<dyn Error>> {
    let mut jobs = Vec::new();
    for peer in peers {
        jobs.extend(peer.jobs()?);
    }
    jobs.retain(|job| options.cases.contains(&job.case) && options.workers.contains(&job.workers));
    if jobs.is_empty() {
        return Err("nothing of what was asked for can be measured".into());
    }
    jobs.sort_by_key(|job| (job.case, job.workers));
    Ok(jobs.into_iter().map(Measured::new).collect())
}
