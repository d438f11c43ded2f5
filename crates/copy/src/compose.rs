//! Operations made of copies: each brings a block into a buffer of its own, then works on that.
//!
//! The buffer costs a store and a load per word, and saves a covered loop per operation and
//! architecture.

use crate::outcome::Incomplete;
use crate::routines::Routines;

/// Bytes brought over at a time; fits the stack of a kernel and of a signal handler.
const BLOCK: usize = 256;

/// Runs `work` on each block of a range, in order, until it returns something.
///
/// Bytes before a failure are worked on too: a result among them comes before the error.
fn blocks<T>(
    length: usize,
    mut copy: impl FnMut(*mut u8, usize, usize) -> Result<(), Incomplete>,
    mut work: impl FnMut(usize, &[u8]) -> Option<T>,
) -> Result<Option<T>, Incomplete> {
    let mut block = [0; BLOCK];
    let mut offset = 0;
    while offset < length {
        let wanted = BLOCK.min(length - offset);
        let result = copy(block.as_mut_ptr(), offset, wanted);
        let arrived = result.err().map_or(wanted, |incomplete| incomplete.copied);
        if let Some(found) = work(offset, &block[..arrived]) {
            return Ok(Some(found));
        }
        if let Err(incomplete) = result {
            return Err(Incomplete {
                copied: offset + arrived,
                ..incomplete
            });
        }
        offset += wanted;
    }
    Ok(None)
}

/// A 64-bit checksum of `length` bytes, the same on every architecture. It tells changed pages
/// from unchanged ones (KSM); it is neither cryptographic nor compatible with anything.
///
/// # Errors
///
/// [`Incomplete`] for a memory error, with the number of bytes that could be read.
///
/// # Safety
///
/// `source` must be mapped for reads of `length` bytes.
pub unsafe fn checksum_mc(
    routines: &Routines,
    source: *const u8,
    length: usize,
) -> Result<u64, Incomplete> {
    // The multiplication carries a changed bit upwards, the shift brings it down again, so that
    // no pair of changed bits cancels.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut sum = 0_u64;
    let mut add = |word: u64| {
        sum = (sum ^ word).wrapping_mul(MULTIPLIER);
        sum ^= sum >> 29;
    };
    blocks(
        length,
        |block, offset, wanted| {
            // SAFETY: `offset + wanted` is at most `length`; the block is ours.
            unsafe { routines.memcpy_mc(block, source.wrapping_add(offset), wanted) }
        },
        |_, block| {
            let (words, rest) = block.as_chunks::<8>();
            words.iter().for_each(|&word| add(u64::from_le_bytes(word)));
            if !rest.is_empty() {
                let mut last = [0; 8];
                last[..rest.len()].copy_from_slice(rest);
                add(u64::from_le_bytes(last));
            }
            None::<()>
        },
    )?;
    add(length as u64);
    Ok(sum)
}

/// Offset of the first byte equal to `byte`, `None` if there is none.
///
/// # Errors
///
/// [`Incomplete`] for a memory error before any such byte; `copied` bytes are different.
///
/// # Safety
///
/// `source` must be mapped for reads of `length` bytes.
pub unsafe fn find_byte_mc(
    routines: &Routines,
    source: *const u8,
    byte: u8,
    length: usize,
) -> Result<Option<usize>, Incomplete> {
    blocks(
        length,
        |block, offset, wanted| {
            // SAFETY: `offset + wanted` is at most `length`; the block is ours.
            unsafe { routines.memcpy_mc(block, source.wrapping_add(offset), wanted) }
        },
        |offset, block| {
            block
                .iter()
                .position(|&b| b == byte)
                .map(|index| offset + index)
        },
    )
}

/// Copies a string from memory that a user maps, up to and including its 0, at most
/// `destination.len()` bytes. Returns its length without the 0; `destination.len()` if there is
/// none in that many bytes.
///
/// # Errors
///
/// [`Incomplete`] for a fault or memory error before the 0, with the number of bytes that
/// arrived.
///
/// # Safety
///
/// As for the source of [`Routines::copy_from_user`].
pub unsafe fn strncpy_from_user(
    routines: &Routines,
    destination: &mut [u8],
    source: *const u8,
) -> Result<usize, Incomplete> {
    let length = destination.len();
    let found = blocks(
        length,
        |block, offset, wanted| {
            // SAFETY: `offset + wanted` is at most `length`; the block is ours.
            unsafe { routines.copy_from_user(block, source.wrapping_add(offset), wanted) }
        },
        |offset, block| {
            let end = block.iter().position(|&byte| byte == 0);
            let keep = end.map_or(block.len(), |end| end + 1);
            destination[offset..offset + keep].copy_from_slice(&block[..keep]);
            end.map(|end| offset + end)
        },
    )?;
    Ok(found.unwrap_or(length))
}
