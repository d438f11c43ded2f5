//! The exception table against the machine code: every access of a covered routine has an entry
//! that describes it, nothing else has one, and what runs when nothing fails is the plain routine.
#![cfg(all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64")))]
#![expect(unsafe_code, reason = "machine code is read as bytes")]

#[path = "support/decode/mod.rs"]
mod decode;
mod support;

use std::collections::BTreeMap;

use copy::Routines;
use copy::extable::{Direction, Kind};

use decode::{Decoded, accesses};
use support::code::code;
use support::{kinds, table};

const PLAIN: [&str; 2] = ["memcpy", "copy_page"];

/// All routines of all variants, those too that this CPU cannot run.
fn routines() -> impl Iterator<Item = (String, &'static str, usize)> {
    Routines::all().iter().flat_map(|variant| {
        let named = |(name, address)| (format!("{name} of {}", variant.name()), name, address);
        variant.code().map(named)
    })
}

fn expected_kind(routine: &str, access: Decoded) -> Kind {
    let (load, store, copy) = kinds(routine);
    match access {
        Decoded::Single {
            direction: Direction::Load,
            ..
        } => load,
        Decoded::Single {
            direction: Direction::Store,
            ..
        } => store,
        Decoded::Copy { .. } => copy,
    }
}

#[test]
fn every_access_has_its_entry_and_nothing_else_has() {
    let mut covered = 0;
    for (name, routine, address) in routines() {
        let code = code(address);
        let entries: BTreeMap<usize, _> = table()
            .iter()
            .filter(|entry| (address..address + code.len()).contains(&entry.instruction))
            .map(|entry| (entry.instruction - address, entry))
            .collect();
        if PLAIN.contains(&routine) {
            assert!(entries.is_empty(), "{name} should have no entries");
            assert!(!accesses(code).is_empty(), "{name} should access memory");
            continue;
        }
        let accesses = accesses(code);
        for accessing in &accesses {
            let at = format!("{name} at {:#x}: {:?}", accessing.offset, accessing.access);
            let entry = entries
                .get(&accessing.offset)
                .unwrap_or_else(|| panic!("no entry: {at}"));
            let described = entry.access().unwrap();
            assert!(
                accessing.access.is_described_by(described),
                "{at} is not {described:?}"
            );
            assert_eq!(entry.kind, expected_kind(routine, accessing.access), "{at}");
            let pad = entry.landing_pad.wrapping_sub(address);
            assert!(
                pad < code.len() && pad > accessing.offset,
                "landing pad of {at}"
            );
        }
        assert_eq!(
            accesses.len(),
            entries.len(),
            "{name} has entries that cover no access"
        );
        covered += entries.len();
    }
    println!("{covered} accesses are covered");
    assert!(covered > 100);
}

/// The landing pads come after everything else, so the fault-free part is a prefix.
#[test]
fn the_fault_free_code_is_the_plain_code() {
    let mut same_text = vec![("memcpy", "memcpy_mc"), ("copy_page", "copy_mc_page")];
    // On aarch64 user memory is accessed by other instructions.
    if cfg!(target_arch = "x86_64") {
        same_text.extend([("memcpy", "copy_from_user"), ("memcpy", "copy_to_user")]);
    }
    for variant in Routines::all() {
        let address: BTreeMap<_, _> = variant.code().collect();
        for (plain, covered) in &same_text {
            let (plain_code, covered_code) = (code(address[plain]), code(address[covered]));
            assert!(
                covered_code.starts_with(plain_code),
                "{covered} of {} differs from {plain} before its landing pads",
                variant.name()
            );
            assert!(plain_code.len() < covered_code.len());
        }
    }
}

/// Loads and stores of user memory, and no others, have the privilege of user mode.
#[cfg(target_arch = "aarch64")]
#[test]
fn user_memory_is_accessed_with_the_privilege_of_user_mode() {
    use decode::aarch64::{UserSides, user_sides};
    for (name, routine, address) in routines() {
        let expected = UserSides {
            loads: routine == "copy_from_user",
            stores: routine == "copy_to_user" || routine == "clear_user",
        };
        for (access, sides) in user_sides(code(address)) {
            let expected = match access.access {
                Decoded::Single {
                    direction: Direction::Load,
                    ..
                } => UserSides {
                    stores: false,
                    ..expected
                },
                Decoded::Single {
                    direction: Direction::Store,
                    ..
                } => UserSides {
                    loads: false,
                    ..expected
                },
                Decoded::Copy { .. } => expected,
            };
            assert_eq!(sides, expected, "{name}: {access:?}");
        }
    }
}
