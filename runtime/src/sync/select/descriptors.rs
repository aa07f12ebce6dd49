//! How a select parks: a plain thread that has sockets among its arms waits in poll(2).

use std::io;

use super::arm::Arm;
use crate::context;
use crate::task::park as task;
use crate::task::plain;
use crate::time::{self, Moment};

/// Parks the caller until something may have changed. True: the deadline has passed.
///
/// # Errors
/// Of a plain thread with sockets among the arms: the wait could not begin.
pub(super) fn park(arms: &mut [Arm<'_>], deadline: Moment) -> io::Result<bool> {
    let is_thread = !context::in_coroutine();
    let mut sources = arms.iter_mut().filter_map(Arm::source);
    if is_thread && sources.any(|source| source.descriptor().is_some()) {
        park_in_poll(arms, deadline)
    } else {
        Ok(task::park(deadline))
    }
}

#[cold]
fn park_in_poll(arms: &mut [Arm<'_>], deadline: Moment) -> io::Result<bool> {
    let mut descriptors = Vec::new();
    for arm in arms {
        descriptors.extend(arm.source().and_then(|source| source.descriptor()));
    }
    plain::park_on_fds(&descriptors, deadline)?;
    Ok(deadline != Moment::NEVER && time::moment() >= deadline)
}
