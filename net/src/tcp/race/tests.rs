use super::*;

fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
    let parsed = texts.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().expect("addresses")
}

/// Promise 12. The order of RFC 8305, section 4: the family of the first address first, then in turn, each in its order.
#[test]
fn families_take_turns() {
    let six_first = addrs(&["[::1]:1", "[::1]:2", "[::1]:3", "1.1.1.1:4", "1.1.1.1:5"]);
    let expected = addrs(&["[::1]:1", "1.1.1.1:4", "[::1]:2", "1.1.1.1:5", "[::1]:3"]);
    assert_eq!(interleaved(six_first), expected);
    let four_first = addrs(&["1.1.1.1:1", "[::1]:2", "[::1]:3", "[::1]:4"]);
    let expected = addrs(&["1.1.1.1:1", "[::1]:2", "[::1]:3", "[::1]:4"]);
    assert_eq!(interleaved(four_first), expected);
    let one_family = addrs(&["1.1.1.1:3", "1.1.1.1:1", "1.1.1.1:2"]);
    assert_eq!(interleaved(one_family.clone()), one_family);
    assert_eq!(interleaved(Vec::new()), Vec::new());
}

/// Promise 12. The error is of the attempt that began last, whenever that failed; its text is bounded.
#[test]
fn the_error_is_of_the_attempt_that_began_last() {
    let mut failures = Failures::default();
    let numbers: Vec<_> = (0..100).map(|_| failures.begin()).collect();
    let addr = addrs(&["127.0.0.1:7"])[0];
    let last = io::Error::from_raw_os_error(libc::EHOSTUNREACH);
    failures.add(numbers[99], addr, last);
    for number in &numbers[..99] {
        let error = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        failures.add(*number, addr, error);
    }
    let error = failures.into_error();
    assert_eq!(error.kind(), io::ErrorKind::HostUnreachable);
    let source = error.get_ref().and_then(|error| error.source());
    let source = source.and_then(|error| error.downcast_ref::<io::Error>());
    assert_eq!(
        source.and_then(io::Error::raw_os_error),
        Some(libc::EHOSTUNREACH)
    );
    let text = error.to_string();
    assert!(text.starts_with("could not connect to any of 100 addresses: 127.0.0.1:7: "));
    assert!(text.ends_with("; and 92 more"), "{text}");
    assert!(text.len() < 1000, "{text}");
}
