//! The inotify example, as a program that watches real folders, which the test, python and a shell change.

mod rig;
mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rig::example::{Program, program};
use rig::tools;
use support::{LIMIT, within};

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("withy-inotify-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Watches the folder: what happens from now on is told.
fn watch(folder: &Path) -> Program {
    let mut program = Program::start("inotify", &[folder.to_str().unwrap()]);
    assert_eq!(program.line(), format!("watching {}\n", folder.display()));
    program
}

fn told(program: &mut Program, expected: &[(&str, &str)]) {
    for (what, name) in expected {
        let line = program.line();
        let (told, named) = line.trim_end_matches('\n').split_at(9);
        assert_eq!((told.trim_end(), named), (*what, *name));
    }
}

/// Each once and in order, whoever makes them.
#[test]
fn changes_are_told_as_they_come() {
    within(LIMIT, "changes", || {
        let (folder, outside) = (Folder::new("changes"), Folder::new("outside"));
        let mut program = watch(&folder.0);
        fs::write(folder.join("one"), "1").unwrap();
        told(&mut program, &[("created", "one"), ("written", "one")]);
        fs::rename(folder.join("one"), folder.join("two")).unwrap();
        told(&mut program, &[("moved", "one"), ("arrived", "two")]);
        fs::rename(folder.join("two"), outside.join("two")).unwrap();
        told(&mut program, &[("moved", "two")]);
        fs::rename(outside.join("two"), folder.join("back")).unwrap();
        told(&mut program, &[("arrived", "back")]);
        // Neither reading nor what is deeper is a change.
        fs::read(folder.join("back")).unwrap();
        fs::create_dir(folder.join("deeper")).unwrap();
        fs::write(folder.join("deeper/file"), "").unwrap();
        fs::remove_file(folder.join("back")).unwrap();
        told(&mut program, &[("created", "deeper"), ("deleted", "back")]);
        let status = Command::new("sh")
            .args(["-c", "echo 1 > shell; rm shell"])
            .current_dir(&folder.0)
            .status();
        assert!(status.unwrap().success());
        let shell = ["created", "written", "deleted"];
        told(&mut program, &shell.map(|what| (what, "shell")));
        if tools::need("python3") {
            let script =
                "import os; open('py', 'w').close(); os.replace('py', 'thon'); os.remove('thon')";
            let status = Command::new("python3")
                .args(["-c", script])
                .current_dir(&folder.0)
                .status();
            assert!(status.unwrap().success());
            let expected = [
                ("created", "py"),
                ("written", "py"),
                ("moved", "py"),
                ("arrived", "thon"),
                ("deleted", "thon"),
            ];
            told(&mut program, &expected);
        }
    });
}

/// When the folder goes, that is the last that is told, and the program ends well.
#[test]
fn the_end_of_the_folder_is_the_end_of_the_program() {
    within(LIMIT, "a folder that goes", || {
        let folder = Folder::new("goes");
        let mut program = watch(&folder.0);
        fs::write(folder.join("last"), "").unwrap();
        fs::remove_dir_all(&folder.0).unwrap();
        let last = [
            ("created", "last"),
            ("written", "last"),
            ("deleted", "last"),
        ];
        told(&mut program, &last);
        told(&mut program, &[("gone", "")]);
        let (status, rest) = program.end();
        assert!(status.success() && rest.is_empty(), "{status}, {rest}");
    });
}

/// No folder, a file, and nothing at all.
#[test]
fn what_is_no_folder_is_said_to_be_none() {
    within(LIMIT, "no folders", || {
        let folder = Folder::new("none");
        fs::write(folder.join("file"), "").unwrap();
        for (path, why) in [("absent", "No such file"), ("file", "Not a directory")] {
            let output = Command::new(program("inotify"))
                .arg(folder.join(path))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains(why) && said.contains(path), "{said}");
        }
        let usage = Command::new(program("inotify")).output().unwrap();
        assert_eq!(usage.status.code(), Some(2));
    });
}

/// Names are bytes: line ends in them are not told as lines, nor escapes to a terminal; the longest fits.
#[test]
fn odd_names_are_told_in_one_line_each() {
    within(LIMIT, "odd names", || {
        let folder = Folder::new("odd");
        let mut program = watch(&folder.0);
        let longest = "n".repeat(255);
        for (name, expected) in [
            (&b"two\nlines"[..], "two\u{fffd}lines"),
            (b"\x1b[31mred", "\u{fffd}[31mred"),
            (b"no \xff text", "no \u{fffd} text"),
            ("\u{e4} b".as_bytes(), "\u{e4} b"),
            (longest.as_bytes(), &longest),
        ] {
            fs::create_dir(folder.0.join(OsStr::from_bytes(name))).unwrap();
            told(&mut program, &[("created", expected)]);
        }
    });
}

/// Law 8. The kernel keeps so many changes and no more: that some were lost is told, and what comes after them, too.
#[test]
fn changes_that_were_lost_are_told_to_be() {
    within(2 * LIMIT, "too many changes", || {
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        let folder = Folder::new("many");
        let mut program = watch(&folder.0);
        // It reads none of them meanwhile.
        program.stop();
        for _ in 0..limit / 3 + 100 {
            fs::write(folder.join("file"), "").unwrap();
            fs::remove_file(folder.join("file")).unwrap();
        }
        program.send(libc::SIGCONT);
        let mut lines = 0;
        loop {
            match program.line().trim_end() {
                "missed" => break,
                line => assert!(line.ends_with(" file"), "{line}"),
            }
            lines += 1;
        }
        assert!(lines <= limit, "{lines} of at most {limit}");
        fs::create_dir(folder.join("after")).unwrap();
        told(&mut program, &[("created", "after")]);
    });
}

/// Also while nobody reads what it prints, and it waits for that.
#[test]
fn the_program_ends_at_once_when_it_is_told_to() {
    within(LIMIT, "ends by signals", || {
        for changes in [0, 4_000] {
            let folder = Folder::new(&format!("ends{changes}"));
            fs::write(folder.join("even"), "").unwrap();
            let program = watch(&folder.0);
            let mut names = [folder.join("even"), folder.join("odd")];
            for _ in 0..changes {
                fs::rename(&names[0], &names[1]).unwrap();
                names.reverse();
            }
            program.send(libc::SIGTERM);
            let (status, _) = program.end();
            assert_eq!(status.signal(), Some(libc::SIGTERM), "{status}");
        }
    });
}
