//! What a merge does if a page changes, or somebody holds it, after it was found to be equal.

use super::{Candidate, Proof};
use crate::rmap::Mapper;
use crate::sim::{SimMachine, memory};
use crate::{
    Access, AddressSpace, Advice, FrameState, Memory, Outcome, PAGE_SIZE, Placement, Protection,
    Sharing, Source, UserFrame, VirtualAddress, VirtualPage,
};

const FIRST: VirtualPage = VirtualPage(0x100);

/// A process with a page of each of these values.
fn process(memory: &Memory<SimMachine>, values: &[u8]) -> AddressSpace {
    let space = memory.create().unwrap();
    let length = (values.len() * PAGE_SIZE) as u64;
    let (at, rw) = (Placement::Fixed(FIRST.address()), Protection::READ_WRITE);
    memory
        .mmap(&space, at, length, rw, Sharing::Private, Source::Anonymous)
        .unwrap();
    let advised = memory.madvise(&space, FIRST.address(), length, Advice::Mergeable);
    advised.unwrap();
    for (number, value) in values.iter().enumerate() {
        let address = VirtualAddress(FIRST.address().0 + (number * PAGE_SIZE) as u64);
        let fault = memory.fault(&space, address, Access::Store);
        assert_eq!(fault, Outcome::Resolved);
        with_page(memory, &space, number as u64, |candidate| {
            let pfn = candidate.page.pfn();
            memory.machine().cpu_store(pfn, 0, &[*value; PAGE_SIZE]);
        });
    }
    space
}

fn with_page<R>(
    memory: &Memory<SimMachine>,
    space: &AddressSpace,
    number: u64,
    act: impl FnOnce(&Candidate<'_>) -> R,
) -> R {
    let mapper = Mapper::new(space.id(), VirtualPage(FIRST.0 + number));
    let page: UserFrame = memory.candidate(mapper).unwrap();
    let checksum = crate::Machine::checksum(memory.machine(), &page).unwrap();
    let result = act(&Candidate {
        mapper,
        page: &page,
        checksum,
    });
    memory.frames.put(page);
    result
}

/// Between the search and the proof a process may store, unmap or end.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn what_changed_since_it_looked_equal_is_left_alone() {
    let memory = memory(64);
    let space = process(&memory, &[7, 8, 0]);
    let mut ksm = memory.ksm.lock();
    with_page(&memory, &space, 0, |one| {
        let stabilised = memory.stabilise(&mut ksm, one, Proof::Zero);
        assert_eq!(stabilised, Ok(false), "it is not zero");
        let stale = Candidate {
            checksum: !one.checksum,
            ..*one
        };
        let stabilised = memory.stabilise(&mut ksm, &stale, Proof::New);
        assert_eq!(stabilised, Ok(false), "the checksum was of something else");
        assert_eq!(memory.stabilise(&mut ksm, one, Proof::New), Ok(true));
        with_page(&memory, &space, 1, |other| {
            assert_eq!(memory.merge(other, one.page), Ok(false), "they differ");
            let class = ksm.stable.iter().next().unwrap().0;
            let proof = Proof::Equal(class, one.page);
            let stabilised = memory.stabilise(&mut ksm, other, proof);
            assert_eq!(stabilised, Ok(false), "they differ");
            memory.destroy(AddressSpace(space.0.clone()));
            assert_eq!(memory.merge(other, one.page), Ok(false), "it has ended");
        });
        memory.destabilise(&mut ksm, one.page);
    });
    drop(ksm);
    assert_eq!(memory.free_frames(), 64);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn a_page_that_someone_holds_is_not_merged() {
    let memory = memory(64);
    let space = process(&memory, &[7, 7]);
    let pin = memory
        .pin_user_page(&space, FIRST.address(), Access::Store)
        .unwrap();
    (0..3).for_each(|_| while memory.ksm_scan(8) == 8 {});
    assert_eq!(memory.ksm_merging_pages(&space), 0);
    memory.unpin_user_page(pin);
    (0..3).for_each(|_| while memory.ksm_scan(8) == 8 {});
    assert_eq!(memory.ksm_merging_pages(&space), 2);
    // A pin for loads of a merged page is of a frame that is the process's alone.
    let pin = memory
        .pin_user_page(&space, FIRST.address(), Access::Load)
        .unwrap();
    let state = memory.frame_state(pin.frame().pfn());
    assert_eq!(state, Some(FrameState::Anonymous));
    memory.unpin_user_page(pin);
    memory.check().unwrap();
}
