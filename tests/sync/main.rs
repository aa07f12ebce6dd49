//! `withy::sync`, for coroutines, plain threads and both: one module for each of its types, or for a side of it.

#[path = "../rig/mod.rs"]
mod rig;
#[path = "../support/mod.rs"]
mod support;

mod barrier;
mod condvar;
mod condvar_poisoning;
mod condvar_signals;
mod condvar_timed;
mod mutex;
mod mutex_poisoning;
mod mutex_stress;
mod mutex_surface;
mod mutex_waits;
mod notify;
mod once;
mod once_interrupted;
mod parker;
mod poisoning;
mod poisoning_as_std;
mod poisoning_neighbours;
mod rwlock;
mod rwlock_stress;
mod semaphore;
mod semaphore_leaving;
mod semaphore_model;
mod semaphore_waits;
mod stress;
mod wait_group;
