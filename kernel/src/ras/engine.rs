//! From an exception to pages that are given up: what happens at once, and what is left for later.

use alloc::boxed::Box;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use apei::{NotificationKind, Platform};
use cper::{ArmErrorKinds, Entry, Section, SectionFlags, Severity, StatusBlock};
use mm::{
    Action, AddressSpace, Consumer, Context, Entry as TableEntry, Errno, Machine, Memory,
    PAGE_SIZE, Pfn, VirtualAddress,
};

use crate::arch::cpu;
use crate::ras::abort::{Abort, Mode, Severity as SErrorSeverity, Verdict};
use crate::ras::corrected::Counts;
use crate::ras::queue::{NOBODY, Queue, Taken};
use crate::ras::sources::{Claimed, Firmware};
use crate::ras::text::Record;
use crate::sync::SpinLock;
use crate::task::signal::{Fault, Info, Signal, code};

/// Kinds of sources that report when memory was met to have failed.
const SYNCHRONOUS: &[NotificationKind] = &[NotificationKind::SEA];
/// Kinds that report with an SError.
const SERROR: &[NotificationKind] = &[NotificationKind::SEI];
/// Kinds that report by themselves.
const ASYNCHRONOUS: &[NotificationKind] = &[NotificationKind::GSIV, NotificationKind::POLLED];

/// Pages of one record that are given up at most: 2 MiB.
const MOST_PAGES: u64 = 512;

/// All of it, over a platform that firmware's tables describe.
pub(super) struct Engine<P> {
    firmware: Option<Firmware<P>>,
    /// One for each CPU.
    queues: Box<[Queue<Tag>]>,
    corrected: SpinLock<Counts>,
    /// `recover=on`.
    recovers: bool,
    /// `vm.memory_failure_recovery`.
    goes_on: AtomicBool,
    /// Records that were logged.
    records: AtomicU32,
}

/// What is known of a report apart from its block.
#[derive(Clone, Copy, Debug)]
struct Tag {
    /// Whose it is; none if firmware reported nothing.
    source: Option<u16>,
    /// Why it came.
    cause: Cause,
}

/// Why a report came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// An abort: of its owner's in user mode, or of the kernel's on his behalf, which went on.
    Abort(Abort),
    /// An SError before which its owner cannot go on in user mode.
    SError,
    /// Nobody met it.
    Nobody,
}

impl Cause {
    /// Whether the owner met it in user mode.
    fn is_users(&self) -> bool {
        match self {
            Self::Abort(abort) => abort.mode == Mode::User,
            Self::SError => true,
            Self::Nobody => false,
        }
    }

    fn abort(&self) -> Option<&Abort> {
        match self {
            Self::Abort(abort) => Some(abort),
            Self::SError | Self::Nobody => None,
        }
    }

    /// The virtual address at which it was met, if it is known.
    fn address(&self) -> Option<u64> {
        self.abort()?.address
    }
}

/// Who finishes reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finisher<'a> {
    /// What is his, apart from what is nobody's.
    pub(super) owner: u32,
    /// The memory he works in.
    pub(super) space: Option<&'a AddressSpace>,
    /// Nanoseconds since boot.
    pub(super) now: u64,
}

/// What became of a page.
enum Fate {
    /// Whoever met it may go on, or has a signal already.
    Settled,
    /// Nothing could be done: it is as bad as before, for whoever meets it.
    Unchanged,
}

impl<P: Platform + Copy> Engine<P> {
    /// With what firmware offers, if anything.
    pub(super) fn new(firmware: Option<Firmware<P>>, recovers: bool) -> Self {
        Self {
            firmware,
            queues: (0..cpu::MAX).map(|_| Queue::new()).collect(),
            corrected: SpinLock::new(Counts::new()),
            recovers,
            goes_on: AtomicBool::new(true),
            records: AtomicU32::new(0),
        }
    }

    /// What firmware offers.
    pub(super) fn firmware(&self) -> Option<&Firmware<P>> {
        self.firmware.as_ref()
    }

    /// Whether the system goes on after a page has failed.
    pub(super) fn goes_on(&self) -> &AtomicBool {
        &self.goes_on
    }

    /// An abort on CPU `cpu`, while `owner` ran. Takes no lock and allocates nothing.
    pub(super) fn synchronous_abort(&self, cpu: usize, owner: u32, abort: &Abort) -> Verdict {
        let cause = Cause::Abort(*abort);
        let claimed = self.claim(cpu, owner, SYNCHRONOUS, cause);
        if claimed.is_some_and(|claimed| claimed.severity == Severity::Fatal) {
            return Verdict::Panic("Fatal hardware error!");
        }
        if abort.error_type == syndrome::SyncErrorType::Uncontainable {
            return Verdict::Panic("uncontainable memory error");
        }
        if abort.mode == Mode::Kernel {
            if abort.on_walk && !abort.is_of_user_memory() {
                return Verdict::Panic("memory error in a translation table of the kernel's");
            }
            if !self.recovers {
                return Verdict::Panic("synchronous external abort, and recover=off");
            }
        }
        if claimed.is_none() {
            self.queue_unclaimed(cpu, owner, cause);
        }
        match abort.mode {
            Mode::User => Verdict::Resume,
            Mode::Kernel => Verdict::FixUp,
        }
    }

    /// An SError on CPU `cpu`, while `owner` ran. Takes no lock and allocates nothing.
    pub(super) fn serror(
        &self,
        cpu: usize,
        owner: u32,
        mode: Mode,
        severity: SErrorSeverity,
    ) -> Verdict {
        let (owner, cause) = match (severity, mode) {
            (SErrorSeverity::Recoverable, Mode::User) => (owner, Cause::SError),
            _ => (NOBODY, Cause::Nobody),
        };
        let claimed = self.claim(cpu, owner, SERROR, cause);
        if claimed.is_some_and(|claimed| claimed.severity == Severity::Fatal) {
            return Verdict::Panic("Fatal hardware error!");
        }
        match (severity, mode) {
            (SErrorSeverity::Harmless, _) => Verdict::Resume,
            (SErrorSeverity::Recoverable, Mode::User) => {
                if claimed.is_none() {
                    self.queue_unclaimed(cpu, owner, cause);
                }
                Verdict::Resume
            }
            _ => Verdict::Panic("Asynchronous SError Interrupt"),
        }
    }

    /// An interrupt of a source, or the time to ask those that do not call.
    ///
    /// # Errors
    ///
    /// Why the system cannot go on.
    pub(super) fn notification(&self, cpu: usize) -> Result<(), &'static str> {
        match self.claim(cpu, NOBODY, ASYNCHRONOUS, Cause::Nobody) {
            Some(claimed) if claimed.severity == Severity::Fatal => Err("Fatal hardware error!"),
            _ => Ok(()),
        }
    }

    fn claim(
        &self,
        cpu: usize,
        owner: u32,
        kinds: &[NotificationKind],
        cause: Cause,
    ) -> Option<Claimed> {
        let firmware = self.firmware.as_ref()?;
        firmware.claim(kinds, &self.queues[cpu], owner, |source| Tag {
            source: Some(source),
            cause,
        })
    }

    /// Firmware said nothing: because there is none, or because another CPU was faster and has this
    /// report too. What the CPU says must do.
    fn queue_unclaimed(&self, cpu: usize, owner: u32, cause: Cause) {
        if let Some(slot) = self.queues[cpu].reserve() {
            let tag = Tag {
                source: None,
                cause,
            };
            slot.publish(0, owner, tag);
        }
    }

    /// Whether there is anything of this owner's to finish.
    pub(super) fn is_pending_for(&self, owner: u32) -> bool {
        self.queues.iter().any(|queue| queue.is_pending_for(owner))
    }

    /// Finishes what is nobody's or the finisher's own: logs it, gives the pages up, and hands over
    /// the signals that the finisher himself must get. For task context, without locks.
    pub(super) fn finish<M: Machine>(
        &self,
        memory: &Memory<M>,
        finisher: &Finisher<'_>,
        mut signal: impl FnMut(Info, Option<Fault>),
    ) {
        let wanted = |owner| owner == NOBODY || owner == finisher.owner;
        for queue in &self.queues {
            while let Some(report) = queue.take(wanted) {
                self.finish_one(memory, finisher, &report, &mut signal);
            }
            let lost = queue.take_lost();
            if lost > 0 {
                log::warn!("Memory failure: no room for {lost} reports; firmware keeps them");
            }
        }
    }

    fn finish_one<M: Machine>(
        &self,
        memory: &Memory<M>,
        finisher: &Finisher<'_>,
        report: &Taken<'_, Tag>,
        signal: &mut impl FnMut(Info, Option<Fault>),
    ) {
        let Tag { source, cause } = report.tag();
        let fault = cause.abort().map(|abort| Fault {
            address: abort.address.unwrap_or(0),
            syndrome: abort.syndrome,
        });
        let mut signal = |info| signal(info, fault);
        let work = Work {
            engine: self,
            memory,
            finisher,
            cause,
        };
        let settled = source
            .and_then(|source| match StatusBlock::parse(report) {
                Ok(block) => {
                    self.log(source, &block);
                    work.block(&block, &mut signal)
                }
                Err(error) => {
                    log::warn!("GHES {source}: a report makes no sense: {error}");
                    None
                }
            })
            .or_else(|| work.address(&mut signal));
        // Whoever walked it, the program cannot go on with what is left of its tables.
        if cause.abort().is_some_and(|abort| abort.on_walk) {
            log::error!("Memory failure: a translation table of the running program's is lost");
            return signal(Info::kernel(Signal::SIGKILL));
        }
        if !cause.is_users() {
            return;
        }
        match settled {
            Some(Fate::Settled) => {}
            Some(Fate::Unchanged) => {
                log::error!("Memory failure: Sending SIGBUS due to hardware memory corruption");
                signal(Info::kernel(Signal::SIGBUS));
            }
            None => {
                let address = cause.address().unwrap_or(0);
                signal(Info::fault(Signal::SIGBUS, code::OBJECT_ERROR, address));
            }
        }
    }

    fn log(&self, source: u16, block: &StatusBlock<'_>) {
        let number = self.records.fetch_add(1, Ordering::Relaxed) + 1;
        let level = if block.severity() == Severity::Corrected {
            log::Level::Warn
        } else {
            log::Level::Error
        };
        let record = Record {
            number,
            source,
            block,
        };
        log::log!(level, "{record}");
    }
}

/// One report that is being finished.
struct Work<'a, P, M: Machine> {
    engine: &'a Engine<P>,
    memory: &'a Memory<M>,
    finisher: &'a Finisher<'a>,
    cause: Cause,
}

impl<P, M: Machine> Work<'_, P, M> {
    /// Does what a block asks for. `None` if it says nothing of memory that is lost.
    fn block(&self, block: &StatusBlock<'_>, signal: &mut impl FnMut(Info)) -> Option<Fate> {
        let mut fate = None;
        for entry in block.entries() {
            match (block.severity(), entry.info.severity) {
                (Severity::Corrected, Severity::Corrected) => self.corrected(&entry),
                (Severity::Recoverable, Severity::Recoverable) => {
                    let _ = for_each_range(&entry, |range| {
                        let pfn = Pfn(range.start() / PAGE_SIZE as u64);
                        if self.cause.abort().is_some_and(|abort| abort.on_walk) {
                            self.descriptors_failed(pfn, &range);
                        }
                        let one = self.failed(pfn, signal);
                        // The worst of several counts.
                        if !matches!(fate, Some(Fate::Unchanged)) {
                            fate = Some(one);
                        }
                    });
                }
                _ => {}
            }
        }
        fate
    }

    /// Does what the CPU's own word allows, without firmware's. `None` if it says nothing.
    fn address(&self, signal: &mut impl FnMut(Info)) -> Option<Fate> {
        let abort = self.cause.abort().filter(|abort| !abort.on_walk)?;
        if let Some(physical) = abort.physical {
            return Some(self.failed(Pfn(physical / PAGE_SIZE as u64), signal));
        }
        let address = VirtualAddress(abort.address?);
        let space = self
            .finisher
            .space
            .filter(|_| address.0 < 1 << mm::ADDRESS_BITS)?;
        Some(match self.memory.entry(space, address) {
            TableEntry::Page(pfn, _) => self.failed(pfn, signal),
            // Somebody was faster: the access is repeated, and faults.
            _ => Fate::Settled,
        })
    }

    /// Descriptors of a program's have failed: nobody is to read them again.
    fn descriptors_failed(&self, table: Pfn, range: &RangeInclusive<u64>) {
        let offset = |address: &u64| *address as usize % PAGE_SIZE;
        self.memory
            .lose_descriptors(table, offset(range.start())..=offset(range.end()));
    }

    fn consumer(&self) -> Option<Consumer> {
        let space = self.finisher.space.filter(|_| self.cause.is_users())?;
        Some(Consumer {
            space: space.id(),
            address: VirtualAddress(self.cause.address().unwrap_or(0)),
        })
    }

    /// Gives a page up.
    fn failed(&self, pfn: Pfn, signal: &mut impl FnMut(Info)) -> Fate {
        let number = pfn.0;
        if !self.engine.goes_on.load(Ordering::Relaxed) {
            panic!("Memory failure on page {number:x}");
        }
        let context = Context {
            consumer: self.consumer(),
            simulated: false,
        };
        match self.memory.memory_failure(pfn, context) {
            Ok(report) => {
                let (page, action) = (report.page, report.action);
                log::error!("Memory failure: {number:#x}: recovery action for {page}: {action}");
                match report.signal {
                    Some(bus) => signal(Info::memory(bus)),
                    None if action == Action::Ignored => return Fate::Unchanged,
                    None => {}
                }
                Fate::Settled
            }
            Err(Errno::EHWPOISON) if self.is_mapped(pfn) => Fate::Unchanged,
            Err(Errno::EHWPOISON) => Fate::Settled,
            Err(_) => {
                log::error!("Memory failure: {number:#x}: memory outside kernel control");
                Fate::Unchanged
            }
        }
    }

    /// Whether the consumer would meet the page again.
    fn is_mapped(&self, pfn: Pfn) -> bool {
        let (Some(consumer), Some(space)) = (self.consumer(), self.finisher.space) else {
            return false;
        };
        let entry = self.memory.entry(space, consumer.address);
        matches!(entry, TableEntry::Page(mapped, _) if mapped == pfn)
    }

    /// Counts a corrected error, or takes firmware's word that there were too many.
    fn corrected(&self, entry: &Entry<'_>) {
        let is_over = entry.info.flags.contains(SectionFlags::THRESHOLD_EXCEEDED);
        let now = self.finisher.now;
        let _ = for_each_range(entry, |range| {
            let pfn = Pfn(range.start() / PAGE_SIZE as u64);
            if is_over || self.engine.corrected.lock().add(pfn, now) {
                soft_offline(self.memory, pfn);
            }
        });
    }
}

/// Moves the page's bytes elsewhere and gives it up. Says so in the log.
pub(super) fn soft_offline<M: Machine>(memory: &Memory<M>, pfn: Pfn) -> bool {
    let number = pfn.0;
    match memory.soft_offline(pfn) {
        Ok(()) => {
            log::info!("Soft offline: {number:#x}: page isolated");
            true
        }
        Err(error) => {
            log::info!("Soft offline: {number:#x}: page migration failed: {error:?}");
            false
        }
    }
}

/// Calls `visit` for each range of physical addresses, in one page, that the entry says has failed.
/// `None` if it says nothing.
fn for_each_range(entry: &Entry<'_>, mut visit: impl FnMut(RangeInclusive<u64>)) -> Option<()> {
    const PAGE: u64 = PAGE_SIZE as u64;
    match entry.section().ok()? {
        Section::Memory(memory) => {
            let range = memory.physical_range()?;
            let (start, end) = (*range.start(), *range.end());
            for page in (start / PAGE..=end / PAGE).take(MOST_PAGES as usize) {
                visit(start.max(page * PAGE)..=end.min(page * PAGE + (PAGE - 1)));
            }
        }
        Section::ArmProcessor(arm) => {
            let is_cache = |kinds: ArmErrorKinds| kinds.contains(ArmErrorKinds::CACHE);
            let errors = arm.errors.iter().filter(|error| is_cache(error.kinds()));
            errors
                .filter_map(|error| error.physical_address())
                .for_each(|address| visit(address..=address));
        }
        Section::Other { .. } => {}
    }
    Some(())
}
