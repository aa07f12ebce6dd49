//! An arm that waits for a token's cancellation.

use super::arm::{Arm, Lend, Operation, SourceArm};
use crate::task::CancelToken;
use crate::task::cancel::Listening;
use crate::task::park::Waiting;

/// Waits for a token.
pub struct TokenArm<'a> {
    token: &'a CancelToken,
    listening: Option<Listening<'a>>,
}

impl<'a> TokenArm<'a> {
    pub(super) fn new(token: &'a CancelToken) -> TokenArm<'a> {
        TokenArm {
            token,
            listening: None,
        }
    }
}

impl Lend for TokenArm<'_> {
    fn arm(&mut self) -> Arm<'_> {
        Arm::of_source(self)
    }
}

impl Operation for TokenArm<'_> {}

impl SourceArm for TokenArm<'_> {
    fn is_ready(&mut self) -> bool {
        self.token.is_cancelled()
    }

    fn announce(&mut self, _me: &Waiting) -> bool {
        if self.listening.is_none() {
            // It counts a reference of its own.
            self.listening = self.token.listen();
        }
        self.token.is_cancelled()
    }

    fn retract(&mut self) {
        self.listening = None;
    }
}
