//! What every socket has whose bytes come and go.

/// Implements [`handle!`], [`limits!`] and [`buffer_sizes!`] for `$socket`.
macro_rules! socket {
    ($socket:ident, new: $new:literal, read: $read:literal) => {
        crate::shell::handle!($socket, new: $new);
        crate::shell::limits!($socket, new: $new, read: $read);
        crate::shell::buffer_sizes!($socket, new: $new);
    };
}
pub(crate) use socket;
