//! The atomics of the protocols by which threads meet without a lock: `claim.rs` and `ring.rs` use these and nothing else of the
//! example. Their loom models, tests/models_loom.rs, include both files by path, and have loom's atomics in this place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
