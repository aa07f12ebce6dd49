//! The pool, from coroutines of a runtime of its own.
