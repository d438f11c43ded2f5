//! Every entry of the table fires and recovers.
#![cfg(all(not(miri), any(target_arch = "x86_64", target_arch = "aarch64")))]
#![expect(unsafe_code, reason = "failing memory, signals and raw pointers")]

mod support;

use std::collections::HashSet;
use std::hint;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};
use std::thread;
use std::time::{Duration, Instant};

use copy::extable::{Access, Cause, Direction, Report, Side};
use copy::{Routines, Word};

use support::code::{code, name};
use support::grid::{Bench, Copy, Grid};
use support::pages::{Pages, State, spoil};
use support::{PAGE, Session, distinct, runnable, table};

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
fn spoiled_copies(bench: &mut Bench, routines: &Routines, copy: Copy) {
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

/// Enters a page copy at its second copy instruction (FEAT_MOPS), in the state in which the first
/// may leave it: qemu's first and third leave nothing of a page to the second.
///
/// The state is that of option A, which is qemu's (Arm ARM, `CPYFM`): the addresses are the ends,
/// the count is minus what is left, the flags are 0.
#[cfg(target_arch = "aarch64")]
fn page_copy_from_the_middle(bench: &mut Bench, routines: &Routines) {
    let (_, start) = routines
        .code()
        .find(|&(name, _)| name == "copy_mc_page")
        .unwrap();
    let mut stages = table().iter().filter(|entry| {
        (start..start + code(start).len()).contains(&entry.instruction)
            && matches!(entry.access(), Some(Access::Copy { .. }))
    });
    let Some(main) = stages.nth(1) else {
        return;
    };
    for failing in [Side::Source, Side::Destination] {
        let pages = match failing {
            Side::Source => &mut bench.source,
            Side::Destination => &mut bench.destination,
        };
        pages.set(1, State::Failing);
        bench.session.begin();
        let (to, from) = (bench.destination.at(2 * PAGE), bench.source.at(2 * PAGE));
        let (rest, report): (usize, usize);
        // SAFETY: the routine's contract, at the state that the comment above describes; the last
        // two registers are those that it keeps the ends in.
        unsafe {
            std::arch::asm!(
                "msr nzcv, xzr",
                "blr {main}",
                main = in(reg) main.instruction,
                inout("x0") to => rest,
                inout("x1") from => report,
                in("x2") -(PAGE as isize),
                in("x4") to,
                in("x5") from,
                clobber_abi("C"),
            );
        }
        let report = Report::from_word(report).unwrap();
        assert_eq!((rest, report.side()), (PAGE, Some(failing)));
        bench.note_fired();
        bench.source.restore();
        bench.destination.restore();
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

/// Copies and clears a page whose memory fails at any moment, until nothing of `wanted` is silent.
///
/// A pair of user stores to an aligned address lies in one unit: its second half fails only if
/// the memory goes bad between the two.
fn races(routines: &Routines, wanted: &HashSet<usize>, fired: &mut HashSet<usize>) {
    const IDLE: usize = 0;
    const SPOIL: usize = 1;
    const END: usize = 2;
    static ORDER: AtomicUsize = AtomicUsize::new(IDLE);

    let mut bench = Bench::new();
    let place = bench.destination.at(0);
    let address = place.addr();
    let spoiler = thread::spawn(move || {
        for turn in 0_usize.. {
            while ORDER.load(Acquire) == IDLE {
                thread::yield_now();
            }
            if ORDER.load(Acquire) == END {
                return;
            }
            // So long that the copy is under way, and never the same.
            for _ in 0..turn % 1000 {
                hint::spin_loop();
            }
            spoil(address, 1);
            ORDER.store(IDLE, Release);
        }
    });
    let begin = Instant::now();
    while !wanted.is_subset(fired) && begin.elapsed() < Duration::from_secs(60) {
        for clear in [false, true] {
            bench.session.begin();
            ORDER.store(SPOIL, Release);
            let incomplete = loop {
                let result = if clear {
                    // SAFETY: the page lies in a mapping of ours.
                    unsafe { routines.clear_user(place, PAGE) }
                } else {
                    Copy::ToUser.run(routines, place, bench.source.at(0), PAGE)
                };
                if let Err(incomplete) = result {
                    break incomplete;
                }
            };
            assert!(incomplete.copied < PAGE);
            fired.extend(bench.session.fired());
            while ORDER.load(Acquire) != IDLE {
                thread::yield_now();
            }
            bench.destination.restore();
        }
    }
    ORDER.store(END, Release);
    spoiler.join().unwrap();
    ORDER.store(IDLE, Release);
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
    // The second time only the store fails, which may be an instruction of its own.
    for (state, store_alone) in [(State::Failing, false), (State::ReadOnly, true)] {
        pages.set(0, state);
        session.faults_are_memory_errors(store_alone);
        // Opaque, so that there is one copy of each and not one for each turn.
        for cmpxchg in hint::black_box([copy::cmpxchg_mc, copy::cmpxchg_user]) {
            session.begin();
            // SAFETY: the word is aligned and lies in a mapping of ours.
            assert!(unsafe { cmpxchg(bad.cast(), 0, 1) }.is_err());
            fired.extend(session.fired());
        }
    }
    session.faults_are_memory_errors(false);
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
    let grid = Grid::sparse();
    let mut bench = Bench::new();
    bench.fired = Some(HashSet::new());
    for copy in Copy::ALL {
        for routines in distinct(copy.name()) {
            bench.copies(&grid, routines, copy, Side::Source);
            bench.copies(&grid, routines, copy, Side::Destination);
            spoiled_copies(&mut bench, routines, copy);
        }
    }
    for routines in distinct("copy_mc_page") {
        bench.page_copies(routines);
        #[cfg(target_arch = "aarch64")]
        page_copy_from_the_middle(&mut bench, routines);
    }
    for routines in distinct("fill_mc") {
        bench.fills(&grid, routines);
    }
    for routines in distinct("compare_mc") {
        bench.searches(&grid, routines);
    }
    let mut fired = bench.fired.take().unwrap();
    // The next to need the session are waiting for it.
    drop(bench);
    singles(&mut fired);
    for routines in distinct("copy_to_user") {
        let code = |name| {
            let (_, address) = routines.code().find(|&(known, _)| known == name).unwrap();
            address..address + code(address).len()
        };
        let user_stores = [code("copy_to_user"), code("clear_user")];
        let wanted = table()
            .iter()
            .filter(|entry| {
                entry.access().is_some_and(|access| {
                    matches!(
                        access,
                        Access::Single {
                            direction: Direction::Store,
                            ..
                        }
                    )
                })
            })
            .map(|entry| entry.instruction)
            .filter(|at| user_stores.iter().any(|range| range.contains(at)))
            .collect();
        races(routines, &wanted, &mut fired);
    }

    let out_of_reach = out_of_reach();
    let silent: Vec<_> = table()
        .iter()
        .filter(|entry| !fired.contains(&entry.instruction))
        .filter(|entry| !out_of_reach.contains(&entry.instruction))
        // `tests/tags.rs` is about those.
        .filter(|entry| !name(entry.instruction).contains("aarch644tags"))
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
    format!("{}: {:?}", name(instruction), table().covering(instruction))
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
