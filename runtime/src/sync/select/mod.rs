//! Select: waiting for several things at once, and doing exactly one of them.
//!
//! Reading order: the protocol below; `arm.rs` (what there is to choose from), `choose.rs` (the protocol's steps), `order.rs`; the arms
//! of channels are in `channel/arms/`, the others in `join_arm.rs`, `token_arm.rs` and `poll/socket_arm.rs`; `dynamic.rs` (with `entry.rs` and
//! `selected.rs`) and `macros.rs` are the two ways in.
#![doc = include_str!("README.md")]

mod arm;
mod choose;
mod descriptors;
mod dynamic;
mod entry;
mod error;
#[doc(hidden)]
pub mod expanded;
mod join_arm;
mod macros;
mod order;
mod selected;
mod token_arm;

pub(crate) use arm::{Arm, ChannelArm, Lend, Look, Operation, SourceArm};
pub use dynamic::Select;
pub use error::{ReadyTimeoutError, SelectTimeoutError, TryReadyError, TrySelectError};
pub use join_arm::Joinable;
pub use selected::SelectedOperation;
