//! Channels of messages between coroutines and threads: any number of senders, any number of receivers.
//!
//! Names and meaning are those of the crate crossbeam-channel. A channel is [`bounded`] (a full one makes senders wait; with a capacity
//! of 0 each message is handed from a sender to a receiver) or [`unbounded`]. Both ends can be cloned and shared; when one side's last
//! is dropped the channel is *disconnected*: receivers still get what was sent, senders get their message back. [`after`], [`at`], [`tick`] and
//! [`never()`] are receivers of points in time.
//!
//! Beyond that crate there are [`oneshot()`], for one message; [`broadcast()`], whose receivers get every message each; and [`watch()`],
//! for a value that changes. [`mpsc`](crate::sync::mpsc) is std's.

mod arms;
pub mod broadcast;
mod buffer;
mod ends;
mod error;
mod exchange;
mod hand_over;
mod late;
pub mod oneshot;
mod receiver;
mod sender;
mod timed;
pub mod watch;

pub use crate::sync::select::{
    Joinable, ReadyTimeoutError, Select, SelectTimeoutError, SelectedOperation, TryReadyError,
    TrySelectError, expanded as __expanded,
};
pub use crate::{select, select_biased};
pub(in crate::sync) use arms::{RecvArm, SendArm, Sending, send_as};
pub use broadcast::broadcast;
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub(crate) use late::Reserve;
pub use oneshot::oneshot;
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::{Sender, bounded, unbounded};
pub use timed::{after, at, never, tick};
pub use watch::watch;
