//! `select!`: how it is parsed, and what it expands to.
//!
//! ```text
//! @head    takes an arm apart: name (arguments) -> pattern => body
//! @body    finds the end of the body
//! @arm     looks at the name; an arm goes to a list, what limits the wait to another place
//! @open    when nothing is left: one nested `match` for each arm, which holds the arm and what it borrows
//! @choose  in the innermost: the call
//! @finish  takes the result of the arm that was chosen, of one that sends the right to send
//! @bodies  outside of all that, so that nothing is borrowed any more: makes its message, runs its body
//! ```

/// Waits until one of several operations can be done, and does that one.
///
/// Like [`std::sync::mpsc`]'s channels, arms that are not chosen are left as they are: nothing is sent, received, joined. If several can be
/// done, one is chosen at random, each as likely as the others; [`select_biased!`](crate::select_biased) takes the first.
/// No coroutine is spawned for an arm, nothing is allocated for it, and nothing runs while it waits.
///
/// ```text
/// select! {
///     recv(receiver) -> message => body,         // Result<T, RecvError>
///     send(sender, message) -> sent => body,     // Result<(), SendError<T>>
///     join(handle) -> result => body,            // std::thread::Result<T>
///     cancelled(token) => body,
///     readable(socket) => body,
///     writable(socket) => body,
///     default => body,                           // at most one of these three
///     default(timeout) => body,
///     deadline(instant) => body,
/// }
/// ```
///
/// Arms come in any number and order, also several with the same channel. A body is an expression with a comma behind it, or a block. All
/// have the same type, which is that of the whole; `?`, `break`, `continue` and `return` in a body do what they do around the `select!`.
/// Nothing is borrowed any more when a body runs.
///
/// * `recv` and `send`: of this crate's [channels](crate::sync::channel), those of the clock included. One that is disconnected can
///   be done at once, with an error. The *message* is evaluated only if its arm is chosen, and then before anything else happens; a
///   receiver at a rendezvous waits for that meanwhile. Should that receiver be gone when the message is there, the `send` waits for another.
/// * `join`: of a [`JoinHandle`](crate::JoinHandle) or [`ScopedJoinHandle`](crate::ScopedJoinHandle), or an `Option` of one, in a variable or
///   field that can be changed. If the arm is chosen the handle is consumed (the `Option` becomes `None`), otherwise
///   it stays; so in a loop it has to be an `Option`. The arm of a `None` is never chosen.
/// * `cancelled`: of a [`CancelToken`](crate::CancelToken), which does not interrupt the caller by that.
/// * `readable`, `writable`: of a socket ([`AsRegistration`](crate::poll::AsRegistration)), or an `Option` of one: chosen when a call in that direction would not wait, also at
///   the end of the stream, and where it would fail. Nothing is read or written, and others that share the socket may be
///   faster: then the call that follows waits. The socket's own timeouts and deadlines do not count here.
/// * `default`: chosen at once if nothing else can be. `default(timeout)` and `deadline(instant)`: chosen if nothing else could be in time.
///
/// `select! {}` waits for ever.
///
/// # Cancellation
/// A blocking call, but with `default` alone: it unwinds if the coroutine is cancelled, or a [`timeout`](crate::timeout) around it elapses. Then
/// no arm was chosen: what an arm was given at that very moment goes back, or to the next who waits for it.
///
/// # Panics
/// Inside [`no_park`](crate::no_park), if it would have to wait.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use withy_runtime::sync::channel::{bounded, unbounded};
/// use withy_runtime::{CancelToken, select, spawn};
///
/// let (orders, kitchen) = bounded(1);
/// let (bell, meals) = unbounded();
/// let closing = CancelToken::new();
/// let mut cook = spawn({
///     let closing = closing.clone();
///     move || {
///         let mut cooked = 0;
///         loop {
///             select! {
///                 recv(kitchen) -> order => match order {
///                     Ok(order) => {
///                         cooked += 1;
///                         bell.send(format!("one {order}")).unwrap();
///                     }
///                     Err(_) => break cooked,
///                 },
///                 cancelled(closing) => break cooked,
///             }
///         }
///     }
/// });
/// select! {
///     send(orders, "soup") -> sent => sent.unwrap(),
///     default(Duration::from_secs(60)) => panic!("the kitchen is busy"),
/// }
/// assert_eq!(meals.recv().unwrap(), "one soup");
/// closing.cancel();
/// select! {
///     join(cook) -> cooked => assert_eq!(cooked.unwrap(), 1),
///     recv(meals) -> meal => assert!(meal.is_err()), // the cook has left, and the bell with it
/// }
/// ```
#[macro_export]
macro_rules! select {
    ($($tokens:tt)*) => {
        $crate::__select!(@head Fair [] [] $($tokens)*)
    };
}

/// [`select!`](crate::select) that does the first of the arms, as they are written, that can be done.
///
/// What is ready all the time keeps out the arms below it.
///
/// # Cancellation
/// As [`select!`](crate::select).
///
/// # Panics
/// As [`select!`](crate::select).
///
/// # Examples
/// ```
/// use withy_runtime::{select_biased, sync::channel::unbounded};
///
/// let (urgent, first) = unbounded();
/// let (usual, second) = unbounded();
/// usual.send("post").unwrap();
/// urgent.send("fire").unwrap();
/// let news = select_biased! {
///     recv(first) -> news => news,
///     recv(second) -> news => news,
/// };
/// assert_eq!(news, Ok("fire"));
/// ```
#[macro_export]
macro_rules! select_biased {
    ($($tokens:tt)*) => {
        $crate::__select!(@head Biased [] [] $($tokens)*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // ---- @head order [arms] [limit] tokens ----
    (@head $order:ident [$($arms:tt)*] [$($limit:tt)*]) => {
        match {
            // A statement of its own: what the operands borrow by temporaries (guards) ends here.
            let outcome = $crate::__select!(@open $order [$($arms)*] [$($limit)*] [] []);
            outcome
        } {
            outcome => $crate::__select!(@bodies outcome [$($arms)*] [$($limit)*]),
        }
    };
    // In one step if all is well, since steps are limited: with the default limit of recursion some thirty arms fit.
    (@head $order:ident $arms:tt $limit:tt $name:ident ($($args:tt)*) -> $pat:pat => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@arm $order $arms $limit [$name ($($args)*) ($pat)] ($body) $($rest)*)
    };
    (@head $order:ident $arms:tt $limit:tt $name:ident ($($args:tt)*) -> $pat:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(@arm $order $arms $limit [$name ($($args)*) ($pat)] ($body) $($rest)*)
    };
    (@head $order:ident $arms:tt $limit:tt $name:ident ($($args:tt)*) -> $pat:pat => $body:expr) => {
        $crate::__select!(@arm $order $arms $limit [$name ($($args)*) ($pat)] ($body))
    };
    (@head $order:ident $arms:tt $limit:tt $name:ident ($($args:tt)*) => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@arm $order $arms $limit [$name ($($args)*) ()] ($body) $($rest)*)
    };
    (@head $order:ident $arms:tt $limit:tt $name:ident ($($args:tt)*) => $body:block $($rest:tt)*) => {
        $crate::__select!(@arm $order $arms $limit [$name ($($args)*) ()] ($body) $($rest)*)
    };
    (@head $order:ident $arms:tt $limit:tt $name:ident ($($args:tt)*) => $body:expr) => {
        $crate::__select!(@arm $order $arms $limit [$name ($($args)*) ()] ($body))
    };
    (@head $order:ident $arms:tt $limit:tt $name:ident ($($args:tt)*) -> $pat:pat => $($rest:tt)*) => {
        $crate::__select!(@body $order $arms $limit [$name ($($args)*) ($pat)] $($rest)*)
    };
    (@head $order:ident $arms:tt $limit:tt $name:ident ($($args:tt)*) => $($rest:tt)*) => {
        $crate::__select!(@body $order $arms $limit [$name ($($args)*) ()] $($rest)*)
    };
    (@head $order:ident $arms:tt $limit:tt default => $($rest:tt)*) => {
        $crate::__select!(@body $order $arms $limit [default () ()] $($rest)*)
    };
    (@head $order:ident $arms:tt $limit:tt default -> $($rest:tt)*) => {
        compile_error!("`default` gives no value: expected `default => body`")
    };
    (@head $order:ident $arms:tt $limit:tt $name:ident ($($args:tt)*) $($rest:tt)*) => {
        compile_error!(concat!(
            "expected `-> pattern => body` or `=> body` after `", stringify!($name), "(", stringify!($($args)*), ")` in `select!`",
        ))
    };
    (@head $order:ident $arms:tt $limit:tt $name:ident $($rest:tt)*) => {
        compile_error!(concat!("expected an argument list after `", stringify!($name), "` in `select!`"))
    };
    (@head $order:ident $arms:tt $limit:tt ; $($rest:tt)*) => {
        compile_error!("expected a comma or nothing between the arms of `select!`, found a semicolon")
    };
    (@head $order:ident $arms:tt $limit:tt $($rest:tt)*) => {
        compile_error!(concat!("expected an arm of `select!`, such as `recv(receiver) -> message => body`, found `", stringify!($($rest)*), "`"))
    };

    // ---- @body order [arms] [limit] [head] tokens ----
    (@body $order:ident $arms:tt $limit:tt $head:tt $body:expr, $($rest:tt)*) => {
        $crate::__select!(@arm $order $arms $limit $head ($body) $($rest)*)
    };
    (@body $order:ident $arms:tt $limit:tt $head:tt $body:block $($rest:tt)*) => {
        $crate::__select!(@arm $order $arms $limit $head ($body) $($rest)*)
    };
    (@body $order:ident $arms:tt $limit:tt $head:tt $body:expr) => {
        $crate::__select!(@arm $order $arms $limit $head ($body))
    };
    (@body $order:ident $arms:tt $limit:tt [$name:ident $args:tt $pat:tt]) => {
        compile_error!(concat!("expected a body after the `=>` of `", stringify!($name), "` in `select!`"))
    };
    (@body $order:ident $arms:tt $limit:tt [$name:ident $args:tt $pat:tt] $body:expr; $($rest:tt)*) => {
        compile_error!(concat!("expected a comma after the body of `", stringify!($name), "` in `select!`, found a semicolon"))
    };
    (@body $order:ident $arms:tt $limit:tt [$name:ident $args:tt $pat:tt] $($rest:tt)*) => {
        compile_error!(concat!("expected a comma after the body of `", stringify!($name), "` in `select!`"))
    };

    // ---- @arm order [arms] [limit] [name (arguments) (pattern)] (body) tokens ----
    (@arm $order:ident [$($arms:tt)*] $limit:tt [recv ($r:expr $(,)?) ($pat:pat)] $body:tt $($rest:tt)*) => {
        $crate::__select!(@head $order [$($arms)* {recv ($r) ($pat) $body}] $limit $($rest)*)
    };
    (@arm $order:ident [$($arms:tt)*] $limit:tt [send ($s:expr, $m:expr $(,)?) ($pat:pat)] $body:tt $($rest:tt)*) => {
        $crate::__select!(@head $order [$($arms)* {send ($s, $m) ($pat) $body}] $limit $($rest)*)
    };
    (@arm $order:ident [$($arms:tt)*] $limit:tt [join ($h:expr $(,)?) ($pat:pat)] $body:tt $($rest:tt)*) => {
        $crate::__select!(@head $order [$($arms)* {join ($h) ($pat) $body}] $limit $($rest)*)
    };
    (@arm $order:ident [$($arms:tt)*] $limit:tt [cancelled ($t:expr $(,)?) ()] $body:tt $($rest:tt)*) => {
        $crate::__select!(@head $order [$($arms)* {cancelled ($t) (()) $body}] $limit $($rest)*)
    };
    (@arm $order:ident [$($arms:tt)*] $limit:tt [readable ($s:expr $(,)?) ()] $body:tt $($rest:tt)*) => {
        $crate::__select!(@head $order [$($arms)* {readable ($s) (()) $body}] $limit $($rest)*)
    };
    (@arm $order:ident [$($arms:tt)*] $limit:tt [writable ($s:expr $(,)?) ()] $body:tt $($rest:tt)*) => {
        $crate::__select!(@head $order [$($arms)* {writable ($s) (()) $body}] $limit $($rest)*)
    };
    (@arm $order:ident $arms:tt [] [default () ()] $body:tt $($rest:tt)*) => {
        $crate::__select!(@head $order $arms [choose_now () $body] $($rest)*)
    };
    (@arm $order:ident $arms:tt [] [default ($t:expr $(,)?) ()] $body:tt $($rest:tt)*) => {
        $crate::__select!(@head $order $arms [choose_within ($t) $body] $($rest)*)
    };
    (@arm $order:ident $arms:tt [] [deadline ($at:expr $(,)?) ()] $body:tt $($rest:tt)*) => {
        $crate::__select!(@head $order $arms [choose_until ($at) $body] $($rest)*)
    };
    (@arm $order:ident $arms:tt [$($limit:tt)+] [default $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("only one `default` or `deadline` arm is possible in a `select!`")
    };
    (@arm $order:ident $arms:tt [$($limit:tt)+] [deadline $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("only one `default` or `deadline` arm is possible in a `select!`")
    };
    (@arm $order:ident $arms:tt $limit:tt [recv $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("expected `recv(receiver) -> pattern => body`")
    };
    (@arm $order:ident $arms:tt $limit:tt [send $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("expected `send(sender, message) -> pattern => body`")
    };
    (@arm $order:ident $arms:tt $limit:tt [join $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("expected `join(handle) -> pattern => body`")
    };
    (@arm $order:ident $arms:tt $limit:tt [cancelled $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("expected `cancelled(token) => body`")
    };
    (@arm $order:ident $arms:tt $limit:tt [readable $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("expected `readable(socket) => body`")
    };
    (@arm $order:ident $arms:tt $limit:tt [writable $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("expected `writable(socket) => body`")
    };
    (@arm $order:ident $arms:tt $limit:tt [default $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("expected `default => body` or `default(timeout) => body`")
    };
    (@arm $order:ident $arms:tt $limit:tt [deadline $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!("expected `deadline(instant) => body`")
    };
    (@arm $order:ident $arms:tt $limit:tt [$name:ident $($head:tt)*] $body:tt $($rest:tt)*) => {
        compile_error!(concat!(
            "expected one of `recv`, `send`, `join`, `cancelled`, `readable`, `writable`, `default` and `deadline`, found `", stringify!($name), "`",
        ))
    };

    // ---- @open order [arms] [limit] [variables] [results] ----
    (@open $order:ident [{recv ($r:expr) $pat:tt $body:tt} $($arms:tt)*] $limit:tt [$($variables:tt)*] [$($results:tt)*]) => {
        match $r {
            ref operand => {
                let mut arm = $crate::sync::channel::__expanded::recv(operand);
                $crate::__select!(@open $order [$($arms)*] $limit [$($variables)* arm] [$($results)* (arm.complete())])
            }
        }
    };
    (@open $order:ident [{send ($s:expr, $m:expr) $pat:tt $body:tt} $($arms:tt)*] $limit:tt [$($variables:tt)*] [$($results:tt)*]) => {
        match $s {
            ref operand => {
                let mut arm = $crate::sync::channel::__expanded::send(operand);
                $crate::__select!(@open $order [$($arms)*] $limit [$($variables)* arm] [$($results)* ($crate::sync::channel::__expanded::chosen(operand, &arm))])
            }
        }
    };
    (@open $order:ident [{join ($h:expr) $pat:tt $body:tt} $($arms:tt)*] $limit:tt [$($variables:tt)*] [$($results:tt)*]) => {{
        // It is named twice: borrowed here, taken in its body. So it must be a place, not a call.
        let _ = &raw const $h;
        match $h {
            ref mut operand => {
                let mut arm = $crate::sync::channel::__expanded::join(operand);
                $crate::__select!(@open $order [$($arms)*] $limit [$($variables)* arm] [$($results)* (())])
            }
        }
    }};
    (@open $order:ident [{$name:ident ($operand:expr) $pat:tt $body:tt} $($arms:tt)*] $limit:tt [$($variables:tt)*] [$($results:tt)*]) => {
        match $operand {
            ref operand => {
                let mut arm = $crate::sync::channel::__expanded::$name(operand);
                $crate::__select!(@open $order [$($arms)*] $limit [$($variables)* arm] [$($results)* (())])
            }
        }
    };
    (@open $order:ident [] [] $variables:tt $results:tt) => {
        $crate::__select!(@choose $order choose_at_last () ($crate::sync::channel::__expanded::nothing_else()) $variables $results)
    };
    (@open $order:ident [] [$choose:ident $limit:tt $body:tt] $variables:tt $results:tt) => {
        $crate::__select!(@choose $order $choose $limit (()) $variables $results)
    };

    (@choose $order:ident $choose:ident ($($limit:expr)?) $none:tt [$($variable:ident)*] $results:tt) => {{
        #[allow(unused_imports)]
        use $crate::sync::channel::__expanded::Lend as _;
        let chosen = $crate::sync::channel::__expanded::$choose(
            &mut [$($variable.arm()),*],
            $crate::sync::channel::__expanded::Order::$order
            $(, $limit)?
        );
        $crate::__select!(@finish chosen (0) $none $results)
    }};

    // ---- @finish chosen (number) (none) [results] ----
    (@finish $chosen:ident $number:tt ($none:expr) []) => {
        $none
    };
    (@finish $chosen:ident ($number:expr) $none:tt [($result:expr) $($results:tt)*]) => {
        if $chosen == ::core::option::Option::Some($number) {
            $crate::sync::channel::__expanded::Which::This($result)
        } else {
            $crate::sync::channel::__expanded::Which::Other(
                $crate::__select!(@finish $chosen ($number + 1) $none [$($results)*])
            )
        }
    };

    // ---- @bodies outcome [arms] [limit] ----
    (@bodies $outcome:ident [{join ($h:expr) ($pat:pat) ($body:expr)} $($arms:tt)*] $limit:tt) => {
        match $outcome {
            $crate::sync::channel::__expanded::Which::This(()) => {
                // It has ended, so this does not wait. Here, since the handle is moved in this arm only.
                let ($pat) = {
                    #[allow(unused_imports)]
                    use $crate::sync::channel::__expanded::Joined as _;
                    $h.__joined()
                };
                $body
            }
            $crate::sync::channel::__expanded::Which::Other(outcome) => {
                $crate::__select!(@bodies outcome [$($arms)*] $limit)
            }
        }
    };
    (@bodies $outcome:ident [{send ($s:expr, $m:expr) ($pat:pat) ($body:expr)} $($arms:tt)*] $limit:tt) => {
        match $outcome {
            $crate::sync::channel::__expanded::Which::This(sending) => {
                // Here, since the message may be moved in this arm only.
                let ($pat) = sending.complete($m);
                $body
            }
            $crate::sync::channel::__expanded::Which::Other(outcome) => {
                $crate::__select!(@bodies outcome [$($arms)*] $limit)
            }
        }
    };
    (@bodies $outcome:ident [{$name:ident $operands:tt ($pat:pat) ($body:expr)} $($arms:tt)*] $limit:tt) => {
        match $outcome {
            $crate::sync::channel::__expanded::Which::This(value) => {
                // Moved out: what the pattern ignores is dropped before the body.
                let ($pat) = { value };
                $body
            }
            $crate::sync::channel::__expanded::Which::Other(outcome) => {
                $crate::__select!(@bodies outcome [$($arms)*] $limit)
            }
        }
    };
    (@bodies $outcome:ident [] []) => {
        match $outcome {}
    };
    (@bodies $outcome:ident [] [$choose:ident $limit:tt ($body:expr)]) => {{
        let () = $outcome;
        $body
    }};
}
