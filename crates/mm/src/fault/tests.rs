//! What a fault does if another CPU finds the frame that it is about to map.

use super::{Fault, Stop};
use crate::frame::Frame;
use crate::sim::{SimMachine, memory_with};
use crate::{
    Access, Entry, FrameState, Memory, Outcome, PAGE_SIZE, Placement, Protection, Sharing, Source,
    VirtualAddress,
};

const AT: VirtualAddress = VirtualAddress(0x10_0000);
/// Small tables, which Miri is done with soon.
const BITS: u32 = 4;

/// Lets a fault adopt a fresh frame that another CPU has found meanwhile. It must not: it starts
/// again, nothing is mapped, and the frame is not its any more. Returns what became of the frame.
fn adopted_after(found: impl Fn(&mut Frame)) -> (Memory<SimMachine<BITS>>, FrameState) {
    let memory = memory_with::<BITS>(16);
    let space = memory.create().unwrap();
    let (place, length) = (Placement::Fixed(AT), PAGE_SIZE as u64);
    let (protection, sharing) = (Protection::READ_WRITE, Sharing::Private);
    memory
        .mmap(
            &space,
            place,
            length,
            protection,
            sharing,
            Source::Anonymous,
        )
        .unwrap();
    let state = FrameState::Anonymous;
    let fresh = memory.frames.allocate_user(&memory.machine, state).unwrap();
    let pfn = fresh.pfn();
    found(&mut memory.frames.lock(&fresh));
    {
        let inner = space.0.inner.lock();
        let fault = Fault {
            memory: &memory,
            space: &space,
            inner: &inner,
            vma: inner.vmas.find(AT.page()).unwrap(),
            page: AT.page(),
            address: AT,
            access: Access::Store,
        };
        let adopted = fault.adopt(fresh);
        assert!(matches!(adopted, Err(Stop::Outcome(Outcome::Retry))));
    }
    assert_eq!(memory.entry(&space, AT), Entry::Empty);
    assert!(memory.frames.lock_known(pfn).mappers.is_empty());
    let state = memory.frame_state(pfn).unwrap();
    (memory, state)
}

#[test]
fn a_frame_that_someone_moves_is_not_adopted() {
    let (memory, state) = adopted_after(|frame| frame.migrating = true);
    assert_eq!(state, FrameState::Free, "nobody else holds it");
    memory.check().unwrap();
}

#[test]
fn a_frame_that_has_failed_is_not_adopted() {
    let (memory, state) = adopted_after(|frame| frame.poisoned = true);
    assert_eq!(state, FrameState::Isolated);
    memory.check().unwrap();
}
