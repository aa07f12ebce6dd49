//! What the report says of the ergonomics of styles is counted in the sources of the example `models`, and it is counted right.
#![allow(dead_code, reason = "the report uses the rest")]

#[path = "../examples/models/ergonomics.rs"]
mod ergonomics;

use ergonomics::{Ergonomics, all, count, regions, regions_of};

const SERVICES: [&str; 2] = ["echo", "session"];
const STYLES: [&str; 5] = ["sequential", "async", "requests", "callbacks", "actors"];

#[test]
fn lines_are_those_with_code() {
    let counted = count_one(
        "\
// ergonomics: echo, plain
/// Says what it is.
fn echo() {

    // Nothing to do.
    let x = 1; // a line all the same
}
// ergonomics: end
",
    );
    assert_eq!((counted.service, counted.style), ("echo", "plain"));
    assert_eq!(counted.lines, 3);
    assert_eq!((counted.functions, counted.fields), (1, 0));
}

#[test]
fn functions_and_states_are_counted_but_not_constructors() {
    let counted = count_one(
        "\
// ergonomics: session, plain
enum State {
    #[default]
    New,
    Asked { name: String, count: u64 },
    Closed { name: String },
}
impl State {
    fn new() -> State {
        State::New
    }
    pub(crate) async fn newer(self) {}
    fn last<T>(self) {}
}
// ergonomics: end
",
    );
    assert_eq!(counted.functions, 3 + 2);
    // By name.
    assert_eq!(counted.fields, 2);
}

#[test]
fn fields_are_those_of_structs_and_not_of_values() {
    let counted = count_one(
        "\
before: it,
struct Outside {
    field: u8,
}
// ergonomics: session, plain
pub(crate) struct Session {
    pub(crate) name: String,
    backend: Option<(TcpStream, Lines)>,
}
fn begin() -> Session {
    let local: u64 = 0;
    Session {
        name: String::new(),
        backend: None,
        other: local,
    }
}
struct Unit;
// ergonomics: end
after: it,
",
    );
    assert_eq!(counted.fields, 2);
    assert_eq!(counted.functions, 1);
    assert_eq!(counted.lines, 13);
}

#[test]
fn what_is_outside_of_markers_does_not_count() {
    let regions = regions_of(
        "\
fn a() {}
// ergonomics: echo, one
fn b() {}
// ergonomics: end
fn c() {}
// ergonomics: session, two
fn d() {}
// ergonomics: end
fn e() {}
",
    );
    let code: Vec<_> = regions
        .iter()
        .map(|one| (one.service, one.style, one.code))
        .collect();
    let expected = [
        ("echo", "one", "fn b() {}"),
        ("session", "two", "fn d() {}"),
    ];
    assert_eq!(code, expected);
}

#[test]
fn each_service_is_written_once_in_each_style() {
    let mut written: Vec<_> = all().iter().map(|one| (one.service, one.style)).collect();
    let mut expected: Vec<_> = SERVICES
        .iter()
        .flat_map(|&service| STYLES.map(|style| (service, style)))
        .collect();
    written.sort_unstable();
    expected.sort_unstable();
    assert_eq!(written, expected);
}

#[test]
fn regions_are_whole_items() {
    for region in regions() {
        let braces = |letter| region.code.matches(letter).count();
        assert_eq!(braces('{'), braces('}'), "{region:?}");
        assert!(region.code.ends_with(['}', ';']), "{region:?}");
    }
}

#[test]
fn a_flow_of_control_needs_no_fields_and_callbacks_do() {
    let of = |service: &str, style: &str| {
        let mut all = all().into_iter();
        all.find(|one| (one.service, one.style) == (service, style))
            .unwrap_or_else(|| panic!("{service} is not written in {style}"))
    };
    for style in ["sequential", "async"] {
        assert_eq!(of("session", style).fields, 0, "{style}");
        assert_eq!(of("session", style).functions, 1, "{style}");
    }
    for style in ["requests", "callbacks", "actors"] {
        assert!(of("session", style).fields > 0, "{style}");
        assert!(of("session", style).functions > 1, "{style}");
    }
}

fn count_one(source: &'static str) -> Ergonomics {
    let regions = regions_of(source);
    assert_eq!(regions.len(), 1);
    count(&regions[0])
}
