//! Futexes, with threads that really wait.

use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use super::{Actor, memory};
use crate::arch::time;
use crate::arch::user::compare_exchange;
use crate::error::{Errno, Result};
use crate::memory::UserAddress;
use crate::task::{Thread, futex};

const ALL: u32 = u32::MAX;

/// A thread of the same process that waits.
fn waiter(thread: &Arc<Thread>, word: UserAddress, bits: u32) -> JoinHandle<Result<()>> {
    let process = Arc::clone(&thread.process);
    spawn(move || {
        let own = Thread::new(process.id, process, crate::arch::thread::State::default());
        let _actor = Actor::play(Arc::new(own));
        futex::wait(word, true, 0, None, bits)
    })
}

/// Wakes or moves until so many were.
fn until(count: usize, mut act: impl FnMut(usize) -> usize) {
    let start = Instant::now();
    let mut left = count;
    while left > 0 {
        left -= act(left);
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "they do not come"
        );
        std::thread::yield_now();
    }
}

#[test]
fn waiters_are_woken_by_their_bits() {
    let actor = Actor::new();
    let word = memory(64);
    let (one, two) = (
        waiter(&actor.thread, word, 1),
        waiter(&actor.thread, word, 2),
    );
    until(1, |_| futex::wake(word, true, 9, 2).unwrap());
    assert_eq!(two.join().unwrap(), Ok(()));
    assert!(!one.is_finished());
    until(1, |_| futex::wake(word, true, 9, ALL).unwrap());
    assert_eq!(one.join().unwrap(), Ok(()));
    assert_eq!(futex::wake(word, true, 9, ALL), Ok(0));
}

#[test]
fn nobody_waits_for_what_has_happened() {
    let _actor = Actor::new();
    let word = memory(64);
    word.write(&[1, 0, 0, 0]).unwrap();
    assert_eq!(futex::wait(word, true, 0, None, ALL), Err(Errno::EAGAIN));
    assert_eq!(
        futex::wait(UserAddress(8), true, 0, None, ALL),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        futex::wait(word.offset(1), true, 0, None, ALL),
        Err(Errno::EINVAL)
    );
}

#[test]
fn a_wait_ends_in_time() {
    let _actor = Actor::new();
    let until = time::now() + 20_000_000;
    assert_eq!(
        futex::wait(memory(64), true, 0, Some(until), ALL),
        Err(Errno::ETIMEDOUT)
    );
    assert!(time::now() >= until);
}

#[test]
fn waiters_move_to_another_word() {
    let actor = Actor::new();
    let (word, other) = (memory(64), memory(64));
    let waiters: Vec<_> = (0..3).map(|_| waiter(&actor.thread, word, ALL)).collect();
    until(3, |left| {
        futex::requeue(word, other, true, 0, left, Some(0)).unwrap()
    });
    assert_eq!(futex::wake(word, true, 9, ALL), Ok(0));
    assert_eq!(futex::wake(other, true, 9, ALL), Ok(3));
    assert!(
        waiters
            .into_iter()
            .all(|waiter| waiter.join().unwrap() == Ok(()))
    );
    assert_eq!(
        futex::requeue(word, other, true, 1, 1, Some(5)),
        Err(Errno::EAGAIN)
    );
}

#[test]
fn waiters_move_wherever_the_other_word_s_queue_is() {
    let actor = Actor::new();
    // Of 256 words some share a queue, and most do not.
    let word = memory(4096);
    for offset in (4..1024).step_by(4) {
        let other = word.offset(offset);
        let waiters = [(); 2].map(|()| waiter(&actor.thread, word, ALL));
        // One is woken and one moves, as soon as they wait.
        until(2, |left| {
            futex::requeue(word, other, true, left - 1, 1, None).unwrap()
        });
        assert_eq!(futex::wake(word, true, 9, ALL), Ok(0));
        assert_eq!(futex::wake(other, true, 9, ALL), Ok(1));
        for waiter in waiters {
            waiter.join().unwrap().unwrap();
        }
    }
}

#[test]
fn a_word_counts_up_under_a_lock_made_of_it() {
    let actor = Actor::new();
    let (word, counter) = (memory(64), memory(64));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let process = Arc::clone(&actor.thread.process);
            spawn(move || {
                let own = Thread::new(process.id, process, crate::arch::thread::State::default());
                let _actor = Actor::play(Arc::new(own));
                for _ in 0..300 {
                    // 0 is free, 1 taken, 2 taken with waiters.
                    let mut taken = compare_exchange(word, 0, 1).unwrap() == 0;
                    while !taken {
                        let found = compare_exchange(word, 1, 2).unwrap();
                        if found != 0 {
                            let _ = futex::wait(word, true, 2, None, ALL);
                        }
                        taken = compare_exchange(word, 0, 2).unwrap() == 0;
                    }
                    let value = counter.read_u32().unwrap();
                    counter.write(&(value + 1).to_le_bytes()).unwrap();
                    if compare_exchange(word, 1, 0).unwrap() != 1 {
                        word.write(&[0; 4]).unwrap();
                        futex::wake(word, true, 1, ALL).unwrap();
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(counter.read_u32(), Ok(1200));
}

#[test]
fn a_dead_owner_leaves_its_robust_futexes() {
    let actor = Actor::new();
    let owner = actor.thread.id();
    let place = memory(256);
    let (head, entry, word) = (place, place.offset(64), place.offset(80));
    let write = |at: UserAddress, value: u64| at.write(&value.to_le_bytes()).unwrap();
    write(head, entry.0);
    write(head.offset(8), 16);
    write(head.offset(16), 0);
    write(entry, head.0);
    word.write(&owner.0.to_le_bytes()).unwrap();
    futex::release_robust(head, owner);
    assert_eq!(word.read_u32(), Ok(0x4000_0000));
    // Another owner's is left alone, and a list that is a circle has an end.
    word.write(&(owner.0 + 1).to_le_bytes()).unwrap();
    write(entry, entry.0);
    futex::release_robust(head, owner);
    assert_eq!(word.read_u32(), Ok(owner.0 + 1));
    futex::release_robust(UserAddress(8), owner);
}
