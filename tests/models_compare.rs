//! `models compare` on a bad day: models that the kernel refuses, folders that cannot be written, options that make no sense, and
//! Ctrl-C in the middle.

mod models;
mod rig;
mod support;

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use models::{census, soon};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use support::within;

const LIMIT: Duration = Duration::from_secs(120);

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("models-compare-{name}-{}", std::process::id()))
}

fn compare(arguments: &[&str]) -> Command {
    let mut command = Command::new(models::program());
    command.arg("compare").args(arguments).stdin(Stdio::null());
    command
}

fn report(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("report.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

fn said(output: &Output) -> String {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", of(&output.stdout), of(&output.stderr))
}

/// A short comparison of two models with few connections.
fn short(folder: &Path) -> Command {
    let mut command = compare(&["--seconds", "0.5", "--rounds", "1", "--conns", "2,3"]);
    command.args([
        "--services",
        "echo",
        "--models",
        "proactor,reactor,proactor",
    ]);
    command.arg("--out").arg(folder);
    command
}

#[test]
fn a_model_that_the_kernel_refuses_is_left_out_and_the_report_says_why() {
    within(LIMIT, "a comparison without io_uring", || {
        let folder = folder("refused");
        let mut command = short(&folder);
        // SAFETY: between fork and exec: two system calls, on memory of our own.
        unsafe { command.pre_exec(refuse_io_uring) };
        let output = command.output().expect("the example can be run");
        assert!(output.status.success(), "{}", said(&output));
        let report = report(&folder);
        let rows = report["results"].as_array().expect("an array");
        for row in rows {
            let is_refused = row["model"] == "proactor";
            let why = row["skipped"].as_str().unwrap_or_default();
            assert_eq!(why.contains("io_uring"), is_refused, "{row}");
            assert_eq!(row["rounds"], u64::from(!is_refused), "{row}");
        }
        let page = fs::read_to_string(folder.join("index.html")).expect("a page");
        for text in [page, said(&output)] {
            let why = text
                .lines()
                .find(|line| line.contains("Not measured: proactor"));
            assert!(why.is_some_and(|why| why.contains("io_uring")), "{text}");
        }
    });
}

/// It is so where containers are locked up.
fn refuse_io_uring() -> std::io::Result<()> {
    let statement = |code: u32, k: u32, jf: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let number = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    let refusal = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, number, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_io_uring_setup as u32,
            1,
        ),
        statement(libc::BPF_RET | libc::BPF_K, refusal, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the filter outlives its installation, which copies it.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    };
    if set {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// What is asked for twice is measured once; the open load takes the number of connections that is next to 64.
#[test]
fn each_case_is_measured_once_and_the_open_load_is_there_whatever_the_numbers() {
    within(LIMIT, "a comparison", || {
        let folder = folder("numbers");
        let output = short(&folder).output().expect("the example can be run");
        assert!(output.status.success(), "{}", said(&output));
        let report = report(&folder);
        let rows = report["results"].as_array().expect("an array");
        let mut cases: Vec<_> = rows
            .iter()
            .map(|row| ["model", "variant", "load", "connections"].map(|key| row[key].to_string()))
            .collect();
        let count = cases.len();
        cases.sort_unstable();
        cases.dedup();
        assert_eq!(cases.len(), count, "{cases:?}");
        let open = rows.iter().filter(|row| row["load"] == "open");
        let numbers: Vec<_> = open.map(|row| row["connections"].as_u64()).collect();
        assert_eq!(numbers, [Some(3), Some(3)]);
    });
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_measured() {
    within(LIMIT, "reports without a place", || {
        let (file, folder) = (folder("file"), folder("taken"));
        fs::write(&file, "").expect("a file");
        fs::create_dir_all(folder.join("report.json")).expect("a folder");
        for out in [Path::new("/proc/none"), &file, &folder] {
            // Everything would take minutes.
            let output = compare(&["--out"]).arg(out).output().expect("it runs");
            assert_eq!(output.status.code(), Some(1), "{}", said(&output));
            let said = said(&output);
            assert!(
                said.contains("cannot be written") && said.contains("--out"),
                "{said}"
            );
            assert!(said.contains(out.to_str().expect("text")), "{said}");
        }
    });
}

#[test]
fn a_report_takes_the_place_of_another() {
    within(LIMIT, "two reports", || {
        let folder = folder("again");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("report.json"), "x".repeat(1 << 20)).expect("a file");
        let output = short(&folder).output().expect("the example can be run");
        assert!(output.status.success(), "{}", said(&output));
        assert!(report(&folder)["results"].is_array());
    });
}

#[test]
fn wrong_options_are_told_with_what_is_expected() {
    within(LIMIT, "wrong options", || {
        for (option, value, expected) in [
            ("--models", "reactor,nobody", "models list"),
            ("--models", "", "models list"),
            ("--services", "chat", "echo or session"),
            ("--conns", "0", "1..=8000"),
            ("--conns", "8001", "1..=8000"),
            ("--conns", "many", "invalid digit"),
            ("--seconds", "0", "0.1 to 600"),
            ("--seconds", "-1", "0.1 to 600"),
            ("--seconds", "nan", "0.1 to 600"),
            ("--seconds", "soon", "a number of seconds"),
            ("--rounds", "0", "1..=100"),
        ] {
            let output = compare(&[&format!("{option}={value}")])
                .output()
                .expect("it runs");
            let said = said(&output);
            assert_eq!(output.status.code(), Some(2), "{option} {value}: {said}");
            assert!(
                said.contains(expected) && said.contains(option),
                "{option} {value}: {said}"
            );
        }
    });
}

#[test]
fn descriptors_that_do_not_suffice_are_told_before_anything_is_measured() {
    within(LIMIT, "few descriptors", || {
        let mut command = compare(&["--conns", "1000", "--out"]);
        command.arg(folder("descriptors"));
        let few = || {
            let limit = libc::rlimit {
                rlim_cur: 64,
                rlim_max: 1500,
            };
            // SAFETY: reads the limit, which is our own.
            match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: between fork and exec: one system call.
        unsafe { command.pre_exec(few) };
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let said = said(&output);
        assert!(said.contains("1500") && said.contains("--conns"), "{said}");
    });
}

/// Everything, in rounds of 2 s: minutes. In a group of its own, as a shell does it.
fn long(folder: &Path) -> Child {
    let mut command = compare(&["--seconds", "4", "--rounds", "2", "--conns", "2", "--out"]);
    command.arg(folder).process_group(0);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the example can be run")
}

/// Waits until the server that is measured is not the first one any more.
fn until_one_is_done(id: u32) {
    let mut seen = Vec::new();
    soon("the second server", || {
        for child in servers(id) {
            if !seen.contains(&child) {
                seen.push(child);
            }
        }
        (seen.len() > 1).then_some(())
    });
}

/// Children that serve a model.
fn servers(id: u32) -> Vec<libc::pid_t> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let ids = children.split_whitespace().filter_map(|id| id.parse().ok());
    let serves = |id: &libc::pid_t| {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.split('\0').nth(1) == Some("serve")
    };
    ids.filter(serves).collect()
}

fn interrupt(id: u32) {
    let group = -libc::pid_t::try_from(id).expect("a process");
    // SAFETY: takes numbers; the child was not waited for, so its group is its own.
    assert_eq!(unsafe { libc::kill(group, libc::SIGINT) }, 0);
}

#[test]
fn ctrl_c_ends_it_after_the_round_with_a_report_of_what_there_is() {
    within(LIMIT, "an interrupted comparison", || {
        let folder = folder("interrupted");
        let child = long(&folder);
        until_one_is_done(child.id());
        interrupt(child.id());
        let output = child.wait_with_output().expect("it is our child");
        assert!(output.status.success(), "{}", said(&output));
        let report = report(&folder);
        let rows = report["results"].as_array().expect("an array");
        let (measured, left): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["rounds"] != 0);
        assert!(!measured.is_empty() && left.len() > measured.len());
        // The one that was under way was not disturbed.
        assert!(
            measured.iter().all(|row| row["errors"] == 0),
            "{measured:?}"
        );
        assert!(
            left.iter().all(|row| row["skipped"] == "interrupted"),
            "{left:?}"
        );
        assert!(said(&output).contains("interrupted"));
    });
}

#[test]
fn a_second_ctrl_c_ends_it_at_once_and_nobody_is_left() {
    within(LIMIT, "a comparison that is interrupted twice", || {
        let mut child = long(&folder("twice"));
        let server = soon("a server", || servers(child.id()).first().copied());
        interrupt(child.id());
        // Pending signals are one: the first has to have been taken.
        soon("the first to be taken", || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
            let pending = status
                .lines()
                .find_map(|line| line.strip_prefix("ShdPnd:"))?;
            (u64::from_str_radix(pending.trim(), 16) == Ok(0)).then_some(())
        });
        interrupt(child.id());
        let status = soon("the end", || child.try_wait().expect("it is our child"));
        assert_eq!(status.code(), Some(130));
        soon("the end of its server", || {
            census::living(server).is_empty().then_some(())
        });
    });
}

#[test]
fn there_is_a_bar_where_somebody_looks_on() {
    within(LIMIT, "a comparison at a terminal", || {
        let (mut master, terminal) = terminal();
        let folder = folder("terminal");
        let mut command = short(&folder);
        command
            .env("TERM", "xterm")
            .stdout(Stdio::null())
            .stderr(terminal);
        let mut child = command.spawn().expect("it runs");
        // With it goes our end of the terminal.
        drop(command);
        let mut seen = Vec::new();
        // Ends by an error when nobody has it open any more.
        let _ = master.read_to_end(&mut seen);
        assert!(child.wait().expect("it is our child").success());
        let seen = String::from_utf8_lossy(&seen);
        // Of two models with two numbers of connections, the reactor by three pollers, and two open loads.
        assert!(seen.contains("/10 ") && seen.contains("left)"), "{seen:?}");
        assert!(seen.contains("reactor echo 3"), "{seen:?}");
    });
}

fn terminal() -> (fs::File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal is free");
    grantpt(&master).expect("it is ours");
    unlockpt(&master).expect("it is ours");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let path = name.to_str().expect("text");
    let terminal = fs::File::options().read(true).write(true).open(path);
    (master.into(), terminal.expect("it is there").into())
}
