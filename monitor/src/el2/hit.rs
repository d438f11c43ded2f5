//! Handing the guest what its CPU would have given it: the abort, and before that the record.

use control::{Counter, LINE, PAGE, Policy};
use firmware::{Busy, Consumer, Record, Source};
use syndrome::{
    Abort, Access, AsyncErrorType, DataAbort, Delivery, Exception, FaultStatus, Interrupted,
    Pstate, SError, SyncErrorType, Target, TargetLevel, Watchpoint, take_exception,
};

use super::cpu::Cpu;
use super::registers::{mrs, msr};
use super::vectors::Frame;
use super::{devices, mailbox, poison, uart};

/// How long a CPU repeats its access while the record of another is not acknowledged, in
/// milliseconds.
const PATIENCE: u64 = 10;

/// A load that met poison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consumption {
    /// The guest-physical address of the first bad byte.
    pub(super) address: u64,
    /// The virtual address.
    pub(super) far: u64,
    /// What the abort says.
    pub(super) fault: FaultStatus,
    /// What the instruction was doing.
    pub(super) access: Access,
}

impl Consumption {
    /// A load, or the reading half of an atomic or a copy.
    pub(super) fn load(address: u64, far: u64) -> Self {
        Self {
            address,
            far,
            fault: FaultStatus::EXTERNAL_ABORT,
            access: Access::Read,
        }
    }

    /// An instruction fetch.
    pub(super) fn fetch(address: u64, far: u64) -> Self {
        Self {
            access: Access::Fetch,
            ..Self::load(address, far)
        }
    }

    /// A table walk for a data access; its address and fault are still to be found.
    pub(super) fn walk_of(write: bool, abort: DataAbort) -> Self {
        let access = match (abort.is_cache_maintenance(), write) {
            (true, _) => Access::CacheMaintenance,
            (_, true) => Access::Write,
            (_, false) => Access::Read,
        };
        Self {
            access,
            ..Self::load(0, 0)
        }
    }

    /// A table walk for an instruction fetch.
    pub(super) fn walk_of_fetch() -> Self {
        Self {
            access: Access::Fetch,
            ..Self::load(0, 0)
        }
    }

    fn is_walk(&self) -> bool {
        self.fault.on_table_walk()
    }
}

/// A load met poison: reports it, then aborts it; or makes the CPU try again.
pub(super) fn load(cpu: &mut Cpu, frame: &mut Frame, consumption: Consumption) {
    let line = consumption.address & !(LINE - 1);
    let Some(policy) = poison::SET.policy(line) else {
        // It has been made good meanwhile.
        return cpu.abandon_step(frame);
    };
    let is_data = consumption.access == Access::Read && !consumption.is_walk();
    if policy.contains(Policy::SERROR) && is_data && cpu.has.syndrome.ras {
        return defer(cpu, frame, line, policy, &consumption);
    }
    if !policy.contains(Policy::NO_RECORD) {
        match report(cpu, frame, Source::Sea, policy, &consumption) {
            Reported::Yes | Reported::No => {}
            Reported::Later => return cpu.abandon_step(frame),
        }
    }
    cpu.waiting_since = None;
    mailbox::count(cpu.index, Counter::Hits);
    if consumption.is_walk() {
        mailbox::count(cpu.index, Counter::WalkHits);
    } else if consumption.access == Access::Fetch {
        mailbox::count(cpu.index, Counter::FetchHits);
    }
    if cpu.step.was_to_hit() == Some(false) {
        mailbox::count(cpu.index, Counter::FalseAborts);
    }
    let abort = Abort {
        far: Some(consumption.far).filter(|_| !policy.contains(Policy::NO_FAR) || !is_data),
        error_type: sync_error_type(policy),
        ..Abort::new(consumption.access, consumption.fault, consumption.far)
    };
    deliver(cpu, frame, &Exception::Abort(abort));
    if policy.contains(Policy::ONE_SHOT) {
        poison::expire(line);
    }
}

fn sync_error_type(policy: Policy) -> SyncErrorType {
    if policy.contains(Policy::RESTARTABLE) {
        SyncErrorType::Restartable
    } else if policy.contains(Policy::UNCONTAINABLE) {
        SyncErrorType::Uncontainable
    } else {
        SyncErrorType::Recoverable
    }
}

/// Whether there is a record.
enum Reported {
    Yes,
    /// The guest has not acknowledged the last one.
    No,
    /// There will be room, once another CPU has acknowledged its own.
    Later,
}

fn report(
    cpu: &mut Cpu,
    frame: &Frame,
    source: Source,
    policy: Policy,
    consumption: &Consumption,
) -> Reported {
    let consumer = Consumer {
        mpidr: mrs!("mpidr_el1"),
        midr: mrs!("midr_el1"),
        virtual_address: Some(consumption.far),
        fetch: consumption.access == Access::Fetch,
        restartable: false,
        uncontainable: false,
    };
    let _ = frame;
    let record = Record::hit(policy, consumption.address, consumer);
    match devices::REPORTER.report(devices::window(), source, cpu.index, &record) {
        Ok(()) => {
            mailbox::count(cpu.index, Counter::Records);
            Reported::Yes
        }
        Err(Busy::OtherCpu) if has_patience(cpu) => {
            mailbox::count(cpu.index, Counter::Waits);
            Reported::Later
        }
        Err(_) => {
            mailbox::count(cpu.index, Counter::Unreported);
            Reported::No
        }
    }
}

fn has_patience(cpu: &mut Cpu) -> bool {
    let now = mrs!("cntpct_el0");
    let since = *cpu.waiting_since.get_or_insert(now);
    now.wrapping_sub(since) < mrs!("cntfrq_el0") / 1000 * PATIENCE
}

/// The load gets its data, and an SError will follow.
fn defer(cpu: &mut Cpu, frame: &mut Frame, line: u64, policy: Policy, consumption: &Consumption) {
    if !policy.contains(Policy::NO_RECORD) {
        // An SError takes whatever time it takes, but not that of other CPUs.
        let _ = report(cpu, frame, Source::Sei, policy, consumption);
        cpu.waiting_since = None;
    }
    let error_type = if policy.contains(Policy::RESTARTABLE) {
        AsyncErrorType::Restartable
    } else if policy.contains(Policy::UNCONTAINABLE) {
        AsyncErrorType::Uncontainable
    } else {
        AsyncErrorType::Recoverable
    };
    set_serror(error_type);
    mailbox::count(cpu.index, Counter::SErrors);
    if policy.contains(Policy::ONE_SHOT) {
        poison::expire(line);
    }
    cpu.excuse(line);
}

/// What the next virtual SError says: `VSESR_EL2`, which exists with `FEAT_RAS`.
pub(super) fn set_serror(error_type: AsyncErrorType) {
    msr!(
        "S3_4_C5_C2_3",
        SError::asynchronous(error_type).esr().bits() & 0x1ff_ffff
    );
}

/// An instruction may or may not load from a bad line of the page, and there are too few watchpoints to
/// find out. It must not, so it is aborted.
///
/// It is known to load from `far`. If what it loads is without holes, the first bad line from there on is
/// the one that it meets.
pub(super) fn ambiguous(cpu: &mut Cpu, frame: &mut Frame, page: u64, far: u64) {
    let in_page = |line: &u64| (page..page + PAGE).contains(line);
    let from_there = poison::SET.next(page + far % PAGE).filter(in_page);
    match from_there.or_else(|| poison::SET.next(page).filter(in_page)) {
        Some(line) => {
            mailbox::count(cpu.index, Counter::Ambiguous);
            let start = (far & !(PAGE - 1)) + line % PAGE;
            load(cpu, frame, Consumption::load(line, start.max(far)));
        }
        None => cpu.abandon_step(frame),
    }
}

/// The guest reached for memory that its machine does not have.
pub(super) fn nothing_there(cpu: &mut Cpu, frame: &mut Frame, far: u64, data: Option<DataAbort>) {
    let access = match data.map(DataAbort::is_write) {
        None => Access::Fetch,
        Some(Some(true)) => Access::Write,
        Some(_) => Access::Read,
    };
    let abort = Abort::new(access, FaultStatus::EXTERNAL_ABORT, far);
    deliver(cpu, frame, &Exception::Abort(abort));
}

/// A watchpoint of the guest's own fired while the monitor had debug exceptions come to it.
pub(super) fn forward_watchpoint(
    cpu: &mut Cpu,
    frame: &mut Frame,
    watchpoint: Watchpoint,
    far: u64,
) {
    deliver(cpu, frame, &Exception::Watchpoint { watchpoint, far });
}

/// Makes the guest take an exception to EL1, in place of the instruction.
fn deliver(cpu: &mut Cpu, frame: &mut Frame, exception: &Exception) {
    cpu.abandon_step(frame);
    let features = cpu.has.syndrome;
    let interrupted = Interrupted {
        pc: frame.pc,
        pstate: Pstate(frame.pstate),
    };
    let target = Target {
        level: TargetLevel::El1,
        vbar: mrs!("vbar_el1"),
        sctlr: mrs!("sctlr_el1"),
        sctlr2: if cpu.has.sctlr2 {
            mrs!("S3_0_C1_C0_3")
        } else {
            0
        },
        gcscr: if features.gcs {
            mrs!("S3_0_C2_C5_0")
        } else {
            0
        },
        features,
    };
    match take_exception(&interrupted, &target, exception) {
        Ok(delivery) => enter(frame, &delivery),
        // What came from a lower level can go to EL1.
        Err(error) => uart::last_words(format_args!("cannot hand over an exception: {error}")),
    }
}

fn enter(frame: &mut Frame, delivery: &Delivery) {
    msr!("elr_el1", delivery.elr);
    msr!("spsr_el1", delivery.spsr.0);
    msr!("esr_el1", delivery.esr.bits());
    if let Some(far) = delivery.far {
        msr!("far_el1", far);
    }
    frame.pc = delivery.pc;
    frame.pstate = delivery.pstate.0;
}
