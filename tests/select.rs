//! smoke
use std::time::Duration;
use withy::sync::channel::{Select, after, bounded, unbounded};
use withy::{CancelToken, select};

#[test]
fn smoke() {
    let (s, r) = unbounded::<i32>();
    let (s2, r2) = bounded::<i32>(0);
    let token = CancelToken::new();
    let n = select! {
        recv(r) -> m => m.unwrap(),
        recv(r2) -> m => m.unwrap(),
        default => 7,
    };
    assert_eq!(n, 7);
    let h = withy::spawn(move || {
        select! {
            send(s2, 4) -> r => { r.unwrap(); 1 }
            cancelled(token) => 2,
        }
    });
    let n = select! {
        recv(r) -> m => m.unwrap(),
        recv(r2) -> m => m.unwrap(),
        default(Duration::from_secs(5)) => 7,
    };
    assert_eq!(n, 4);
    let mut h = Some(h);
    loop {
        select! {
            join(h) -> v => assert_eq!(v.unwrap(), 1),
            recv(after(Duration::from_millis(3))) -> _ => break,
        }
    }
    let mut h = withy::spawn(|| 5);
    select! {
        join(h) -> v => assert_eq!(v.unwrap(), 5),
        recv(r) -> m => drop(m),
    }
    s.send(3).unwrap();
    let mut sel = Select::new();
    let i = sel.recv(&r);
    let j = sel.recv(&r2);
    let op = sel.select();
    if op.index() == i {
        assert_eq!(op.recv(&r), Ok(3));
    } else {
        assert_eq!(op.index(), j);
        assert!(op.recv(&r2).is_err());
    }
}
