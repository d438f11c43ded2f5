//! Stubs: a few instructions each, run by a [trial](super::trial) and ended by SVC.
//!
//! | register | holds |
//! |---|---|
//! | x0 | the address under test |
//! | x1, x2 | operands and results |
//! | x3 | a buffer of clean memory: loads leave there what they read, stores take from it what they write |
//! | x4 | a further operand |
//!
//! A stub has three parts: what comes before the access, the access, and what comes after it. The
//! stubs have pages of their own, so that EL0 can run them through another mapping.

use core::ops::Range;

use super::arena::View;

/// The address of a stub, and that of the access in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stub {
    entry: unsafe extern "C" fn(),
    access: unsafe extern "C" fn(),
}

impl Stub {
    /// Where it starts.
    pub(crate) fn address(self) -> u64 {
        self.entry as *const () as u64
    }

    /// Where it starts in the mapping that EL0 can execute.
    pub(crate) fn user_address(self) -> u64 {
        self.address() - section().start as u64 + View::UserStubs.base()
    }

    /// How far behind its start the access is, in bytes.
    pub(crate) fn access_offset(self) -> u64 {
        self.access as *const () as u64 - self.address()
    }
}

/// The pages of the stubs.
pub(crate) fn section() -> Range<usize> {
    unsafe extern "C" {
        static __stubs_start: u8;
        static __stubs_end: u8;
    }
    (&raw const __stubs_start) as usize..(&raw const __stubs_end) as usize
}

macro_rules! stubs {
    ($($name:ident: $before:literal, $access:literal, $after:literal;)*) => {
        core::arch::global_asm!(
            ".section .stubs, \"ax\"",
            ".arch armv9-a",
            ".irp extension, fp, simd, lse, rcpc, sve, memtag, mops, ras",
            ".arch_extension \\extension",
            ".endr",
            $(
                ".balign 16",
                concat!(".global stub_", stringify!($name)),
                concat!(".global stub_", stringify!($name), "_access"),
                concat!("stub_", stringify!($name), ":"),
                $before,
                concat!("stub_", stringify!($name), "_access:"),
                $access,
                $after,
                "svc #0",
            )*
            ".text",
        );
        $(
            pub(crate) const $name: Stub = {
                unsafe extern "C" {
                    #[link_name = concat!("stub_", stringify!($name))]
                    fn entry();
                    #[link_name = concat!("stub_", stringify!($name), "_access")]
                    fn access();
                }
                Stub { entry, access }
            };
        )*
    };
}

stubs! {
    NOTHING: "", "nop", "";
    // Loads of general-purpose registers.
    LDRB: "", "ldrb w1, [x0]", "strb w1, [x3]";
    LDRSB: "", "ldrsb x1, [x0]", "strb w1, [x3]";
    LDRH: "", "ldrh w1, [x0]", "strh w1, [x3]";
    LDR_W: "", "ldr w1, [x0]", "str w1, [x3]";
    LDRSW: "", "ldrsw x1, [x0]", "str w1, [x3]";
    LDR_X: "", "ldr x1, [x0]", "str x1, [x3]";
    LDUR_X: "", "ldur x1, [x0, #-8]", "str x1, [x3]";
    LDR_X_REGISTER: "", "ldr x1, [x0, x4, lsl #3]", "str x1, [x3]";
    LDR_X_POST: "", "ldr x1, [x0], #16", "str x1, [x3]";
    LDR_X_PRE: "", "ldr x1, [x0, #-24]!", "str x1, [x3]";
    LDRB_POST: "", "ldrb w1, [x0], #1", "strb w1, [x3]";
    LDP_W: "", "ldp w1, w2, [x0]", "stp w1, w2, [x3]";
    LDP_X: "", "ldp x1, x2, [x0]", "stp x1, x2, [x3]";
    LDP_X_POST: "", "ldp x1, x2, [x0], #32", "stp x1, x2, [x3]";
    LDP_X_PRE: "", "ldp x1, x2, [x0, #-16]!", "stp x1, x2, [x3]";
    LDPSW: "", "ldpsw x1, x2, [x0]", "stp w1, w2, [x3]";
    LDNP_X: "", "ldnp x1, x2, [x0]", "stp x1, x2, [x3]";
    LDTR_X: "", "ldtr x1, [x0]", "str x1, [x3]";
    LDTRB: "", "ldtrb w1, [x0]", "strb w1, [x3]";
    LDAR_X: "", "ldar x1, [x0]", "str x1, [x3]";
    LDARB: "", "ldarb w1, [x0]", "strb w1, [x3]";
    LDAPR_X: "", "ldapr x1, [x0]", "str x1, [x3]";
    LDXR_X: "", "ldxr x1, [x0]", "str x1, [x3]\nclrex";
    LDAXRB: "", "ldaxrb w1, [x0]", "strb w1, [x3]\nclrex";
    LDXP_X: "", "ldxp x1, x2, [x0]", "stp x1, x2, [x3]\nclrex";
    // Loads of vector registers.
    LDR_B: "", "ldr b0, [x0]", "str b0, [x3]";
    LDR_H: "", "ldr h0, [x0]", "str h0, [x3]";
    LDR_S: "", "ldr s0, [x0]", "str s0, [x3]";
    LDR_D: "", "ldr d0, [x0]", "str d0, [x3]";
    LDR_Q: "", "ldr q0, [x0]", "str q0, [x3]";
    LDR_Q_POST: "", "ldr q0, [x0], #16", "str q0, [x3]";
    LDP_D: "", "ldp d0, d1, [x0]", "stp d0, d1, [x3]";
    LDP_Q: "", "ldp q0, q1, [x0]", "stp q0, q1, [x3]";
    LDP_Q_POST: "", "ldp q0, q1, [x0], #32", "stp q0, q1, [x3]";
    LDNP_Q: "", "ldnp q0, q1, [x0]", "stp q0, q1, [x3]";
    LD1_1: "", "ld1 {{v0.16b}}, [x0]", "st1 {{v0.16b}}, [x3]";
    LD1_2: "", "ld1 {{v0.16b, v1.16b}}, [x0]", "st1 {{v0.16b, v1.16b}}, [x3]";
    LD1_3: "", "ld1 {{v0.16b - v2.16b}}, [x0]", "st1 {{v0.16b - v2.16b}}, [x3]";
    LD1_4: "", "ld1 {{v0.16b - v3.16b}}, [x0]", "st1 {{v0.16b - v3.16b}}, [x3]";
    LD1_4_POST: "", "ld1 {{v0.16b - v3.16b}}, [x0], #64", "st1 {{v0.16b - v3.16b}}, [x3]";
    LD1_LANE: "", "ld1 {{v0.d}}[1], [x0]", "st1 {{v0.d}}[1], [x3]";
    LD1R: "", "ld1r {{v0.4s}}, [x0]", "st1 {{v0.s}}[3], [x3]";
    LD2: "", "ld2 {{v0.8h, v1.8h}}, [x0]", "st2 {{v0.8h, v1.8h}}, [x3]";
    LD3: "", "ld3 {{v0.4s - v2.4s}}, [x0]", "st3 {{v0.4s - v2.4s}}, [x3]";
    LD4: "", "ld4 {{v0.16b - v3.16b}}, [x0]", "st4 {{v0.16b - v3.16b}}, [x3]";
    LD4_LANE: "", "ld4 {{v0.s - v3.s}}[2], [x0]", "st4 {{v0.s - v3.s}}[2], [x3]";
    // Loads of scalable vector registers.
    LD1B_Z: "ptrue p0.b", "ld1b {{z0.b}}, p0/z, [x0]", "st1b {{z0.b}}, p0, [x3]";
    LD1D_Z: "ptrue p0.d", "ld1d {{z0.d}}, p0/z, [x0]", "st1d {{z0.d}}, p0, [x3]";
    LDNT1B_Z: "ptrue p0.b", "ldnt1b {{z0.b}}, p0/z, [x0]", "st1b {{z0.b}}, p0, [x3]";
    LD1RQB_Z: "ptrue p0.b", "ld1rqb {{z0.b}}, p0/z, [x0]", "str q0, [x3]";
    LD2B_Z: "ptrue p0.b", "ld2b {{z0.b, z1.b}}, p0/z, [x0]", "st2b {{z0.b, z1.b}}, p0, [x3]";
    LDR_Z: "", "ldr z0, [x0]", "str z0, [x3]";
    LDR_P: "", "ldr p1, [x0]", "str p1, [x3]";
    LDFF1B: "ptrue p0.b\nsetffr", "ldff1b {{z0.b}}, p0/z, [x0]",
        "rdffr p1.b\nst1b {{z0.b}}, p1, [x3]\ncntp x1, p0, p1.b";
    LDNF1B: "ptrue p0.b\nsetffr", "ldnf1b {{z0.b}}, p0/z, [x0]",
        "rdffr p1.b\nst1b {{z0.b}}, p1, [x3]\ncntp x1, p0, p1.b";
    GATHER: "ptrue p0.d, vl2\nld1d {{z1.d}}, p0/z, [x4]", "ld1d {{z0.d}}, p0/z, [x0, z1.d]",
        "st1d {{z0.d}}, p0, [x3]";
    // Stores.
    STRB: "ldrb w1, [x3]", "strb w1, [x0]", "";
    STRH: "ldrh w1, [x3]", "strh w1, [x0]", "";
    STR_W: "ldr w1, [x3]", "str w1, [x0]", "";
    STR_X: "ldr x1, [x3]", "str x1, [x0]", "";
    STR_X_POST: "ldr x1, [x3]", "str x1, [x0], #16", "";
    STP_W: "ldp w1, w2, [x3]", "stp w1, w2, [x0]", "";
    STP_X: "ldp x1, x2, [x3]", "stp x1, x2, [x0]", "";
    STP_X_POST: "ldp x1, x2, [x3]", "stp x1, x2, [x0], #16", "";
    STNP_X: "ldp x1, x2, [x3]", "stnp x1, x2, [x0]", "";
    STTR_X: "ldr x1, [x3]", "sttr x1, [x0]", "";
    STLR_X: "ldr x1, [x3]", "stlr x1, [x0]", "";
    STR_Q: "ldr q0, [x3]", "str q0, [x0]", "";
    STP_Q: "ldp q0, q1, [x3]", "stp q0, q1, [x0]", "";
    ST1_2: "ld1 {{v0.16b, v1.16b}}, [x3]", "st1 {{v0.16b, v1.16b}}, [x0]", "";
    ST1_4: "ld1 {{v0.16b - v3.16b}}, [x3]", "st1 {{v0.16b - v3.16b}}, [x0]", "";
    ST4: "ld4 {{v0.16b - v3.16b}}, [x3]", "st4 {{v0.16b - v3.16b}}, [x0]", "";
    ST1_LANE: "ldr q0, [x3]", "st1 {{v0.s}}[0], [x0]", "";
    ST1B_Z: "ptrue p0.b\nld1b {{z0.b}}, p0/z, [x3]", "st1b {{z0.b}}, p0, [x0]", "";
    // Atomics. x1 is the operand; x2 what is expected, or the old value.
    LDADDB: "", "ldaddb w1, w2, [x0]", "strb w2, [x3]";
    LDADD_W: "", "ldadd w1, w2, [x0]", "str w2, [x3]";
    LDADD_X: "", "ldadd x1, x2, [x0]", "str x2, [x3]";
    LDADDAL_X: "", "ldaddal x1, x2, [x0]", "str x2, [x3]";
    LDSETH: "", "ldseth w1, w2, [x0]", "strh w2, [x3]";
    LDCLR_X: "", "ldclr x1, x2, [x0]", "str x2, [x3]";
    LDEOR_X: "", "ldeor x1, x2, [x0]", "str x2, [x3]";
    LDUMAX_X: "", "ldumax x1, x2, [x0]", "str x2, [x3]";
    STADD_X: "", "stadd x1, [x0]", "";
    SWP_X: "", "swp x1, x2, [x0]", "str x2, [x3]";
    SWPB: "", "swpalb w1, w2, [x0]", "strb w2, [x3]";
    CAS_X: "", "cas x2, x1, [x0]", "str x2, [x3]";
    CASB: "", "casalb w2, w1, [x0]", "strb w2, [x3]";
    CASP_X: "", "casp x8, x9, x10, x11, [x0]", "stp x8, x9, [x3]";
    EXCLUSIVE_ADD: "", "1: ldxr x2, [x0]",
        "add x5, x2, x1\nstxr w6, x5, [x0]\ncbz w6, 2f\nadd x7, x7, #1\ncmp x7, #1000\nb.lo 1b\n\
         2: str x2, [x3]";
    EXCLUSIVE_ADD_BYTE: "", "1: ldaxrb w2, [x0]",
        "add w5, w2, w1\nstlxrb w6, w5, [x0]\ncbz w6, 2f\nadd x7, x7, #1\ncmp x7, #1000\nb.lo 1b\n\
         2: strb w2, [x3]";
    EXCLUSIVE_PAIR: "", "1: ldxp x8, x9, [x0]",
        "stxp w6, x10, x11, [x0]\ncbz w6, 2f\nadd x7, x7, #1\ncmp x7, #1000\nb.lo 1b\n\
         2: stp x8, x9, [x3]";
    // Whole blocks. x1, x2: source and length of a copy; length and value of a set.
    DC_ZVA: "", "dc zva, x0", "";
    CPYF: "", "cpyfp [x0]!, [x1]!, x2!\ncpyfm [x0]!, [x1]!, x2!\ncpyfe [x0]!, [x1]!, x2!", "";
    CPYFRT: "", "cpyfprt [x0]!, [x1]!, x2!\ncpyfmrt [x0]!, [x1]!, x2!\ncpyfert [x0]!, [x1]!, x2!", "";
    CPY: "", "cpyp [x0]!, [x1]!, x2!\ncpym [x0]!, [x1]!, x2!\ncpye [x0]!, [x1]!, x2!", "";
    SET: "", "setp [x0]!, x1!, x2\nsetm [x0]!, x1!, x2\nsete [x0]!, x1!, x2", "";
    FOUR_STP_Q: "ldp q0, q1, [x3]",
        "stp q0, q1, [x0]\nstp q0, q1, [x0, #32]\nstp q0, q1, [x0, #64]\nstp q0, q1, [x0, #96]", "";
    EIGHT_STP_X: "ldp x1, x2, [x3]",
        "stp x1, x2, [x0]\nstp x1, x2, [x0, #16]\nstp x1, x2, [x0, #32]\nstp x1, x2, [x0, #48]\n\
         stp x1, x2, [x0, #64]\nstp x1, x2, [x0, #80]\nstp x1, x2, [x0, #96]\nstp x1, x2, [x0, #112]", "";
    STORE_LOOP: "ldp x1, x2, [x3]", "1: stp x1, x2, [x0], #16\nsubs x4, x4, #16\nb.ne 1b", "";
    // Cache maintenance, prefetches and translation.
    PRFM: "", "prfm pldl1keep, [x0]", "";
    DC_CVAC: "", "dc cvac, x0", "";
    DC_CVAU: "", "dc cvau, x0", "";
    DC_CIVAC: "", "dc civac, x0", "";
    DC_CVAP: "", ".inst 0xd50b7c20", "";
    AT_READ: "", "at s1e1r, x0", "isb\nmrs x1, par_el1";
    AT_WRITE: "", "at s1e1w, x0", "isb\nmrs x1, par_el1";
    // Allocation tags.
    LDG: "", "ldg x1, [x0]", "";
    STG: "", "stg x1, [x0]", "";
    ST2G: "", "st2g x1, [x0]", "";
    // Programs.
    COUNT: "", "1: ldr x1, [x0]\nadd x2, x2, #1\nadd x5, x5, x1\ncmp x2, x4\nb.lo 1b", "";
    READ_DEBUG: "", "mrs x1, mdscr_el1\nmrs x2, dbgwvr0_el1\nmrs x4, dbgwcr0_el1", "";
    WRITE_DEBUG: "", "msr dbgwvr1_el1, x1\nisb\nmrs x2, dbgwvr1_el1", "";
    BARRIER: "", "esb", "mrs x1, disr_el1";
}
