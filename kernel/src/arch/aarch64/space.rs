//! Address spaces: which one a CPU runs in, and the identifiers (ASIDs) that tell their
//! translations apart.
//!
//! The identifier of a space is a slot of a table, found by the space's name. When there is no
//! slot near where it should be, all but the spaces that run now lose theirs, and all CPUs forget
//! all translations.

use core::sync::atomic::{AtomicU32, Ordering};

use mm::{PageRange, Pfn, SpaceId};

use super::cpu::{self, MAX};
use super::features;
use super::layout::PAGE;
use super::registers::{msr, run, run_with};
use super::tables::EMPTY;
use crate::sync::SpinLock;

/// How many slots are looked at for a space.
const NEAR: usize = 8;
/// From so many pages on, all translations of a space are forgotten at once.
const MANY: u64 = 128;

/// Who has each identifier: the number of a space, or 0.
static OWNERS: [AtomicU32; 1 << 16] = [const { AtomicU32::new(0) }; 1 << 16];

/// The number of the space that each CPU runs in, or 0. Protects [`OWNERS`] against changes.
static RUNNING: SpinLock<[u32; MAX]> = SpinLock::new([0; MAX]);

/// The identifiers that a space may have. 0 is that of no space.
fn slots(number: u32) -> impl Iterator<Item = usize> {
    let count = features::asids() - 1;
    (0..NEAR).map(move |step| (number as usize + step) % count + 1)
}

fn find(number: u32) -> Option<usize> {
    slots(number).find(|slot| OWNERS[*slot].load(Ordering::Relaxed) == number)
}

fn claim(number: u32) -> Option<usize> {
    let slot = slots(number).find(|slot| OWNERS[*slot].load(Ordering::Relaxed) == 0)?;
    OWNERS[slot].store(number, Ordering::Relaxed);
    // Whoever changes an entry and finds no identifier here has changed it before any walk.
    run!("dsb ish");
    Some(slot)
}

/// Takes the identifiers of all spaces that do not run.
fn roll_over(running: &[u32; MAX]) {
    for owner in &OWNERS[..features::asids()] {
        if !running.contains(&owner.load(Ordering::Relaxed)) {
            owner.store(0, Ordering::Relaxed);
        }
    }
    run!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb");
}

/// Makes the walker of this CPU use the tables of an address space, or none. Interrupts are
/// masked.
pub fn activate(space: Option<(SpaceId, Pfn)>) {
    let mut running = RUNNING.lock();
    let value = match space {
        None => {
            running[cpu::id()] = 0;
            EMPTY.physical()
        }
        Some((id, root)) => {
            let number = id.number();
            running[cpu::id()] = number;
            let slot = find(number).or_else(|| claim(number)).unwrap_or_else(|| {
                roll_over(&running);
                // At most as many as there are CPUs keep theirs, and they are not all near.
                find(number)
                    .or_else(|| claim(number))
                    .expect("more identifiers than CPUs")
            });
            (root.0 * PAGE) | ((slot as u64) << 48)
        }
    };
    msr!("ttbr0_el1", value);
    run!("isb");
}

/// Removes the translations of `pages` in `space` from the caches of all CPUs, and waits for the
/// accesses that were made through them.
pub(super) fn invalidate(space: SpaceId, pages: PageRange) {
    run!("dsb ishst");
    // Without an identifier it has no translations: they were forgotten with it.
    if let Some(slot) = find(space.number()) {
        let identifier = (slot as u64) << 48;
        if pages.pages() >= MANY {
            run_with!("tlbi aside1is, {}", identifier);
        } else {
            for page in pages.start().0..pages.end().0 {
                run_with!("tlbi vae1is, {}", identifier | page & ((1 << 44) - 1));
            }
        }
    }
    run!("dsb ish", "isb");
}
