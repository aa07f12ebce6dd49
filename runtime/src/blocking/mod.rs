//! Work that blocks its thread, off the workers: a pool of threads (`pool.rs`).

mod pool;

#[cfg(test)]
mod tests;

pub use pool::run;
