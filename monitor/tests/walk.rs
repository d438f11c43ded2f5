//! Stage 1 walks through tables of every granule and size, built from the address ranges that the
//! Arm ARM (DDI 0487) lists in D8.2.6 to D8.2.8; and through tables that are noise.

use std::cell::RefCell;
use std::collections::HashMap;

use monitor::walk::{PhysicalMemory, Purpose, Regime};
use proptest::prelude::*;

/// Memory that remembers, and has nothing elsewhere.
#[derive(Default)]
struct Memory(HashMap<u64, u64>);

impl PhysicalMemory for Memory {
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.0.get(&address).copied()
    }
}

/// Memory whose words follow from a seed, and that notes what was read.
struct Noise {
    seed: u64,
    bits: u64,
    read: RefCell<Vec<u64>>,
}

impl PhysicalMemory for Noise {
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.read.borrow_mut().push(address);
        let word = (address ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Some(word.rotate_left(29) | self.bits)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Granule {
    K4,
    K16,
    K64,
}

/// How a test's tables are.
#[derive(Clone, Copy, Debug)]
struct Layout {
    granule: Granule,
    upper: bool,
    /// `TxSZ`.
    size: u32,
    /// 52-bit output addresses: `DS`, or for 64 KiB `IPS`.
    wide: bool,
    big_endian: bool,
}

impl Layout {
    /// The address bits that each level translates, for the levels from -1 to 3.
    fn levels(&self) -> [(u32, u32); 5] {
        match self.granule {
            Granule::K4 => [(51, 48), (47, 39), (38, 30), (29, 21), (20, 12)],
            Granule::K16 => [(0, 0), (51, 47), (46, 36), (35, 25), (24, 14)],
            Granule::K64 => [(0, 0), (0, 0), (51, 42), (41, 29), (28, 16)],
        }
    }

    fn first_level(&self) -> i8 {
        match (self.granule, self.size) {
            (Granule::K4, 12..=15) => -1,
            (Granule::K4, 16..=24) | (Granule::K16, 12..=16) => 0,
            (Granule::K4, 25..=33) | (Granule::K16, 17..=27) | (Granule::K64, 12..=21) => 1,
            (Granule::K4, 34..=42) | (Granule::K16, 28..=38) | (Granule::K64, 22..=34) => 2,
            _ => 3,
        }
    }

    fn has_leaf(&self, level: i8) -> bool {
        match (self.granule, level) {
            (_, 3 | 2) | (Granule::K4, 1) => true,
            (Granule::K4, 0) | (Granule::K16 | Granule::K64, 1) => self.wide,
            _ => false,
        }
    }

    /// The address bits of `level` in `address`, of which the first table may have fewer.
    fn index(&self, address: u64, level: i8) -> u64 {
        let (high, low) = self.levels()[(level + 1) as usize];
        let high = high.min(63 - self.size);
        (address >> low) & ((1 << (high - low + 1)) - 1)
    }

    fn granule_bits(&self) -> u32 {
        self.levels()[4].1
    }

    /// An address for the first table, which is aligned to its own size.
    fn first_table(&self, bits: u64) -> u64 {
        let (_, low) = self.levels()[(self.first_level() + 1) as usize];
        let size = 8u64 << (64 - self.size - low);
        let aligned = bits & !(size.max(if self.wide { 64 } else { 0 }) - 1);
        aligned
            & if self.wide {
                (1 << 52) - 1
            } else {
                (1 << 48) - 1
            }
    }

    fn regime(&self, table: u64) -> Regime {
        let (tg0, tg1) = match self.granule {
            Granule::K4 => (0b00, 0b10),
            Granule::K16 => (0b10, 0b01),
            Granule::K64 => (0b01, 0b11),
        };
        let ttbr = if self.wide {
            table & 0xffff_ffff_ffc0 | table >> 48 << 2
        } else {
            table
        };
        // An ASID and CnP are not part of the address.
        let ttbr = ttbr | 0xabcd << 48 | 1;
        // The other half is off.
        let half = match self.upper {
            false => tg0 << 14 | u64::from(self.size) | 1 << 23,
            true => tg1 << 30 | u64::from(self.size) << 16 | 1 << 7,
        };
        let ips: u64 = if self.wide { 0b110 } else { 0b101 };
        let ds = u64::from(self.wide && self.granule != Granule::K64);
        Regime {
            tcr: half | ips << 32 | ds << 59,
            ttbr0: if self.upper { 0 } else { ttbr },
            ttbr1: if self.upper { ttbr } else { 0 },
            sctlr: 1 | u64::from(self.big_endian) << 25,
            ..Regime::default()
        }
    }

    /// The address bits of a descriptor.
    fn descriptor(&self, address: u64) -> u64 {
        match (self.wide, self.granule) {
            (false, _) => address,
            (true, Granule::K64) => address & 0xffff_ffff_0000 | address >> 48 << 12,
            (true, _) => address & 0x3_ffff_ffff_f000 | address >> 50 << 8,
        }
    }

    fn write(&self, memory: &mut Memory, address: u64, descriptor: u64) {
        let word = if self.big_endian {
            descriptor.swap_bytes()
        } else {
            descriptor
        };
        memory.0.insert(address, word);
    }
}

fn layout() -> impl Strategy<Value = Layout> {
    let granule = prop_oneof![Just(Granule::K4), Just(Granule::K16), Just(Granule::K64)];
    (granule, 12u32..=48, any::<[bool; 3]>()).prop_map(
        |(granule, size, [upper, wide, big_endian])| {
            let smallest = if granule == Granule::K64 || wide {
                12
            } else {
                16
            };
            let largest = if granule == Granule::K64 { 47 } else { 48 };
            let size = size.clamp(smallest, largest);
            Layout {
                granule,
                upper,
                size,
                wide,
                big_endian,
            }
        },
    )
}

/// The address of a half that has these bits.
fn address_in(layout: Layout, bits: u64) -> u64 {
    let mask = (1u64 << (64 - layout.size)) - 1;
    if layout.upper {
        bits | !mask
    } else {
        bits & mask
    }
}

/// A page-aligned physical address.
fn physical(layout: Layout, bits: u64) -> u64 {
    bits & (if layout.wide {
        (1 << 52) - 1
    } else {
        (1 << 48) - 1
    }) & !((1 << layout.granule_bits()) - 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn an_address_is_found_through_its_tables(
        layout in layout(),
        address: u64,
        (output, tables) in any::<(u64, [u64; 5])>(),
        leaf in 0i8..=3,
        attributes in any::<u64>(),
    ) {
        let address = address_in(layout, address);
        let first = layout.first_level();
        let mut leaf = leaf.max(first);
        while !layout.has_leaf(leaf) {
            leaf += 1;
        }
        // Bits that are no part of an address: attributes of a leaf, below and above.
        let above = if layout.wide { 0x7f << 52 } else { 0x1ff << 50 };
        let attributes = attributes & (above | 0x7c);
        let mut memory = Memory::default();
        let mut expected = Vec::new();
        let table = |level: i8| {
            let bits = tables[(level + 1) as usize];
            if level == first { layout.first_table(bits) } else { physical(layout, bits) }
        };
        for level in first..=leaf {
            let at = table(level) + 8 * layout.index(address, level);
            prop_assume!(!memory.0.contains_key(&at));
            expected.push((level, at));
            let (high, low) = (51, layout.levels()[(level + 1) as usize].1);
            let descriptor = if level < leaf {
                layout.descriptor(table(level + 1)) | attributes & above | 0b11
            } else {
                let kind = if level == 3 { 0b11 } else { 0b01 };
                let block = physical(layout, output) & ((1 << (high + 1)) - (1 << low));
                layout.descriptor(block) | attributes | kind
            };
            layout.write(&mut memory, at, descriptor);
        }
        let regime = layout.regime(table(first));
        let walk: Vec<_> = regime.walk(&memory, address, Purpose::Data).collect();
        prop_assert_eq!(&walk, &expected);
        let low = (1u64 << layout.levels()[(leaf + 1) as usize].1) - 1;
        let found = physical(layout, output) & !low | address & low;
        prop_assert_eq!(regime.translate(&memory, address, Purpose::Fetch), Some(found));

        // Without its last descriptor the walk goes as far, and finds nothing.
        let last = expected[expected.len() - 1].1;
        for invalid in [0, 0b10] {
            layout.write(&mut memory, last, invalid);
            prop_assert_eq!(regime.translate(&memory, address, Purpose::Data), None);
            prop_assert_eq!(regime.walk(&memory, address, Purpose::Data).count(), expected.len());
        }
        memory.0.remove(&last);
        prop_assert_eq!(regime.translate(&memory, address, Purpose::Data), None);
        prop_assert_eq!(regime.walk(&memory, address, Purpose::Data).count(), expected.len());

        // The other half has no tables, and an address between the halves is in neither.
        prop_assert_eq!(regime.walk(&memory, !address, Purpose::Data).count(), 0);
        let between = address ^ 1 << (64 - layout.size);
        prop_assert_eq!(regime.walk(&memory, between, Purpose::Data).count(), 0);
    }

    #[test]
    fn noise_ends(
        (tcr, tcr2, ttbr0, ttbr1, sctlr) in any::<(u64, u64, u64, u64, u64)>(),
        (address, seed) in any::<(u64, u64)>(),
        valid: bool,
        plausible: bool,
    ) {
        // Half of the cases are such that a walk begins at all; in half, most descriptors are tables.
        let tcr = if plausible { tcr & !0x0080_0000_0030_00a0 & !(1 << 21 | 1 << 5) | 16 | 16 << 16 } else { tcr };
        let tcr2 = if plausible { 0 } else { tcr2 };
        let sctlr = if plausible { sctlr | 1 } else { sctlr };
        let address = if plausible { ((address << 16) as i64 >> 16) as u64 } else { address };
        let regime = Regime { tcr, tcr2, ttbr0, ttbr1, sctlr };
        let bits = if valid { 0b11 | 0b11 << 56 } else { 0 };
        let memory = Noise { seed, bits, read: RefCell::default() };
        for purpose in [Purpose::Data, Purpose::Fetch] {
            let walk: Vec<_> = regime.walk(&memory, address, purpose).collect();
            prop_assert!(walk.len() <= 5);
            prop_assert!(walk.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
            prop_assert!(walk.iter().all(|(level, at)| (-1..=3).contains(level) && at % 8 == 0 && at >> 52 == 0));
            let read: Vec<_> = memory.read.take();
            prop_assert_eq!(walk.into_iter().map(|(_, at)| at).collect::<Vec<_>>(), read);
            let output = regime.translate(&memory, address, purpose);
            prop_assert!(output.is_none_or(|output| output >> 56 == 0));
            memory.read.take();
        }
    }
}

const PAGE_TABLE: u64 = 0x4000_0000;

/// One page of 4 KiB at 0x1000 and, in the upper half, at its end less 0xf000, at 0x5000_0000. Levels
/// 3 alone.
fn small() -> (Memory, Regime) {
    let mut memory = Memory::default();
    memory.0.insert(PAGE_TABLE + 8, 0x5000_0000 | 0b11);
    let regime = Regime {
        tcr: 48 | 48 << 16 | 0b10 << 30 | 0b010 << 32,
        ttbr0: PAGE_TABLE,
        ttbr1: PAGE_TABLE,
        sctlr: 1,
        ..Regime::default()
    };
    (memory, regime)
}

#[test]
fn tags_are_ignored_where_the_regime_says_so() {
    let (memory, regime) = small();
    let translate = |tcr, address, purpose| {
        let regime = Regime {
            tcr: regime.tcr | tcr,
            ..regime
        };
        regime.translate(&memory, address, purpose)
    };
    let found = Some(0x5000_0234);
    let upper = 0xffff_ffff_ffff_1234;
    for purpose in [Purpose::Data, Purpose::Fetch] {
        assert_eq!(translate(0, 0x1234, purpose), found);
        assert_eq!(translate(0, upper, purpose), found);
        assert_eq!(translate(0, 0xab00_0000_0000_1234, purpose), None);
        assert_eq!(
            translate(1 << 37, 0xab00_0000_0000_1234, purpose),
            found,
            "TBI0"
        );
        assert_eq!(
            translate(1 << 38, 0xab00_0000_0000_1234, purpose),
            None,
            "TBI1"
        );
        assert_eq!(
            translate(1 << 38, upper & !(0x5a << 56), purpose),
            found,
            "TBI1"
        );
    }
    // TBID: not for instructions. MTX: four bits, for data alone.
    assert_eq!(
        translate(1 << 37 | 1 << 51, 0xab00_0000_0000_1234, Purpose::Data),
        found
    );
    assert_eq!(
        translate(1 << 37 | 1 << 51, 0xab00_0000_0000_1234, Purpose::Fetch),
        None
    );
    assert_eq!(
        translate(1 << 60, 0x0b00_0000_0000_1234, Purpose::Data),
        found
    );
    assert_eq!(
        translate(1 << 60, 0x0b00_0000_0000_1234, Purpose::Fetch),
        None
    );
    assert_eq!(
        translate(1 << 60, 0xab00_0000_0000_1234, Purpose::Data),
        None
    );
}

#[test]
fn without_stage_1_nothing_is_walked() {
    let (memory, regime) = small();
    let off = Regime {
        sctlr: 0,
        tcr: 0,
        ..regime
    };
    assert_eq!(off.walk(&memory, 0x1234, Purpose::Data).count(), 0);
    assert_eq!(
        off.translate(&memory, 0xa_4000_1234, Purpose::Data),
        Some(0xa_4000_1234)
    );
}

#[test]
fn what_is_switched_off_or_not_possible_is_not_walked() {
    let (memory, regime) = small();
    let count = |regime: Regime| regime.walk(&memory, 0x1234, Purpose::Data).count();
    assert_eq!(count(regime), 1);
    assert_eq!(
        count(Regime {
            tcr: regime.tcr | 1 << 7,
            ..regime
        }),
        0,
        "EPD0"
    );
    assert_eq!(
        count(Regime {
            tcr2: 1 << 5,
            ..regime
        }),
        0,
        "D128"
    );
    for size in [0, 15, 49, 63] {
        let tcr = regime.tcr & !0x3f | size;
        assert_eq!(count(Regime { tcr, ..regime }), 0, "T0SZ {size}");
    }
}

/// Blocks exist at some levels only; a table entry that claims to be one elsewhere is not valid.
#[test]
fn blocks_are_where_the_granule_has_them() {
    for (granule, wide, levels) in [
        (Granule::K4, false, &[1, 2][..]),
        (Granule::K4, true, &[0, 1, 2]),
        (Granule::K16, false, &[2]),
        (Granule::K16, true, &[1, 2]),
        (Granule::K64, false, &[2]),
        (Granule::K64, true, &[1, 2]),
    ] {
        let size = if wide { 12 } else { 16 };
        let layout = Layout {
            granule,
            upper: false,
            size,
            wide,
            big_endian: false,
        };
        for level in layout.first_level()..=3 {
            let mut memory = Memory::default();
            for above in layout.first_level()..level {
                let table = 0x1_0000 * (above - layout.first_level() + 1) as u64;
                memory.0.insert(table, (table + 0x1_0000) | 0b11);
            }
            let table = 0x1_0000 * (level - layout.first_level() + 1) as u64;
            memory.0.insert(table, 0b01);
            let found = layout
                .regime(0x1_0000)
                .translate(&memory, 0x18, Purpose::Data);
            let expected = levels.contains(&level).then_some(0x18);
            assert_eq!(found, expected, "{granule:?}, wide: {wide}, level {level}");
        }
    }
}

/// An output address beyond IPS is a fault, of a table as of a page.
#[test]
fn addresses_have_their_size() {
    let (mut memory, regime) = small();
    memory.0.insert(PAGE_TABLE + 8, 1 << 39 | 0b11);
    assert_eq!(
        regime.translate(&memory, 0x1234, Purpose::Data),
        Some(1 << 39 | 0x234)
    );
    memory.0.insert(PAGE_TABLE + 8, 1 << 40 | 0b11);
    assert_eq!(regime.translate(&memory, 0x1234, Purpose::Data), None);
    let beyond = Regime {
        ttbr0: 1 << 40,
        ..regime
    };
    assert_eq!(beyond.walk(&memory, 0x1234, Purpose::Data).count(), 0);
}
