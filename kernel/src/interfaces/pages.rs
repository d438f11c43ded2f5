//! What is known of pages: `/proc/PID/pagemap`, `/proc/kpageflags`, `/proc/kpagecount`. Linux,
//! `Documentation/admin-guide/mm/pagemap.rst`.

use alloc::sync::Arc;

use mm::{Entry, FrameFacts, FrameState, PAGE_SIZE, Pfn, VirtualAddress};

use super::Roots;
use super::words::Words;
use crate::fs::pseudo::Node;
use crate::memory::manager;
use crate::task::{Process, UserSpace};

/// In `pagemap`: the page is in memory; the low bits are its frame's number.
const PRESENT: u64 = 1 << 63;
/// It is not, but something is remembered of it: that it failed, or moves.
const SWAPPED: u64 = 1 << 62;
const SWAP_OFFSET: u32 = 5;
/// It is a file's.
const FILE: u64 = 1 << 61;
/// One process alone has it, once.
const EXCLUSIVE: u64 = 1 << 56;

/// In `kpageflags`, from Linux's `linux/kernel-page-flags.h`.
const UP_TO_DATE: u64 = 1 << 3;
const LRU: u64 = 1 << 5;
const BUDDY: u64 = 1 << 10;
const MAPPED: u64 = 1 << 11;
const ANONYMOUS: u64 = 1 << 12;
const SWAP_BACKED: u64 = 1 << 14;
const COMPOUND_HEAD: u64 = 1 << 15;
const COMPOUND_TAIL: u64 = 1 << 16;
const HUGE: u64 = 1 << 17;
const HWPOISON: u64 = 1 << 19;
const NO_PAGE: u64 = 1 << 20;
const KSM: u64 = 1 << 21;
const THP: u64 = 1 << 22;
const PAGE_TABLE: u64 = 1 << 26;
const RESERVED: u64 = 1 << 32;

pub(super) fn add(roots: &Roots) {
    let frames = manager().frames_end().0;
    let flags = Words::new(frames, |number| flags(facts(number)));
    let counts = Words::new(frames, |number| {
        facts(number).map_or(0, |facts| facts.mappings as u64)
    });
    roots
        .proc
        .add("kpageflags", Node::Special(Arc::new(flags), 0o400));
    roots
        .proc
        .add("kpagecount", Node::Special(Arc::new(counts), 0o400));
}

fn facts(number: u64) -> Option<FrameFacts> {
    manager().frame_facts(Pfn(number))
}

fn flags(facts: Option<FrameFacts>) -> u64 {
    let Some(facts) = facts else {
        return NO_PAGE;
    };
    const USED: u64 = UP_TO_DATE | LRU;
    let state = match facts.state {
        FrameState::Reserved => RESERVED,
        FrameState::Free => BUDDY,
        FrameState::Table => PAGE_TABLE,
        FrameState::Anonymous => USED | ANONYMOUS | SWAP_BACKED,
        FrameState::File { .. } => USED,
        FrameState::Ksm => USED | ANONYMOUS | KSM,
        FrameState::Hugetlb => HUGE,
        FrameState::Tail => COMPOUND_TAIL,
        FrameState::Kernel | FrameState::Claimed | FrameState::Isolated => 0,
    };
    let when = |condition, flags| if condition { flags } else { 0 };
    let is_head = facts.huge && facts.state != FrameState::Tail;
    state
        | when(facts.huge, THP)
        | when(is_head, COMPOUND_HEAD)
        | when(facts.mappings > 0, MAPPED)
        | when(facts.failed, HWPOISON)
}

/// `/proc/PID/pagemap`.
pub(super) fn pagemap(process: Arc<Process>) -> Words {
    let pages = 1 << (mm::ADDRESS_BITS - PAGE_SIZE.trailing_zeros());
    // A process that has ended has no pages.
    Words::new(pages, move |page| {
        process.space().map_or(0, |space| entry(&space, page))
    })
}

fn entry(space: &UserSpace, page: u64) -> u64 {
    let manager = manager();
    let address = VirtualAddress(page * PAGE_SIZE as u64);
    match manager.entry(space.handle(), address) {
        Entry::Empty | Entry::Reserved | Entry::Taken => 0,
        Entry::Page(pfn, _) => {
            let facts = manager.frame_facts(pfn);
            let is = |test: fn(&FrameFacts) -> bool, flag| {
                if facts.as_ref().is_some_and(test) {
                    flag
                } else {
                    0
                }
            };
            PRESENT
                | is(|facts| matches!(facts.state, FrameState::File { .. }), FILE)
                | is(|facts| facts.mappings == 1, EXCLUSIVE)
                | pfn.0
        }
        // Swap has one device, of type 0.
        Entry::Swap(slot) => SWAPPED | u64::from(slot.number()) << SWAP_OFFSET,
        Entry::HwPoison(_) | Entry::Migration(_) => SWAPPED,
    }
}

#[cfg(test)]
mod tests {
    use mm::{FrameFacts, FrameState};

    use super::flags;

    #[test]
    fn frames_have_the_flags_that_tools_look_for() {
        let facts = |state, failed, mappings| FrameFacts {
            state,
            huge: false,
            failed,
            mappings,
        };
        assert_eq!(flags(None), 1 << 20);
        assert_eq!(flags(Some(facts(FrameState::Free, false, 0))), 1 << 10);
        assert_eq!(flags(Some(facts(FrameState::Isolated, true, 0))), 1 << 19);
        let anonymous = flags(Some(facts(FrameState::Anonymous, false, 2)));
        assert_eq!(anonymous, 1 << 3 | 1 << 5 | 1 << 11 | 1 << 12 | 1 << 14);
        let head = FrameFacts {
            huge: true,
            ..facts(FrameState::Anonymous, true, 1)
        };
        assert_eq!(flags(Some(head)), anonymous | 1 << 15 | 1 << 19 | 1 << 22);
    }
}
