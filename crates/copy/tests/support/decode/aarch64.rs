//! AArch64, by the encoding tables of the Arm ARM (C4.1.94 "Loads and Stores"). Knows what the
//! routines use; any other load or store is an error, so that none can go unnoticed.

use copy::extable::{Direction, Reach};

use super::{Accessing, Decoded};

/// All accesses to memory in `code`.
pub fn accesses(code: &[u8]) -> Vec<Accessing> {
    user_sides(code)
        .into_iter()
        .map(|(accessing, _)| accessing)
        .collect()
}

/// The same, with the sides that each reaches with the privilege of user mode.
pub fn user_sides(code: &[u8]) -> Vec<(Accessing, UserSides)> {
    let (words, rest) = code.as_chunks::<4>();
    assert!(rest.is_empty(), "code is whole instructions");
    let words = words.iter().map(|&bytes| u32::from_le_bytes(bytes));
    words
        .enumerate()
        .filter_map(|(index, word)| {
            let (access, user) = decode(word)?;
            let offset = index * 4;
            Some((Accessing { offset, access }, user))
        })
        .collect()
}

/// Whether an instruction loads, and stores, with the privilege of user mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserSides {
    pub loads: bool,
    pub stores: bool,
}

/// `None` if `word` is no load or store.
fn decode(word: u32) -> Option<(Decoded, UserSides)> {
    let bits = |high: u32, low: u32| (word >> low) & ((1 << (high - low + 1)) - 1);
    if bits(27, 27) != 1 || bits(25, 25) != 0 {
        return None;
    }
    let decoded = match (bits(29, 27), bits(26, 26), bits(25, 24)) {
        (0b011, 0, 0b01) if bits(21, 21) == 1 && bits(31, 30) == 0b11 => tag(&bits),
        (0b011, 0, 0b01) if bits(21, 21) == 0 && bits(11, 10) == 0b01 => copy(&bits),
        (0b101, vector, 0b00 | 0b01) => pair(&bits, vector == 1),
        (0b111, vector, 0b00) if bits(21, 21) == 0 => unscaled(&bits, vector == 1),
        (0b111, vector, 0b01) => scaled(&bits, vector == 1),
        _ => None,
    };
    Some(decoded.unwrap_or_else(|| panic!("no entry can describe the access {word:#010x}")))
}

type Result = Option<(Decoded, UserSides)>;

fn single(load: bool, base: u32, offset: i32, width: u32, user: bool) -> Result {
    let decoded = Decoded::Single {
        direction: if load {
            Direction::Load
        } else {
            Direction::Store
        },
        base: base as u8,
        offset: offset as i16,
        width: width as u8,
    };
    let sides = UserSides {
        loads: user && load,
        stores: user && !load,
    };
    Some((decoded, sides))
}

fn signed(value: u32, width: u32) -> i32 {
    (value << (32 - width)).cast_signed() >> (32 - width)
}

/// Load/store register pair: signed offset (010), or without allocation (000).
fn pair(bits: &impl Fn(u32, u32) -> u32, vector: bool) -> Result {
    let log2_width = match (vector, bits(31, 30)) {
        (false, 0b00) | (true, 0b00) => 2,
        (false, 0b10) | (true, 0b01) => 3,
        (true, 0b10) => 4,
        _ => return None,
    };
    if !matches!(bits(24, 23), 0b00 | 0b10) {
        return None;
    }
    let offset = signed(bits(21, 15), 7) << log2_width;
    single(
        bits(22, 22) == 1,
        bits(9, 5),
        offset,
        2 << log2_width,
        false,
    )
}

/// Size and direction of a single register.
fn register(bits: &impl Fn(u32, u32) -> u32, vector: bool) -> Option<(u32, bool)> {
    let size = bits(31, 30);
    match (vector, bits(23, 22)) {
        (_, 0b00) => Some((size, false)),
        (_, 0b01) => Some((size, true)),
        (true, 0b10) if size == 0 => Some((4, false)),
        (true, 0b11) if size == 0 => Some((4, true)),
        // Sign extension and prefetches.
        _ => None,
    }
}

/// Load/store register: unscaled immediate (00), or unprivileged (10).
fn unscaled(bits: &impl Fn(u32, u32) -> u32, vector: bool) -> Result {
    let (log2_width, load) = register(bits, vector)?;
    let user = match (bits(11, 10), vector) {
        (0b00, _) => false,
        (0b10, false) => true,
        _ => return None,
    };
    single(
        load,
        bits(9, 5),
        signed(bits(20, 12), 9),
        1 << log2_width,
        user,
    )
}

/// Load/store register: unsigned immediate, in units of the width.
fn scaled(bits: &impl Fn(u32, u32) -> u32, vector: bool) -> Result {
    let (log2_width, load) = register(bits, vector)?;
    let offset = (bits(21, 10) << log2_width).cast_signed();
    single(load, bits(9, 5), offset, 1 << log2_width, false)
}

/// Load/store memory tags. The entries take one granule for what any of them accesses.
fn tag(bits: &impl Fn(u32, u32) -> u32) -> Result {
    let offset = signed(bits(20, 12), 9) * 16;
    let load = match (bits(23, 22), bits(11, 10)) {
        (0b00, 0b10) | (0b10, 0b00) => false, // STG, STGM
        (0b01, 0b00) | (0b11, 0b00) => true,  // LDG, LDGM
        _ => return None,
    };
    single(load, bits(9, 5), offset, 16, false)
}

/// Memory copy: the forward-only forms.
fn copy(bits: &impl Fn(u32, u32) -> u32) -> Result {
    if bits(31, 30) != 0 || bits(23, 22) == 0b11 {
        return None;
    }
    let decoded = Decoded::Copy {
        source: bits(20, 16) as u8,
        destination: bits(4, 0) as u8,
        reach: Reach::Unbounded,
    };
    let sides = UserSides {
        loads: bits(13, 13) == 1,
        stores: bits(12, 12) == 1,
    };
    Some((decoded, sides))
}

#[test]
fn encodings() {
    let load = |base, offset, width| Decoded::Single {
        direction: Direction::Load,
        base,
        offset,
        width,
    };
    let store = |base, offset, width| Decoded::Single {
        direction: Direction::Store,
        base,
        offset,
        width,
    };
    // From the encodings that the Arm ARM gives for each instruction.
    for (word, access) in [
        (0xa940_1c26, load(1, 0, 16)),    // ldp x6, x7, [x1]
        (0xa97c_1ca6, load(5, -64, 16)),  // ldp x6, x7, [x5, #-64]
        (0xa804_2408, store(0, 64, 16)),  // stnp x8, x9, [x0, #64]
        (0xad7f_0ca2, load(5, -32, 32)),  // ldp q2, q3, [x5, #-32]
        (0xac01_0c02, store(0, 32, 32)),  // stnp q2, q3, [x0, #32]
        (0x3dc0_0020, load(1, 0, 16)),    // ldr q0, [x1]
        (0x3c9f_0081, store(4, -16, 16)), // stur q1, [x4, #-16]
        (0x3940_0028, load(1, 0, 1)),     // ldrb w8, [x1]
        (0xb81f_c087, store(4, -4, 4)),   // stur w7, [x4, #-4]
        (0xf85f_88a7, load(5, -8, 8)),    // ldtr x7, [x5, #-8]
        (0x3800_0802, store(0, 0, 1)),    // sttrb w2, [x0]
        (0xd960_0022, load(1, 0, 16)),    // ldg x2, [x1]
        (0xd920_0802, store(0, 0, 16)),   // stg x2, [x0]
        (0xd9e0_0022, load(1, 0, 16)),    // ldgm x2, [x1]
        (0xd9a0_0002, store(0, 0, 16)),   // stgm x2, [x0]
    ] {
        assert_eq!(decode(word).unwrap().0, access, "{word:#x}");
    }
    assert!(decode(0x1901_2440).unwrap().1.loads); // cpyfprt [x0]!, [x1]!, x2!
    assert!(decode(0x1941_1440).unwrap().1.stores); // cpyfmwt [x0]!, [x1]!, x2!
    for word in [0xd65f_03c0, 0x9100_4000, 0xf100_0463, 0x5400_0041] {
        assert_eq!(decode(word), None, "{word:#x}"); // ret, add, subs, b.ne
    }
}
