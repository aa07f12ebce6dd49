//! Tokens that are cancelled while a shield withholds them.

use withy::{CancelToken, Cancelled, current, park, shield, spawn, yield_now};

use crate::support::{Callers, LIMIT, matrix};

/// A token that is cancelled while its region is inside a shield interrupts the region at its first wait after the
/// shield, also if a wait inside has looked at it before, and was then ended by somebody else.
#[test]
fn a_token_cancelled_inside_a_shield_interrupts_after_it() {
    matrix(LIMIT, "a shielded token", |case| {
        if case.callers != Callers::Coroutines {
            return;
        }
        let result: Result<(), Cancelled> = case.run(|| {
            let token = CancelToken::new();
            let (me, theirs) = (current(), token.clone());
            let other = spawn(move || {
                theirs.cancel();
                // The region wakes up, and sees that it must not end here.
                (0..100).for_each(|_| yield_now());
                me.unpark();
            });
            let result = token.run(|| {
                shield(park);
                park();
            });
            other.join().unwrap();
            result
        });
        assert!(result.is_err());
    });
}
