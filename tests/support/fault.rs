//! Errors of system calls, made to order, in a process of their own.
//!
//! A seccomp filter traps `accept4` as withy calls it (flags exactly `SOCK_CLOEXEC`). The handler of `SIGSYS` answers
//! the first calls with the errors ordered, and lets later ones through by a call of its own that the filter does not
//! trap. So it works wherever a test may run: no tracer, no privilege. Filters cannot be taken back; hence the process (`rig::child::alone`).

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

static CALLS: AtomicUsize = AtomicUsize::new(0);
static FAILURES_LEFT: AtomicUsize = AtomicUsize::new(0);
static ERROR: AtomicI32 = AtomicI32::new(0);

/// How often `accept4` was called since the trap was set.
pub(crate) fn accept_calls() -> usize {
    CALLS.load(Ordering::SeqCst)
}

/// Makes the next `times` calls of `accept4` fail with `error`.
pub(crate) fn fail_accept(error: i32, times: usize) {
    ERROR.store(error, Ordering::SeqCst);
    FAILURES_LEFT.store(times, Ordering::SeqCst);
}

/// Sets the trap for this thread and those that it starts from now on.
pub(crate) fn trap_accept() {
    const FLAGS_OFFSET: u32 = std::mem::offset_of!(libc::seccomp_data, args) as u32 + 3 * 8;
    let load = |offset: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let unless_skip = |value: u32, skip: u8| {
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, skip)
    };
    let answer = |action: u32| statement(libc::BPF_RET | libc::BPF_K, action, 0, 0);
    let mut filter = [
        load(std::mem::offset_of!(libc::seccomp_data, nr) as u32),
        unless_skip(libc::SYS_accept4 as u32, 3),
        // The low half of the flags, on the little-endian machines that withy runs on.
        load(FLAGS_OFFSET),
        unless_skip(libc::SOCK_CLOEXEC as u32, 1),
        answer(libc::SECCOMP_RET_TRAP),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the handler is async-signal-safe (atomics and system calls), and the filter outlives its installation,
    // which copies it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = answer_call as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(
            libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()),
            0
        );
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        );
        assert_eq!(set, 0, "seccomp: {}", std::io::Error::last_os_error());
    }
}

fn statement(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

extern "C" fn answer_call(
    _signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    CALLS.fetch_add(1, Ordering::SeqCst);
    let failing = FAILURES_LEFT
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        })
        .is_ok();
    // SAFETY: the kernel passes the interrupted context, ours to change until we return; in it are the arguments of
    // the trapped call, and its result register is what the caller reads. errno is put back, since this may interrupt
    // nothing but a system call whose wrapper sets errno afterwards.
    unsafe {
        let registers = Registers::of(context);
        let result = if failing {
            -i64::from(ERROR.load(Ordering::SeqCst))
        } else {
            let [fd, addr, len, flags] = registers.arguments();
            // One more flag, which does not matter to withy, and the filter lets it pass.
            let flags = flags | i64::from(libc::SOCK_NONBLOCK);
            match libc::syscall(libc::SYS_accept4, fd, addr, len, flags) {
                -1 => -i64::from(*libc::__errno_location()),
                accepted => accepted,
            }
        };
        registers.set_result(result);
    }
}

/// The registers of an interrupted system call.
struct Registers<'a>(&'a mut libc::mcontext_t);

impl Registers<'_> {
    /// # Safety
    ///
    /// `context` is what the kernel passed to a signal handler that still runs.
    unsafe fn of<'a>(context: *mut libc::c_void) -> Registers<'a> {
        // SAFETY: with SA_SIGINFO that is a `ucontext_t`.
        Registers(unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext })
    }

    #[cfg(target_arch = "x86_64")]
    fn arguments(&self) -> [i64; 4] {
        [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10]
            .map(|register| self.0.gregs[register as usize])
    }

    #[cfg(target_arch = "x86_64")]
    fn set_result(self, result: i64) {
        self.0.gregs[libc::REG_RAX as usize] = result;
    }

    #[cfg(target_arch = "aarch64")]
    fn arguments(&self) -> [i64; 4] {
        [0, 1, 2, 3].map(|register: usize| self.0.regs[register] as i64)
    }

    #[cfg(target_arch = "aarch64")]
    fn set_result(self, result: i64) {
        self.0.regs[0] = result as u64;
    }
}
