//! A storm of signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

static INTERRUPTIONS: AtomicUsize = AtomicUsize::new(0);

/// How many signals were handled so far.
pub(crate) fn interruptions() -> usize {
    INTERRUPTIONS.load(Ordering::Relaxed)
}

extern "C" fn count(_signal: libc::c_int) {
    INTERRUPTIONS.fetch_add(1, Ordering::Relaxed);
}

/// Sends SIGUSR1 to every other thread of this process until it is dropped. The handler is installed without
/// SA_RESTART, so blocked system calls fail with EINTR.
pub(crate) struct Storm {
    over: Arc<AtomicBool>,
    sender: Option<thread::JoinHandle<()>>,
}

impl Storm {
    pub(crate) fn begin() -> Storm {
        // SAFETY: the handler is async-signal-safe: one atomic addition.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = count as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            assert_eq!(
                libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
                0
            );
        }
        let over = Arc::new(AtomicBool::new(false));
        let sender = thread::spawn({
            let over = over.clone();
            move || {
                while !over.load(Ordering::Relaxed) {
                    interrupt_others();
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        Storm {
            over,
            sender: Some(sender),
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            sender.join().expect("the sender only sends");
        }
    }
}

fn interrupt_others() {
    // SAFETY: getpid, gettid and tgkill take numbers; a thread that has ended is an error that does not matter.
    unsafe {
        let (process, own) = (libc::getpid(), libc::gettid());
        for entry in std::fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten()
        {
            let id = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
                .unwrap_or(own);
            if id != own {
                libc::syscall(libc::SYS_tgkill, process, id, libc::SIGUSR1);
            }
        }
    }
}
