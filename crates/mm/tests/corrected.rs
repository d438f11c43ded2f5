//! A frame with many corrected errors is taken out of use, and its page stays.

use mm::sim::{FIRST_FRAME, memory};
use mm::{Access, Sharing, Source, VirtualAddress};
use mm::{Corrected, Entry, Errno, FrameState, Outcome, PAGE_SIZE, Pfn, Placement, Protection};

const AT: VirtualAddress = VirtualAddress(0x7000_0000);

#[test]
fn the_page_of_a_frame_with_many_errors_moves() {
    let memory = memory(64);
    memory.set_corrected_threshold(3);
    let space = memory.create().unwrap();
    memory
        .mmap(
            &space,
            Placement::Fixed(AT),
            PAGE_SIZE as u64,
            Protection::READ_WRITE,
            Sharing::Private,
            Source::Anonymous,
        )
        .unwrap();
    let fault = || memory.fault(&space, AT, Access::Store);
    let frame = || match memory.entry(&space, AT) {
        Entry::Page(pfn, _) => pfn,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(), Outcome::Resolved);
    let pfn = frame();
    memory.machine().cpu_store(pfn, 0, &[7]);
    assert_eq!(memory.corrected_error(pfn), Ok(Corrected::Counted(1)));

    // The count is the memory's, and outlives its user.
    memory
        .madvise(&space, AT, PAGE_SIZE as u64, mm::Advice::DontNeed)
        .unwrap();
    assert_eq!(memory.corrected_error(pfn), Ok(Corrected::Counted(2)));
    assert_eq!(fault(), Outcome::Resolved);
    assert_eq!(frame(), pfn);
    memory.machine().cpu_store(pfn, 0, &[8]);

    // What stands in the way is reported, and the next error tries again.
    memory.machine().refuse_allocation(0);
    assert_eq!(memory.corrected_error(pfn), Err(Errno::ENOMEM));
    assert_eq!(frame(), pfn);
    assert_eq!(memory.corrected_error(pfn), Ok(Corrected::Offlined));
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    let mut byte = [0];
    memory.machine().cpu_load(frame(), 0, &mut byte).unwrap();
    assert_eq!(byte, [8]);
    memory.check().unwrap();
}

#[test]
fn the_threshold_is_one_of_a_rate() {
    let memory = memory(64);
    memory.set_corrected_threshold(4);
    let pfn = Pfn(FIRST_FRAME + 40);
    for _ in 0..3 {
        memory.corrected_error(pfn).unwrap();
    }
    memory.age_corrected_errors();
    assert_eq!(memory.corrected_error(pfn), Ok(Corrected::Counted(2)));
    assert_eq!(memory.corrected_error(Pfn(3)), Err(Errno::ENXIO));
    let space = memory.create().unwrap();
    let root = memory.root(&space);
    memory.set_corrected_threshold(1);
    assert_eq!(memory.corrected_error(root), Err(Errno::EBUSY));
}
