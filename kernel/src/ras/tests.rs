//! The whole way, with the monitor's own firmware and simulated memory.

use alloc::vec::Vec;

use control::{Notice, Policy};
use firmware::{Consumer, Record, Source as From};
use mm::sim::SimMachine;
use mm::{
    Access, AddressSpace, BusCode, Entry, FileKind, FrameState, KillPolicy, Memory, Outcome,
    PAGE_SIZE, Pfn, Placement, Protection, Sharing, Source, VirtualAddress,
};
use syndrome::SyncErrorType;

use crate::arch::Firmware as Machine;
use crate::error::Errno;
use crate::ras::abort::{Abort, Mode, Severity, Verdict};
use crate::ras::corrected::THRESHOLD;
use crate::ras::einj::{Injector, Parameters};
use crate::ras::engine::{Engine, Finisher};
use crate::ras::queue::NOBODY;
use crate::ras::sources::Firmware;
use crate::task::signal::{Detail, Info, Signal, code};

/// Where the test's page is.
const AT: u64 = 0x10_0000;
/// The thread that meets errors.
const THREAD: u32 = 7;
const CPU: usize = 0;

struct Bench {
    machine: Machine,
    engine: Engine<Machine>,
    memory: Memory<SimMachine>,
    space: AddressSpace,
    pfn: Pfn,
}

impl Bench {
    fn new() -> Self {
        Self::with(true, true)
    }

    fn with(has_firmware: bool, recovers: bool) -> Self {
        let machine = Machine::new();
        let firmware = Firmware::read(machine, Machine::RSDP).unwrap();
        let memory = mm::sim::memory(4096);
        let space = memory.create().unwrap();
        let pfn = map(&memory, &space, Sharing::Private, Source::Anonymous);
        Self {
            machine,
            engine: Engine::new(has_firmware.then_some(firmware), recovers),
            memory,
            space,
            pfn,
        }
    }

    fn physical(&self) -> u64 {
        self.pfn.0 * PAGE_SIZE as u64 + 0x440
    }

    /// Firmware reports that the test's page was met, with this policy.
    fn reports(&self, policy: Policy) {
        let consumer = Consumer {
            mpidr: 0,
            midr: 0,
            virtual_address: Some(AT),
            fetch: false,
            restartable: false,
            uncontainable: false,
        };
        let record = Record::hit(policy, self.physical(), consumer);
        assert!(self.machine.report(From::Sea, CPU, &record));
    }

    fn notices(&self, notice: Notice, source: From) {
        let record = Record::notice(notice, self.physical());
        assert!(self.machine.report(source, CPU, &record));
    }

    fn aborts(&self, mode: Mode) -> Verdict {
        self.engine.synchronous_abort(CPU, THREAD, &abort(mode))
    }

    /// What the thread is told.
    fn finish(&self) -> Vec<Info> {
        self.finish_as(THREAD)
    }

    fn finish_as(&self, owner: u32) -> Vec<Info> {
        let mut told = Vec::new();
        let finisher = Finisher {
            owner,
            space: Some(&self.space),
            now: 1,
        };
        self.engine
            .finish(&self.memory, &finisher, |info, _| told.push(info));
        told
    }

    fn is_isolated(&self) -> bool {
        self.memory.frame_state(self.pfn) == Some(FrameState::Isolated)
    }
}

fn abort(mode: Mode) -> Abort {
    Abort {
        mode,
        address: Some(AT + 0x440),
        physical: None,
        syndrome: 0,
        on_walk: false,
        error_type: SyncErrorType::Recoverable,
    }
}

/// Maps a page at [`AT`] and stores to it, or loads if it is a file's.
fn map(
    memory: &Memory<SimMachine>,
    space: &AddressSpace,
    sharing: Sharing,
    source: Source<'_>,
) -> Pfn {
    let access = match source {
        Source::Anonymous => Access::Store,
        _ => Access::Load,
    };
    let (place, rights) = (Placement::Fixed(VirtualAddress(AT)), Protection::READ_WRITE);
    memory
        .mmap(space, place, PAGE_SIZE as u64, rights, sharing, source)
        .unwrap();
    assert_eq!(
        memory.fault(space, VirtualAddress(AT), access),
        Outcome::Resolved
    );
    match memory.entry(space, VirtualAddress(AT)) {
        Entry::Page(pfn, _) => pfn,
        other => panic!("{other:?}"),
    }
}

fn action_required() -> Info {
    Info {
        signal: Signal::SIGBUS,
        code: BusCode::ActionRequired as i32,
        detail: Detail::Fault(AT, 12),
    }
}

#[test]
fn a_program_that_meets_an_error_is_told_and_the_page_is_gone() {
    for policy in [
        Policy::empty(),
        Policy::PROCESSOR,
        Policy::NO_PHYSICAL_ADDRESS,
    ] {
        let bench = Bench::new();
        bench.reports(policy);
        assert_eq!(bench.aborts(Mode::User), Verdict::Resume);
        assert!(!bench.is_isolated(), "not before task context");
        assert_eq!(bench.finish(), [action_required()]);
        assert!(bench.is_isolated());
        assert_eq!(bench.finish(), []);
    }
}

#[test]
fn the_kernel_goes_on_and_nobody_is_told() {
    let bench = Bench::new();
    bench.reports(Policy::empty());
    assert_eq!(bench.aborts(Mode::Kernel), Verdict::FixUp);
    assert_eq!(bench.finish(), []);
    assert!(bench.is_isolated());
}

#[test]
fn recover_off_is_as_it_was_before() {
    let bench = Bench::with(true, false);
    bench.reports(Policy::empty());
    assert!(matches!(bench.aborts(Mode::Kernel), Verdict::Panic(_)));
    let bench = Bench::with(true, false);
    bench.reports(Policy::empty());
    assert_eq!(bench.aborts(Mode::User), Verdict::Resume);
    assert_eq!(bench.finish(), [action_required()]);
}

#[test]
fn without_a_record_the_address_is_enough() {
    for has_firmware in [false, true] {
        let bench = Bench::with(has_firmware, true);
        assert_eq!(bench.aborts(Mode::User), Verdict::Resume);
        assert_eq!(bench.finish(), [action_required()]);
        assert!(bench.is_isolated());
        // The copy of a system call: the address is the program's, the mode is not.
        let bench = Bench::with(has_firmware, true);
        assert_eq!(bench.aborts(Mode::Kernel), Verdict::FixUp);
        assert_eq!(bench.finish(), []);
        assert!(bench.is_isolated());
    }
}

#[test]
fn the_physical_address_that_the_cpu_found_is_taken_first() {
    let bench = Bench::with(false, true);
    let abort = Abort {
        address: Some(0xffff_0000_0000_0000 + bench.physical()),
        physical: Some(bench.physical()),
        ..abort(Mode::Kernel)
    };
    let verdict = bench.engine.synchronous_abort(CPU, THREAD, &abort);
    assert_eq!(verdict, Verdict::FixUp);
    assert_eq!(bench.finish(), []);
    assert!(bench.is_isolated());
}

#[test]
fn with_nothing_known_a_program_ends_and_the_kernel_goes_on() {
    let unknown = |mode| Abort {
        address: None,
        ..abort(mode)
    };
    let bench = Bench::with(false, true);
    let verdict = bench
        .engine
        .synchronous_abort(CPU, THREAD, &unknown(Mode::User));
    assert_eq!(verdict, Verdict::Resume);
    let info = Info::fault(Signal::SIGBUS, code::OBJECT_ERROR, 0);
    assert_eq!(bench.finish(), [info]);
    let verdict = bench
        .engine
        .synchronous_abort(CPU, THREAD, &unknown(Mode::Kernel));
    assert_eq!(verdict, Verdict::FixUp);
    assert_eq!(bench.finish(), []);
    assert!(!bench.is_isolated());
}

#[test]
fn the_record_is_enough_without_an_address() {
    let bench = Bench::new();
    bench.reports(Policy::NO_FAR);
    let abort = Abort {
        address: None,
        ..abort(Mode::User)
    };
    let verdict = bench.engine.synchronous_abort(CPU, THREAD, &abort);
    assert_eq!(verdict, Verdict::Resume);
    assert_eq!(bench.finish(), [action_required()]);
}

#[test]
fn the_same_error_again_is_claimed_again() {
    let bench = Bench::new();
    for _ in 0..20 {
        bench.reports(Policy::empty());
        assert_eq!(bench.aborts(Mode::Kernel), Verdict::FixUp);
        assert_eq!(bench.finish(), []);
    }
    assert!(bench.is_isolated());
    assert_eq!(bench.memory.failure_statistics().total, 1);
}

#[test]
fn two_cpus_at_once_both_recover_whoever_takes_the_record() {
    let bench = Bench::new();
    bench.reports(Policy::empty());
    let abort = abort(Mode::User);
    let first = bench.engine.synchronous_abort(0, THREAD, &abort);
    let second = bench.engine.synchronous_abort(1, THREAD + 1, &abort);
    assert_eq!((first, second), (Verdict::Resume, Verdict::Resume));
    // Neither finishes what is the other's.
    assert_eq!(bench.finish_as(THREAD + 1), [action_required()]);
    assert_eq!(bench.finish_as(THREAD), []);
    assert!(bench.is_isolated());
    // The first repeats its access, which faults.
    let again = bench
        .memory
        .fault(&bench.space, VirtualAddress(AT), Access::Load);
    assert!(matches!(again, Outcome::Sigbus(_)), "{again:?}");
}

#[test]
fn more_aborts_than_slots_all_recover() {
    let bench = Bench::new();
    for _ in 0..10 {
        assert_eq!(bench.aborts(Mode::Kernel), Verdict::FixUp);
    }
    assert_eq!(bench.finish(), []);
    assert!(bench.is_isolated());
}

#[test]
fn what_cannot_be_contained_ends_the_system() {
    let bench = Bench::new();
    bench.reports(Policy::FATAL);
    assert!(matches!(
        bench.aborts(Mode::User),
        Verdict::Panic("Fatal hardware error!")
    ));
    let uncontainable = Abort {
        error_type: SyncErrorType::Uncontainable,
        ..abort(Mode::User)
    };
    let verdict = bench.engine.synchronous_abort(CPU, THREAD, &uncontainable);
    assert!(matches!(verdict, Verdict::Panic(_)));
}

#[test]
fn a_table_walk_ends_the_program_or_the_system() {
    let walk = |mode| Abort {
        on_walk: true,
        ..abort(mode)
    };
    let bench = Bench::new();
    let verdict = bench
        .engine
        .synchronous_abort(CPU, THREAD, &walk(Mode::User));
    assert_eq!(verdict, Verdict::Resume);
    assert_eq!(bench.finish(), [Info::kernel(Signal::SIGKILL)]);
    assert!(!bench.is_isolated(), "the page itself is good");
    // The kernel on the program's behalf.
    let kernels = walk(Mode::Kernel);
    let verdict = bench.engine.synchronous_abort(CPU, THREAD, &kernels);
    assert_eq!(verdict, Verdict::FixUp);
    assert_eq!(bench.finish(), [Info::kernel(Signal::SIGKILL)]);
    for address in [None, Some(0xffff_0000_0000_1000)] {
        let own = Abort { address, ..kernels };
        let verdict = bench.engine.synchronous_abort(CPU, THREAD, &own);
        assert!(matches!(verdict, Verdict::Panic(_)));
    }
}

#[test]
fn a_clean_page_of_a_file_is_read_again_and_nobody_is_told() {
    let mut bench = Bench::new();
    let file = bench.memory.create_file(FileKind::Stored, 4096).unwrap();
    let source = Source::File(&file, 0);
    bench.pfn = map(&bench.memory, &bench.space, Sharing::Shared, source);
    bench.reports(Policy::empty());
    assert_eq!(bench.aborts(Mode::User), Verdict::Resume);
    assert_eq!(bench.finish(), []);
    assert!(bench.is_isolated());
    let again = bench
        .memory
        .fault(&bench.space, VirtualAddress(AT), Access::Load);
    assert_eq!(again, Outcome::Resolved);
}

#[test]
fn memory_that_is_not_ours_costs_the_program_its_life() {
    let mut bench = Bench::new();
    bench.pfn = Pfn(1 << 30);
    bench.reports(Policy::empty());
    assert_eq!(bench.aborts(Mode::User), Verdict::Resume);
    assert_eq!(bench.finish(), [Info::kernel(Signal::SIGBUS)]);
}

#[test]
fn a_scrub_finds_what_nobody_has_met() {
    let bench = Bench::new();
    bench.space.set_kill_policy(KillPolicy::Early);
    bench.notices(Notice::PatrolScrub, From::Gsiv);
    assert!(!bench.engine.is_pending_for(NOBODY));
    bench.engine.notification(CPU).unwrap();
    assert!(bench.engine.is_pending_for(NOBODY));
    assert_eq!(bench.finish_as(NOBODY), []);
    assert!(bench.is_isolated());
    let victims = bench.memory.machine().take_victims();
    assert_eq!(victims.len(), 1);
    assert_eq!(victims[0].signal.code, BusCode::ActionOptional);
}

#[test]
fn a_storm_of_corrected_errors_moves_the_page() {
    let bench = Bench::new();
    for number in 1..=THRESHOLD {
        assert!(!bench.is_isolated(), "after {number}");
        bench.notices(Notice::Corrected, From::Gsiv);
        bench.engine.notification(CPU).unwrap();
        assert_eq!(bench.finish_as(NOBODY), []);
    }
    assert!(bench.is_isolated());
    let entry = bench.memory.entry(&bench.space, VirtualAddress(AT));
    assert!(
        matches!(entry, Entry::Page(pfn, _) if pfn != bench.pfn),
        "{entry:?}"
    );
}

#[test]
fn firmware_may_count_itself() {
    let bench = Bench::new();
    bench.notices(Notice::ThresholdExceeded, From::Gsiv);
    bench.engine.notification(CPU).unwrap();
    assert_eq!(bench.finish(), []);
    assert!(bench.is_isolated());
}

#[test]
fn serrors_go_by_their_severity() {
    let bench = Bench::new();
    let serror = |mode, severity| bench.engine.serror(CPU, THREAD, mode, severity);
    bench.notices(Notice::SErrorCorrected, From::Sei);
    assert_eq!(serror(Mode::Kernel, Severity::Harmless), Verdict::Resume);
    assert_eq!(bench.finish(), []);
    assert!(!bench.is_isolated());
    assert!(matches!(
        serror(Mode::User, Severity::Fatal),
        Verdict::Panic(_)
    ));
    assert!(matches!(
        serror(Mode::Kernel, Severity::Recoverable),
        Verdict::Panic(_)
    ));
    bench.notices(Notice::SErrorRecoverable, From::Sei);
    assert_eq!(serror(Mode::User, Severity::Recoverable), Verdict::Resume);
    assert_eq!(bench.finish(), [action_required()]);
    assert!(bench.is_isolated());
    bench.notices(Notice::SErrorUncontainable, From::Sei);
    assert_eq!(
        serror(Mode::Kernel, Severity::Harmless),
        Verdict::Panic("Fatal hardware error!")
    );
}

#[test]
fn what_is_no_table_and_no_record_is_refused_and_the_abort_is_still_dealt_with() {
    let machine = Machine::new();
    assert!(Firmware::read(machine, Machine::RSDP + 4).is_err());
    assert!(Firmware::read(machine, u64::MAX - 3).is_err());
    // A word of the HEST.
    machine.write_word(0x104, 0xffff_ffff);
    assert!(Firmware::read(machine, Machine::RSDP).is_err());
    let bench = Bench::new();
    bench.reports(Policy::empty());
    // The length of its data.
    bench
        .machine
        .write_word(firmware::window::block(From::Sea) + 12, u32::MAX);
    assert_eq!(bench.aborts(Mode::User), Verdict::Resume);
    assert_eq!(bench.finish(), [action_required()]);
    // The source can report again.
    bench.reports(Policy::empty());
}

#[test]
#[should_panic(expected = "Memory failure on page")]
fn the_system_may_be_told_not_to_go_on() {
    let bench = Bench::new();
    crate::ras::controls::set_recovery(bench.engine.goes_on(), b"0").unwrap();
    bench.reports(Policy::empty());
    assert_eq!(bench.aborts(Mode::User), Verdict::Resume);
    bench.finish();
}

#[test]
fn an_error_is_injected_as_by_linux() {
    let machine = Machine::new();
    let firmware = Firmware::read(machine, Machine::RSDP).unwrap();
    let injector = Injector {
        table: firmware.einj().unwrap(),
        platform: firmware.platform(),
    };
    let mut files = Parameters::new();
    let kinds = files.read(&injector, "available_error_type").unwrap();
    assert!(
        kinds.contains("0x00000010\tMemory Uncorrectable non-fatal\n"),
        "{kinds}"
    );
    let mut write = |file, text: &str| files.write(&injector, file, text.as_bytes());
    write("error_type", "0x10\n").unwrap();
    write("flags", "2").unwrap();
    write("param1", "0x40001040").unwrap();
    write("param2", "0xffffffffffffffc0").unwrap();
    write("notrigger", "1").unwrap();
    write("error_inject", "1").unwrap();
    let requests = machine.take_requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].address, requests[0].length), (0x4000_1040, 64));
    assert_eq!(write("error_inject", "2"), Err(Errno::EINVAL));
    assert_eq!(write("error_type", "0x30"), Err(Errno::EINVAL));
    assert_eq!(write("error_type", "1"), Err(Errno::EINVAL));
    assert_eq!(write("nothing", "1"), Err(Errno::ENOENT));
    assert_eq!(write("available_error_type", "1"), Err(Errno::EACCES));
    write("param2", "0xffffffff00000000").unwrap();
    assert_eq!(write("error_inject", "1"), Err(Errno::EINVAL));
    assert_eq!(machine.take_requests(), []);
    assert_eq!(
        files.read(&injector, "param1").unwrap(),
        "0x0000000040001040\n"
    );
    assert_eq!(files.read(&injector, "error_type").unwrap(), "0x10\n");
}
