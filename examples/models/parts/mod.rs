//! What several models are built of.
//!
//! | file | what it is | for |
//! | --- | --- | --- |
//! | `event_loop.rs`, `pollers.rs` | a reactor, and the system calls by which it waits | all reactors |
//! | `input.rs` | what is known of what there is to be read | all reactors |
//! | `callbacks.rs` | a connection that is called back | reactors that do everything themselves |
//! | `dispatch.rs`, `returns.rs` | a reactor that hands out requests, and how answers come back to it | reactors with threads behind them |
//! | `threads.rs`, `pool.rs`, `turnstile.rs` | threads that are there from the beginning; that share a queue; at most so many at once | models with threads |
//! | `processes.rs` | forking, and waiting for what was forked | models with processes |
//! | `claim.rs`, `handle_set.rs` | one thread at a time for each connection; one epoll instance for several threads | half-sync/half-reactor, leader/followers |
//! | `io_thread.rs`, `ring.rs` | one thread for all I/O; a ring between two threads | actors, ring buffer, simulated proactor |
//! | `atomic.rs` | the atomics of `claim.rs` and `ring.rs`, which loom has in its models | |
//! | `completion.rs`, `buf_ring.rs` | a connection whose I/O the kernel does, and the kernel's buffers | proactor |

pub(crate) mod atomic;
pub(crate) mod buf_ring;
pub(crate) mod callbacks;
pub(crate) mod claim;
pub(crate) mod completion;
pub(crate) mod dispatch;
pub(crate) mod event_loop;
pub(crate) mod handle_set;
pub(crate) mod input;
pub(crate) mod io_thread;
pub(crate) mod pollers;
pub(crate) mod pool;
pub(crate) mod processes;
pub(crate) mod returns;
pub(crate) mod ring;
pub(crate) mod threads;
pub(crate) mod turnstile;
