//! Pinned pages stay what their process sees, and a fork copies them at once.

use mm::sim::{SimMachine, memory};
use mm::{
    Access, Action, AddressSpace, Context, Entry, Errno, FileKind, FrameState, Memory, Outcome,
    PAGE_SIZE, Pfn, Placement, Protection, Sharing, Source, VirtualAddress,
};

const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const LENGTH: u64 = 2 * PAGE_SIZE as u64;

fn map(memory: &Memory<SimMachine>, sharing: Sharing, source: Source<'_>) -> AddressSpace {
    let space = memory.create().unwrap();
    let protection = Protection::READ_WRITE;
    memory
        .mmap(
            &space,
            Placement::Fixed(AT),
            LENGTH,
            protection,
            sharing,
            source,
        )
        .unwrap();
    space
}

fn anonymous(memory: &Memory<SimMachine>) -> AddressSpace {
    let space = map(memory, Sharing::Private, Source::Anonymous);
    let outcome = memory.fault(&space, AT, Access::Store);
    assert_eq!(outcome, Outcome::Resolved);
    memory
        .machine()
        .cpu_store(frame(memory, &space), 0, &[7; PAGE_SIZE]);
    space
}

fn frame(memory: &Memory<SimMachine>, space: &AddressSpace) -> Pfn {
    match memory.entry(space, AT) {
        Entry::Page(pfn, _) => pfn,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fork_copies_a_pinned_page_and_the_pin_stays_with_the_parent() {
    let memory = memory(64);
    let parent = anonymous(&memory);
    let pin = memory.pin_user_page(&parent, AT, Access::Load).unwrap();
    let child = memory.fork(&parent).unwrap();
    assert_ne!(frame(&memory, &parent), frame(&memory, &child));
    let outcome = memory.fault(&parent, AT, Access::Store);
    assert_eq!(outcome, Outcome::Resolved);
    assert_eq!(frame(&memory, &parent), pin.frame().pfn());
    let mut byte = [0];
    memory
        .machine()
        .cpu_load(frame(&memory, &child), 9, &mut byte)
        .unwrap();
    assert_eq!(byte, [7]);
    memory.check().unwrap();

    // A page that nobody may move, or free before the pin is gone.
    let pfn = pin.frame().pfn();
    assert_eq!(memory.soft_offline(pfn), Err(Errno::EBUSY));
    memory.destroy(parent);
    memory.check().unwrap();
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Anonymous));
    assert_eq!(memory.read_pinned(&pin, 0, &mut byte), Ok(()));
    memory.unpin_user_page(pin);
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Free));
    memory.destroy(child);
    assert_eq!(memory.free_frames(), 64);
}

#[test]
fn a_fork_that_cannot_copy_fails_and_the_parent_keeps_the_rest() {
    let memory = memory(64);
    let parent = anonymous(&memory);
    let second = VirtualAddress(AT.0 + PAGE_SIZE as u64);
    let outcome = memory.fault(&parent, second, Access::Store);
    assert_eq!(outcome, Outcome::Resolved);
    let pin = memory.pin_user_page(&parent, AT, Access::Store).unwrap();
    let pfn = pin.frame().pfn();
    memory.machine().poison(pfn, 5);
    let free = memory.free_frames();
    assert_eq!(memory.fork(&parent).err(), Some(Errno::EHWPOISON));
    assert_eq!(memory.free_frames(), free, "nothing is left of the child");
    assert_eq!(memory.entry(&parent, AT), Entry::HwPoison(pfn));
    assert!(matches!(memory.entry(&parent, second), Entry::Page(..)));
    let counts = memory.failure_statistics();
    assert_eq!((counts.failed, counts.total), (1, 1), "the pin holds it");
    memory.check().unwrap();
    memory.unpin_user_page(pin);
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));

    // The loss is known now, and a child inherits it.
    let child = memory.fork(&parent).unwrap();
    assert_eq!(memory.entry(&child, AT), Entry::HwPoison(pfn));
    assert_eq!(
        memory.pin_user_page(&child, AT, Access::Load).err(),
        Some(Errno::EHWPOISON)
    );
}

#[test]
fn every_allocation_of_an_early_copy_may_be_refused() {
    let memory = memory(64);
    let parent = anonymous(&memory);
    let pin = memory.pin_user_page(&parent, AT, Access::Load).unwrap();
    let free = memory.free_frames();
    let mut refusals = 0;
    while {
        memory.machine().refuse_allocation(refusals);
        let child = memory.fork(&parent);
        memory.machine().relent();
        memory.check().unwrap();
        match child {
            Ok(child) => {
                memory.destroy(child);
                false
            }
            Err(error) => {
                assert_eq!(error, Errno::ENOMEM);
                true
            }
        }
    } {
        assert_eq!(memory.free_frames(), free);
        refusals += 1;
    }
    assert!(refusals > 5, "only {refusals}");
    memory.unpin_user_page(pin);
}

#[test]
fn a_shared_page_is_copied_before_it_is_pinned() {
    let memory = memory(64);
    let parent = anonymous(&memory);
    let child = memory.fork(&parent).unwrap();
    assert_eq!(frame(&memory, &parent), frame(&memory, &child));
    let pin = memory.pin_user_page(&child, AT, Access::Load).unwrap();
    assert_ne!(frame(&memory, &parent), frame(&memory, &child));
    assert_eq!(frame(&memory, &child), pin.frame().pfn());
    memory.unpin_user_page(pin);

    let third = memory.fork(&parent).unwrap();
    memory.machine().poison(frame(&memory, &third), 0);
    assert_eq!(
        memory.pin_user_page(&third, AT, Access::Load).err(),
        Some(Errno::EHWPOISON)
    );
    memory.check().unwrap();
}

#[test]
fn a_page_that_cannot_be_read_is_isolated_when_the_pin_is_gone() {
    let memory = memory(64);
    let space = anonymous(&memory);
    let pin = memory.pin_user_page(&space, AT, Access::Load).unwrap();
    let pfn = pin.frame().pfn();
    memory.machine().poison(pfn, 2);
    let mut bytes = [0; 200];
    assert_eq!(memory.read_pinned(&pin, 10, &mut bytes), Err(118));
    assert_eq!(bytes[..118], [7; 118]);
    assert_eq!(memory.entry(&space, AT), Entry::HwPoison(pfn));
    // It is on its way out already.
    assert_eq!(memory.soft_offline(pfn), Ok(()));
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Anonymous));
    memory.unpin_user_page(pin);
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
}

#[test]
fn a_page_that_a_pin_may_store_to_is_never_clean() {
    let memory = memory(64);
    let file = memory.create_file(FileKind::Stored, LENGTH).unwrap();
    let space = map(&memory, Sharing::Shared, Source::File(&file, 0));
    let pin = memory.pin_user_page(&space, AT, Access::Store).unwrap();
    memory.sync(&file).unwrap();
    let pfn = pin.frame().pfn();
    memory.machine().cpu_store(pfn, 0, &[9]);
    assert_eq!(memory.reclaim(10), 0);
    memory.unpin_user_page(pin);
    assert_eq!(memory.reclaim(10), 0, "it is dirty still");
    memory.sync(&file).unwrap();
    assert_eq!(memory.machine().stored(file.id(), 0)[0], 9);
    assert_eq!(memory.reclaim(10), 1);

    // A page that is truncated goes with its last pin.
    let pin = memory.pin_user_page(&space, AT, Access::Load).unwrap();
    let pfn = pin.frame().pfn();
    memory.truncate(&file, 0).unwrap();
    memory.check().unwrap();
    assert_eq!(
        memory.pin_user_page(&space, AT, Access::Load).err(),
        Some(Errno::EFAULT)
    );
    let report = memory.memory_failure(pfn, Context::default()).unwrap();
    assert_eq!(report.action, Action::Delayed);
    memory.unpin_user_page(pin);
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
}

#[test]
fn pins_beyond_counting_are_refused() {
    let memory = memory(64);
    let space = anonymous(&memory);
    let pins: Vec<_> = (0..u16::MAX)
        .map(|_| memory.pin_user_page(&space, AT, Access::Store).unwrap())
        .collect();
    assert_eq!(
        memory.pin_user_page(&space, AT, Access::Store).err(),
        Some(Errno::ENOMEM)
    );
    pins.into_iter().for_each(|pin| memory.unpin_user_page(pin));
    memory.destroy(space);
    assert_eq!(memory.free_frames(), 64);
}

/// Stores by the pin come without a fault, so what the store has may be older at any time.
#[test]
fn a_page_that_is_pinned_for_stores_is_never_clean() {
    let memory = memory(64);
    let file = memory.create_file(FileKind::Stored, LENGTH).unwrap();
    let space = map(&memory, Sharing::Shared, Source::File(&file, 0));
    let pin = memory.pin_user_page(&space, AT, Access::Store).unwrap();
    assert_eq!(memory.sync(&file), Ok(()));
    let pfn = pin.frame().pfn();
    memory.machine().cpu_store(pfn, 0, &[9; PAGE_SIZE]);
    let _ = memory.memory_failure(pfn, Context::default()).unwrap();
    let read = memory.read_file(&file, 0, &mut [0]);
    assert_eq!(read, Err(Errno::EIO), "the store has an older version");
    memory.unpin_user_page(pin);
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
}
