//! Encodings, written as the Arm ARM draws them.

/// Bits of an instruction word that are fixed, and what they are.
#[derive(Clone, Copy)]
pub(crate) struct Pattern {
    mask: u32,
    value: u32,
}

/// The pattern that `text` draws: `0` and `1` are fixed, `.` is anything, spaces are for the reader.
///
/// # Panics
///
/// While compiling, if `text` has other than 32 bits or an unknown character.
pub(crate) const fn pattern(text: &str) -> Pattern {
    let text = text.as_bytes();
    let (mut mask, mut value) = (0, 0);
    let (mut bits, mut index) = (0, 0);
    while index < text.len() {
        if text[index] != b' ' {
            mask <<= 1;
            value <<= 1;
            match text[index] {
                b'0' => mask |= 1,
                b'1' => {
                    mask |= 1;
                    value |= 1;
                }
                b'.' => {}
                _ => panic!("a pattern has 0, 1, . and spaces"),
            }
            bits += 1;
        }
        index += 1;
    }
    assert!(bits == 32, "a pattern has 32 bits");
    Pattern { mask, value }
}

impl Pattern {
    /// Whether `instruction` has this encoding.
    pub(crate) const fn matches(self, instruction: u32) -> bool {
        instruction & self.mask == self.value
    }
}

/// Bits `high` to `low` of `instruction`.
pub(crate) const fn field(instruction: u32, high: u32, low: u32) -> u32 {
    (instruction << (31 - high)) >> (31 - high + low)
}

/// Bits `high` to `low` of `instruction`, as a signed number.
pub(crate) const fn signed_field(instruction: u32, high: u32, low: u32) -> i64 {
    ((instruction << (31 - high)) as i32 >> (31 - high + low)) as i64
}
