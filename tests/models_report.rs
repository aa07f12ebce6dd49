//! `models compare` writes a report that can be read: figures in JSON, charts in SVG, a page that stands alone and looks like one in a
//! browser, on a laptop and on a phone.

mod models;
mod rig;
mod support;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rig::tools;
use serde_json::Value;
use support::within;

const LIMIT: Duration = Duration::from_secs(240);

/// Two of each kind: that hold few connections, and many; by threads, and by callbacks.
const MODELS: [&str; 4] = [
    "iterative",
    "thread-per-connection",
    "reactor",
    "coroutines",
];

/// One report for all tests: the folder.
fn report() -> &'static Path {
    static REPORT: OnceLock<PathBuf> = OnceLock::new();
    REPORT.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("models-report-{}", std::process::id()));
        let output = Command::new(models::program())
            .args([
                "compare",
                "--seconds",
                "0.6",
                "--rounds",
                "2",
                "--conns",
                "1,64",
            ])
            .args(["--models", &MODELS.join(","), "--out"])
            .arg(&folder)
            .output()
            .expect("the example can be run");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // Nobody looks on: there is no bar, and nothing has failed.
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let table = String::from_utf8(output.stdout).expect("a table is text");
        for model in MODELS {
            assert!(
                table.contains(model),
                "{model} is not in the table:\n{table}"
            );
        }
        folder
    })
}

#[test]
fn figures_are_those_of_every_model_and_make_sense() {
    within(LIMIT, "figures of a comparison", || {
        let text = fs::read_to_string(report().join("report.json")).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        assert!(report["machine"]["cores"].as_u64().unwrap() >= 1);
        assert!(report["date"].as_str().unwrap().ends_with('Z'));
        let rows = report["results"].as_array().unwrap();
        for model in MODELS {
            for service in ["echo", "session"] {
                let of_both = |row: &&Value| row["model"] == model && row["service"] == service;
                assert!(
                    rows.iter().any(|row| of_both(&row)),
                    "no row of {model}, {service}"
                );
            }
        }
        for row in rows {
            check(row);
        }
        let offered = |service: &str| {
            let of_service = rows.iter().filter(|row| row["service"] == service);
            let rates = of_service.filter_map(|row| row["offered_per_s"].as_f64());
            rates
                .map(|rate| rate.round() as u64)
                .collect::<HashSet<_>>()
        };
        // The same to all.
        assert!(
            ["echo", "session"]
                .iter()
                .all(|service| offered(service).len() == 1)
        );
        let has = |key: &str, value: &str| rows.iter().any(|row| row[key] == value);
        assert!(
            has("load", "open")
                && has("variant", "connection-per-request")
                && has("variant", "poll")
        );
        let styles = report["ergonomics"].as_array().unwrap();
        assert!(
            styles
                .iter()
                .all(|style| style["lines"].as_u64().unwrap() > 0)
        );
        let lines = |style: &str| {
            let found = styles
                .iter()
                .find(|one| one["style"] == style && one["service"] == "session");
            found.unwrap()["lines"].as_u64().unwrap()
        };
        assert!(lines("sequential") < lines("callbacks"), "{styles:?}");
    });
}

/// In alphabetic order.
const KEYS: [&str; 20] = [
    "connections",
    "context_switches",
    "cpu_us_per_request",
    "errors",
    "load",
    "memory_bytes_per_connection",
    "model",
    "offered_per_s",
    "p50_us",
    "p999_us",
    "p99_us",
    "processes",
    "requests_per_s",
    "rounds",
    "service",
    "skipped",
    "spread",
    "threads",
    "variant",
    "wasted_wake_ups",
];

fn check(row: &Value) {
    let mut keys: Vec<_> = row.as_object().expect("an object").keys().collect();
    keys.sort_unstable();
    assert_eq!(keys, KEYS);
    let number = |key: &str| {
        row[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key} is no number in {row}"))
    };
    assert_eq!(row["skipped"], Value::Null, "{row}");
    // On a machine that is busy elsewhere no answer may come in the time that counts, which is 0.2 s.
    let is_starved = number("p50_us") > 200_000.0;
    assert!(number("requests_per_s") > 0.0 || is_starved, "{row}");
    assert!(
        0.0 < number("p50_us") && number("p50_us") <= number("p99_us"),
        "{row}"
    );
    assert!(number("p99_us") <= number("p999_us"), "{row}");
    assert!(
        number("cpu_us_per_request") > 0.0 && number("context_switches") >= 0.0,
        "{row}"
    );
    assert!(
        number("memory_bytes_per_connection") >= 0.0 && number("spread") >= 0.0,
        "{row}"
    );
    assert!(
        number("threads") >= 1.0 && number("processes") >= 1.0,
        "{row}"
    );
    assert!(number("errors") == 0.0 && number("rounds") == 2.0, "{row}");
    let is_open = row["load"] == "open";
    assert_eq!(
        row["offered_per_s"].as_f64().is_some_and(|rate| rate > 0.0),
        is_open,
        "{row}"
    );
    if row["model"] == "thread-per-connection" && row["variant"] == "default" {
        assert!(number("threads") >= number("connections"), "{row}");
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    within(LIMIT, "a page", || {
        let page = fs::read_to_string(report().join("index.html")).unwrap();
        let svg = fs::read_to_string(report().join("report.svg")).unwrap();
        for text in [&page, &svg] {
            // Names of XML's languages look like addresses.
            let text = text
                .replace("http://www.w3.org/2000/svg", "")
                .replace("http://www.w3.org/1999/xlink", "");
            for reference in [
                "http:", "https:", "src=", "href=", "url(", "@import", "<script",
            ] {
                assert!(
                    !text.contains(reference),
                    "the report refers to something by {reference:?}"
                );
            }
        }
        assert!(page.contains("name=\"viewport\""));
        let charts = page.matches("<figure>").count();
        assert!(charts >= 10, "{charts} charts");
        assert_eq!(svg.matches("<svg ").count(), charts + 1);
        assert_eq!(svg.matches("<svg ").count(), svg.matches("</svg>").count());
    });
}

/// Looked at by Chromium, headless: it has charts in it, in the colours of the models, and nothing reaches the edge.
#[test]
fn the_page_looks_like_one_on_a_laptop_and_a_phone() {
    if !tools::need("chromium") {
        return;
    }
    within(LIMIT, "pictures of a page", || {
        for (width, height) in WINDOWS {
            let picture = report().join(format!("{width}.png"));
            browse(
                &report().join("index.html"),
                width,
                height,
                &[&format!("--screenshot={}", picture.display())],
            );
            let seen = Picture::load(&picture);
            assert_eq!((seen.width, seen.height), (width, height));
            let share = |is_such: fn([u8; 3]) -> bool| {
                let such = seen.pixels().filter(|&pixel| is_such(pixel)).count();
                such as f64 / seen.pixels().count() as f64
            };
            // Bars of threads, callbacks and coroutines, and text.
            let shares = [
                (
                    "orange",
                    share(|[r, g, b]| r > 160 && (60..180).contains(&g) && b < 40),
                ),
                ("blue", share(|[r, g, b]| r < 110 && g < 180 && b > 200)),
                ("green", share(|[r, g, b]| r < 40 && g > 100 && b < 150)),
                ("dark", share(|[r, g, b]| r < 90 && g < 100 && b < 120)),
            ];
            for (color, share) in shares {
                assert!(share > 0.002, "{share:.5} of {width} is {color}");
            }
            // Cards have a margin on both sides: nothing sticks out.
            let right = (0..seen.height).map(|y| seen.pixel(seen.width - 1, y));
            let edge = right.collect::<HashSet<_>>();
            assert_eq!(
                edge.len(),
                1,
                "something reaches the right edge at a width of {width}"
            );
        }
    });
}

/// Tall enough for the beginning of the page, down to some charts.
const WINDOWS: [(usize, usize); 2] = [(1400, 1600), (400, 2400)];

/// Asked of the browser: where everything is.
#[test]
fn nothing_sticks_out_of_the_page_or_a_chart_and_no_names_overlap() {
    if !tools::need("chromium") {
        return;
    }
    within(LIMIT, "the layout of a page", || {
        let page = fs::read_to_string(report().join("index.html")).unwrap();
        let page = page.replace('&', "&amp;").replace('"', "&quot;");
        for (width, height) in WINDOWS {
            // In a frame: a window cannot be as narrow as a phone.
            let asked = report().join(format!("asked-{width}.html"));
            let frame = format!(
                "<iframe srcdoc=\"{page}\" width={width} height={height} frameborder=0></iframe>{QUESTION}"
            );
            fs::write(&asked, frame).unwrap();
            let dom = browse(&asked, 1600, height, &["--dump-dom"]);
            let answer = dom.rsplit_once("<pre id=\"answer\">").expect("an answer").1;
            let answer: Value = serde_json::from_str(answer.split('<').next().unwrap()).unwrap();
            let number = |key: &str| answer[key].as_f64().expect("a number");
            assert_eq!(number("inner"), width as f64);
            assert!(number("scroll") <= number("inner"), "{answer}");
            assert!(number("charts") >= 10.0, "{answer}");
            let none = Value::Array(Vec::new());
            assert_eq!(
                answer["outside"], none,
                "text is cut off at a width of {width}"
            );
            assert_eq!(answer["overlapping"], none, "at a width of {width}");
            assert_eq!(answer["empty"], none, "charts have no marks");
            assert!(number("smallest") >= 7.0, "{answer}");
        }
    });
}

/// Texts of a chart that leave it, or cover another; charts with fewer marks than a background and two models; the least height of a text, in pixels.
const QUESTION: &str = r#"<pre id="answer"></pre><script>
onload = () => {
const seen = document.querySelector("iframe").contentWindow;
const outside = [], overlapping = [], empty = [];
let smallest = 1000;
const charts = seen.document.querySelectorAll("figure svg");
for (const svg of charts) {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll("text")].map(text => [text.textContent.trim(), text.getBoundingClientRect()])
    .filter(([text]) => text != "");
  texts.forEach(([text, box], place) => {
    smallest = Math.min(smallest, box.height);
    if (box.left < frame.left || box.right > frame.right || box.top < frame.top || box.bottom > frame.bottom) outside.push(text);
    for (const [other, its] of texts.slice(place + 1)) {
      const across = Math.min(box.right, its.right) - Math.max(box.left, its.left);
      const down = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
      // Lines may touch.
      if (across > 1 && down > 0.4 * Math.min(box.height, its.height)) overlapping.push(text + " / " + other);
    }
  });
  const marks = [...svg.querySelectorAll("rect, circle")].filter(mark => mark.getBBox().width > 0);
  if (marks.length < 3) empty.push(texts[0][0]);
}
document.getElementById("answer").textContent = JSON.stringify({
  inner: seen.innerWidth, scroll: seen.document.documentElement.scrollWidth, charts: charts.length, outside, overlapping, empty, smallest });
};
</script>"#;

/// What the browser says of the page in a window of that size.
fn browse(page: &Path, width: usize, height: usize, arguments: &[&str]) -> String {
    // One of its own: tests run at the same time, and a profile is one browser's.
    static BROWSERS: AtomicUsize = AtomicUsize::new(0);
    let profile = report().join(format!(
        "browser-{}",
        BROWSERS.fetch_add(1, Ordering::Relaxed)
    ));
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={width},{height}"))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium can be run");
    let _ = fs::remove_dir_all(profile);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

struct Picture {
    width: usize,
    height: usize,
    /// Of a pixel.
    bytes: usize,
    data: Vec<u8>,
}

impl Picture {
    fn load(path: &Path) -> Picture {
        let decoder = png::Decoder::new(BufReader::new(File::open(path).expect("it was written")));
        let mut reader = decoder.read_info().expect("a picture");
        let mut data = vec![0; reader.output_buffer_size().expect("of moderate size")];
        let info = reader.next_frame(&mut data).expect("a whole picture");
        Picture {
            width: info.width as usize,
            height: info.height as usize,
            bytes: info.color_type.samples(),
            data,
        }
    }

    fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * self.bytes;
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }

    fn pixels(&self) -> impl Iterator<Item = [u8; 3]> {
        (0..self.width * self.height).map(|n| self.pixel(n % self.width, n / self.width))
    }
}
