use std::collections::VecDeque;

use super::Buffer;

/// Of a size that gives a chunk of 16: the borders come soon.
type Wide = [u64; 1000];

fn wide(n: u64) -> Wide {
    let mut wide = [0; 1000];
    wide[0] = n;
    wide[999] = n;
    wide
}

/// Random operations give what one `VecDeque` gives.
fn is_like_a_queue<T: PartialEq>(make: fn(u64) -> T, most: usize, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut buffer = Buffer::with_room(rng.usize(0..20));
    let mut model = VecDeque::new();
    let mut next = 0;
    for _ in 0..200 {
        // Long runs of one sort, so that it grows over several chunks and empties again.
        let (what, times) = (rng.u32(0..10), rng.usize(0..60));
        for _ in 0..times {
            match what {
                0..4 if model.len() < most => {
                    buffer.push(make(next));
                    model.push_back(make(next));
                }
                4 => {
                    buffer.push_front(make(next));
                    model.push_front(make(next));
                }
                _ => assert!(buffer.pop() == model.pop_front()),
            }
            next += 1;
            assert_eq!(buffer.len(), model.len());
            let at = rng.usize(0..model.len() + 2);
            assert!(buffer.get_mut(at) == model.get_mut(at), "message {at}");
        }
    }
    while let Some(message) = model.pop_front() {
        assert!(buffer.pop() == Some(message));
    }
    assert!(buffer.pop().is_none());
}

#[test]
fn random_operations_give_what_a_queue_gives() {
    for seed in 0..20 {
        is_like_a_queue(wide, 200, seed);
        is_like_a_queue(|n| n, 5000, seed);
        is_like_a_queue(|_| (), 5000, seed);
    }
}

#[test]
fn more_than_several_chunks_come_out_in_order() {
    let mut buffer = Buffer::with_room(0);
    for round in 0..3 {
        (0..30_000_u64).for_each(|n| buffer.push(n));
        assert_eq!(buffer.len(), 30_000, "round {round}");
        for n in 0..30_000 {
            assert_eq!(buffer.get_mut(0), Some(&mut { n }));
            assert_eq!(buffer.pop(), Some(n));
        }
        assert_eq!(buffer.get_mut(0), None);
    }
}
