//! Decoding, against words that an assembler made of the text beside them.

use control::LINE;
use monitor::instruction::Class::{
    self, LoadExclusive, Maintenance, Other, StoreExclusive, ZeroBlock,
};
use monitor::instruction::Stage::{Epilogue, Main, Prologue};
use monitor::instruction::{Exclusive, Stage, classify, reach, store_range};
use monitor::watch::Reach::{self, Anywhere, Contiguous, Nothing, Within};
use proptest::prelude::*;
use stores::{NO_STORES, STORES};
use syndrome::MopsInstruction::{self, Copy, Set, SetTags};

mod stores;

/// What [`register`] gives for the stack pointer.
const SP: u64 = 0x7fff_0000_0000;

/// Registers that differ in both halves; X9 has a negative low half.
fn register(number: u8) -> u64 {
    match number {
        9 => 0x1_ffff_fff0,
        31 => SP,
        _ => 0x1_0001_0000 * (u64::from(number) + 1),
    }
}

/// System instructions, exclusives and others.
const CLASSES: &[(u32, Class)] = &[
    (
        0xd50b_7423,
        ZeroBlock {
            address: 3,
            data: true,
        },
    ), // dc zva, x3
    (
        0xd50b_749f,
        ZeroBlock {
            address: 31,
            data: true,
        },
    ), // dc gzva, xzr
    (
        0xd50b_747e,
        ZeroBlock {
            address: 30,
            data: false,
        },
    ), // dc gva, x30
    (0xd508_7623, Maintenance), // dc ivac, x3
    (0xd508_7643, Maintenance), // dc isw, x3
    (0xd508_7a43, Maintenance), // dc csw, x3
    (0xd508_7e43, Maintenance), // dc cisw, x3
    (0xd50b_7a23, Maintenance), // dc cvac, x3
    (0xd50b_7b23, Maintenance), // dc cvau, x3
    (0xd50b_7c23, Maintenance), // dc cvap, x3
    (0xd50b_7d23, Maintenance), // dc cvadp, x3
    (0xd50b_7e23, Maintenance), // dc civac, x3
    (0xd508_7663, Maintenance), // dc igvac, x3
    (0xd508_76a3, Maintenance), // dc igdvac, x3
    (0xd50b_7a63, Maintenance), // dc cgvac, x3
    (0xd50b_7ca3, Maintenance), // dc cgdvap, x3
    (0xd50b_7ea3, Maintenance), // dc cigdvac, x3
    (0xd50e_7e23, Maintenance), // dc cipapa, x3
    (0xd50c_7e03, Maintenance), // dc cipae, x3
    (0xd508_711f, Maintenance), // ic ialluis
    (0xd508_751f, Maintenance), // ic iallu
    (0xd50b_7523, Maintenance), // ic ivau, x3
    (0xd508_7803, Maintenance), // at s1e1r, x3
    (0xd508_7863, Maintenance), // at s1e0w, x3
    (0xd508_7923, Maintenance), // at s1e1wp, x3
    (0xd508_7943, Maintenance), // at s1e1a, x3
    (0xd50c_7883, Maintenance), // at s12e1r, x3
    (0xd50b_7703, Other),       // gcspushm x3
    (0xd50b_7743, Other),       // gcsss1 x3
    (0xd50b_7383, Other),       // cfp rctx, x3
    (0xd508_871f, Other),       // tlbi vmalle1
    (0xd53b_00e3, Other),       // mrs x3, dczid_el0
    (0xd51b_d043, Other),       // msr tpidr_el0, x3
    (
        0xc85f_7c20,
        LoadExclusive(Exclusive {
            bytes: 8,
            pair: false,
        }),
    ), // ldxr x0, [x1]
    (
        0x085f_7c20,
        LoadExclusive(Exclusive {
            bytes: 1,
            pair: false,
        }),
    ), // ldxrb w0, [x1]
    (
        0x485f_7fe0,
        LoadExclusive(Exclusive {
            bytes: 2,
            pair: false,
        }),
    ), // ldxrh w0, [sp]
    (
        0x885f_fc20,
        LoadExclusive(Exclusive {
            bytes: 4,
            pair: false,
        }),
    ), // ldaxr w0, [x1]
    (
        0x887f_0820,
        LoadExclusive(Exclusive {
            bytes: 4,
            pair: true,
        }),
    ), // ldxp w0, w2, [x1]
    (
        0xc87f_8820,
        LoadExclusive(Exclusive {
            bytes: 8,
            pair: true,
        }),
    ), // ldaxp x0, x2, [x1]
    (
        0xc95f_7c20,
        LoadExclusive(Exclusive {
            bytes: 8,
            pair: false,
        }),
    ), // ldtxr x0, [x1]
    (
        0x895f_fc20,
        LoadExclusive(Exclusive {
            bytes: 4,
            pair: false,
        }),
    ), // ldatxr w0, [x1]
    (
        0xc805_7c20,
        StoreExclusive(Exclusive {
            bytes: 8,
            pair: false,
        }),
    ), // stxr w5, x0, [x1]
    (
        0x0805_fc20,
        StoreExclusive(Exclusive {
            bytes: 1,
            pair: false,
        }),
    ), // stlxrb w5, w0, [x1]
    (
        0x4805_7c20,
        StoreExclusive(Exclusive {
            bytes: 2,
            pair: false,
        }),
    ), // stxrh w5, w0, [x1]
    (
        0x8825_0820,
        StoreExclusive(Exclusive {
            bytes: 4,
            pair: true,
        }),
    ), // stxp w5, w0, w2, [x1]
    (
        0xc825_8820,
        StoreExclusive(Exclusive {
            bytes: 8,
            pair: true,
        }),
    ), // stlxp w5, x0, x2, [x1]
    (
        0xc905_fc20,
        StoreExclusive(Exclusive {
            bytes: 8,
            pair: false,
        }),
    ), // stltxr w5, x0, [x1]
    (0x0820_7c82, Other),       // casp w0, w1, w2, w3, [x4]
    (0x08a0_7c22, Other),       // casb w0, w2, [x1]
    (0xd503_201f, Other),       // nop
    (0xd400_0001, Other),       // svc #0
    (0xd65f_03c0, Other),       // ret
    (0x8b02_0020, Other),       // add x0, x1, x2
];

/// Memory copies and sets: what, whether only forward, which part, and the registers with
/// destination, source and size.
const MOPS: &[(u32, MopsInstruction, bool, Stage, [u8; 3])] = &[
    (0x1901_0440, Copy, true, Prologue, [0, 1, 2]), // cpyfp [x0]!, [x1]!, x2!
    (0x1941_0443, Copy, true, Main, [3, 1, 2]),     // cpyfm [x3]!, [x1]!, x2!
    (0x1981_07c0, Copy, true, Epilogue, [0, 1, 30]), // cpyfe [x0]!, [x1]!, x30!
    (0x1901_2440, Copy, true, Prologue, [0, 1, 2]), // cpyfprt [x0]!, [x1]!, x2!
    (0x1941_d440, Copy, true, Main, [0, 1, 2]),     // cpyfmwtn [x0]!, [x1]!, x2!
    (0x1981_f440, Copy, true, Epilogue, [0, 1, 2]), // cpyfetn [x0]!, [x1]!, x2!
    (0x1d01_0440, Copy, false, Prologue, [0, 1, 2]), // cpyp [x0]!, [x1]!, x2!
    (0x1d41_8440, Copy, false, Main, [0, 1, 2]),    // cpymrn [x0]!, [x1]!, x2!
    (0x1d81_9440, Copy, false, Epilogue, [0, 1, 2]), // cpyewtrn [x0]!, [x1]!, x2!
    (0x19c2_0420, Set, true, Prologue, [0, 2, 1]),  // setp [x0]!, x1!, x2
    (0x19df_5420, Set, true, Main, [0, 31, 1]),     // setmt [x0]!, x1!, xzr
    (0x19c2_a420, Set, true, Epilogue, [0, 2, 1]),  // seten [x0]!, x1!, x2
    (0x1dc2_0420, SetTags, true, Prologue, [0, 2, 1]), // setgp [x0]!, x1!, x2
    (0x1dc2_7420, SetTags, true, Main, [0, 2, 1]),  // setgmtn [x0]!, x1!, x2
    (0x1dc2_a420, SetTags, true, Epilogue, [0, 2, 1]), // setgen [x0]!, x1!, x2
];

/// What instructions load.
const REACHES: &[(u32, Reach)] = &[
    (0xf940_0020, Contiguous),   // ldr x0, [x1]
    (0xb8a2_7820, Contiguous),   // ldrsw x0, [x1, x2, lsl #2]
    (0x3dc0_0420, Contiguous),   // ldr q0, [x1, #16]
    (0xacc1_0820, Contiguous),   // ldp q0, q2, [x1], #32
    (0xa840_0820, Contiguous),   // ldnp x0, x2, [x1]
    (0xf840_0820, Contiguous),   // ldtr x0, [x1]
    (0xc85f_7c20, Contiguous),   // ldxr x0, [x1]
    (0xc87f_8820, Contiguous),   // ldaxp x0, x2, [x1]
    (0xc8df_fc20, Contiguous),   // ldar x0, [x1]
    (0xd940_8020, Contiguous),   // ldapur x0, [x1, #8]
    (0xd942_1820, Contiguous),   // ldiapp x0, x2, [x1]
    (0x4cdf_0820, Contiguous),   // ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1], #64
    (0x4d60_a420, Contiguous),   // ld4 {v0.d, v1.d, v2.d, v3.d}[1], [x1]
    (0x4d40_c820, Contiguous),   // ld1r {v0.4s}, [x1]
    (0xf83f_d040, Contiguous),   // ld64b x0, [x2]
    (0xf820_0420, Contiguous),   // ldraa x0, [x1]
    (0xd960_0020, Contiguous),   // ldg x0, [x1]
    (0xf820_0022, Contiguous),   // ldadd x0, x2, [x1]
    (0x1922_8020, Contiguous),   // swpp x0, x2, [x1]
    (0x4820_7c82, Contiguous),   // casp x0, x1, x2, x3, [x4]
    (0xf821_b040, Contiguous),   // st64bv x1, x0, [x2]
    (0xf820_003f, Contiguous),   // stadd x0, [x1]
    (0xf900_0020, Nothing),      // str x0, [x1]
    (0xad00_0820, Nothing),      // stp q0, q2, [x1]
    (0x4c00_0820, Nothing),      // st4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1]
    (0xc805_7c20, Nothing),      // stxr w5, x0, [x1]
    (0xd50b_7423, Nothing),      // dc zva, x3
    (0xd50b_7c23, Nothing),      // dc cvap, x3
    (0xd508_7803, Nothing),      // at s1e1r, x3
    (0x19c2_4420, Nothing),      // setm [x0]!, x1!, x2
    (0xa400_a020, Within(256)),  // ld1b {z0.b}, p0/z, [x1]
    (0xa402_4020, Within(256)),  // ld1b {z0.b}, p0/z, [x1, x2]
    (0xa511_2020, Within(256)),  // ld1w {z0.q}, p0/z, [x1, #1, mul vl]
    (0xa402_6020, Within(256)),  // ldff1b {z0.b}, p0/z, [x1, x2]
    (0xa5f1_a020, Within(256)),  // ldnf1d {z0.d}, p0/z, [x1, #1, mul vl]
    (0xa400_2020, Within(256)),  // ld1rqb {z0.b}, p0/z, [x1]
    (0xa5a2_0020, Within(256)),  // ld1rod {z0.d}, p0/z, [x1, x2, lsl #3]
    (0xa402_c020, Within(1024)), // ldnt1b {z0.b}, p0/z, [x1, x2]
    (0xa422_c020, Within(1024)), // ld2b {z0.b, z1.b}, p0/z, [x1, x2]
    (0xa560_e020, Within(1024)), // ld4w {z0.s, z1.s, z2.s, z3.s}, p0/z, [x1]
    (0xa5a2_8020, Within(1024)), // ld4q {z0.q, z1.q, z2.q, z3.q}, p0/z, [x1, x2, lsl #4]
    (0xa502_8020, Within(1024)), // ld1w {z0.q}, p0/z, [x1, x2, lsl #2]
    (0xa040_e020, Within(1024)), // ld1d {z0.d-z3.d}, pn8/z, [x1]
    (0xa040_c021, Within(1024)), // ldnt1w {z0.s-z3.s}, pn8/z, [x1]
    (0xa102_0020, Within(1024)), // ld1b {z0.b,z8.b}, pn8/z, [x1, x2]
    (0xe002_0020, Within(256)),  // ld1b {za0h.b[w12, 0]}, p0/z, [x1, x2]
    (0xe1c2_8020, Within(256)),  // ld1q {za0v.q[w12, 0]}, p0/z, [x1, x2, lsl #4]
    (0xe100_0020, Within(256)),  // ldr za[w12, 0], [x1]
    (0xe11f_8020, Within(256)),  // ldr zt0, [x1]
    (0x859f_5c20, Contiguous),   // ldr z0, [x1, #255, mul vl]
    (0x85a0_403f, Contiguous),   // ldr z31, [x1, #-256, mul vl]
    (0x85bf_1c2f, Contiguous),   // ldr p15, [x1, #-1, mul vl]
    (0x8440_8020, Contiguous),   // ld1rb {z0.b}, p0/z, [x1]
    (0x85ff_e020, Contiguous),   // ld1rd {z0.d}, p0/z, [x1, #504]
    (0x84c1_8020, Contiguous),   // ld1rsw {z0.d}, p0/z, [x1, #4]
    (0x8402_4020, Anywhere),     // ld1b {z0.s}, p0/z, [x1, z2.s, uxtw]
    (0x84e2_4020, Anywhere),     // ld1h {z0.s}, p0/z, [x1, z2.s, sxtw #1]
    (0x8522_4020, Anywhere),     // ld1w {z0.s}, p0/z, [x1, z2.s, uxtw #2]
    (0x8402_6020, Anywhere),     // ldff1b {z0.s}, p0/z, [x1, z2.s, uxtw]
    (0x8420_c020, Anywhere),     // ld1b {z0.s}, p0/z, [z1.s]
    (0x853f_c020, Anywhere),     // ld1w {z0.s}, p0/z, [z1.s, #124]
    (0x84bf_e020, Anywhere),     // ldff1h {z0.s}, p0/z, [z1.s, #62]
    (0x8402_a020, Anywhere),     // ldnt1b {z0.s}, p0/z, [z1.s, x2]
    (0xc582_c020, Anywhere),     // ldnt1d {z0.d}, p0/z, [z1.d, x2]
    (0xc5e2_c020, Anywhere),     // ld1d {z0.d}, p0/z, [x1, z2.d, lsl #3]
    (0xc5a2_4020, Anywhere),     // ld1d {z0.d}, p0/z, [x1, z2.d, uxtw #3]
    (0xc420_8020, Anywhere),     // ld1sb {z0.d}, p0/z, [z1.d]
    (0xc402_a020, Anywhere),     // ld1q {z0.q}, p0/z, [z1.d, x2]
    (0xc542_2020, Anywhere),     // ldff1sw {z0.d}, p0/z, [x1, z2.d, sxtw]
    (0xe400_e020, Nothing),      // st1b {z0.b}, p0, [x1]
    (0xe5c0_a020, Nothing),      // st1d {z0.d}, p0, [z1.d]
    (0xe5f0_e020, Nothing),      // st4d {z0.d-z3.d}, p0, [x1]
    (0xe582_2020, Nothing),      // stnt1d {z0.d}, p0, [z1.d, x2]
    (0xe580_4020, Nothing),      // str z0, [x1]
    (0xe580_0020, Nothing),      // str p0, [x1]
    (0xa022_0020, Nothing),      // st1b {z0.b-z1.b}, pn8, [x1, x2]
    (0xa122_0020, Nothing),      // st1b {z0.b,z8.b}, pn8, [x1, x2]
    (0xe022_0020, Nothing),      // st1b {za0h.b[w12, 0]}, p0, [x1, x2]
    (0xe120_0020, Nothing),      // str za[w12, 0], [x1]
    (0x8b02_0020, Anywhere),     // add x0, x1, x2
    (0xd65f_03c0, Anywhere),     // ret
];

#[test]
fn stores_write_these_bytes() {
    for &(word, start, bytes) in STORES {
        let range = store_range(word, &register);
        assert_eq!(range, Some(start..start + bytes), "{word:#010x}");
        assert!(matches!(classify(word), Class::Store(_)), "{word:#010x}");
    }
}

#[test]
fn what_is_no_store_writes_nothing_known() {
    for &word in NO_STORES {
        assert_eq!(store_range(word, &register), None, "{word:#010x}");
        assert_eq!(classify(word), Other, "{word:#010x}");
    }
}

#[test]
fn classes() {
    for &(word, class) in CLASSES {
        assert_eq!(classify(word), class, "{word:#010x}");
    }
}

#[test]
fn memory_operations() {
    for &(word, operation, forward_only, stage, registers) in MOPS {
        let Class::Mops(mops) = classify(word) else {
            panic!("{word:#010x}: {:?}", classify(word))
        };
        assert_eq!(
            (mops.operation, mops.forward_only, mops.stage),
            (operation, forward_only, stage)
        );
        let found = mops.registers;
        assert_eq!(
            [found.destination, found.source, found.size],
            registers,
            "{word:#010x}"
        );
        let zero_or = |number| if number == 31 { 0 } else { register(number) };
        let values = mops.values(&register);
        assert_eq!(
            [values.destination, values.source, values.size],
            registers.map(zero_or)
        );
    }
}

#[test]
fn reaches() {
    for &(word, expected) in REACHES {
        assert_eq!(reach(word, &register, 0), expected, "{word:#010x}");
        let gather = classify(word) == Class::Gather;
        assert!(!gather || expected == Anywhere, "{word:#010x}");
    }
}

#[test]
fn a_store_over_the_end_of_the_address_space_has_no_range() {
    let last = |_| u64::MAX - 7;
    assert_eq!(store_range(0xf900_0020, &last), None); // str x0, [x1]
    assert_eq!(
        store_range(0xb900_0020, &last),
        Some(u64::MAX - 7..u64::MAX - 3)
    ); // str w0, [x1]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    #[test]
    fn no_word_panics(word: u32, value: u64, pstate: u64) {
        let registers = |number: u8| value.rotate_left(number.into());
        let _ = classify(word);
        let _ = reach(word, &registers, pstate);
        if let Some(range) = store_range(word, &registers) {
            prop_assert!(range.end - range.start <= LINE);
        }
    }
}
