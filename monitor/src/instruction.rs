//! What the instruction at an abort does, as far as that matters.
//!
//! Poison is found without decoding loads: see [`crate::watch`]. Decoding is for what stepping gets
//! wrong (exclusives), for what makes poison good (stores), and to need fewer watchpoints. An
//! instruction that is not known here is [`Class::Other`] and [`Reach::Anywhere`], which is slower
//! but never wrong.
//!
//! Encodings: Arm ARM (DDI 0487), chapter C4, "A64 Instruction Set Encoding", and C8 and C9 for SVE
//! and SME.

mod mops;
mod store;

use core::ops::Range;

use crate::pattern::{Pattern, field, pattern};
use crate::watch::Reach;

pub use mops::{Mops, MopsValues, Stage};
pub use store::{Extend, Offset, Store};

/// What an instruction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// DC ZVA, DC GVA or DC GZVA: writes the block that an address is in.
    ZeroBlock {
        /// The register with the address, 31 for zero.
        address: u8,
        /// Whether it writes data: DC GVA writes tags alone.
        data: bool,
    },
    /// Other cache maintenance by DC or IC, or address translation by AT. It may abort as a load
    /// does, but loads nothing.
    Maintenance,
    /// LDXR, LDAXR, LDXP, LDAXP, LDTXR, LDATXR.
    LoadExclusive(Exclusive),
    /// STXR, STLXR, STXP, STLXP, STTXR, STLTXR.
    StoreExclusive(Exclusive),
    /// CPY* and SET*.
    Mops(Mops),
    /// A store whose bytes are known: integer and SIMD&FP registers, pairs, structures, with
    /// release, with tags, of 64 bytes.
    Store(Store),
    /// An SVE load of elements that are not side by side.
    Gather,
    /// Anything else.
    Other,
}

/// How much an exclusive accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusive {
    /// Bytes of each register.
    pub bytes: u8,
    /// Whether there are two.
    pub pair: bool,
}

/// The most bytes of an SVE vector: what [`reach`] takes every vector to have.
pub const VECTOR: u64 = 256;

// SYS, by op1, CRn, CRm, op2 and Rt.
const DC_ZVA: Pattern = pattern("1101010100 0 01 011 0111 0100 001 .....");
const DC_GVA: Pattern = pattern("1101010100 0 01 011 0111 0100 011 .....");
const DC_GZVA: Pattern = pattern("1101010100 0 01 011 0111 0100 100 .....");
/// IC, by CRm 1 and 5.
const IC: Pattern = pattern("1101010100 0 01 ... 0111 0.01 ... .....");
/// DC, by CRm 6.
const DC_INVALIDATE: Pattern = pattern("1101010100 0 01 ... 0111 0110 ... .....");
/// DC, by CRm 10 and 11.
const DC_CLEAN: Pattern = pattern("1101010100 0 01 ... 0111 101. ... .....");
/// DC, by CRm 12 to 15.
const DC_CLEAN_FURTHER: Pattern = pattern("1101010100 0 01 ... 0111 11.. ... .....");
/// AT, by CRm 8 and 9.
const AT: Pattern = pattern("1101010100 0 01 ... 0111 100. ... .....");

// Load/store exclusive, by size, L and o1; and unprivileged (`FEAT_LSUI`).
const LOAD_EXCLUSIVE: Pattern = pattern(".. 001000 0 1 0 ..... . ..... ..... .....");
const LOAD_EXCLUSIVE_UNPRIVILEGED: Pattern = pattern("1. 001001 0 1 0 ..... . ..... ..... .....");
const LOAD_EXCLUSIVE_PAIR: Pattern = pattern("1. 001000 0 1 1 ..... . ..... ..... .....");
const STORE_EXCLUSIVE: Pattern = pattern(".. 001000 0 0 0 ..... . ..... ..... .....");
const STORE_EXCLUSIVE_UNPRIVILEGED: Pattern = pattern("1. 001001 0 0 0 ..... . ..... ..... .....");
const STORE_EXCLUSIVE_PAIR: Pattern = pattern("1. 001000 0 0 1 ..... . ..... ..... .....");

/// The group "Loads and Stores", which is all but SVE and SME: each accesses one range of bytes.
const LOADS_AND_STORES: Pattern = pattern("... .1.0 .........................");

// SVE and SME.
const SVE_LOAD_PREDICATE: Pattern = pattern("1000010 11 0. ..... 000 ........ 0 ....");
const SVE_LOAD_VECTOR: Pattern = pattern("1000010 11 0. ..... 010 .............");
const SVE_BROADCAST: Pattern = pattern("1000010 .. 1. ..... 1.. .............");
const SVE_GATHER_32: Pattern = pattern("1000010 .........................");
const SVE_GATHER_64: Pattern = pattern("1100010 .........................");
const SVE_CONTIGUOUS: Pattern = pattern("1010010 .........................");
const SVE_STORE: Pattern = pattern("1110010 .........................");
const MULTIPLE_VECTOR_LOAD: Pattern = pattern("1010000 . 0. 0 .....................");
const MULTIPLE_VECTOR_STORE: Pattern = pattern("1010000 . 0. 1 .....................");
const SME_LOAD: Pattern = pattern("1110000 . .. 0 .....................");
const SME_STORE: Pattern = pattern("1110000 . .. 1 .....................");

/// What the instruction word `instruction` is.
#[must_use]
pub fn classify(instruction: u32) -> Class {
    let is = |pattern: Pattern| pattern.matches(instruction);
    let exclusive = |pair| Exclusive {
        bytes: 1 << field(instruction, 31, 30),
        pair,
    };
    if is(DC_ZVA) || is(DC_GZVA) || is(DC_GVA) {
        return Class::ZeroBlock {
            address: field(instruction, 4, 0) as u8,
            data: !is(DC_GVA),
        };
    }
    if is(IC) || is(DC_INVALIDATE) || is(DC_CLEAN) || is(DC_CLEAN_FURTHER) || is(AT) {
        return Class::Maintenance;
    }
    if is(LOAD_EXCLUSIVE) || is(LOAD_EXCLUSIVE_UNPRIVILEGED) {
        return Class::LoadExclusive(exclusive(false));
    }
    if is(LOAD_EXCLUSIVE_PAIR) {
        return Class::LoadExclusive(exclusive(true));
    }
    if is(STORE_EXCLUSIVE) || is(STORE_EXCLUSIVE_UNPRIVILEGED) {
        return Class::StoreExclusive(exclusive(false));
    }
    if is(STORE_EXCLUSIVE_PAIR) {
        return Class::StoreExclusive(exclusive(true));
    }
    if let Some(mops) = Mops::decode(instruction) {
        return Class::Mops(mops);
    }
    if let Some(store) = Store::decode(instruction) {
        return Class::Store(store);
    }
    let one_range = is(SVE_LOAD_PREDICATE) || is(SVE_LOAD_VECTOR) || is(SVE_BROADCAST);
    if (is(SVE_GATHER_32) && !one_range) || is(SVE_GATHER_64) {
        return Class::Gather;
    }
    Class::Other
}

/// What the instruction loads, relative to the address it first aborted at.
///
/// `registers` gives the general-purpose registers as they are at the abort, `pstate` is PSTATE
/// then; they count for a copy alone. If the abort says that its address is not precise (ESR.FnP),
/// use [`Reach::Anywhere`] instead.
#[must_use]
pub fn reach(instruction: u32, registers: &impl Fn(u8) -> u64, pstate: u64) -> Reach {
    let is = |pattern: Pattern| pattern.matches(instruction);
    match classify(instruction) {
        Class::ZeroBlock { .. }
        | Class::Maintenance
        | Class::StoreExclusive(_)
        | Class::Store(_) => return Reach::Nothing,
        Class::Mops(mops) => return mops.reach(mops.values(registers), pstate),
        Class::Gather => return Reach::Anywhere,
        Class::LoadExclusive(_) | Class::Other => {}
    }
    if is(LOADS_AND_STORES) || is(SVE_LOAD_PREDICATE) || is(SVE_LOAD_VECTOR) || is(SVE_BROADCAST) {
        return Reach::Contiguous;
    }
    if is(SVE_STORE) || is(MULTIPLE_VECTOR_STORE) || is(SME_STORE) {
        return Reach::Nothing;
    }
    // A predicate can leave out elements, so no byte is sure to be loaded, but all are near.
    if is(SVE_CONTIGUOUS) {
        return match field(instruction, 15, 13) {
            0b000..=0b011 | 0b101 => Reach::Within(VECTOR),
            _ => Reach::Within(4 * VECTOR),
        };
    }
    if is(MULTIPLE_VECTOR_LOAD) {
        return Reach::Within(4 * VECTOR);
    }
    if is(SME_LOAD) {
        return Reach::Within(VECTOR);
    }
    Reach::Anywhere
}

/// The virtual addresses that a store writes, or `None` if that is not known: then its lines stay
/// as they are.
///
/// `registers` gives the general-purpose registers as they are **before** the instruction; number 31
/// is the stack pointer. The range has the tag that the base register has.
#[must_use]
pub fn store_range(instruction: u32, registers: &impl Fn(u8) -> u64) -> Option<Range<u64>> {
    Store::decode(instruction)?.range(registers)
}
