//! Runs through exclusive sequences, against code that an assembler made of the text beside it.

use monitor::exclusive::{MAX_STOPS, RunThrough, WINDOW, scan};
use monitor::instruction::{Class, classify};
use monitor::watch::Reach;
use proptest::prelude::*;

const PC: u64 = 0xffff_8000_0008_1000;

const LDXR: u32 = 0x885f_7c20; // ldxr w0, [x1]
const STXR: u32 = 0x8803_7c22; // stxr w3, w2, [x1]
const NOP: u32 = 0xd503_201f;

fn stops(code: &[u32], breakpoints: usize) -> Option<(Vec<i64>, bool)> {
    let run: RunThrough = scan(code, PC, breakpoints)?;
    let offsets = run.stops().iter().map(|stop| stop.wrapping_sub(PC) as i64);
    Some((offsets.collect(), run.repeats()))
}

#[test]
fn an_increment_ends_after_its_store() {
    let code = [
        0xc85f_7c20, // ldxr x0, [x1]
        0x9100_0400, // add x0, x0, #1
        0xc802_7c20, // stxr w2, x0, [x1]
        0x35ff_ffa2, // cbnz w2, . - 12
    ];
    assert_eq!(stops(&code, 1), Some((vec![12], false)));
}

#[test]
fn a_compare_and_swap_may_end_at_its_failure() {
    let code = [
        0xc85f_fc20, // ldaxr x0, [x1]
        0xeb02_001f, // cmp x0, x2
        0x5400_0061, // b.ne . + 12
        0xc804_fc23, // stlxr w4, x3, [x1]
        0x35ff_ff84, // cbnz w4, . - 16
        0xd503_305f, // clrex
    ];
    assert_eq!(stops(&code, 2), Some((vec![16, 20], false)));
    assert_eq!(stops(&code, 1), None, "two breakpoints are needed");
}

/// The lock waits before the load, and leaves the window to do so.
#[test]
fn a_lock_that_waits_ends_where_it_waits() {
    let code = [
        0x885f_fc20, // ldaxr w0, [x1]
        0x35ff_ffe0, // cbnz w0, . - 4
        STXR,
    ];
    assert_eq!(
        stops(&code, 2),
        Some((vec![12], true)),
        "to the load itself"
    );
    let code = [
        0x885f_fc20, // ldaxr w0, [x1]
        0x35ff_ffc0, // cbnz w0, . - 8
        STXR,
    ];
    assert_eq!(stops(&code, 2), Some((vec![12, -4], false)));
}

#[test]
fn branches_inside_the_window_need_no_stop() {
    let code = [
        LDXR,
        0xb400_0040, // cbz x0, . + 8
        NOP,
        0x3600_0040, // tbz w0, #0, . + 8
        NOP,
        STXR,
    ];
    assert_eq!(stops(&code, 1), Some((vec![24], false)));
    let backward = [
        LDXR,
        NOP,
        0x3707_ffe0, // tbnz w0, #0, . - 4
        STXR,
    ];
    assert_eq!(stops(&backward, 1), Some((vec![16], true)));
}

/// Each kind of branch ends at its target; two with one target share a stop.
#[test]
fn every_kind_of_branch_is_followed() {
    for (word, offset) in [
        (0x1400_0040, 0x100),  // b . + 0x100
        (0x97ff_ffc0, -0x100), // bl . - 0x100
        (0x5400_0801, 0x100),  // b.ne . + 0x100
        (0x5400_0810, 0x100),  // bc.eq . + 0x100
        (0x54ff_f801, -0x100), // b.ne . - 0x100
        (0x3400_0800, 0x100),  // cbz w0, . + 0x100
        (0xb5ff_f800, -0x100), // cbnz x0, . - 0x100
        (0x3618_0800, 0x100),  // tbz w0, #3, . + 0x100
        (0xb70f_f800, -0x100), // tbnz x0, #33, . - 0x100
        (0xf401_0800, 0x100),  // cbgt x0, x1, . + 0x100
        (0x75c1_b800, -0x100), // cbeq w0, #3, . - 0x100
        (0x74e2_c801, 0x100),  // cbhne w1, w2, . + 0x100
    ] {
        let code = [LDXR, word, NOP, STXR];
        assert_eq!(
            stops(&code, 2),
            Some((vec![16, 4 + offset], false)),
            "{word:#010x}"
        );
    }
    // b.ne and b.eq to the same place
    assert_eq!(
        stops(&[LDXR, 0x5400_0801, 0x5400_07e0, STXR], 2),
        Some((vec![16, 0x104], false))
    );
}

#[test]
fn what_cannot_be_followed_is_refused() {
    for word in [
        0xd61f_0000, // br x0
        0xd63f_0000, // blr x0
        0xd65f_03c0, // ret
        0xd65f_0bff, // retaa
        0xd69f_03e0, // eret
        0xd400_0001, // svc #0
        0xd420_0020, // brk #1
        0xd503_205f, // wfe
        0xd503_207f, // wfi
        0xd503_1000, // wfet x0
        0xd503_1020, // wfit x0
        0xd503_42df, // msr daifset, #2
        0xd51b_d040, // msr tpidr_el0, x0
        0xd50b_7423, // dc zva, x3
        0xd548_201f, // sysp #0, c2, c0, #0
    ] {
        assert_eq!(stops(&[LDXR, word, STXR], 16), None, "{word:#010x}");
    }
    for word in [
        NOP,
        0xd503_203f, // yield
        0xd503_3fdf, // isb
        0xd503_3bbf, // dmb ish
        0xd503_3a3f, // dsb ishnxs
        0xd503_305f, // clrex
        0xd53b_d040, // mrs x0, tpidr_el0
    ] {
        assert_eq!(
            stops(&[LDXR, word, STXR], 1),
            Some((vec![12], false)),
            "{word:#010x}"
        );
    }
}

/// A second load in the window may be of any line, far from the first.
#[test]
fn other_loads_on_the_way_reach_anywhere() {
    let reach = |word| scan(&[LDXR, word, STXR], PC, 1).map(|run| run.reach());
    for word in [
        0xf940_8025, // ldr x5, [x1, #256]
        0xa940_1845, // ldp x5, x6, [x2]
        0x4c40_7040, // ld1 {v0.16b}, [x2]
        0xa400_a020, // ld1b {z0.b}, p0/z, [x1]
        0xe11f_8020, // ldr zt0, [x1]
        0x5800_0040, // ldr x0, . + 8
    ] {
        assert_eq!(reach(word), Some(Reach::Anywhere), "{word:#010x}");
    }
    for word in [
        NOP,
        0x9100_0400, // add x0, x0, #1
        0xeb02_001f, // cmp x0, x2
        0x5400_0021, // b.ne . + 4
        0x1e60_4000, // fmov d0, d0
        0x4e20_8400, // add v0.16b, v0.16b, v0.16b
        0x9ac2_2000, // lsl x0, x0, x2
    ] {
        assert_eq!(reach(word), Some(Reach::Contiguous), "{word:#010x}");
    }
}

#[test]
fn the_window_is_bounded() {
    let mut code = vec![NOP; WINDOW + 8];
    code[0] = LDXR;
    assert_eq!(stops(&code, 16), None, "no store");
    code[WINDOW] = STXR;
    assert_eq!(stops(&code, 16), None, "too far");
    code[WINDOW - 1] = STXR;
    assert_eq!(stops(&code, 16), Some((vec![4 * WINDOW as i64], false)));
    assert_eq!(stops(&code[1..], 16), None, "does not begin with a load");
    assert_eq!(stops(&[], 16), None);
    assert_eq!(stops(&[LDXR, STXR], 0), None);
}

fn instruction() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => Just(NOP),
        1 => any::<u32>(),
        1 => (0u32..40).prop_map(|to| 0x5400_0000 | (to.wrapping_sub(20) & 0x7_ffff) << 5),
        1 => (0u32..40).prop_map(|to| 0xb500_0003 | (to.wrapping_sub(20) & 0x7_ffff) << 5),
        1 => (0u32..40).prop_map(|to| 0x1400_0000 | to.wrapping_sub(20) & 0x3ff_ffff),
    ]
}

/// Where the instruction at `index` goes, as offsets from the first.
fn successors(word: u32, index: i64) -> Vec<i64> {
    let signed = |bits: u32, width: u32| i64::from((bits << (32 - width)) as i32 >> (32 - width));
    let next = index + 1;
    if word >> 26 == 0b00_0101 {
        vec![index + signed(word, 26)]
    } else if word >> 24 == 0x54 || word >> 24 == 0xb5 {
        vec![next, index + signed(word >> 5, 19)]
    } else {
        vec![next]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Whichever way each branch goes, a run comes to a stop, or has been said to repeat; and it
    /// stops nowhere before it has done anything.
    #[test]
    fn every_path_ends_at_a_stop(
        body in prop::collection::vec(instruction(), 0..WINDOW + 2),
        turns in prop::collection::vec(any::<bool>(), 200),
        breakpoints in 0usize..20,
    ) {
        let mut code = vec![LDXR];
        code.extend(body);
        code.push(STXR);
        let Some(run) = scan(&code, PC, breakpoints) else { return Ok(()) };
        prop_assert!(run.stops().len() <= breakpoints.min(MAX_STOPS));
        prop_assert!(!run.stops().contains(&PC));
        let mut at = 0i64;
        for (steps, turn) in turns.into_iter().enumerate() {
            if run.stops().contains(&PC.wrapping_add_signed(4 * at)) {
                break;
            }
            let word = usize::try_from(at).ok().and_then(|at| code.get(at).copied());
            let word = word.expect("the run left the code without a stop");
            let ways = successors(word, at);
            at = ways[usize::from(turn) % ways.len()];
            prop_assert!(run.repeats() || steps < code.len(), "it goes on and on");
        }
        let store = (code.iter()).position(|word| matches!(classify(*word), Class::StoreExclusive(_)));
        let end = PC + 4 * (store.expect("a store") as u64 + 1);
        prop_assert!(run.stops().contains(&end));
    }
}
