//! Finding the loop that moves the bytes, and how many it moves a turn.
//!
//! Only the encodings that matter are decoded: branches backwards and stores (Arm ARM DDI 0487,
//! C4.1, "Branches, Exception Generating and System instructions" and "Loads and Stores").

use std::ops::Range;

/// A loop: from the target of its branch to the branch, as indices of instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BulkLoop {
    pub(super) instructions: Range<usize>,
    pub(super) bytes: usize,
}

/// The innermost loop of `words` that stores the most bytes a turn; `None` if none stores any.
pub(super) fn find(words: &[u32]) -> Option<BulkLoop> {
    let loops = words.iter().enumerate().filter_map(|(index, &word)| {
        let start = index.checked_add_signed(branch_distance(word)?)?;
        let body = words.get(start..=index)?;
        let inner = body[..body.len() - 1]
            .iter()
            .any(|&word| branch_distance(word).is_some_and(|distance| distance < 0));
        let bytes = body.iter().map(|&word| stored_bytes(word)).sum();
        (!inner && bytes > 0).then_some(BulkLoop {
            instructions: start..index + 1,
            bytes,
        })
    });
    loops.max_by_key(|found| found.bytes)
}

/// How far a conditional branch goes, in instructions, if `word` is one.
fn branch_distance(word: u32) -> Option<isize> {
    let conditional = word & 0xff00_0010 == 0x5400_0000;
    let compare = word & 0x7e00_0000 == 0x3400_0000;
    let test = word & 0x7e00_0000 == 0x3600_0000;
    // Shifted to the top and back, the offset keeps its sign.
    if conditional || compare {
        Some((word as i32) << 8 >> 13).map(|distance| distance as isize)
    } else if test {
        Some((word as i32) << 13 >> 18).map(|distance| distance as isize)
    } else {
        None
    }
}

/// How many bytes the instruction stores, 0 for all that are no stores.
fn stored_bytes(word: u32) -> usize {
    let size = word >> 30;
    let vector = word >> 26 & 1 == 1;
    // STP and STNP: bits 29 to 27 are 101, bit 25 is 0, and so is L, bit 22.
    if word & 0x3a40_0000 == 0x2800_0000 {
        return match (vector, size) {
            (false, 2) => 2 * 8,
            (false, _) => 2 * 4,
            (true, _) => 2 << (size + 2),
        };
    }
    // STR, STUR, STTR: bits 29 to 27 are 111; the lower bit of opc, 22, is set in loads, and
    // without bit 24, bit 21 set and bits 11 and 10 clear is an atomic operation.
    let single = word & 0x3a00_0000 == 0x3800_0000;
    let atomic = word & 0x0120_0c00 == 0x0020_0000;
    match (single && !atomic, vector, word >> 22 & 3) {
        (true, false, 0) | (true, true, 0) => 1 << size,
        (true, true, 2) if size == 0 => 16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_told_from_loads() {
        for (word, bytes, text) in [
            (0xa800_1c06, 16, "stnp x6, x7, [x0]"),
            (0xa900_1c06, 16, "stp x6, x7, [x0]"),
            (0xa8c1_1c06, 0, "ldp x6, x7, [x0], #16"),
            (0x2900_1c06, 8, "stp w6, w7, [x0]"),
            (0xac00_0400, 32, "stnp q0, q1, [x0]"),
            (0xad00_0400, 32, "stp q0, q1, [x0]"),
            (0xad40_0420, 0, "ldp q0, q1, [x1]"),
            (0x6d00_0400, 16, "stp d0, d1, [x0]"),
            (0xf900_0006, 8, "str x6, [x0]"),
            (0xf940_0026, 0, "ldr x6, [x1]"),
            (0xf81f_8087, 8, "stur x7, [x4, #-8]"),
            (0x3900_0008, 1, "strb w8, [x0]"),
            (0x3940_0028, 0, "ldrb w8, [x1]"),
            (0x3d80_0000, 16, "str q0, [x0]"),
            (0x3dc0_0020, 0, "ldr q0, [x1]"),
            (0x3c9f_0081, 16, "stur q1, [x4, #-16]"),
            (0xf800_0801, 8, "sttr x1, [x0]"),
            (0xf821_0002, 0, "ldadd x1, x2, [x0]"),
            (0xd503_201f, 0, "nop"),
            (0x9100_4003, 0, "add x3, x0, #16"),
        ] {
            assert_eq!(stored_bytes(word), bytes, "{text}");
        }
    }

    #[test]
    fn branches_backwards_are_found() {
        assert_eq!(branch_distance(0x54ff_fe21), Some(-15), "b.ne #-60");
        assert_eq!(branch_distance(0x5400_0088), Some(4), "b.hi #16");
        assert_eq!(branch_distance(0xb5ff_ffe0), Some(-1), "cbnz x0, #-4");
        assert_eq!(branch_distance(0x3618_00e2), Some(7), "tbz w2, #3, #28");
        assert_eq!(branch_distance(0x1400_000d), None, "b #52");
    }

    #[test]
    fn the_loop_that_stores_most_is_the_bulk_loop() {
        const NOP: u32 = 0xd503_201f;
        const STP: u32 = 0xa900_1c06;
        const STRB: u32 = 0x3900_0008;
        const BACK_2: u32 = 0x54ff_ffc1;
        const BACK_6: u32 = 0x54ff_ff41;
        let words = [NOP, STRB, NOP, BACK_2, NOP, STP, NOP, BACK_2, NOP, BACK_6];
        let expected = BulkLoop {
            instructions: 5..8,
            bytes: 16,
        };
        // The last loop stores as much, but only by way of another.
        assert_eq!(find(&words), Some(expected));
        assert_eq!(find(&[NOP, NOP, BACK_2]), None);
        assert_eq!(find(&[BACK_2, STP]), None, "out of the function");
    }
}
