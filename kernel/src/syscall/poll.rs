//! Waiting for one of several files.

use alloc::vec::Vec;

use super::Arguments;
use super::io::open_file;
use super::time::read_duration;
use crate::arch::time;
use crate::error::{Errno, Result};
use crate::fs::{PollEntry, Readiness, poll};
use crate::memory::UserAddress;
use crate::task::current;
use crate::task::signal::SignalSet;

/// The most entries of a call: as many as a process can have descriptors.
const ENTRIES_LIMIT: usize = 4096;
/// The size of `struct pollfd` in bytes.
const ENTRY_SIZE: usize = 8;

/// Blocks other signals for the time of a call, if it says so.
fn set_mask(set: UserAddress, size: u64) -> Result<()> {
    if set.is_null() {
        return Ok(());
    }
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    current().set_mask(SignalSet(set.read_u64()?), true);
    Ok(())
}

fn deadline(timeout: UserAddress) -> Result<Option<u64>> {
    if timeout.is_null() {
        return Ok(None);
    }
    Ok(Some(time::now().saturating_add(read_duration(timeout)?)))
}

/// The mask that a call set is put back at once if the call ends without a signal; otherwise on
/// the way to user mode, after the handler's frame was made.
fn restore_mask<T>(result: &Result<T>) {
    if matches!(result, Err(Errno::EINTR)) {
        return;
    }
    let thread = current();
    let mask = thread.signals.lock().saved_mask.take();
    if let Some(mask) = mask {
        thread.set_mask(mask, false);
    }
}

pub(super) fn ppoll(a: Arguments) -> Result<u64> {
    let count = a.size(1);
    if count > ENTRIES_LIMIT {
        return Err(Errno::EINVAL);
    }
    let deadline = deadline(a.address(2))?;
    let mut entries = Vec::new();
    entries
        .try_reserve_exact(count)
        .map_err(|_| Errno::ENOMEM)?;
    for index in 0..count {
        let entry = a.address(0).offset(index * ENTRY_SIZE);
        let descriptor = entry.read_u32()? as i32;
        let interest = u16::from_le_bytes(entry.offset(4).read()?);
        entries.push(match open_file(descriptor) {
            _ if descriptor < 0 => PollEntry::ignored(),
            Ok(file) => PollEntry::new(file, Readiness::from_bits_truncate(interest)),
            Err(_) => PollEntry::invalid(),
        });
    }
    set_mask(a.address(3), a.word(4))?;
    let ready = poll(&mut entries, deadline);
    restore_mask(&ready);
    let ready = ready?;
    for (index, entry) in entries.iter().enumerate() {
        let place = a.address(0).offset(index * ENTRY_SIZE + 6);
        place.write(&entry.found().bits().to_le_bytes())?;
    }
    Ok(ready as u64)
}

/// The three sets of `select`, and what each stands for.
const SETS: [(Readiness, Readiness); 3] = [
    (
        Readiness::READABLE,
        Readiness::READABLE
            .union(Readiness::HANG_UP)
            .union(Readiness::ERROR),
    ),
    (
        Readiness::WRITABLE,
        Readiness::WRITABLE.union(Readiness::ERROR),
    ),
    (Readiness::PRIORITY, Readiness::PRIORITY),
];

pub(super) fn pselect6(a: Arguments) -> Result<u64> {
    let count = usize::try_from(a.int(0)).map_err(|_| Errno::EINVAL)?;
    // What is beyond the table is not looked at; the table grows by whole words.
    let slots = current().process.files()?.slots().next_multiple_of(64);
    let count = count.min(slots.clamp(64, ENTRIES_LIMIT));
    let deadline = deadline(a.address(4))?;
    let addresses = [a.address(1), a.address(2), a.address(3)];
    let mut wanted = [const { Vec::new() }; 3];
    for (set, address) in wanted.iter_mut().zip(addresses) {
        for word in 0..count.div_ceil(64) {
            let bits = if address.is_null() {
                0
            } else {
                address.offset(word * 8).read_u64()?
            };
            set.push(bits);
        }
    }
    let has = |set: &Vec<u64>, number: usize| set[number / 64] & 1 << (number % 64) != 0;
    let mut numbers = Vec::new();
    let mut entries = Vec::new();
    for number in 0..count {
        let mut interest = Readiness::empty();
        for (set, (asked, _)) in wanted.iter().zip(SETS) {
            if has(set, number) {
                interest |= asked;
            }
        }
        if !interest.is_empty() {
            entries.push(PollEntry::new(open_file(number as i32)?, interest));
            numbers.push(number);
        }
    }
    if !a.address(5).is_null() {
        let (set, size) = (a.address(5).read_u64()?, a.address(5).offset(8).read_u64()?);
        set_mask(UserAddress(set), size)?;
    }
    let ready = poll(&mut entries, deadline);
    restore_mask(&ready);
    ready?;
    let mut total = 0;
    for ((set, address), (_, means)) in wanted.iter().zip(addresses).zip(SETS) {
        let mut found = alloc::vec![0u64; set.len()];
        for (number, entry) in numbers.iter().zip(&entries) {
            if has(set, *number) && entry.found().intersects(means) {
                found[number / 64] |= 1 << (number % 64);
                total += 1;
            }
        }
        if !address.is_null() {
            for (word, bits) in found.iter().enumerate() {
                address.offset(word * 8).write(&bits.to_le_bytes())?;
            }
        }
    }
    Ok(total)
}
