//! Futexes: threads that wait until others have changed a word of user memory.
//!
//! A waiter is in its queue before it looks at the word. Whoever changes the word looks into the
//! queue afterwards. So one of the two sees the other, though the word is read without a lock.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use mm::{FileId, SpaceId, VirtualAddress};

use crate::arch::thread::{self, Waker};
use crate::arch::user;
use crate::error::{Errno, Result};
use crate::memory::{UserAddress, manager};
use crate::sync::{SpinLock, WaitQueue};
use crate::task::{Pid, current, timer};

/// Bits of a futex with an owner. Linux, `linux/futex.h`.
const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const OWNER: u32 = 0x3fff_ffff;

/// How many robust futexes a thread can hold: a list may be a circle.
const ROBUST_LIMIT: usize = 2048;

/// What tells futexes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// A word of memory that one address space has to itself.
    Private(SpaceId, u64),
    /// A word of a file: the page and the offset in it.
    Shared(FileId, u32, u16),
}

impl Key {
    /// The futex at an address of the running process.
    fn new(address: UserAddress, private: bool) -> Result<Self> {
        if !address.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        address.range(4)?;
        let space = current().space()?;
        let at = VirtualAddress(address.0);
        if !private {
            let page = VirtualAddress(address.0 - at.offset() as u64);
            let mapped = manager().check_mapped(space.handle(), page, 1);
            mapped.map_err(|_| Errno::EFAULT)?;
            if let Some((file, page)) = manager().shared_page(space.handle(), at) {
                return Ok(Self::Shared(file, page, at.offset() as u16));
            }
        }
        Ok(Self::Private(space.id(), address.0))
    }

    fn queue(self) -> usize {
        let number = match self {
            Self::Private(space, address) => u64::from(space.number()) << 20 ^ address >> 2,
            Self::Shared(file, page, offset) => {
                u64::from(file.number()) << 32 ^ u64::from(page) << 10 ^ u64::from(offset) >> 2
            }
        };
        // Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
        (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - QUEUE_BITS)) as usize
    }
}

#[derive(Debug)]
struct Waiter {
    key: SpinLock<Key>,
    bits: u32,
    woken: AtomicBool,
    waker: Waker,
}

const QUEUE_BITS: u32 = 8;

type Queue = VecDeque<Arc<Waiter>>;

static QUEUES: [SpinLock<Queue>; 1 << QUEUE_BITS] =
    [const { SpinLock::new(VecDeque::new()) }; 1 << QUEUE_BITS];

/// Takes up to `count` of those out that wait for `key` with one of `bits`, and gives each to
/// `each`. Returns how many.
fn take(
    queue: &mut Queue,
    key: Key,
    count: usize,
    bits: u32,
    mut each: impl FnMut(&Arc<Waiter>),
) -> usize {
    let mut taken = 0;
    queue.retain(|waiter| {
        let goes = taken < count && waiter.bits & bits != 0 && *waiter.key.lock() == key;
        if goes {
            taken += 1;
            each(waiter);
        }
        !goes
    });
    taken
}

fn wake_waiter(waiter: &Arc<Waiter>) {
    waiter.woken.store(true, Ordering::SeqCst);
    waiter.waker.wake();
}

/// Waits until someone wakes this word with one of `bits`, unless the word is not `expected`.
///
/// # Errors
///
/// `EAGAIN`: it is not. `EFAULT`: the word cannot be read, because it is not mapped or its memory
/// has failed. `EINVAL`: unaligned. `ETIMEDOUT`, `EINTR`.
pub fn wait(
    address: UserAddress,
    private: bool,
    expected: u32,
    deadline: Option<u64>,
    bits: u32,
) -> Result<()> {
    let key = Key::new(address, private)?;
    let waiter = Arc::new(Waiter {
        key: SpinLock::new(key),
        bits,
        woken: AtomicBool::new(false),
        waker: thread::current(),
    });
    {
        let mut queue = QUEUES[key.queue()].lock();
        queue.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        queue.push_back(Arc::clone(&waiter));
    }
    let result = match address.read_u32() {
        Ok(value) if value == expected => timer::wait(&WaitQueue::new(), deadline, || {
            waiter.woken.load(Ordering::SeqCst).then_some(())
        }),
        Ok(_) => Err(Errno::EAGAIN),
        Err(error) => Err(error),
    };
    leave(&waiter);
    // A wake-up that came while this one gave up would be lost to the others otherwise.
    if waiter.woken.load(Ordering::SeqCst) {
        Ok(())
    } else {
        result
    }
}

/// Takes a waiter out of its queue, wherever it was moved to.
fn leave(waiter: &Arc<Waiter>) {
    loop {
        let key = *waiter.key.lock();
        let mut queue = QUEUES[key.queue()].lock();
        if *waiter.key.lock() == key {
            queue.retain(|other| !Arc::ptr_eq(other, waiter));
            return;
        }
    }
}

/// Wakes up to `count` of those that wait for this word with one of `bits`. Returns how many.
///
/// # Errors
///
/// `EINVAL`: unaligned. `EFAULT`: nobody can wait there.
pub fn wake(address: UserAddress, private: bool, count: usize, bits: u32) -> Result<usize> {
    let key = Key::new(address, private)?;
    let mut queue = QUEUES[key.queue()].lock();
    Ok(take(&mut queue, key, count, bits, wake_waiter))
}

/// Wakes up to `count` of those that wait for a word, and makes up to `move_count` of the others
/// wait for `other` instead. With `expected`, only if the word has this value. Returns how many
/// were woken or moved.
///
/// # Errors
///
/// `EAGAIN`: it has not. `EFAULT`, `EINVAL`, `ENOMEM`.
pub fn requeue(
    address: UserAddress,
    other: UserAddress,
    private: bool,
    count: usize,
    move_count: usize,
    expected: Option<u32>,
) -> Result<usize> {
    let (from, to) = (Key::new(address, private)?, Key::new(other, private)?);
    if let Some(expected) = expected
        && address.read_u32()? != expected
    {
        return Err(Errno::EAGAIN);
    }
    if from.queue() == to.queue() {
        let mut queue = QUEUES[from.queue()].lock();
        let woken = take(&mut queue, from, count, u32::MAX, wake_waiter);
        let waiting = |waiter: &&Arc<Waiter>| *waiter.key.lock() == from;
        let moved = queue.iter().filter(waiting).take(move_count);
        return Ok(woken + moved.map(|waiter| *waiter.key.lock() = to).count());
    }
    // Two queues are locked in the order of their places.
    let [first, second] = if from.queue() < to.queue() {
        [from, to]
    } else {
        [to, from]
    };
    let mut first_queue = QUEUES[first.queue()].lock();
    let mut second_queue = QUEUES[second.queue()].lock();
    let (queue, target) = if first == from {
        (&mut *first_queue, &mut *second_queue)
    } else {
        (&mut *second_queue, &mut *first_queue)
    };
    // After this nothing can fail.
    target
        .try_reserve(move_count.min(queue.len()))
        .map_err(|_| Errno::ENOMEM)?;
    let woken = take(queue, from, count, u32::MAX, wake_waiter);
    let moved = take(queue, from, move_count, u32::MAX, |waiter| {
        *waiter.key.lock() = to;
        target.push_back(Arc::clone(waiter));
    });
    Ok(woken + moved)
}

/// `FUTEX_WAKE_OP`: changes `other` as `operation` says, wakes up to `count` of those that wait
/// for `address`, and up to `other_count` of those that wait for `other` if its old value
/// compares as `operation` says.
///
/// # Errors
///
/// `EFAULT`, `EINVAL`; `ENOSYS`: an operation that nobody knows.
pub fn wake_operation(
    address: UserAddress,
    other: UserAddress,
    private: bool,
    count: usize,
    other_count: usize,
    operation: u32,
) -> Result<usize> {
    let operation = Operation::decode(operation)?;
    let old = update(other, |old| operation.apply(old))?;
    let mut woken = wake(address, private, count, u32::MAX)?;
    if operation.compares(old) {
        woken += wake(other, private, other_count, u32::MAX)?;
    }
    Ok(woken)
}

/// Changes a word of user memory in one step, and returns what it was.
fn update(address: UserAddress, change: impl Fn(u32) -> u32) -> Result<u32> {
    if !address.0.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let mut expected = address.read_u32()?;
    loop {
        let found = user::compare_exchange(address, expected, change(expected))
            .map_err(|stopped| stopped.errno())?;
        if found == expected {
            return Ok(found);
        }
        expected = found;
    }
}

/// The operation of `FUTEX_WAKE_OP`. Linux, `linux/futex.h`.
#[derive(Clone, Copy, Debug)]
struct Operation {
    kind: u32,
    comparison: u32,
    argument: u32,
    other: i32,
}

impl Operation {
    const SHIFT: u32 = 8;

    fn decode(word: u32) -> Result<Self> {
        let signed = |value: u32| (value << 20) as i32 >> 20;
        let kind = word >> 28;
        let argument = signed(word >> 12 & 0xfff);
        let argument = if kind & Self::SHIFT != 0 {
            1u32.wrapping_shl(argument as u32 & 31)
        } else {
            argument as u32
        };
        let operation = Self {
            kind: kind & !Self::SHIFT,
            comparison: word >> 24 & 0xf,
            argument,
            other: signed(word & 0xfff),
        };
        if operation.kind > 4 || operation.comparison > 5 {
            return Err(Errno::ENOSYS);
        }
        Ok(operation)
    }

    fn apply(self, old: u32) -> u32 {
        match self.kind {
            0 => self.argument,
            1 => old.wrapping_add(self.argument),
            2 => old | self.argument,
            3 => old & !self.argument,
            _ => old ^ self.argument,
        }
    }

    fn compares(self, old: u32) -> bool {
        let (old, other) = (old as i32, self.other);
        match self.comparison {
            0 => old == other,
            1 => old != other,
            2 => old < other,
            3 => old <= other,
            4 => old > other,
            _ => old >= other,
        }
    }
}

/// Marks the robust futexes that a thread holds as left by a dead owner, and wakes one waiter of
/// each. The list is the program's: anything can be wrong with it.
pub fn release_robust(head: UserAddress, owner: Pid) {
    // `struct robust_list_head`: the first entry, the offset of the word from an entry, and the
    // entry that is being taken.
    let Ok(words) = head.read::<24>() else {
        return;
    };
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&words[at..at + 8]);
        u64::from_le_bytes(word)
    };
    let (first, offset, pending) = (word(0), word(8), word(16));
    let release = |entry: u64| {
        // Bit 0 of an entry says that it is a lock with priority inheritance; there are none.
        let futex = UserAddress((entry & !1).wrapping_add(offset));
        release_one(futex, owner)
    };
    let mut entry = first;
    for _ in 0..ROBUST_LIMIT {
        if entry & !1 == head.0 {
            break;
        }
        let Ok(next) = UserAddress(entry & !1).read_u64() else {
            break;
        };
        if entry != pending && release(entry).is_err() {
            break;
        }
        entry = next;
    }
    if pending != 0 {
        release(pending).unwrap_or(());
    }
}

fn release_one(futex: UserAddress, owner: Pid) -> Result<()> {
    let is_owner = |value: u32| value & OWNER == owner.0;
    let dead = |value: u32| {
        if is_owner(value) {
            value & WAITERS | OWNER_DIED
        } else {
            value
        }
    };
    let old = update(futex, dead)?;
    if is_owner(old) && old & WAITERS != 0 {
        wake(futex, false, 1, u32::MAX)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Operation;

    fn decode(kind: u32, comparison: u32, argument: u32, other: u32) -> Operation {
        let word = kind << 28 | comparison << 24 | argument << 12 | other;
        Operation::decode(word).unwrap()
    }

    #[test]
    fn operations_are_those_of_the_manual() {
        assert_eq!(decode(0, 0, 5, 0).apply(9), 5);
        assert_eq!(decode(1, 0, 0xfff, 0).apply(9), 8);
        assert_eq!(decode(2, 0, 6, 0).apply(9), 15);
        assert_eq!(decode(3, 0, 8, 0).apply(9), 1);
        assert_eq!(decode(4 | 8, 0, 3, 0).apply(9), 1);
        assert!(decode(0, 4, 0, 3).compares(4) && !decode(0, 4, 0, 3).compares(3));
        assert!(decode(0, 2, 0, 0xfff).compares(-2i32 as u32));
        assert!(Operation::decode(5 << 28).is_err() && Operation::decode(6 << 24).is_err());
    }
}
