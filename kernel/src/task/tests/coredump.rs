//! Core dumps, read again as a debugger does.

use std::sync::Arc;
use std::thread;

use elf::ElfBytes;
use elf::abi::{ET_CORE, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::note::Note;
use elf::segment::ProgramHeader;
use linux_raw_sys::general::RLIMIT_CORE;
use mm::{
    Access, Entry, FrameState, Outcome, PAGE_SIZE, Placement, Protection, Sharing, Source,
    VirtualAddress,
};

use super::{Actor, registers};
use crate::arch::Registers;
use crate::arch::thread::State;
use crate::fs::OpenFlags;
use crate::memory::{Sink, manager};
use crate::task::coredump::{dump, park};
use crate::task::exit::{Ending, Status, end_process};
use crate::task::signal::{Info, Signal, send};
use crate::task::{Limit, Thread, current, id};

const AT: u64 = 0x7000_0000;
const PAGES: u64 = 4;
const PAGE: u64 = PAGE_SIZE as u64;
const FAULT: u64 = 0x1234;

fn allow(actor: &Actor, bytes: u64) {
    let limit = Limit {
        current: bytes,
        maximum: u64::MAX,
    };
    let mut limits = actor.thread.process.limits.lock();
    limits.set(RLIMIT_CORE, limit).unwrap();
}

/// Gives the process private pages, of which those named hold their number.
fn map(actor: &Actor, touched: &[u64]) {
    let space = actor.thread.process.space().unwrap();
    let handle = space.handle();
    manager()
        .mmap(
            handle,
            Placement::Fixed(VirtualAddress(AT)),
            PAGES * PAGE,
            Protection::READ_WRITE,
            Sharing::Private,
            Source::Anonymous,
        )
        .unwrap();
    for number in touched {
        let address = VirtualAddress(AT + number * PAGE);
        let outcome = manager().fault(handle, address, Access::Store);
        assert_eq!(outcome, Outcome::Resolved);
        let Entry::Page(pfn, _) = manager().entry(handle, address) else {
            panic!("not mapped");
        };
        let bytes = [*number as u8; PAGE_SIZE];
        manager().machine().cpu_store(pfn, 0, &bytes);
    }
}

fn info() -> Info {
    Info::fault(Signal::SIGSEGV, 1, FAULT)
}

/// The running thread's registers, in which each is different.
fn distinct() -> Registers {
    let mut registers = registers();
    for (value, register) in (100..).zip(&mut registers.x) {
        *register = value;
    }
    registers.sp = 0xffff_0000;
    registers
}

fn read(actor: &Actor, name: &[u8]) -> Vec<u8> {
    let context = &actor.thread.process.context;
    let file = context.open(None, name, OpenFlags::empty(), 0).unwrap();
    let mut bytes = vec![0; file.metadata().size as usize];
    let done = file.read(&mut Sink::Kernel(&mut bytes)).unwrap();
    assert_eq!(done, bytes.len());
    bytes
}

fn parse(core: &[u8]) -> (Vec<ProgramHeader>, Vec<(u64, Vec<u8>)>) {
    let file = ElfBytes::<LittleEndian>::minimal_parse(core).unwrap();
    assert_eq!((file.ehdr.e_type, file.ehdr.e_machine), (ET_CORE, 183));
    let headers: Vec<_> = file.segments().unwrap().iter().collect();
    assert_eq!(headers[0].p_type, PT_NOTE);
    let notes = file.segment_data_as_notes(&headers[0]).unwrap();
    let notes = notes.map(|note| match note {
        Note::Unknown(note) => (note.n_type, note.desc.to_vec()),
        other => panic!("{other:?}"),
    });
    let notes = notes.collect();
    (headers, notes)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn a_debugger_finds_everything() {
    let actor = Actor::new();
    allow(&actor, u64::MAX);
    map(&actor, &[1, 3]);
    let registers = distinct();
    assert!(dump(&current(), &info(), &registers));
    let core = read(&actor, b"/core");
    let (headers, notes) = parse(&core);

    let kinds: Vec<_> = notes.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 3, 0x5349_4749, 6, 2, 0x401]);
    let status = &notes[0].1;
    assert_eq!(status.len(), 392);
    assert_eq!(
        (half(status, 0), half(status, 4)),
        (11, 1),
        "signal and code"
    );
    assert_eq!(half(status, 32), actor.thread.id().0);
    for (index, value) in registers.x.iter().enumerate() {
        assert_eq!(word(status, 112 + index * 8), *value, "x{index}");
    }
    assert_eq!(word(status, 112 + 31 * 8), registers.sp);
    assert_eq!(word(status, 112 + 32 * 8), registers.pc);
    assert_eq!(notes[1].1.len(), 136, "NT_PRPSINFO");
    assert_eq!(half(&notes[1].1, 24), actor.thread.process.id.0);
    assert_eq!((notes[2].1.len(), word(&notes[2].1, 16)), (128, FAULT));
    assert_eq!(notes[4].1.len(), 528, "NT_FPREGSET");

    let [segment] = &headers[1..] else {
        panic!("{headers:?}");
    };
    assert_eq!((segment.p_type, segment.p_flags), (PT_LOAD, 6));
    assert_eq!((segment.p_vaddr, segment.p_align), (AT, PAGE));
    assert_eq!(
        (segment.p_filesz, segment.p_memsz),
        (PAGES * PAGE, PAGES * PAGE)
    );
    let start = segment.p_offset as usize;
    assert_eq!(core.len(), start + segment.p_filesz as usize);
    for (number, page) in core[start..].chunks(PAGE_SIZE).enumerate() {
        let expected = if number % 2 == 1 { number as u8 } else { 0 };
        assert_eq!(page, [expected; PAGE_SIZE], "page {number}");
    }
}

#[test]
fn a_page_that_fails_is_a_hole() {
    let actor = Actor::new();
    allow(&actor, u64::MAX);
    map(&actor, &[0, 1, 2]);
    let space = actor.thread.process.space().unwrap();
    let address = VirtualAddress(AT + PAGE);
    let Entry::Page(lost, _) = manager().entry(space.handle(), address) else {
        panic!("not mapped");
    };
    manager().machine().poison(lost, 5);
    assert!(dump(&current(), &info(), &distinct()));
    assert_eq!(manager().frame_state(lost), Some(FrameState::Isolated));
    let core = read(&actor, b"/core");
    let (headers, _) = parse(&core);
    let pages = core[headers[1].p_offset as usize..].chunks(PAGE_SIZE);
    let first: Vec<_> = pages.map(|page| page[0]).collect();
    assert_eq!(first, [0, 0, 2, 0]);
}

#[test]
fn a_limit_cuts_it_or_keeps_it_away() {
    let actor = Actor::new();
    map(&actor, &[0, 3]);
    assert!(!dump(&current(), &info(), &distinct()), "the default");
    allow(&actor, PAGE - 1);
    assert!(!dump(&current(), &info(), &distinct()));
    allow(&actor, 2 * PAGE);
    assert!(dump(&current(), &info(), &distinct()));
    assert_eq!(read(&actor, b"/core").len() as u64, 2 * PAGE);
}

#[test]
fn one_that_others_may_not_see_is_not_dumped() {
    let actor = Actor::new();
    allow(&actor, u64::MAX);
    let set_dumpable = |value| actor.call(167, &[4, value]);
    assert_eq!(set_dumpable(2), -22);
    assert_eq!(set_dumpable(0), 0);
    assert_eq!(actor.call(167, &[3]), 0);
    assert!(!dump(&current(), &info(), &distinct()));
    assert_eq!(set_dumpable(1), 0);
    assert!(dump(&current(), &info(), &distinct()));
}

/// Another thread of the actor's process, which nobody plays yet.
fn second(actor: &Actor) -> Arc<Thread> {
    let process = &actor.thread.process;
    let number = id::allocate().unwrap();
    let thread = Arc::new(Thread::new(number, Arc::clone(process), State::default()));
    process.threads.lock().push(Arc::clone(&thread));
    thread
}

#[test]
fn all_threads_are_in_it() {
    let actor = Actor::new();
    allow(&actor, u64::MAX);
    let other = second(&actor);
    let process = Arc::clone(&actor.thread.process);
    let parked = thread::spawn({
        let other = Arc::clone(&other);
        move || {
            let actor = Actor::play(other);
            // The way back to user mode asks the same.
            while !matches!(
                actor.thread.process.signals.lock().ending,
                Some(Ending::Dump(_))
            ) {
                thread::yield_now();
            }
            let registers = Registers {
                pc: 0xbeef,
                ..registers()
            };
            park(&actor.thread, &registers);
        }
    });
    assert!(dump(&current(), &info(), &distinct()));
    assert!(!parked.is_finished(), "it waits until the process ends");
    end_process(&process, Status::killed(Signal::SIGSEGV, true));
    parked.join().unwrap();
    let (_, notes) = parse(&read(&actor, b"/core"));
    let threads: Vec<_> = notes.iter().filter(|(kind, _)| *kind == 1).collect();
    let seen: Vec<_> = threads
        .iter()
        .map(|(_, status)| (half(status, 32), word(status, 112 + 32 * 8)))
        .collect();
    let pc = distinct().pc;
    assert_eq!(seen, [(actor.thread.id().0, pc), (other.id().0, 0xbeef)]);
}

#[test]
fn a_kill_does_not_wait_for_it() {
    let actor = Actor::new();
    allow(&actor, u64::MAX);
    // Nobody plays this thread, so it never parks.
    let _other = second(&actor);
    let process = Arc::clone(&actor.thread.process);
    let killer = thread::spawn({
        let process = Arc::clone(&process);
        move || {
            while process.signals.lock().ending.is_none() {
                thread::yield_now();
            }
            send(&process, Info::kernel(Signal::SIGTERM)).unwrap();
            assert!(matches!(
                process.signals.lock().ending,
                Some(Ending::Dump(_))
            ));
            send(&process, Info::kernel(Signal::SIGKILL)).unwrap();
        }
    });
    assert!(!dump(&current(), &info(), &distinct()));
    killer.join().unwrap();
    let killed = Status::killed(Signal::SIGKILL, false);
    assert_eq!(process.signals.lock().ending, Some(Ending::Process(killed)));
}
