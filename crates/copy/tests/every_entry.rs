//! Every entry of the table fires and recovers.
#![cfg(all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64")))]
#![expect(unsafe_code, reason = "failing memory, signals and raw pointers")]

mod support;

use std::collections::HashSet;

use seaworthy_copy as copy;
use seaworthy_copy::extable::{Cause, Report, Side};
use seaworthy_copy::{Routines, Word};

use support::code::code;
use support::grid::{Bench, Copy, Grid};
use support::pages::{Pages, State};
use support::{PAGE, Session, runnable, table};

/// The entries of routines that this CPU cannot run.
fn out_of_reach() -> HashSet<usize> {
    let run: HashSet<&str> = runnable().map(Routines::name).collect();
    let reachable: HashSet<usize> = runnable()
        .flat_map(|variant| variant.code().map(|(_, address)| address))
        .collect();
    let unreachable = Routines::all()
        .iter()
        .filter(|variant| !run.contains(variant.name()));
    let ranges: Vec<_> = unreachable
        .flat_map(Routines::code)
        .filter(|(_, address)| !reachable.contains(address))
        .map(|(_, address)| address..address + code(address).len())
        .collect();
    let instructions = table().iter().map(|entry| entry.instruction);
    instructions
        .filter(|at| ranges.iter().any(|range| range.contains(at)))
        .collect()
}

/// Each copy once more with memory that gets worse while it recovers, so that the landing pads'
/// own accesses fail.
fn spoiled_copies(bench: &mut Bench, routines: &Routines) {
    for copy in Copy::ALL {
        for size in [9_isize, 20, 40, 100, 200, 600, 3000, 4200, 10_007] {
            for position in [1, 3, 8, size / 2, size - 1] {
                for failing in [Side::Source, Side::Destination] {
                    for spoil in [Side::Source, Side::Destination] {
                        let range = (size.unsigned_abs(), position, 5);
                        bench.spoiled_copy(routines, copy, range, failing, spoil);
                    }
                }
            }
        }
    }
}

fn words<T: Word>(bad: *mut u8, value: T, fired: &mut HashSet<usize>, session: &Session) {
    let mut check = |result: Result<(), Report>, side| {
        let report = result.expect_err("the page fails");
        assert_eq!(
            (report.cause(), report.side()),
            (Cause::MemoryError, Some(side))
        );
        assert_eq!(session.signals(), 1);
        fired.extend(session.fired());
        session.begin();
    };
    session.begin();
    // SAFETY: the word lies in a mapping of ours.
    check(
        unsafe { copy::load_mc(bad.cast::<T>()) }.map(drop),
        Side::Source,
    );
    // SAFETY: as above.
    check(
        unsafe { copy::get_user(bad.cast::<T>()) }.map(drop),
        Side::Source,
    );
    // SAFETY: as above.
    check(
        unsafe { copy::store_mc(bad.cast::<T>(), value) },
        Side::Destination,
    );
    // SAFETY: as above.
    check(
        unsafe { copy::put_user(bad.cast::<T>(), value) },
        Side::Destination,
    );
}

/// Single accesses and `cmpxchg`, on a page that fails.
fn singles(fired: &mut HashSet<usize>) {
    let session = Session::start();
    let mut pages = Pages::new(1);
    pages.set(0, State::Failing);
    let bad = pages.at(64);
    words(bad, 1_u8, fired, &session);
    words(bad, 1_u16, fired, &session);
    words(bad, 1_u32, fired, &session);
    words(bad, 1_u64, fired, &session);
    for cmpxchg in [copy::cmpxchg_mc, copy::cmpxchg_user] {
        session.begin();
        // SAFETY: the word is aligned and lies in a mapping of ours.
        assert!(unsafe { cmpxchg(bad.cast(), 0, 1) }.is_err());
        fired.extend(session.fired());
    }
    // A fault is excused for user memory, and for nothing else.
    pages.set(0, State::Forbidden);
    session.begin();
    // SAFETY: as above.
    let report = unsafe { copy::get_user(bad.cast::<u32>()) }.unwrap_err();
    assert_eq!(report.cause(), Cause::Fault);
    fired.extend(session.fired());
}

#[test]
fn every_entry_fires() {
    let mut fired = HashSet::new();
    let grid = Grid::sparse();
    for routines in runnable() {
        let mut bench = Bench::new();
        for copy in Copy::ALL {
            bench.copies(&grid, routines, copy, Side::Source);
            bench.copies(&grid, routines, copy, Side::Destination);
        }
        spoiled_copies(&mut bench, routines);
        bench.fills(&grid, routines);
        bench.page_copies(routines);
        bench.searches(&grid, routines);
        fired.extend(bench.fired);
    }
    singles(&mut fired);

    let out_of_reach = out_of_reach();
    let silent: Vec<_> = table()
        .iter()
        .filter(|entry| !fired.contains(&entry.instruction))
        .filter(|entry| !out_of_reach.contains(&entry.instruction))
        .map(|entry| describe(entry.instruction))
        .collect();
    println!(
        "{} entries fired, {} are of variants that cannot run here",
        fired.len(),
        out_of_reach.len()
    );
    assert!(
        silent.is_empty(),
        "{} entries never fired:\n{}",
        silent.len(),
        silent.join("\n")
    );
}

/// Names the routine that an instruction belongs to.
fn describe(instruction: usize) -> String {
    for variant in Routines::all() {
        for (name, address) in variant.code() {
            if (address..address + code(address).len()).contains(&instruction) {
                let offset = instruction - address;
                let access = table()
                    .covering(instruction)
                    .and_then(|entry| entry.access());
                return format!("{name} of {} + {offset:#x}: {access:?}", variant.name());
            }
        }
    }
    format!("{instruction:#x}: {:?}", table().covering(instruction))
}

/// A wild pointer inside an mc-safe copy is no memory error: the process must still die.
#[test]
fn a_fault_in_kernel_memory_is_not_excused() {
    let _session = Session::start();
    for routines in runnable() {
        for wild in [Side::Source, Side::Destination] {
            // SAFETY: the child only calls what a signal handler may.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let mut good = [0_u8; PAGE];
                let wild_pointer = std::ptr::without_provenance_mut::<u8>(8);
                let (to, from) = match wild {
                    Side::Source => (good.as_mut_ptr(), wild_pointer),
                    Side::Destination => (wild_pointer, good.as_mut_ptr()),
                };
                // SAFETY: it is not; that is the point, and the child dies of it.
                let _ = unsafe { routines.memcpy_mc(to, from, 100) };
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) };
            }
            let mut status = 0;
            // SAFETY: `status` is a local.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert!(
                libc::WIFSIGNALED(status),
                "{wild:?} of {}: survived",
                routines.name()
            );
            assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV);
        }
    }
}
