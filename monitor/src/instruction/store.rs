//! Stores, and the bytes they write.

use core::ops::Range;

use crate::pattern::{Pattern, field, pattern, signed_field};

/// A store to one range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// The register with the base address; 31 is the stack pointer.
    pub base: u8,
    /// What is added to it.
    pub offset: Offset,
    /// How many bytes are written.
    pub bytes: u64,
}

/// What is added to a base address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// A number of bytes; 0 if the base register changes only afterwards.
    Immediate(i64),
    /// A register.
    Register {
        /// Its number; 31 is zero.
        register: u8,
        /// What is made of it.
        extend: Extend,
        /// How far it is shifted left then.
        shift: u8,
    },
}

/// How an index register is made 64 bits wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extend {
    /// It is: LSL, UXTX, SXTX.
    None,
    /// Its low 32 bits, with zeros.
    Unsigned,
    /// Its low 32 bits, with their sign.
    Signed,
}

// Load/store register: unscaled, post-indexed, unprivileged, pre-indexed; register offset; unsigned
// offset. All by size, V and opc.
const INDEXED: Pattern = pattern(".. 111 . 00 .. 0 ......... .. ..... .....");
const REGISTER_OFFSET: Pattern = pattern(".. 111 . 00 .. 1 ..... .1. . 10 ..... .....");
const UNSIGNED_OFFSET: Pattern = pattern(".. 111 . 01 .. ............ ..... .....");
/// Load/store pair, by opc, V and the kind of index: STP, STNP, STGP.
const PAIR: Pattern = pattern(".. 101 . 0.. 0 ....... ..... ..... .....");
/// STLR and STLLR, by size.
const RELEASE: Pattern = pattern(".. 001000 1 0 0 ..... . ..... ..... .....");
/// STLUR, by size.
const RELEASE_UNSCALED: Pattern = pattern(".. 011001 00 0 ......... 00 ..... .....");
/// STLUR of a SIMD&FP register, by size and opc.
const RELEASE_UNSCALED_VECTOR: Pattern = pattern(".. 011101 .0 0 ......... 10 ..... .....");
/// STLR with pre-index, by size.
const RELEASE_PRE_INDEXED: Pattern = pattern("1. 011001 10 0 00000 0000 10 ..... .....");
/// STILP, by size and, in bit 12, whether there is no pre-index.
const RELEASE_PAIR: Pattern = pattern("1. 011001 00 0 ..... 000. 10 ..... .....");
/// ST1 to ST4 of whole registers, by Q, opcode and size.
const STRUCTURES: Pattern = pattern("0. 001100 0 0 0 00000 .... .. ..... .....");
const STRUCTURES_POST_INDEXED: Pattern = pattern("0. 001100 1 0 0 ..... .... .. ..... .....");
/// STZG and STZ2G; bits 11 and 10 are the kind of index, and not 0.
const ZERO_AND_TAG: Pattern = pattern("11011001 .1 1 ......... .. ..... .....");
const ST64B: Pattern = pattern("11111000 00 1 11111 1 001 00 ..... .....");

/// Bytes that have one tag.
const TAG_GRANULE: i64 = 16;

impl Store {
    /// The store that `instruction` is, if it is one.
    pub(crate) fn decode(instruction: u32) -> Option<Self> {
        let is = |pattern: Pattern| pattern.matches(instruction);
        let size = 1 << field(instruction, 31, 30);
        let (offset, bytes) = if is(ST64B) {
            (0, 64)
        } else if is(INDEXED) {
            let offset = signed_field(instruction, 20, 12);
            let (bytes, vector) = (
                register_bytes(instruction)?,
                field(instruction, 26, 26) != 0,
            );
            match field(instruction, 11, 10) {
                0b01 => (0, bytes),
                0b10 if vector => return None,
                _ => (offset, bytes),
            }
        } else if is(REGISTER_OFFSET) {
            return register_offset(instruction);
        } else if is(UNSIGNED_OFFSET) {
            let bytes = register_bytes(instruction)?;
            (i64::from(field(instruction, 21, 10)) * bytes as i64, bytes)
        } else if is(PAIR) {
            pair(instruction)?
        } else if is(RELEASE) {
            (0, size)
        } else if is(RELEASE_UNSCALED) {
            (signed_field(instruction, 20, 12), size)
        } else if is(RELEASE_UNSCALED_VECTOR) {
            let bytes = match (field(instruction, 31, 30), field(instruction, 23, 22)) {
                (0, 0b10) => 16,
                (_, 0b10) => return None,
                _ => size,
            };
            (signed_field(instruction, 20, 12), bytes)
        } else if is(RELEASE_PRE_INDEXED) {
            (-(size as i64), size)
        } else if is(RELEASE_PAIR) {
            match field(instruction, 12, 12) {
                0 => (-2 * size as i64, 2 * size),
                _ => (0, 2 * size),
            }
        } else if is(STRUCTURES) || is(STRUCTURES_POST_INDEXED) {
            (0, structure_bytes(instruction)?)
        } else if is(ZERO_AND_TAG) {
            let bytes = TAG_GRANULE as u64 * (1 + u64::from(field(instruction, 23, 23)));
            match field(instruction, 11, 10) {
                0b00 => return None,
                0b01 => (0, bytes),
                _ => (signed_field(instruction, 20, 12) * TAG_GRANULE, bytes),
            }
        } else {
            return None;
        };
        Some(Self {
            base: field(instruction, 9, 5) as u8,
            offset: Offset::Immediate(offset),
            bytes,
        })
    }

    /// The virtual addresses it writes, with `registers` as they are before it; number 31 is the
    /// stack pointer. `None` if they would go past the end of the address space.
    pub fn range(&self, registers: &impl Fn(u8) -> u64) -> Option<Range<u64>> {
        let offset = match self.offset {
            Offset::Immediate(offset) => offset as u64,
            Offset::Register { register: 31, .. } => 0,
            Offset::Register {
                register,
                extend,
                shift,
            } => {
                let value = registers(register);
                let value = match extend {
                    Extend::None => value,
                    Extend::Unsigned => value & 0xffff_ffff,
                    Extend::Signed => value as i32 as u64,
                };
                value << shift
            }
        };
        let start = registers(self.base).wrapping_add(offset);
        Some(start..start.checked_add(self.bytes)?)
    }
}

/// Bytes of the register of a load/store register instruction, if that is a store.
fn register_bytes(instruction: u32) -> Option<u64> {
    let (size, vector) = (field(instruction, 31, 30), field(instruction, 26, 26));
    match (vector, field(instruction, 23, 22), size) {
        (_, 0b00, _) => Some(1 << size),
        (1, 0b10, 0) => Some(16),
        _ => None,
    }
}

fn register_offset(instruction: u32) -> Option<Store> {
    let bytes = register_bytes(instruction)?;
    let scaled = field(instruction, 12, 12) != 0;
    Some(Store {
        base: field(instruction, 9, 5) as u8,
        offset: Offset::Register {
            register: field(instruction, 20, 16) as u8,
            extend: match field(instruction, 15, 13) {
                0b010 => Extend::Unsigned,
                0b110 => Extend::Signed,
                _ => Extend::None,
            },
            shift: if scaled {
                bytes.trailing_zeros() as u8
            } else {
                0
            },
        },
        bytes,
    })
}

/// Offset and bytes of a store of two registers.
fn pair(instruction: u32) -> Option<(i64, u64)> {
    let (size, vector) = (field(instruction, 31, 30), field(instruction, 26, 26));
    let index = field(instruction, 24, 23);
    let (scale, bytes) = match (vector, size) {
        (0, 0b00) => (4, 8),
        (0, 0b10) => (8, 16),
        // STTP and STTNP (`FEAT_LSUI`).
        (0, 0b11) => (8, 16),
        (1, 0b11) => (16, 32),
        // STGP; there is none without allocation.
        (0, 0b01) if index != 0b00 => (TAG_GRANULE, 16),
        (1, 0b00..=0b10) => (4 << size, 8 << size),
        _ => return None,
    };
    match index {
        0b01 => Some((0, bytes)),
        _ => Some((signed_field(instruction, 21, 15) * scale, bytes)),
    }
}

/// Bytes that ST1 to ST4 write.
fn structure_bytes(instruction: u32) -> Option<u64> {
    let registers = match field(instruction, 15, 12) {
        0b0000 | 0b0010 => 4,
        0b0100 | 0b0110 => 3,
        0b1000 | 0b1010 => 2,
        0b0111 => 1,
        _ => return None,
    };
    let register = if field(instruction, 30, 30) != 0 {
        16
    } else {
        8
    };
    Some(registers * register)
}
