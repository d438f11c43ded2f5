//! The memory that firmware shares with the guest, and what lies where in it.
//!
//! The window is [`control::layout::FIRMWARE`]; offsets count from its start.
//!
//! | offset | what |
//! |---|---|
//! | `0x0000` | RSDP; then XSDT, HEST, BERT and EINJ, see [`crate::tables`] |
//! | `0x1000` | [`status_address`]: for each source, the address of its block |
//! | `0x1040` | [`read_ack`]: for each source, its acknowledge register |
//! | `0x1100` | [`PARAMETERS`]: EINJ's `SET_ERROR_TYPE_WITH_ADDRESS` structure |
//! | `0x1200` | [`TRIGGER`]: EINJ's trigger table |
//! | `0x2000` | [`block`]: for each source, 4 KiB for its error status block |
//! | `0x5000` | [`BOOT_ERROR`]: 4 KiB for an error of an earlier boot |

use core::sync::atomic::{AtomicU32, Ordering};

use control::layout::{FIRMWARE, FIRMWARE_LENGTH};

use crate::Source;

/// Bytes of the window.
pub const LENGTH: usize = FIRMWARE_LENGTH as usize;

/// EINJ's parameters: an [`apei::SetErrorTypeWithAddress`], with room for later versions of it.
pub const PARAMETERS: usize = 0x1100;

/// EINJ's trigger table.
pub const TRIGGER: usize = 0x1200;

/// The block that BERT names.
pub const BOOT_ERROR: usize = 0x5000;

/// Room for one error status block, in bytes.
pub const BLOCK_LENGTH: usize = 0x1000;

/// The cell that holds the address of a source's block: 64 bits.
pub const fn status_address(source: Source) -> usize {
    0x1000 + 8 * source.id() as usize
}

/// A source's acknowledge register: 64 bits, of which bit 0 counts.
pub const fn read_ack(source: Source) -> usize {
    0x1040 + 8 * source.id() as usize
}

/// A source's error status block.
pub const fn block(source: Source) -> usize {
    0x2000 + BLOCK_LENGTH * source.id() as usize
}

/// Guest-physical address of an offset in the window.
pub const fn address(offset: usize) -> u64 {
    FIRMWARE + offset as u64
}

/// Access to the window: 32-bit words of memory that the guest reads and writes at the same time.
///
/// Offsets are multiples of 4 below [`LENGTH`].
pub trait Window {
    /// Loads a word, in one access with acquire semantics.
    fn load(&self, offset: usize) -> u32;

    /// Stores a word, in one access with release semantics.
    fn store(&self, offset: usize, value: u32);
}

/// The window as a slice of its words, little-endian as the guest sees them.
///
/// # Panics
///
/// Its methods do if the slice is shorter than the window.
impl Window for [AtomicU32] {
    fn load(&self, offset: usize) -> u32 {
        u32::from_le(self[offset / 4].load(Ordering::Acquire))
    }

    fn store(&self, offset: usize, value: u32) {
        self[offset / 4].store(value.to_le(), Ordering::Release);
    }
}

/// Stores `bytes` from `offset` on, the last word padded with zeros.
pub(crate) fn store_bytes(window: &(impl Window + ?Sized), offset: usize, bytes: &[u8]) {
    for (index, chunk) in bytes.chunks(4).enumerate() {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        window.store(offset + 4 * index, u32::from_le_bytes(word));
    }
}

const _: () = {
    let blocks_end = block(Source::ALL[Source::ALL.len() - 1]) + BLOCK_LENGTH;
    assert!(blocks_end <= BOOT_ERROR && BOOT_ERROR + BLOCK_LENGTH <= LENGTH);
};
