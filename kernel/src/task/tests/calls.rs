//! System calls as programs make them, with good arguments and bad.

use proptest::prelude::*;

use super::{Actor, memory};
use crate::syscall::number;

const EBADF: i64 = -9;
const EFAULT: i64 = -14;
const EINVAL: i64 = -22;
const ENOSYS: i64 = -38;
const CURRENT_DIRECTORY: u64 = -100i64 as u64;

#[test]
fn a_file_is_written_and_read_back() {
    let actor = Actor::new();
    let place = memory(4096);
    place.write(b"/file\0").unwrap();
    let text = place.offset(64);
    text.write(b"some bytes").unwrap();
    const CREATE_READ_WRITE: u64 = 0o102;
    let descriptor = actor.call(56, &[CURRENT_DIRECTORY, place.0, CREATE_READ_WRITE, 0o644]);
    assert_eq!(descriptor, 0);
    assert_eq!(actor.call(64, &[0, text.0, 10]), 10);
    assert_eq!(actor.call(62, &[0, 5, 0]), 5);
    let back = place.offset(128);
    assert_eq!(actor.call(63, &[0, back.0, 100]), 5);
    assert_eq!(back.read(), Ok(*b"bytes"));
    assert_eq!(actor.call(63, &[0, back.0, 100]), 0);
    let stat = place.offset(1024);
    assert_eq!(actor.call(80, &[0, stat.0]), 0);
    assert_eq!(stat.offset(48).read_u64(), Ok(10));
    assert_eq!(actor.call(57, &[0]), 0);
    assert_eq!(actor.call(57, &[0]), EBADF);
}

#[test]
fn a_pipe_carries_bytes_and_says_when_it_is_broken() {
    let actor = Actor::new();
    let place = memory(4096);
    assert_eq!(actor.call(59, &[place.0, 0]), 0);
    let (from, to) = (
        place.read_u32().unwrap(),
        place.offset(4).read_u32().unwrap(),
    );
    place.offset(64).write(b"x").unwrap();
    assert_eq!(actor.call(64, &[to.into(), place.0 + 64, 1]), 1);
    // ppoll: the end that can be read.
    let entry = place.offset(128);
    entry.write(&from.to_le_bytes()).unwrap();
    entry.offset(4).write(&[1, 0, 0, 0]).unwrap();
    assert_eq!(actor.call(73, &[entry.0, 1, 0, 0, 8]), 1);
    assert_eq!(entry.offset(6).read(), Ok([1, 0]));
    // It is empty, and does not make anybody wait (FIONBIO).
    assert_eq!(actor.call(63, &[from.into(), place.0 + 64, 1]), 1);
    let on = place.offset(192);
    on.write(&1u32.to_le_bytes()).unwrap();
    assert_eq!(actor.call(29, &[from.into(), 0x5421, on.0]), 0);
    assert_eq!(actor.call(63, &[from.into(), place.0 + 64, 1]), -11);
    assert_eq!(actor.call(57, &[from.into()]), 0);
    assert_eq!(actor.call(64, &[to.into(), place.0 + 64, 1]), -32);
    let pending = actor.thread.signals.lock().pending.set();
    assert!(pending.has(crate::task::signal::Signal::SIGPIPE));
}

#[test]
fn memory_is_mapped_moved_and_given_back() {
    let actor = Actor::new();
    const ANONYMOUS_PRIVATE: u64 = 0x22;
    let none = u64::MAX;
    let start = actor.call(222, &[0, 8192, 3, ANONYMOUS_PRIVATE, none, 0]);
    assert!(start > 0);
    let start = start as u64;
    assert_eq!(actor.call(226, &[start, 4096, 1]), 0);
    assert_eq!(actor.call(215, &[start, 8192]), 0);
    assert_eq!(actor.call(226, &[start, 4096, 1]), -12);
    assert_eq!(
        actor.call(222, &[0, 0, 3, ANONYMOUS_PRIVATE, none, 0]),
        EINVAL
    );
    assert_eq!(actor.call(222, &[0, 4096, 3, 0x20, none, 0]), EINVAL);
    assert_eq!(actor.call(222, &[0, 4096, 3, 2, none, 0]), EBADF);

    let space = actor.thread.process.space().unwrap();
    space.heap.lock().start = 0x50_0000;
    space.heap.lock().end = 0x50_0000;
    assert_eq!(actor.call(214, &[0]), 0x50_0000);
    assert_eq!(actor.call(214, &[0x50_2345]), 0x50_2345);
    assert_eq!(actor.call(226, &[0x50_2000, 4096, 1]), 0);
    assert_eq!(actor.call(214, &[0x50_0001]), 0x50_0001);
    assert_eq!(actor.call(226, &[0x50_2000, 4096, 1]), -12);
    assert_eq!(actor.call(214, &[u64::MAX]), 0x50_0001);
}

#[test]
fn sleeping_takes_time() {
    let actor = Actor::new();
    let place = memory(64);
    place.offset(8).write(&10_000_000u64.to_le_bytes()).unwrap();
    let start = crate::arch::time::now();
    assert_eq!(actor.call(115, &[1, 0, place.0, 0]), 0);
    assert!(crate::arch::time::now() - start >= 10_000_000);
    place
        .offset(8)
        .write(&1_000_000_000u64.to_le_bytes())
        .unwrap();
    assert_eq!(actor.call(101, &[place.0, 0]), EINVAL);
    assert_eq!(actor.call(113, &[1, 8]), EFAULT);
    assert_eq!(actor.call(113, &[77, place.0]), EINVAL);
}

#[test]
fn an_alarm_rings() {
    let actor = Actor::new();
    let place = memory(64);
    // After 10 ms, once.
    place.offset(24).write(&10_000u64.to_le_bytes()).unwrap();
    assert_eq!(actor.call(103, &[0, place.0, 0]), 0);
    let set = memory(8);
    assert_eq!(actor.call(133, &[set.0, 8]), -514);
    let pending = actor.thread.process.signals.lock().pending.set();
    assert!(pending.has(crate::task::signal::Signal::SIGALRM));
}

#[test]
fn groups_and_sessions() {
    let actor = Actor::new();
    let own = i64::from(actor.thread.id().0);
    assert_eq!(actor.call(172, &[]), own);
    assert_eq!(actor.call(173, &[]), 1);
    assert_eq!(actor.call(154, &[0, 0]), 0);
    assert_eq!(actor.call(155, &[0]), own);
    assert_eq!(actor.call(157, &[]), -1, "it leads a group");
    assert_eq!(actor.call(129, &[own as u64, 0]), 0);
    assert_eq!(actor.call(129, &[999_999, 0]), -3);
    assert_eq!(actor.call(129, &[own as u64, 65]), EINVAL);
}

#[test]
fn what_nobody_knows() {
    let actor = Actor::new();
    for unknown in [0, 244, 1000, u64::MAX] {
        assert_eq!(actor.call(unknown, &[]), ENOSYS);
    }
    assert_eq!(number::name(172), Some("GETPID"));
    assert_eq!(number::name(244), None);
}

/// Calls that end the thread, wait for ever, take other tests' processes along, or give up a CPU
/// that is none.
const LEFT_OUT: [u64; 14] = [
    72, 73, 93, 94, 101, 115, 122, 124, 129, 130, 131, 133, 137, 138,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_arguments_give_a_result(
        number in 0u64..450,
        arguments in prop::array::uniform6(prop_oneof![
            any::<u64>(),
            0u64..64,
            Just(u64::MAX),
            Just(CURRENT_DIRECTORY),
            (0u64..48).prop_map(|bit| 1 << bit),
            // Places in memory that is lent.
            (0u64..4096).prop_map(|offset| 1 << 63 | offset),
        ]),
        contents in prop::collection::vec(any::<u8>(), 64),
    ) {
        // Forks and futex waits are left to the tests that end them.
        let skipped = LEFT_OUT.contains(&number) || matches!(number, 98 | 220 | 435 | 95 | 260);
        prop_assume!(!skipped);
        let actor = Actor::new();
        let place = memory(4096);
        place.write(&contents).unwrap();
        let arguments = arguments.map(|argument| {
            if argument >> 63 == 1 && argument & !(1 << 63) < 4096 {
                place.0 + (argument & !(1 << 63))
            } else {
                argument
            }
        });
        let result = actor.call(number, &arguments);
        prop_assert!(!(-(1 << 62)..-4095).contains(&result) || number == 139);
    }
}

#[test]
fn a_file_without_a_name_has_bytes() {
    let actor = Actor::new();
    let place = memory(4096);
    place.write(b"name\0").unwrap();
    let text = place.offset(64);
    text.write(b"bytes").unwrap();
    let descriptor = actor.call(279, &[place.0, 1]);
    assert_eq!(descriptor, 0);
    assert_eq!(actor.call(46, &[0, 8192]), 0);
    assert_eq!(actor.call(68, &[0, text.0, 5, 4096]), 5);
    let back = place.offset(128);
    assert_eq!(actor.call(67, &[0, back.0, 5, 4096]), 5);
    assert_eq!(back.read(), Ok(*b"bytes"));
    assert_eq!(actor.call(25, &[0, 1]), 1, "FD_CLOEXEC");
    assert_eq!(actor.call(279, &[place.0, 0x40]), EINVAL);
    assert_eq!(actor.call(279, &[8, 0]), EFAULT);
}

#[test]
fn memory_moves_is_locked_and_fails_on_request() {
    let actor = Actor::new();
    const ANONYMOUS_PRIVATE: u64 = 0x22;
    const ENOMEM: i64 = -12;
    let none = u64::MAX;
    let start = actor.call(222, &[0, 4096, 3, ANONYMOUS_PRIVATE, none, 0]) as u64;
    // mremap: larger, elsewhere if need be; and flags that make no sense.
    assert_eq!(actor.call(216, &[start, 4096, 4096, 2, 0]), EINVAL);
    assert_eq!(actor.call(216, &[start, 4096, 4096, 8, 0]), EINVAL);
    let moved = actor.call(216, &[start, 4096, 8192, 1]);
    assert!(moved > 0, "{moved}");
    let moved = moved as u64;
    // mincore: nothing is there before it is touched or locked.
    let place = memory(64);
    assert_eq!(actor.call(232, &[moved, 8192, place.0]), 0);
    assert_eq!(place.read(), Ok([0, 0]));
    assert_eq!(actor.call(228, &[moved, 4096]), 0);
    assert_eq!(actor.call(232, &[moved, 8192, place.0]), 0);
    assert_eq!(place.read(), Ok([1, 0]));
    assert_eq!(actor.call(232, &[moved, 1 << 40, place.0]), ENOMEM);
    assert_eq!(actor.call(232, &[moved + 1, 1, place.0]), EINVAL);
    assert_eq!(actor.call(229, &[moved, 4096]), 0);
    // More than RLIMIT_MEMLOCK.
    assert_eq!(actor.call(228, &[moved, 1 << 30]), ENOMEM);
    assert_eq!(actor.call(284, &[moved, 4096, 2]), EINVAL);
    assert_eq!(actor.call(230, &[4]), EINVAL);
    assert_eq!(actor.call(230, &[1]), 0);
    assert_eq!(actor.call(231, &[]), 0);
    // MADV_SOFT_OFFLINE keeps it, MADV_HWPOISON does not.
    assert_eq!(actor.call(233, &[moved, 4096, 101]), 0);
    assert_eq!(actor.call(232, &[moved, 4096, place.0]), 0);
    assert_eq!(place.read(), Ok([1]));
    assert_eq!(actor.call(233, &[moved, 4096, 100]), 0);
    assert_eq!(actor.call(232, &[moved, 4096, place.0]), 0);
    assert_eq!(place.read(), Ok([0]));
    assert_eq!(actor.call(233, &[moved, 4096, 100]), EFAULT);
}

#[test]
fn the_kill_policy_is_set_and_read() {
    let actor = Actor::new();
    assert_eq!(actor.call(167, &[34]), 2);
    for policy in [0, 1, 2] {
        assert_eq!(actor.call(167, &[33, 1, policy, 0, 0]), 0);
        assert_eq!(actor.call(167, &[34]), policy as i64);
    }
    assert_eq!(actor.call(167, &[33, 1, 3, 0, 0]), EINVAL);
    assert_eq!(actor.call(167, &[33, 1, 1, 1, 0]), EINVAL);
    assert_eq!(actor.call(167, &[33, 2, 0, 0, 0]), EINVAL);
    assert_eq!(actor.call(167, &[33, 0, 0, 0, 0]), 0);
    assert_eq!(actor.call(167, &[34]), 2);
}
