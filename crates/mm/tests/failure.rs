//! What `memory_failure` does with each kind of frame, and whom it tells.

use std::sync::Arc;

use mm::sim::{FIRST_FRAME, Held, SimMachine, memory, try_access};
use mm::{
    Access, Action, AddressSpace, Advice, BusCode, Consumer, Context, Entry, Errno, File, FileKind,
    FrameState, KillPolicy, Memory, Outcome, PAGE_SIZE, PageType, Pfn, Placement, Protection,
    Sharing, Sigbus, Source, VirtualAddress,
};

const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const SIMULATED: Context = Context {
    consumer: None,
    simulated: true,
};

fn map(memory: &Memory<SimMachine>, space: &AddressSpace, sharing: Sharing, source: Source<'_>) {
    let placement = Placement::Fixed(AT);
    let length = 2 * PAGE_SIZE as u64;
    memory
        .mmap(
            space,
            placement,
            length,
            Protection::READ_WRITE,
            sharing,
            source,
        )
        .unwrap();
}

fn frame(memory: &Memory<SimMachine>, space: &AddressSpace) -> Pfn {
    match memory.entry(space, AT) {
        Entry::Page(pfn, _) => pfn,
        other => panic!("{other:?}"),
    }
}

fn store(memory: &Memory<SimMachine>, space: &AddressSpace, value: u8) -> Outcome {
    touch(memory, space, Access::Store, |machine, pfn| {
        machine.cpu_store(pfn, 0, &[value; PAGE_SIZE]);
        true
    })
}

fn load(memory: &Memory<SimMachine>, space: &AddressSpace) -> Result<u8, Outcome> {
    let mut byte = [0];
    let outcome = touch(memory, space, Access::Load, |machine, pfn| {
        machine.cpu_load(pfn, 0, &mut byte).is_ok()
    });
    if outcome == Outcome::Resolved {
        Ok(byte[0])
    } else {
        Err(outcome)
    }
}

fn touch(
    memory: &Memory<SimMachine>,
    space: &AddressSpace,
    access: Access,
    mut act: impl FnMut(&SimMachine, Pfn) -> bool,
) -> Outcome {
    for _ in 0..8 {
        match try_access(memory, space, 0, AT.page(), access, &mut act).unwrap() {
            None => return Outcome::Resolved,
            Some(Outcome::Resolved) => {}
            Some(other) => return other,
        }
    }
    panic!("it does not end");
}

const fn lost(code: BusCode) -> Sigbus {
    Sigbus {
        code,
        address: AT,
        lsb: 12,
    }
}

#[test]
fn a_frame_outside_is_not_ours() {
    let memory = memory(64);
    assert_eq!(
        memory.memory_failure(Pfn(1), Context::default()),
        Err(Errno::ENXIO)
    );
    assert_eq!(memory.soft_offline(Pfn(1)), Err(Errno::ENXIO));
    assert_eq!(memory.unpoison(Pfn(1)), Err(Errno::ENXIO));
}

#[test]
fn a_free_frame_is_isolated_silently_and_comes_back_only_by_unpoison() {
    let memory = memory(64);
    let pfn = Pfn(FIRST_FRAME + 37);
    let report = memory.memory_failure(pfn, SIMULATED).unwrap();
    assert_eq!(
        (report.page, report.action),
        (PageType::FreeBuddy, Action::Recovered)
    );
    assert_eq!(report.signal, None);
    assert_eq!(memory.free_frames(), 63);
    assert_eq!(memory.corrupted_bytes(), 4096);
    assert_eq!(memory.memory_failure(pfn, SIMULATED), Err(Errno::EHWPOISON));
    assert_eq!(memory.soft_offline(pfn), Ok(()));
    assert_eq!(memory.unpoison(pfn), Ok(()));
    assert_eq!(memory.unpoison(pfn), Err(Errno::EINVAL));
    assert_eq!((memory.free_frames(), memory.corrupted_bytes()), (64, 0));
    memory.check().unwrap();

    let _ = memory.memory_failure(pfn, Context::default()).unwrap();
    assert_eq!(
        memory.unpoison(pfn),
        Err(Errno::EOPNOTSUPP),
        "a real error cannot be undone"
    );
    let counts = memory.failure_statistics();
    assert_eq!((counts.total, counts.recovered), (2, 2));
}

#[test]
fn a_table_is_left_to_the_kernel_but_never_used_again() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    let root = memory.root(&space);
    let report = memory.memory_failure(root, Context::default()).unwrap();
    assert_eq!(
        (report.page, report.action),
        (PageType::ReservedKernel, Action::Ignored)
    );
    assert_eq!(memory.soft_offline(root), Ok(()), "it is known already");
    assert_eq!(memory.unpoison(root), Err(Errno::EOPNOTSUPP));
    memory.destroy(space);
    assert_eq!(memory.frame_state(root), Some(FrameState::Isolated));
    assert_eq!(memory.free_frames(), 63);
}

#[test]
fn the_consumer_is_told_and_sharers_are_when_they_touch_it() {
    let memory = memory(64);
    let parent = memory.create().unwrap();
    map(&memory, &parent, Sharing::Private, Source::Anonymous);
    assert_eq!(store(&memory, &parent, 9), Outcome::Resolved);
    let child = memory.fork(&parent).unwrap();
    let early = memory.fork(&parent).unwrap();
    early.set_kill_policy(KillPolicy::Early);
    let child_of_early = memory.fork(&early).unwrap();
    assert_eq!(child_of_early.kill_policy(), KillPolicy::Early);
    memory.destroy(child_of_early);
    let pfn = frame(&memory, &parent);
    memory.machine().poison(pfn, 0);

    assert_eq!(
        load(&memory, &child),
        Err(Outcome::Sigbus(lost(BusCode::ActionRequired)))
    );
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    assert_eq!(memory.entry(&parent, AT), Entry::HwPoison(pfn));
    let victims = memory.machine().take_victims();
    assert_eq!(victims.len(), 1, "only one asked to be told early");
    assert_eq!(victims[0].space, early.id());
    assert_eq!(victims[0].signal, lost(BusCode::ActionOptional));
    assert_eq!(
        store(&memory, &parent, 1),
        Outcome::Sigbus(lost(BusCode::ActionRequired))
    );

    // A fork inherits the loss, and MADV_POPULATE reports it.
    let grandchild = memory.fork(&child).unwrap();
    assert_eq!(
        load(&memory, &grandchild),
        Err(Outcome::Sigbus(lost(BusCode::ActionRequired)))
    );
    let populate = memory.madvise(&grandchild, AT, 4096, Advice::PopulateRead);
    assert_eq!(populate, Err(Errno::EHWPOISON));
    memory
        .madvise(&grandchild, AT, 4096, Advice::DontNeed)
        .unwrap();
    assert_eq!(load(&memory, &grandchild), Ok(0));
    memory.check().unwrap();
}

#[test]
fn a_process_may_be_told_at_the_address_it_touched() {
    let memory = memory(64);
    let file = memory.create_file(FileKind::Memory, 4096).unwrap();
    let space = memory.create().unwrap();
    let other = VirtualAddress(AT.0 + 0x10_0000);
    for at in [AT, other] {
        let placement = Placement::FixedNoReplace(at);
        let source = Source::File(&file, 0);
        memory
            .mmap(
                &space,
                placement,
                4096,
                Protection::READ_WRITE,
                Sharing::Shared,
                source,
            )
            .unwrap();
        assert_eq!(memory.fault(&space, at, Access::Store), Outcome::Resolved);
    }
    let pfn = frame(&memory, &space);
    let consumer = Some(Consumer {
        space: space.id(),
        address: VirtualAddress(other.0 + 8),
    });
    let report = memory
        .memory_failure(
            pfn,
            Context {
                consumer,
                simulated: false,
            },
        )
        .unwrap();
    assert_eq!(report.signal.unwrap().address, other);
}

#[test]
fn the_writer_of_a_copied_page_is_told_and_nothing_else_changes() {
    let memory = memory(64);
    let parent = memory.create().unwrap();
    map(&memory, &parent, Sharing::Private, Source::Anonymous);
    assert_eq!(store(&memory, &parent, 9), Outcome::Resolved);
    let child = memory.fork(&parent).unwrap();
    let free = memory.free_frames();
    memory.machine().poison(frame(&memory, &parent), 63);
    assert_eq!(
        store(&memory, &child, 1),
        Outcome::Sigbus(lost(BusCode::ActionRequired))
    );
    assert_eq!(
        memory.free_frames(),
        free,
        "the frame for the copy was given back"
    );
    assert!(memory.machine().take_victims().is_empty());
}

fn stored_file(memory: &Memory<SimMachine>) -> Arc<File> {
    let file = memory
        .create_file(FileKind::Stored, 2 * PAGE_SIZE as u64)
        .unwrap();
    memory.machine().preset(file.id(), 0, [5; PAGE_SIZE]);
    file
}

#[test]
fn a_clean_page_of_a_file_is_read_again() {
    let memory = memory(64);
    let file = stored_file(&memory);
    let space = memory.create().unwrap();
    for sharing in [Sharing::Shared, Sharing::Private] {
        map(&memory, &space, sharing, Source::File(&file, 0));
        assert_eq!(load(&memory, &space), Ok(5));
        let pfn = frame(&memory, &space);
        memory.machine().poison(pfn, 0);
        assert_eq!(
            load(&memory, &space),
            Ok(5),
            "no signal: the instruction repeats"
        );
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    }
    // The first store to a private mapping copies, and meets the poison itself.
    memory.machine().poison(frame(&memory, &space), 3);
    assert_eq!(store(&memory, &space, 7), Outcome::Resolved);
    let mut bytes = [0; 8];
    memory.machine().poison(Pfn(FIRST_FRAME), 0);
    assert_eq!(memory.read_file(&file, 0, &mut bytes), Ok(8));
    assert_eq!((bytes, load(&memory, &space)), ([5; 8], Ok(7)));
    memory.check().unwrap();
}

#[test]
fn a_page_that_fails_while_it_is_written_back_is_not_read_again() {
    let memory = memory(64);
    let file = stored_file(&memory);
    let space = memory.create().unwrap();
    map(&memory, &space, Sharing::Shared, Source::File(&file, 0));
    assert_eq!(store(&memory, &space, 6), Outcome::Resolved);
    let pfn = frame(&memory, &space);
    let held = memory.machine().hold(Held::StoreWrite);
    let (report, read) = std::thread::scope(|scope| {
        scope.spawn(|| memory.sync(&file));
        held.wait();
        // The page counts as clean, and the store still has the older version.
        let report = memory.memory_failure(pfn, SIMULATED).unwrap();
        let read = memory.read_file(&file, 0, &mut [0]);
        held.wait();
        (report, read)
    });
    assert_eq!(report.page, PageType::DirtyLru);
    assert_eq!(read, Err(Errno::EIO));
    memory.check().unwrap();
}

#[test]
fn a_dirty_page_of_a_file_is_lost_and_nobody_gets_the_older_version() {
    let memory = memory(64);
    let file = stored_file(&memory);
    let space = memory.create().unwrap();
    map(&memory, &space, Sharing::Shared, Source::File(&file, 0));
    assert_eq!(store(&memory, &space, 6), Outcome::Resolved);
    memory.machine().poison(frame(&memory, &space), 2);
    let mut bytes = [0; PAGE_SIZE];
    assert_eq!(
        memory.read_file(&file, 0, &mut bytes),
        Ok(128),
        "the bytes before the line"
    );
    assert_eq!(bytes[..128], [6; 128]);
    assert_eq!(memory.read_file(&file, 0, &mut bytes), Err(Errno::EIO));
    assert_eq!(
        load(&memory, &space),
        Err(Outcome::Sigbus(lost(BusCode::ActionRequired)))
    );
    assert_eq!(
        memory.write_file(&file, 0, &[1; 100]),
        Err(Errno::EIO),
        "a part does not do"
    );
    assert_eq!(memory.sync(&file), Err(Errno::EIO));
    assert_eq!(memory.sync(&file), Ok(()), "an error is reported once");
    assert_eq!(memory.write_file(&file, 0, &[8; PAGE_SIZE]), Ok(PAGE_SIZE));
    assert_eq!(load(&memory, &space), Ok(8));
    assert_eq!(memory.sync(&file), Ok(()));
    assert_eq!(memory.machine().stored(file.id(), 0), [8; PAGE_SIZE]);
}

#[test]
fn a_page_that_cannot_be_written_back_is_lost_aloud() {
    let memory = memory(64);
    let file = stored_file(&memory);
    assert_eq!(memory.write_file(&file, 10, &[1; 20]), Ok(20));
    let pfn = (0..64)
        .map(|frame| Pfn(FIRST_FRAME + frame))
        .find(|pfn| matches!(memory.frame_state(*pfn), Some(FrameState::File { .. })))
        .unwrap();
    memory.machine().poison(pfn, 40);
    assert_eq!(memory.sync(&file), Err(Errno::EIO));
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    assert_eq!(memory.machine().stored(file.id(), 0), [5; PAGE_SIZE]);
}

#[test]
fn soft_offline_keeps_the_contents_and_every_sharer() {
    let memory = memory(64);
    let parent = memory.create().unwrap();
    map(&memory, &parent, Sharing::Private, Source::Anonymous);
    assert_eq!(store(&memory, &parent, 9), Outcome::Resolved);
    let child = memory.fork(&parent).unwrap();
    let old = frame(&memory, &parent);
    assert_eq!(memory.soft_offline(old), Ok(()));
    assert_eq!(memory.frame_state(old), Some(FrameState::Isolated));
    assert_eq!(frame(&memory, &parent), frame(&memory, &child));
    assert_eq!(
        (load(&memory, &parent), load(&memory, &child)),
        (Ok(9), Ok(9))
    );
    assert_eq!(memory.soft_offline(memory.root(&parent)), Err(Errno::EBUSY));

    // A page that cannot be copied stays mapped until it is dealt with as an error.
    let page = frame(&memory, &parent);
    memory.machine().poison(page, 1);
    assert_eq!(memory.soft_offline(page), Err(Errno::EHWPOISON));
    assert_eq!(memory.entry(&child, AT), Entry::HwPoison(page));
    memory.check().unwrap();
}

#[test]
fn a_write_that_fails_does_not_grow_the_file() {
    let memory = memory(64);
    let file = stored_file(&memory);
    memory.machine().refuse_allocation(0);
    assert_eq!(
        memory.write_file(&file, 3 * PAGE_SIZE as u64, b"x"),
        Err(Errno::ENOMEM)
    );
    assert_eq!(file.size(), 2 * PAGE_SIZE as u64);
    assert_eq!(memory.write_file(&file, 3 * PAGE_SIZE as u64, b"x"), Ok(1));
    assert_eq!(file.size(), 3 * PAGE_SIZE as u64 + 1);
    let mut bytes = [9; 2];
    assert_eq!(
        memory.read_file(&file, 3 * PAGE_SIZE as u64 - 1, &mut bytes),
        Ok(2)
    );
    assert_eq!(bytes, *b"\0x");
}

#[test]
fn a_policy_of_its_own_is_stronger_than_the_system_s() {
    let memory = memory(64);
    memory.set_early_kill(true);
    let consumer = memory.create().unwrap();
    map(&memory, &consumer, Sharing::Private, Source::Anonymous);
    assert_eq!(store(&memory, &consumer, 9), Outcome::Resolved);
    let default = memory.fork(&consumer).unwrap();
    let late = memory.fork(&consumer).unwrap();
    late.set_kill_policy(KillPolicy::Late);
    memory.machine().poison(frame(&memory, &consumer), 0);
    assert!(load(&memory, &consumer).is_err());
    let victims = memory.machine().take_victims();
    let told: Vec<_> = victims.iter().map(|victim| victim.space).collect();
    assert_eq!(told, [default.id()]);
    for space in [consumer, default, late] {
        memory.destroy(space);
    }
}

/// Scripts that read the log know these words.
#[test]
fn reports_are_in_linux_s_words() {
    let pages = [
        (PageType::FreeBuddy, "free buddy page"),
        (PageType::ReservedKernel, "reserved kernel page"),
        (PageType::DirtyLru, "dirty LRU page"),
        (PageType::CleanLru, "clean LRU page"),
        (PageType::DirtyMlockedLru, "dirty mlocked LRU page"),
        (PageType::CleanMlockedLru, "clean mlocked LRU page"),
        (PageType::TruncatedLru, "already truncated LRU page"),
        (PageType::CleanSwapCache, "clean swapcache page"),
        (PageType::UnsplitThp, "unsplit thp"),
        (PageType::HugePage, "huge page"),
        (PageType::FreeHuge, "free huge page"),
    ];
    for (page, words) in pages {
        assert_eq!(page.to_string(), words);
    }
    let actions = [
        (Action::Ignored, "Ignored"),
        (Action::Failed, "Failed"),
        (Action::Delayed, "Delayed"),
        (Action::Recovered, "Recovered"),
    ];
    for (action, word) in actions {
        assert_eq!(action.to_string(), word);
    }
}
