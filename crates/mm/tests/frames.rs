//! Frames of the kernel's own, and what can be asked of any frame.

use mm::sim::{FIRST_FRAME, SimMachine, memory, memory_with};
use mm::{
    Access, Action, AddressSpace, Context, Entry, Errno, FileKind, FrameState, HugePolicy, Memory,
    Outcome, PAGE_SIZE, PAGES_END, PageType, Pfn, Placement, Protection, Sharing, Source,
    VirtualAddress,
};

const FRAMES: u32 = 64;
const LENGTH: u64 = PAGE_SIZE as u64;
const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const NEXT: VirtualAddress = VirtualAddress(AT.0 + LENGTH);

fn map<const BITS: u32>(
    memory: &Memory<SimMachine<BITS>>,
    space: &AddressSpace,
    (at, pages): (VirtualAddress, u64),
    (sharing, source): (Sharing, Source<'_>),
) {
    let place = Placement::Fixed(at);
    let protection = Protection::READ_WRITE;
    memory
        .mmap(space, place, pages * LENGTH, protection, sharing, source)
        .unwrap();
}

fn frame<const BITS: u32>(
    memory: &Memory<SimMachine<BITS>>,
    space: &AddressSpace,
    at: VirtualAddress,
) -> Pfn {
    match memory.entry(space, at) {
        Entry::Page(pfn, _) => pfn,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_block_of_the_kernel_s_lies_side_by_side_and_comes_back_but_for_what_failed() {
    let memory = memory(FRAMES);
    // Who is refused memory is not the kernel itself.
    memory.machine().refuse_allocation(0);
    let block = memory.allocate_kernel(3).unwrap();
    memory.machine().relent();
    assert_eq!((block.order(), memory.free_frames()), (3, 56));
    let first = block.start();
    assert_eq!((first.0 - FIRST_FRAME) % 8, 0);
    let pieces = || (first.0..first.0 + 8).map(Pfn);
    assert!(pieces().all(|pfn| memory.frame_state(pfn) == Some(FrameState::Kernel)));
    memory.check().unwrap();
    let failed = Pfn(first.0 + 5);
    let report = memory.memory_failure(failed, Context::default()).unwrap();
    assert_eq!(
        (report.page, report.action),
        (PageType::ReservedKernel, Action::Ignored)
    );
    memory.free_kernel(block);
    for pfn in pieces() {
        let state = match pfn == failed {
            true => FrameState::Isolated,
            false => FrameState::Free,
        };
        assert_eq!(memory.frame_state(pfn), Some(state));
    }
    assert_eq!(memory.free_frames(), 63);
    // All of it would be too much now; half is not.
    assert_eq!(memory.allocate_kernel(6).map(drop), Err(Errno::ENOMEM));
    assert_eq!(memory.free_frames(), 63, "nothing changed");
    let half = memory.allocate_kernel(5).unwrap();
    assert_eq!(memory.free_frames(), 31);
    memory.free_kernel(half);
    memory.check().unwrap();
}

#[test]
fn a_frame_tells_what_it_is() {
    let memory = memory(FRAMES);
    assert_eq!(memory.total_frames(), FRAMES as usize);
    let end = memory.frames_end();
    assert_eq!(end, Pfn(FIRST_FRAME + u64::from(FRAMES)));
    for outside in [Pfn(FIRST_FRAME - 1), end, Pfn(u64::MAX)] {
        assert_eq!(memory.frame_facts(outside), None);
        assert_eq!(memory.try_frame_state(outside), None);
        assert_eq!(memory.frame_use(outside), None);
    }
    let parent = memory.create().unwrap();
    map(
        &memory,
        &parent,
        (AT, 1),
        (Sharing::Private, Source::Anonymous),
    );
    assert_eq!(memory.fault(&parent, AT, Access::Store), Outcome::Resolved);
    let child = memory.fork(&parent).unwrap();
    let pfn = frame(&memory, &parent, AT);
    let facts = memory.frame_facts(pfn).unwrap();
    assert_eq!(facts.state, FrameState::Anonymous);
    assert_eq!(
        (facts.huge, facts.failed, facts.mappings),
        (false, false, 2)
    );
    assert_eq!(memory.try_frame_state(pfn), Some(facts.state));
    memory.destroy(child);
    assert_eq!(memory.frame_facts(pfn).unwrap().mappings, 1);
    let _ = memory.memory_failure(pfn, Context::default()).unwrap();
    let facts = memory.frame_facts(pfn).unwrap();
    assert_eq!((facts.state, facts.failed), (FrameState::Isolated, true));
    assert_eq!(facts.mappings, 0);
}

#[test]
fn a_piece_tells_what_its_huge_page_is() {
    let memory = memory_with::<4>(FRAMES);
    memory.set_huge_policy(HugePolicy::Always);
    let space = memory.create().unwrap();
    let at = VirtualAddress(16 * LENGTH);
    map(
        &memory,
        &space,
        (at, 16),
        (Sharing::Private, Source::Anonymous),
    );
    assert_eq!(memory.fault(&space, at, Access::Store), Outcome::Resolved);
    assert_eq!(memory.mapping_shift(&space, at), 16);
    let beyond = VirtualAddress(u64::MAX);
    assert_eq!(memory.mapping_shift(&space, beyond), 12);
    let head = frame(&memory, &space, at);
    let tail = Pfn(head.0 + 3);
    assert!(memory.frame_facts(head).unwrap().huge);
    assert_eq!(memory.frame_state(tail), Some(FrameState::Tail));
    assert_eq!(memory.frame_use(tail), Some(FrameState::Anonymous));
}

#[test]
fn a_page_is_resident_in_the_space_or_in_its_file_s_cache() {
    let memory = memory(FRAMES);
    let space = memory.create().unwrap();
    let beyond = VirtualAddress(PAGES_END * LENGTH);
    for nowhere in [AT, beyond] {
        let resident = memory.is_resident(&space, nowhere);
        assert_eq!(resident, Err(Errno::ENOMEM));
    }
    map(
        &memory,
        &space,
        (AT, 2),
        (Sharing::Private, Source::Anonymous),
    );
    assert_eq!(memory.is_resident(&space, AT), Ok(false));
    assert_eq!(memory.fault(&space, AT, Access::Load), Outcome::Resolved);
    assert_eq!(memory.is_resident(&space, AT), Ok(true));
    assert_eq!(memory.is_resident(&space, NEXT), Ok(false));

    let file = memory.create_file(FileKind::Stored, 2 * LENGTH).unwrap();
    map(
        &memory,
        &space,
        (AT, 2),
        (Sharing::Private, Source::File(&file, 0)),
    );
    assert_eq!(memory.is_resident(&space, AT), Ok(false));
    assert_eq!(memory.read_file(&file, 0, &mut [0]), Ok(1));
    assert_eq!(memory.is_resident(&space, AT), Ok(true));
    assert_eq!(memory.is_resident(&space, NEXT), Ok(false));
}

#[test]
fn shared_memory_is_known_by_its_file() {
    let memory = memory(FRAMES);
    let space = memory.create().unwrap();
    let file = memory.create_file(FileKind::Memory, 4 * LENGTH).unwrap();
    let other = memory.create_file(FileKind::Memory, LENGTH).unwrap();
    assert_ne!(file.id().number(), other.id().number());
    let source = || Source::File(&file, 2 * LENGTH);
    map(&memory, &space, (AT, 2), (Sharing::Shared, source()));
    let page = |at| memory.shared_page(&space, at);
    assert_eq!(page(AT), Some((file.id(), 2)));
    assert_eq!(page(NEXT), Some((file.id(), 3)));
    assert_eq!(page(VirtualAddress(NEXT.0 + LENGTH)), None);
    map(&memory, &space, (AT, 1), (Sharing::Private, source()));
    assert_eq!(page(AT), None, "what is stored there stays there");
}
