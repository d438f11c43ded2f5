//! User memory is memory of the test process: a range that the test has [`lend`]ed. The rest of
//! it is not mapped, so every access ends at the end of a lent range.
#![expect(unsafe_code, reason = "user memory is reached by address")]

use std::sync::Mutex;

use crate::memory::{Stopped, UserAddress};

static LENT: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// Makes `buffer` user memory as long as the loan lives.
pub fn lend(buffer: &mut [u8]) -> Loan<'_> {
    let start = buffer.as_mut_ptr().expose_provenance() as u64;
    let range = (start, start + buffer.len() as u64);
    LENT.lock().expect("no test panicked here").push(range);
    Loan { range, buffer }
}

/// Memory of the test that plays the part of user memory.
#[derive(Debug)]
pub struct Loan<'a> {
    range: (u64, u64),
    buffer: &'a mut [u8],
}

impl Loan<'_> {
    /// Its user address.
    pub fn address(&self) -> UserAddress {
        UserAddress(self.range.0)
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        self.buffer
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut lent = LENT.lock().expect("no test panicked here");
        lent.retain(|range| *range != self.range);
    }
}

/// How many of `length` bytes from `address` are lent.
fn mapped(address: UserAddress, length: usize) -> usize {
    let lent = LENT.lock().expect("no test panicked here");
    let end = lent
        .iter()
        .find(|range| range.0 <= address.0 && address.0 < range.1)
        .map_or(address.0, |range| range.1);
    length.min((end - address.0) as usize)
}

fn outcome(done: usize, length: usize) -> Result<(), Stopped> {
    if done == length {
        Ok(())
    } else {
        Err(Stopped::fault(done))
    }
}

/// Copies from user memory.
///
/// # Errors
///
/// [`Stopped`]: exactly so many bytes arrived.
pub fn copy_from_user(into: &mut [u8], from: UserAddress) -> Result<(), Stopped> {
    let done = mapped(from, into.len());
    let source = std::ptr::with_exposed_provenance::<u8>(from.0 as usize);
    // SAFETY: so many bytes are lent, by a test that does not touch them during a call.
    unsafe { into.as_mut_ptr().copy_from(source, done) };
    outcome(done, into.len())
}

/// Copies to user memory.
///
/// # Errors
///
/// [`Stopped`]: exactly so many bytes arrived.
pub fn copy_to_user(to: UserAddress, from: &[u8]) -> Result<(), Stopped> {
    let done = mapped(to, from.len());
    let target = std::ptr::with_exposed_provenance_mut::<u8>(to.0 as usize);
    // SAFETY: so many bytes are lent, by a test that does not touch them during a call.
    unsafe { target.copy_from(from.as_ptr(), done) };
    outcome(done, from.len())
}

/// Replaces an aligned word of 4 bytes by `new` if it is `expected`. Returns what it was.
///
/// # Errors
///
/// [`Stopped`].
pub fn compare_exchange(address: UserAddress, expected: u32, new: u32) -> Result<u32, Stopped> {
    use std::sync::atomic::{AtomicU32, Ordering};

    outcome(mapped(address, 4), 4)?;
    let word = std::ptr::with_exposed_provenance_mut::<u32>(address.0 as usize);
    // SAFETY: the word is lent and aligned, and tests change such words by atomics too.
    let word = unsafe { AtomicU32::from_ptr(word) };
    let exchanged = word.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst);
    Ok(exchanged.unwrap_or_else(|found| found))
}
