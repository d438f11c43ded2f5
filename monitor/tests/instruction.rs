//! Decoding, against words that an assembler made of the text beside them.

use control::LINE;
use monitor::instruction::Class::{
    self, LoadExclusive, Maintenance, Other, StoreExclusive, ZeroBlock,
};
use monitor::instruction::Stage::{Epilogue, Main, Prologue};
use monitor::instruction::{Exclusive, Stage, classify, reach, store_range};
use monitor::watch::Reach::{self, Anywhere, Contiguous, Nothing, Within};
use proptest::prelude::*;
use syndrome::MopsInstruction::{self, Copy, Set, SetTags};

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

/// Stores: the first byte they write, and how many.
const STORES: &[(u32, u64, u64)] = &[
    (0xf900_0020, 0x2_0002_0000, 8),     // str x0, [x1]
    (0xf93f_ffe0, 0x7fff_0000_7ff8, 8),  // str x0, [sp, #32760]
    (0xf800_8c20, 0x2_0002_0008, 8),     // str x0, [x1, #8]!
    (0xf81f_8420, 0x2_0002_0000, 8),     // str x0, [x1], #-8
    (0xf81f_d020, 0x2_0001_fffd, 8),     // stur x0, [x1, #-3]
    (0xf810_0820, 0x2_0001_ff00, 8),     // sttr x0, [x1, #-256]
    (0xb93f_fc20, 0x2_0002_3ffc, 4),     // str w0, [x1, #16380]
    (0xb900_045f, 0x3_0003_0004, 4),     // str wzr, [x2, #4]
    (0xb81f_cc83, 0x5_0004_fffc, 4),     // str w3, [x4, #-4]!
    (0xb80f_f483, 0x5_0005_0000, 4),     // str w3, [x4], #255
    (0xb800_13c0, 0x1f_001f_0001, 4),    // stur w0, [x30, #1]
    (0xb80f_fbe0, 0x7fff_0000_00ff, 4),  // sttr w0, [sp, #255]
    (0x393f_fc20, 0x2_0002_0fff, 1),     // strb w0, [x1, #4095]
    (0x381f_fc20, 0x2_0001_ffff, 1),     // strb w0, [x1, #-1]!
    (0x3800_1420, 0x2_0002_0000, 1),     // strb w0, [x1], #1
    (0x381f_f020, 0x2_0001_ffff, 1),     // sturb w0, [x1, #-1]
    (0x3800_7820, 0x2_0002_0007, 1),     // sttrb w0, [x1, #7]
    (0x793f_fc20, 0x2_0002_1ffe, 2),     // strh w0, [x1, #8190]
    (0x7800_2c20, 0x2_0002_0002, 2),     // strh w0, [x1, #2]!
    (0x7800_2420, 0x2_0002_0000, 2),     // strh w0, [x1], #2
    (0x781f_f020, 0x2_0001_ffff, 2),     // sturh w0, [x1, #-1]
    (0x7800_6820, 0x2_0002_0006, 2),     // sttrh w0, [x1, #6]
    (0xf822_6820, 0x5_0005_0000, 8),     // str x0, [x1, x2]
    (0xf822_7820, 0x1a_001a_0000, 8),    // str x0, [x1, x2, lsl #3]
    (0xf829_4820, 0x3_0001_fff0, 8),     // str x0, [x1, w9, uxtw]
    (0xf829_5820, 0xa_0001_ff80, 8),     // str x0, [x1, w9, uxtw #3]
    (0xf829_c820, 0x2_0001_fff0, 8),     // str x0, [x1, w9, sxtw]
    (0xf829_d820, 0x2_0001_ff80, 8),     // str x0, [x1, w9, sxtw #3]
    (0xf829_e820, 0x4_0001_fff0, 8),     // str x0, [x1, x9, sxtx]
    (0xf829_f820, 0x12_0001_ff80, 8),    // str x0, [x1, x9, sxtx #3]
    (0xf83f_6820, 0x2_0002_0000, 8),     // str x0, [x1, xzr]
    (0xb822_7be0, 0x800b_000c_0000, 4),  // str w0, [sp, x2, lsl #2]
    (0x3822_6820, 0x5_0005_0000, 1),     // strb w0, [x1, x2]
    (0x3829_c820, 0x2_0001_fff0, 1),     // strb w0, [x1, w9, sxtw]
    (0x7822_7820, 0x8_0008_0000, 2),     // strh w0, [x1, x2, lsl #1]
    (0x3d3f_fc20, 0x2_0002_0fff, 1),     // str b0, [x1, #4095]
    (0x7d00_0420, 0x2_0002_0002, 2),     // str h0, [x1, #2]
    (0xbd00_0420, 0x2_0002_0004, 4),     // str s0, [x1, #4]
    (0xfd00_0420, 0x2_0002_0008, 8),     // str d0, [x1, #8]
    (0x3dbf_fc20, 0x2_0002_fff0, 16),    // str q0, [x1, #65520]
    (0x3c9f_0c20, 0x2_0001_fff0, 16),    // str q0, [x1, #-16]!
    (0x3c81_0420, 0x2_0002_0000, 16),    // str q0, [x1], #16
    (0x3c9f_9020, 0x2_0001_fff9, 16),    // stur q0, [x1, #-7]
    (0x3c1f_9020, 0x2_0001_fff9, 1),     // stur b0, [x1, #-7]
    (0x3ca2_7820, 0x32_0032_0000, 16),   // str q0, [x1, x2, lsl #4]
    (0x3ca9_d820, 0x2_0001_ff00, 16),    // str q0, [x1, w9, sxtw #4]
    (0xfc22_7820, 0x1a_001a_0000, 8),    // str d0, [x1, x2, lsl #3]
    (0x3c22_6820, 0x5_0005_0000, 1),     // str b0, [x1, x2]
    (0xa91f_8820, 0x2_0002_01f8, 16),    // stp x0, x2, [x1, #504]
    (0xa9a0_0820, 0x2_0001_fe00, 16),    // stp x0, x2, [x1, #-512]!
    (0xa8bf_0be0, 0x7fff_0000_0000, 16), // stp x0, x2, [sp], #-16
    (0x291f_8820, 0x2_0002_00fc, 8),     // stp w0, w2, [x1, #252]
    (0x29a0_0820, 0x2_0001_ff00, 8),     // stp w0, w2, [x1, #-256]!
    (0x2881_0820, 0x2_0002_0000, 8),     // stp w0, w2, [x1], #8
    (0xa83f_8820, 0x2_0001_fff8, 16),    // stnp x0, x2, [x1, #-8]
    (0x2800_8820, 0x2_0002_0004, 8),     // stnp w0, w2, [x1, #4]
    (0x2d20_0820, 0x2_0001_ff00, 8),     // stp s0, s2, [x1, #-256]
    (0x6d1f_8820, 0x2_0002_01f8, 16),    // stp d0, d2, [x1, #504]
    (0xad20_0820, 0x2_0001_fc00, 32),    // stp q0, q2, [x1, #-1024]
    (0xad81_0820, 0x2_0002_0020, 32),    // stp q0, q2, [x1, #32]!
    (0xac81_0820, 0x2_0002_0000, 32),    // stp q0, q2, [x1], #32
    (0xac1f_8820, 0x2_0002_03f0, 32),    // stnp q0, q2, [x1, #1008]
    (0x6920_0820, 0x2_0001_fc00, 16),    // stgp x0, x2, [x1, #-1024]
    (0x699f_8820, 0x2_0002_03f0, 16),    // stgp x0, x2, [x1, #1008]!
    (0x6880_8820, 0x2_0002_0000, 16),    // stgp x0, x2, [x1], #16
    (0xc89f_fc20, 0x2_0002_0000, 8),     // stlr x0, [x1]
    (0x889f_ffe0, 0x7fff_0000_0000, 4),  // stlr w0, [sp]
    (0x089f_fc20, 0x2_0002_0000, 1),     // stlrb w0, [x1]
    (0x489f_fc20, 0x2_0002_0000, 2),     // stlrh w0, [x1]
    (0xc89f_7c20, 0x2_0002_0000, 8),     // stllr x0, [x1]
    (0x089f_7c20, 0x2_0002_0000, 1),     // stllrb w0, [x1]
    (0xd910_0020, 0x2_0001_ff00, 8),     // stlur x0, [x1, #-256]
    (0x990f_f020, 0x2_0002_00ff, 4),     // stlur w0, [x1, #255]
    (0x191f_f020, 0x2_0001_ffff, 1),     // stlurb w0, [x1, #-1]
    (0x5900_3020, 0x2_0002_0003, 2),     // stlurh w0, [x1, #3]
    (0x1d1f_f820, 0x2_0001_ffff, 1),     // stlur b0, [x1, #-1]
    (0x5d00_2820, 0x2_0002_0002, 2),     // stlur h0, [x1, #2]
    (0x9d00_4820, 0x2_0002_0004, 4),     // stlur s0, [x1, #4]
    (0xdd00_8820, 0x2_0002_0008, 8),     // stlur d0, [x1, #8]
    (0x1d9f_0820, 0x2_0001_fff0, 16),    // stlur q0, [x1, #-16]
    (0xd980_0820, 0x2_0001_fff8, 8),     // stlr x0, [x1, #-8]!
    (0x9980_0820, 0x2_0001_fffc, 4),     // stlr w0, [x1, #-4]!
    (0xd902_0820, 0x2_0001_fff0, 16),    // stilp x0, x2, [x1, #-16]!
    (0x9902_0820, 0x2_0001_fff8, 8),     // stilp w0, w2, [x1, #-8]!
    (0xd902_1820, 0x2_0002_0000, 16),    // stilp x0, x2, [x1]
    (0x9902_1820, 0x2_0002_0000, 8),     // stilp w0, w2, [x1]
    (0x4c00_7020, 0x2_0002_0000, 16),    // st1 {v0.16b}, [x1]
    (0x0c00_7020, 0x2_0002_0000, 8),     // st1 {v0.8b}, [x1]
    (0x4c00_ac20, 0x2_0002_0000, 32),    // st1 {v0.2d, v1.2d}, [x1]
    (0x4c00_6820, 0x2_0002_0000, 48),    // st1 {v0.4s, v1.4s, v2.4s}, [x1]
    (0x4c00_2020, 0x2_0002_0000, 64),    // st1 {v0.16b, v1.16b, v2.16b, v3.16b}, [x1]
    (0x0c00_27e0, 0x7fff_0000_0000, 32), // st1 {v0.4h, v1.4h, v2.4h, v3.4h}, [sp]
    (0x4c9f_2020, 0x2_0002_0000, 64),    // st1 {v0.16b, v1.16b, v2.16b, v3.16b}, [x1], #64
    (0x4c82_7020, 0x2_0002_0000, 16),    // st1 {v0.16b}, [x1], x2
    (0x4c00_8020, 0x2_0002_0000, 32),    // st2 {v0.16b, v1.16b}, [x1]
    (0x0c9f_8820, 0x2_0002_0000, 16),    // st2 {v0.2s, v1.2s}, [x1], #16
    (0x4c85_4420, 0x2_0002_0000, 48),    // st3 {v0.8h, v1.8h, v2.8h}, [x1], x5
    (0x4c00_0820, 0x2_0002_0000, 64),    // st4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1]
    (0x0c9f_0020, 0x2_0002_0000, 32),    // st4 {v0.8b, v1.8b, v2.8b, v3.8b}, [x1], #32
    (0xd960_1820, 0x2_0002_0010, 16),    // stzg x0, [x1, #16]
    (0xd970_0c20, 0x2_0001_f000, 16),    // stzg x0, [x1, #-4096]!
    (0xd960_1420, 0x2_0002_0000, 16),    // stzg x0, [x1], #16
    (0xd9ef_f820, 0x2_0002_0ff0, 32),    // stz2g x0, [x1, #4080]
    (0xd9e0_2fff, 0x7fff_0000_0020, 32), // stz2g sp, [sp, #32]!
    (0xd9e0_2420, 0x2_0002_0000, 32),    // stz2g x0, [x1], #32
    (0xf83f_9040, 0x3_0003_0000, 64),    // st64b x0, [x2]
    (0xe901_0820, 0x2_0002_0010, 16),    // sttp x0, x2, [x1, #16]
    (0xedbf_0820, 0x2_0001_ffe0, 32),    // sttp q0, q2, [x1, #-32]!
    (0xe801_0820, 0x2_0002_0010, 16),    // sttnp x0, x2, [x1, #16]
];

/// Accesses that are no store whose bytes are known: loads, atomics, tags alone, conditional stores,
/// lanes.
const NO_STORES: &[u32] = &[
    0xf940_0020, // ldr x0, [x1]
    0x3840_1420, // ldrb w0, [x1], #1
    0xb8a2_7820, // ldrsw x0, [x1, x2, lsl #2]
    0x3dc0_0420, // ldr q0, [x1, #16]
    0xa940_0820, // ldp x0, x2, [x1]
    0x6940_0820, // ldpsw x0, x2, [x1]
    0xac40_0820, // ldnp q0, q2, [x1]
    0xf840_0820, // ldtr x0, [x1]
    0xc8df_fc20, // ldar x0, [x1]
    0x88df_7c20, // ldlar w0, [x1]
    0xf8bf_c020, // ldapr x0, [x1]
    0xd940_8020, // ldapur x0, [x1, #8]
    0xd9c0_0820, // ldapr x0, [x1], #8
    0xd942_1820, // ldiapp x0, x2, [x1]
    0x1dc0_0820, // ldapur q0, [x1]
    0x4c40_7020, // ld1 {v0.16b}, [x1]
    0x4cdf_0820, // ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1], #64
    0x4d40_8420, // ld1 {v0.d}[1], [x1]
    0x4d40_c820, // ld1r {v0.4s}, [x1]
    0xf83f_d040, // ld64b x0, [x2]
    0xf820_0420, // ldraa x0, [x1]
    0xd960_0020, // ldg x0, [x1]
    0xd9e0_0020, // ldgm x0, [x1]
    0xf820_0022, // ldadd x0, x2, [x1]
    0xf820_003f, // stadd x0, [x1]
    0xf8e0_8022, // swpal x0, x2, [x1]
    0xc8a0_7c22, // cas x0, x2, [x1]
    0x4820_7c82, // casp x0, x1, x2, x3, [x4]
    0x1922_1020, // ldclrp x0, x2, [x1]
    0x1922_8020, // swpp x0, x2, [x1]
    0x1920_0822, // rcwcas x0, x2, [x1]
    0xf980_0020, // prfm pldl1keep, [x1]
    0x4d00_8420, // st1 {v0.d}[1], [x1]
    0x4d01_8420, // stl1 {v0.d}[1], [x1]
    0xf821_b040, // st64bv x1, x0, [x2]
    0xf821_a040, // st64bv0 x1, x0, [x2]
    0xd920_0820, // stg x0, [x1]
    0xd9a0_2420, // st2g x0, [x1], #32
    0xd9a0_0020, // stgm x0, [x1]
    0xd920_0020, // stzgm x0, [x1]
    0xd91f_0c20, // gcsstr x0, [x1]
];

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
