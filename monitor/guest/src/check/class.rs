//! The ways in which an instruction can touch memory.

use crate::machine::features::Feature;
use crate::machine::stub::{self, Stub};
use crate::machine::vector;

/// A class of accesses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    /// The instruction.
    pub(crate) name: &'static str,
    /// It, ready to run.
    pub(crate) stub: Stub,
    /// What the CPU must have.
    pub(crate) needs: Feature,
    /// What it does.
    pub(crate) kind: Kind,
    /// How much of it.
    pub(crate) size: Size,
    /// What its address must be a multiple of.
    pub(crate) alignment: usize,
    /// From what is in the base register to the address of the access.
    pub(crate) offset: i64,
    /// What is added to the base register.
    pub(crate) write_back: i64,
    /// Which addresses it can have.
    pub(crate) space: Space,
}

/// What an access does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Reads bytes and leaves them in the buffer.
    Load,
    /// Reads bytes, of which those from the first bad one on may be missing.
    FirstFault,
    /// As `FirstFault`, but it never aborts.
    NonFault,
    /// Reads two elements of 8 bytes, anywhere.
    Gather,
    /// Writes the bytes in the buffer.
    Store,
    /// As `Store`; whole lines of it become good.
    StoreWhole,
    /// Reads, and writes what the function makes of the old value and the operand.
    Atomic(fn(u64, u64) -> u64),
    /// The same, but it leaves no old value.
    AtomicStore(fn(u64, u64) -> u64),
    /// Writes the operand if memory holds what is expected.
    CompareAndSwap,
    /// The same with two registers.
    CompareAndSwapPair,
    /// Reads two registers and writes others there.
    ExchangePair,
    /// Fills the 64-byte block around the address with zeros.
    Zero,
    /// Copies from the address, ascending.
    CopyForward,
    /// Copies from the address to somewhat behind it, so descending.
    CopyBackward,
    /// Fills a number of bytes.
    Set,
    /// Reads the allocation tag of the 16 bytes around the address.
    TagLoad,
    /// Writes tags.
    TagStore,
    /// Neither reads nor writes as far as a program can tell.
    Maintenance,
}

/// How much an access touches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    /// So many bytes.
    Bytes(usize),
    /// So many scalable vectors.
    Vectors(usize),
    /// A scalable predicate.
    Predicate,
    /// Whatever is asked for.
    Any,
}

/// Which addresses an access can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// Any; EL0 can do it too.
    Any,
    /// The user's only, whoever does it.
    User,
    /// Memory with tags.
    Tagged,
}

impl Class {
    const fn new(name: &'static str, stub: Stub, kind: Kind, bytes: usize) -> Self {
        Self {
            name,
            stub,
            needs: Feature::Base,
            kind,
            size: Size::Bytes(bytes),
            alignment: 1,
            offset: 0,
            write_back: 0,
            space: Space::Any,
        }
    }

    const fn load(name: &'static str, stub: Stub, bytes: usize) -> Self {
        Self::new(name, stub, Kind::Load, bytes)
    }

    const fn store(name: &'static str, stub: Stub, bytes: usize) -> Self {
        Self::new(name, stub, Kind::Store, bytes)
    }

    const fn vectors(name: &'static str, stub: Stub, kind: Kind, size: Size) -> Self {
        let mut class = Self::new(name, stub, kind, 0);
        class.size = size;
        class.needs = Feature::Sve;
        class
    }

    /// An atomic, which must be aligned.
    const fn atomic(name: &'static str, stub: Stub, kind: Kind, bytes: usize) -> Self {
        Self::new(name, stub, kind, bytes)
            .aligned(bytes)
            .needing(Feature::Atomics)
    }

    const fn any_size(mut self) -> Self {
        self.size = Size::Any;
        self
    }

    const fn needing(mut self, feature: Feature) -> Self {
        self.needs = feature;
        self
    }

    const fn aligned(mut self, alignment: usize) -> Self {
        self.alignment = alignment;
        self
    }

    /// With a base register that changes by `write_back`, and accesses that are at `offset` from
    /// what it held before.
    const fn indexed(mut self, offset: i64, write_back: i64) -> Self {
        self.offset = offset;
        self.write_back = write_back;
        self
    }

    const fn in_space(mut self, space: Space) -> Self {
        self.space = space;
        self
    }

    /// How many bytes an access touches; 0 if that is to be chosen.
    pub(crate) fn bytes(&self) -> usize {
        match self.size {
            Size::Bytes(bytes) => bytes,
            Size::Vectors(count) => count * vector::length(),
            Size::Predicate => vector::length() / 8,
            Size::Any => 0,
        }
    }

    /// Whether the access reads, so that poison aborts it.
    pub(crate) const fn reads(&self) -> bool {
        !matches!(
            self.kind,
            Kind::NonFault
                | Kind::Store
                | Kind::StoreWhole
                | Kind::Zero
                | Kind::Set
                | Kind::TagStore
                | Kind::Maintenance
        )
    }
}

/// All classes.
pub(crate) const CLASSES: &[Class] = &[
    Class::load("ldrb", stub::LDRB, 1),
    Class::load("ldrsb", stub::LDRSB, 1),
    Class::load("ldrh", stub::LDRH, 2),
    Class::load("ldr w", stub::LDR_W, 4),
    Class::load("ldrsw", stub::LDRSW, 4),
    Class::load("ldr x", stub::LDR_X, 8),
    Class::load("ldur x", stub::LDUR_X, 8).indexed(-8, 0),
    Class::load("ldr x, register offset", stub::LDR_X_REGISTER, 8),
    Class::load("ldr x, post-index", stub::LDR_X_POST, 8).indexed(0, 16),
    Class::load("ldr x, pre-index", stub::LDR_X_PRE, 8).indexed(-24, -24),
    Class::load("ldrb, post-index", stub::LDRB_POST, 1).indexed(0, 1),
    Class::load("ldp w", stub::LDP_W, 8),
    Class::load("ldp x", stub::LDP_X, 16),
    Class::load("ldp x, post-index", stub::LDP_X_POST, 16).indexed(0, 32),
    Class::load("ldp x, pre-index", stub::LDP_X_PRE, 16).indexed(-16, -16),
    Class::load("ldpsw", stub::LDPSW, 8),
    Class::load("ldnp x", stub::LDNP_X, 16),
    Class::load("ldtr x", stub::LDTR_X, 8).in_space(Space::User),
    Class::load("ldtrb", stub::LDTRB, 1).in_space(Space::User),
    Class::load("ldar x", stub::LDAR_X, 8).aligned(8),
    Class::load("ldarb", stub::LDARB, 1),
    Class::load("ldapr x", stub::LDAPR_X, 8)
        .aligned(8)
        .needing(Feature::Rcpc),
    Class::load("ldxr x", stub::LDXR_X, 8).aligned(8),
    Class::load("ldaxrb", stub::LDAXRB, 1),
    Class::load("ldxp x", stub::LDXP_X, 16).aligned(16),
    Class::load("ldr b", stub::LDR_B, 1),
    Class::load("ldr h", stub::LDR_H, 2),
    Class::load("ldr s", stub::LDR_S, 4),
    Class::load("ldr d", stub::LDR_D, 8),
    Class::load("ldr q", stub::LDR_Q, 16),
    Class::load("ldr q, post-index", stub::LDR_Q_POST, 16).indexed(0, 16),
    Class::load("ldp d", stub::LDP_D, 16),
    Class::load("ldp q", stub::LDP_Q, 32),
    Class::load("ldp q, post-index", stub::LDP_Q_POST, 32).indexed(0, 32),
    Class::load("ldnp q", stub::LDNP_Q, 32),
    Class::load("ld1 x1", stub::LD1_1, 16),
    Class::load("ld1 x2", stub::LD1_2, 32),
    Class::load("ld1 x3", stub::LD1_3, 48),
    Class::load("ld1 x4", stub::LD1_4, 64),
    Class::load("ld1 x4, post-index", stub::LD1_4_POST, 64).indexed(0, 64),
    Class::load("ld1 lane", stub::LD1_LANE, 8),
    Class::load("ld1r", stub::LD1R, 4),
    Class::load("ld2", stub::LD2, 32),
    Class::load("ld3", stub::LD3, 48),
    Class::load("ld4", stub::LD4, 64),
    Class::load("ld4 lane", stub::LD4_LANE, 16),
    Class::vectors("ld1b z", stub::LD1B_Z, Kind::Load, Size::Vectors(1)),
    Class::vectors("ld1d z", stub::LD1D_Z, Kind::Load, Size::Vectors(1)),
    Class::vectors("ldnt1b z", stub::LDNT1B_Z, Kind::Load, Size::Vectors(1)),
    Class::vectors("ld1rqb z", stub::LD1RQB_Z, Kind::Load, Size::Bytes(16)),
    Class::vectors("ld2b z", stub::LD2B_Z, Kind::Load, Size::Vectors(2)),
    Class::vectors("ldr z", stub::LDR_Z, Kind::Load, Size::Vectors(1)),
    Class::vectors("ldr p", stub::LDR_P, Kind::Load, Size::Predicate),
    Class::vectors("ldff1b z", stub::LDFF1B, Kind::FirstFault, Size::Vectors(1)),
    Class::vectors("ldnf1b z", stub::LDNF1B, Kind::NonFault, Size::Vectors(1)),
    Class::vectors("ld1d z, gather", stub::GATHER, Kind::Gather, Size::Bytes(8)),
    Class::store("strb", stub::STRB, 1),
    Class::store("strh", stub::STRH, 2),
    Class::store("str w", stub::STR_W, 4),
    Class::store("str x", stub::STR_X, 8),
    Class::store("str x, post-index", stub::STR_X_POST, 8).indexed(0, 16),
    Class::store("stp w", stub::STP_W, 8),
    Class::store("stp x", stub::STP_X, 16),
    Class::store("stp x, post-index", stub::STP_X_POST, 16).indexed(0, 16),
    Class::store("stnp x", stub::STNP_X, 16),
    Class::store("sttr x", stub::STTR_X, 8).in_space(Space::User),
    Class::store("stlr x", stub::STLR_X, 8).aligned(8),
    Class::store("str q", stub::STR_Q, 16),
    Class::store("stp q", stub::STP_Q, 32),
    Class::store("st1 x2", stub::ST1_2, 32),
    Class::new("st1 x4", stub::ST1_4, Kind::StoreWhole, 64),
    Class::store("st4", stub::ST4, 64),
    Class::store("st1 lane", stub::ST1_LANE, 4),
    Class::vectors("st1b z", stub::ST1B_Z, Kind::Store, Size::Vectors(1)),
    Class::atomic("ldaddb", stub::LDADDB, Kind::Atomic(u64::wrapping_add), 1),
    Class::atomic("ldadd w", stub::LDADD_W, Kind::Atomic(u64::wrapping_add), 4),
    Class::atomic("ldadd x", stub::LDADD_X, Kind::Atomic(u64::wrapping_add), 8),
    Class::atomic(
        "ldaddal x",
        stub::LDADDAL_X,
        Kind::Atomic(u64::wrapping_add),
        8,
    ),
    Class::atomic(
        "ldseth",
        stub::LDSETH,
        Kind::Atomic(|old, operand| old | operand),
        2,
    ),
    Class::atomic(
        "ldclr x",
        stub::LDCLR_X,
        Kind::Atomic(|old, operand| old & !operand),
        8,
    ),
    Class::atomic(
        "ldeor x",
        stub::LDEOR_X,
        Kind::Atomic(|old, operand| old ^ operand),
        8,
    ),
    Class::atomic("ldumax x", stub::LDUMAX_X, Kind::Atomic(u64::max), 8),
    Class::atomic(
        "stadd x",
        stub::STADD_X,
        Kind::AtomicStore(u64::wrapping_add),
        8,
    ),
    Class::atomic("swp x", stub::SWP_X, Kind::Atomic(|_, operand| operand), 8),
    Class::atomic("swpb", stub::SWPB, Kind::Atomic(|_, operand| operand), 1),
    Class::atomic("cas x", stub::CAS_X, Kind::CompareAndSwap, 8),
    Class::atomic("casb", stub::CASB, Kind::CompareAndSwap, 1),
    Class::atomic("casp x", stub::CASP_X, Kind::CompareAndSwapPair, 16),
    Class::atomic(
        "ldxr and stxr",
        stub::EXCLUSIVE_ADD,
        Kind::Atomic(u64::wrapping_add),
        8,
    )
    .needing(Feature::Base),
    Class::atomic(
        "ldaxrb and stlxrb",
        stub::EXCLUSIVE_ADD_BYTE,
        Kind::Atomic(u64::wrapping_add),
        1,
    )
    .needing(Feature::Base),
    Class::atomic(
        "ldxp and stxp",
        stub::EXCLUSIVE_PAIR,
        Kind::ExchangePair,
        16,
    )
    .needing(Feature::Base),
    Class::new("dc zva", stub::DC_ZVA, Kind::Zero, 64),
    Class::new("cpyf", stub::CPYF, Kind::CopyForward, 0)
        .needing(Feature::Mops)
        .any_size(),
    Class::new("cpyfrt", stub::CPYFRT, Kind::CopyForward, 0)
        .needing(Feature::Mops)
        .in_space(Space::User)
        .any_size(),
    Class::new("cpy, forward", stub::CPY, Kind::CopyForward, 0)
        .needing(Feature::Mops)
        .any_size(),
    Class::new("cpy, backward", stub::CPY, Kind::CopyBackward, 0)
        .needing(Feature::Mops)
        .any_size(),
    Class::new("set", stub::SET, Kind::Set, 0)
        .needing(Feature::Mops)
        .any_size(),
    Class::new("ldg", stub::LDG, Kind::TagLoad, 16)
        .aligned(16)
        .needing(Feature::Mte)
        .in_space(Space::Tagged),
    Class::new("stg", stub::STG, Kind::TagStore, 16)
        .aligned(16)
        .needing(Feature::Mte)
        .in_space(Space::Tagged),
    Class::new("st2g", stub::ST2G, Kind::TagStore, 32)
        .aligned(16)
        .needing(Feature::Mte)
        .in_space(Space::Tagged),
    Class::new("prfm", stub::PRFM, Kind::Maintenance, 1),
    Class::new("dc cvac", stub::DC_CVAC, Kind::Maintenance, 1),
    Class::new("dc cvau", stub::DC_CVAU, Kind::Maintenance, 1),
    Class::new("dc civac", stub::DC_CIVAC, Kind::Maintenance, 1),
    Class::new("dc cvap", stub::DC_CVAP, Kind::Maintenance, 1).needing(Feature::PersistentCache),
];
