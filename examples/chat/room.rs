//! The room: who is there, and the channel that carries what they say.

use std::collections::BTreeSet;
use std::sync::Arc;

use withy::sync::Mutex;
use withy::sync::channel::broadcast;

/// What is said, with its end of line. All guests share one copy.
pub(crate) type Line = Arc<str>;

/// Lines that a guest may be behind.
const LINES_MAX: usize = 64;

const NAME_LEN_MAX: usize = 20;

pub(crate) struct Room {
    lines: broadcast::Sender<Line>,
    names: Mutex<BTreeSet<String>>,
}

/// A guest's place, under its name.
pub(crate) struct Seat<'a> {
    room: &'a Room,
    name: String,
}

impl Default for Room {
    fn default() -> Room {
        let (lines, _) = broadcast::broadcast(LINES_MAX);
        Room {
            lines,
            names: Mutex::default(),
        }
    }
}

impl Room {
    /// A seat, and what is said from now on; or why there is none.
    pub(crate) fn enter(
        &self,
        name: &str,
    ) -> Result<(Seat<'_>, broadcast::Receiver<Line>), String> {
        if name.is_empty() || name.len() > NAME_LEN_MAX || !name.chars().all(char::is_alphanumeric)
        {
            return Err(format!("a name has 1 to {NAME_LEN_MAX} letters and digits"));
        }
        if !self.lock().insert(name.to_owned()) {
            return Err(format!("{name} is here already"));
        }
        let lines = self.lines.subscribe();
        self.announce(format!("* {name} came\n"));
        let seat = Seat {
            room: self,
            name: name.to_owned(),
        };
        Ok((seat, lines))
    }

    pub(crate) fn names(&self) -> String {
        let names = self.lock();
        names
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn announce(&self, line: String) {
        // An error says that nobody is there to hear it.
        let _ = self.lines.send(line.into());
    }

    fn lock(&self) -> withy::sync::MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().expect("nobody panics with the names")
    }
}

impl Seat<'_> {
    /// Says it to everybody, the speaker as well.
    pub(crate) fn say(&self, text: &str) {
        self.room.announce(format!("<{}> {text}\n", self.name));
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.room.lock().remove(&self.name);
        self.room.announce(format!("* {} left\n", self.name));
    }
}
