//! A stage 1 table walk in software, to find which descriptor of a walk was in a poisoned page, and
//! to fetch the instruction at an address.
//!
//! It only reads. The tables are the guest's, and may say anything: a walk has at most five steps.
//! Permissions, the access flag and attributes are not looked at: hardware has walked before, and
//! would have faulted. The registers are taken at their word: a guest that asks for a feature which
//! its CPU lacks is walked as if it had it.
//!
//! Arm ARM (DDI 0487), D8.2 "Address translation" and D8.3 "Translation table descriptor formats":
//! granules of 4, 16 and 64 KiB, 52-bit addresses (`FEAT_LPA`, `FEAT_LVA`, `FEAT_LPA2`), small
//! translation tables (`FEAT_TTST`). 128-bit descriptors (`FEAT_D128`) are refused.

/// The memory that tables are in.
pub trait PhysicalMemory {
    /// The 8 bytes at `address`, a multiple of 8, as a little-endian number; `None` if there is no
    /// memory that the guest may read.
    fn read_u64(&self, address: u64) -> Option<u64>;
}

/// The registers that a walk of the EL1&0 regime depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regime {
    /// `TCR_EL1`.
    pub tcr: u64,
    /// `TCR2_EL1`, or 0 on a CPU that has none.
    pub tcr2: u64,
    /// `TTBR0_EL1`.
    pub ttbr0: u64,
    /// `TTBR1_EL1`.
    pub ttbr1: u64,
    /// `SCTLR_EL1`.
    pub sctlr: u64,
}

/// What an address is walked for. Some kinds of tag are ignored for data alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A load or store.
    Data,
    /// An instruction fetch.
    Fetch,
}

/// The descriptors that a walk reads, first to last: for each its level, -1 to 3, and its
/// physical address. Ends after the descriptor that ends the walk, whether it is a leaf or not valid.
#[derive(Clone, Debug)]
pub struct Walk<'a, M> {
    memory: &'a M,
    format: Format,
    address: u64,
    next: Next,
}

/// The levels a walk can be at.
const LEAF_LEVEL: i8 = 3;

/// How the tables of one half of the address space are laid out.
#[derive(Clone, Copy, Debug)]
struct Format {
    /// Log2 of the granule: 12, 14 or 16.
    granule: u32,
    /// Bits of an input address that are translated.
    input: u32,
    /// Bits of an output address.
    output: u32,
    /// `TCR_EL1.DS`: 52-bit addresses with the 4 and 16 KiB granules.
    ds: bool,
    /// `SCTLR_EL1.EE`.
    big_endian: bool,
}

/// What a walk does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Read the descriptor of this level from the table at this address.
    Table { level: i8, base: u64 },
    /// Nothing: this is the output address.
    Found(u64),
    /// Nothing: there is none.
    Fault,
}

// SCTLR_EL1.
const SCTLR_M: u64 = 1 << 0;
const SCTLR_EE: u64 = 1 << 25;
// TCR_EL1.
const TCR_EPD0: u64 = 1 << 7;
const TCR_EPD1: u64 = 1 << 23;
const TCR_TBI0: u64 = 1 << 37;
const TCR_TBI1: u64 = 1 << 38;
const TCR_TBID0: u64 = 1 << 51;
const TCR_TBID1: u64 = 1 << 52;
const TCR_DS: u64 = 1 << 59;
const TCR_MTX0: u64 = 1 << 60;
const TCR_MTX1: u64 = 1 << 61;
/// `TCR2_EL1.D128`.
const TCR2_D128: u64 = 1 << 5;

impl Regime {
    /// The walk for `address`. It has no steps if stage 1 is off, or if there are no tables for
    /// the address.
    pub fn walk<'a, M: PhysicalMemory>(
        &self,
        memory: &'a M,
        address: u64,
        purpose: Purpose,
    ) -> Walk<'a, M> {
        let (format, next) = self.start(address, purpose);
        Walk {
            memory,
            format,
            address,
            next,
        }
    }

    /// The physical address of `address`, or `None` if there is none.
    pub fn translate<M: PhysicalMemory>(
        &self,
        memory: &M,
        address: u64,
        purpose: Purpose,
    ) -> Option<u64> {
        let mut walk = self.walk(memory, address, purpose);
        walk.by_ref().for_each(drop);
        match walk.next {
            Next::Found(output) => Some(output),
            _ => None,
        }
    }

    fn start(&self, address: u64, purpose: Purpose) -> (Format, Next) {
        let upper = address >> 55 & 1 != 0;
        let bit = |low, high| self.tcr & if upper { high } else { low } != 0;
        // A reserved value counts as 4 KiB, as it does in QEMU.
        let granule = match (upper, self.tcr >> if upper { 30 } else { 14 } & 3) {
            (false, 0b01) | (true, 0b11) => 16,
            (false, 0b10) | (true, 0b01) => 14,
            _ => 12,
        };
        let size = (self.tcr >> if upper { 16 } else { 0 } & 0x3f) as u32;
        let format = Format {
            granule,
            input: u64::BITS - size,
            output: match self.tcr >> 32 & 7 {
                0b000 => 32,
                0b001 => 36,
                0b010 => 40,
                0b011 => 42,
                0b100 => 44,
                0b101 => 48,
                _ => 52,
            },
            ds: self.tcr & TCR_DS != 0 && granule != 16,
            big_endian: self.sctlr & SCTLR_EE != 0,
        };
        if self.sctlr & SCTLR_M == 0 {
            return (format, Next::Found(address & low_bits(56)));
        }
        let smallest = if granule == 16 || format.ds { 12 } else { 16 };
        let largest = if granule == 16 { 47 } else { 48 };
        let tagged =
            bit(TCR_TBI0, TCR_TBI1) && !(purpose == Purpose::Fetch && bit(TCR_TBID0, TCR_TBID1));
        // Bits 63 to 56 are a tag, or bits 59 to 56 are, or none.
        let ignored = match (tagged, bit(TCR_MTX0, TCR_MTX1) && purpose == Purpose::Data) {
            (true, _) => 0xff << 56,
            (false, true) => 0xf << 56,
            (false, false) => 0,
        };
        let extension = if upper { u64::MAX } else { 0 };
        let refused = self.tcr2 & TCR2_D128 != 0
            || bit(TCR_EPD0, TCR_EPD1)
            || !(smallest..=largest).contains(&size)
            || (address ^ extension) & !ignored & !low_bits(format.input) != 0;
        if refused {
            return (format, Next::Fault);
        }
        let level = LEAF_LEVEL - ((format.input - granule - 1) / format.stride()) as i8;
        let base = format.first_table(if upper { self.ttbr1 } else { self.ttbr0 }, level);
        (
            format,
            format.checked(base, |base| Next::Table { level, base }),
        )
    }
}

impl Format {
    /// Bits of an address that one level translates.
    const fn stride(&self) -> u32 {
        self.granule - 3
    }

    /// Bits of an address below those that `level` translates.
    const fn shift(&self, level: i8) -> u32 {
        self.granule + self.stride() * (LEAF_LEVEL - level) as u32
    }

    /// The address of the first table, which may be smaller than the others.
    fn first_table(&self, ttbr: u64, level: i8) -> u64 {
        let size = self.input - self.shift(level) + 3;
        if self.ds || (self.granule == 16 && self.output == 52) {
            ttbr & low_bits(48) & !low_bits(size.max(6)) | (ttbr >> 2 & 0xf) << 48
        } else {
            ttbr & low_bits(48) & !low_bits(size)
        }
    }

    /// The address in a descriptor, whose low `shift` bits are not.
    const fn output(&self, descriptor: u64, shift: u32) -> u64 {
        if self.ds {
            descriptor & low_bits(50) & !low_bits(shift) | (descriptor >> 8 & 3) << 50
        } else if self.granule == 16 && self.output == 52 {
            descriptor & low_bits(48) & !low_bits(shift) | (descriptor >> 12 & 0xf) << 48
        } else {
            descriptor & low_bits(48) & !low_bits(shift)
        }
    }

    /// Whether a descriptor of `level` can be a block.
    const fn has_blocks(&self, level: i8) -> bool {
        match (self.granule, level) {
            (12, 1 | 2) | (14 | 16, 2) => true,
            (12, 0) | (14, 1) => self.ds,
            (16, 1) => self.output == 52,
            _ => false,
        }
    }

    /// What `next` makes of `address`, if that is not larger than an output address can be.
    fn checked(&self, address: u64, next: impl Fn(u64) -> Next) -> Next {
        if address > low_bits(self.output) {
            return Next::Fault;
        }
        next(address)
    }

    /// What a descriptor of `level` leads to, for the input address `address`.
    fn follow(&self, descriptor: u64, level: i8, address: u64) -> Next {
        let leaf = |shift: u32| {
            self.checked(self.output(descriptor, shift), |output| {
                Next::Found(output | address & low_bits(shift))
            })
        };
        match descriptor & 3 {
            0b11 if level == LEAF_LEVEL => leaf(self.granule),
            0b11 => self.checked(self.output(descriptor, self.granule), |base| Next::Table {
                level: level + 1,
                base,
            }),
            0b01 if self.has_blocks(level) => leaf(self.shift(level)),
            _ => Next::Fault,
        }
    }
}

impl<M: PhysicalMemory> Iterator for Walk<'_, M> {
    type Item = (i8, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let Next::Table { level, base } = self.next else {
            return None;
        };
        let format = self.format;
        let shift = format.shift(level);
        let bits = format.stride().min(format.input - shift);
        let index = self.address >> shift & low_bits(bits);
        let at = base + 8 * index;
        self.next = match self.memory.read_u64(at) {
            Some(word) if format.big_endian => {
                format.follow(word.swap_bytes(), level, self.address)
            }
            Some(word) => format.follow(word, level, self.address),
            None => Next::Fault,
        };
        Some((level, at))
    }
}

/// A mask of this many low bits, less than 64.
const fn low_bits(bits: u32) -> u64 {
    (1 << bits) - 1
}
