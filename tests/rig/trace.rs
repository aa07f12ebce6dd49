//! What strace has written.

/// The results of those calls, added up. A call that is interrupted in the trace has its result in the line of its end.
pub(crate) fn bytes_moved(trace: &str, counts: impl Fn(&str) -> bool) -> u64 {
    let results = trace.lines().filter_map(|line| {
        let (_thread, line) = line.split_once(' ')?;
        let line = line.trim_start().trim_start_matches("<... ");
        let call = line.split(['(', ' ']).next()?;
        let (_, result) = line.rsplit_once(" = ")?;
        counts(call).then(|| result.split(' ').next()?.parse::<u64>().ok())?
    });
    results.sum()
}
