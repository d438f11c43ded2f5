//! What is poisoned, and the commands that change it.

use core::sync::atomic::{AtomicU64, Ordering};

use control::{Command, Counter, LINE, Notice, PAGE, Policy, Request, Response, Status};
use firmware::{Record, Source};
use monitor::poison::PoisonSet;
use spin::Mutex;
use syndrome::AsyncErrorType;

use super::registers::{mrs, run};
use super::stage2::{self, Access, View};
use super::{devices, gic, mailbox, summon};

/// All poisoned lines. Read by every CPU at any time.
pub(super) static SET: PoisonSet = PoisonSet::new();

/// More pages with poison than the set has room for.
const MOST_PAGES: u64 = 4096;

/// Held while a command changes the set. Aborts do not take it.
static CHANGING: Mutex<()> = Mutex::new(());

/// Changes of the set that have begun, and that have ended.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

/// A time at which nobody changed the set. Two that are equal have no change between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quiet(u64);

impl Quiet {
    /// Now, unless somebody is changing the set.
    pub(super) fn now() -> Option<Self> {
        let ended = ENDED.load(Ordering::SeqCst);
        (BEGUN.load(Ordering::SeqCst) == ended).then_some(Self(ended))
    }
}

/// A change of the set, while it lasts.
struct Change;

impl Change {
    fn begin() -> Self {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::SeqCst);
    }
}

/// Makes a line good that has been reported once.
pub(super) fn expire(line: u64) {
    let _change = Change::begin();
    SET.remove(line);
}

/// Runs a command for CPU `cpu`.
pub(super) fn execute(cpu: usize, request: &Request) -> Response {
    let response: Response = carry_out(cpu, request).into();
    if response.status != Status::Ok {
        mailbox::count(cpu, Counter::Refused);
        mailbox::log!(
            "refused: command {} address {:#x} length {:#x} policy {:#x}: {}",
            request.command,
            request.address,
            request.length,
            request.policy,
            response.status
        );
    }
    response
}

fn carry_out(cpu: usize, request: &Request) -> Result<u64, Status> {
    let command = Command::from_raw(request.command).ok_or(Status::UnknownCommand)?;
    match command {
        Command::Ping => Ok(0),
        Command::Poison => poison(cpu, request),
        Command::Clear => clear(cpu, request),
        Command::Query => {
            check(request.address, LINE)?;
            let policy = SET.policy(request.address);
            Ok(policy.map_or(0, |policy| (policy | Policy::POISONED).bits().into()))
        }
        Command::Next => Ok(SET.next(request.address).unwrap_or(u64::MAX)),
        Command::ClearAll => {
            let _changing = CHANGING.lock();
            let _change = Change::begin();
            let mut from = 0;
            while let Some(line) = SET.next(from) {
                if SET.remove(line) {
                    mailbox::count(cpu, Counter::Cleared);
                }
                from = line + LINE;
            }
            Ok(0)
        }
        Command::Notify => notify(cpu, request),
        Command::Count => usize::try_from(request.address)
            .ok()
            .and_then(|number| Counter::ALL.get(number))
            .map(|counter| mailbox::sum(*counter))
            .ok_or(Status::BadArgument),
    }
}

/// Whether the range is whole lines of the guest's RAM.
fn check(address: u64, length: u64) -> Result<(), Status> {
    if length == 0 {
        return Err(Status::BadLength);
    }
    if !address.is_multiple_of(LINE) || !length.is_multiple_of(LINE) {
        return Err(Status::Unaligned);
    }
    let end = address.checked_add(length).ok_or(Status::BadLength)?;
    let ram = stage2::ram();
    if address < ram.end && end > ram.end || stage2::is_reserved(address) {
        return Err(Status::MonitorMemory);
    }
    if address < ram.start || end > ram.end {
        return Err(Status::OutsideRam);
    }
    Ok(())
}

fn lines(address: u64, length: u64) -> impl Iterator<Item = u64> {
    (address..address + length).step_by(LINE as usize)
}

fn poison(cpu: usize, request: &Request) -> Result<u64, Status> {
    let Request {
        address, length, ..
    } = *request;
    check(address, length)?;
    let policy = Policy::from_request(request.policy).ok_or(Status::BadPolicy)?;
    if policy.contains(Policy::SERROR) && !has_ras() {
        return Err(Status::Unsupported);
    }
    let pages = || (address & !(PAGE - 1)..address + length).step_by(PAGE as usize);
    if length > MOST_PAGES * PAGE {
        // Before tables are spent on it, which are never given back.
        return Err(Status::NoRoom);
    }
    let _changing = CHANGING.lock();
    let _change = Change::begin();
    for page in pages() {
        stage2::prepare(page).map_err(|_| Status::NoRoom)?;
    }
    // One line of each page that has none yet takes the room that the page needs. If there is not
    // enough, nothing else has happened.
    let first_line = |page: u64| page.max(address);
    let mut added = Added::new();
    for (number, page) in pages().enumerate() {
        if SET.lines(page) == 0 {
            let taken = added.mark(number) && SET.insert(first_line(page), policy).is_ok();
            if !taken {
                for (_, page) in pages().enumerate().filter(|(n, _)| added.contains(*n)) {
                    SET.remove(first_line(page));
                }
                return Err(Status::NoRoom);
            }
        }
    }
    let mut new_lines = added.count();
    for line in lines(address, length) {
        if SET.insert(line, policy) == Ok(true) {
            new_lines += 1;
        }
    }
    mailbox::add(cpu, Counter::Poisoned, new_lines);
    for page in pages() {
        stage2::close_everywhere(page);
    }
    Ok(0)
}

/// Which pages of a command's range had no poison before it.
struct Added([u64; MOST_PAGES as usize / 64 + 1]);

impl Added {
    const fn new() -> Self {
        Self([0; MOST_PAGES as usize / 64 + 1])
    }

    /// Marks page `number` of the range; `false` if it is further than the set has room for.
    fn mark(&mut self, number: usize) -> bool {
        match self.0.get_mut(number / 64) {
            Some(word) => {
                *word |= 1 << (number % 64);
                true
            }
            None => false,
        }
    }

    fn contains(&self, number: usize) -> bool {
        self.0
            .get(number / 64)
            .is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

fn clear(cpu: usize, request: &Request) -> Result<u64, Status> {
    check(request.address, request.length)?;
    let _changing = CHANGING.lock();
    let _change = Change::begin();
    for line in lines(request.address, request.length) {
        if SET.remove(line) {
            mailbox::count(cpu, Counter::Cleared);
        }
    }
    Ok(0)
}

/// The instruction that CPU `cpu` stepped over has written `bytes` of a bad line.
pub(super) fn overwritten(cpu: usize, line: u64, bytes: u64) {
    let _change = Change::begin();
    if SET.written(line, bytes) {
        mailbox::count(cpu, Counter::Overwritten);
    }
}

/// Gives a page back to one CPU for good, since nothing is bad in it any more.
///
/// Poison may arrive at the same moment. Whoever adds it marks the line first and closes the page
/// then; this opens first and looks then. So one of the two sees the other.
pub(super) fn reopen(view: View, page: u64) {
    view.open(page, Access::All);
    if SET.lines(page) != 0 {
        view.close(page);
        run!("dsb nshst");
        stage2::flush_all_here();
        run!("dsb nsh", "isb");
    }
}

fn has_ras() -> bool {
    mrs!("id_aa64pfr0_el1") >> 28 & 0xf != 0
}

/// Reports an error that nobody has met.
fn notify(cpu: usize, request: &Request) -> Result<u64, Status> {
    let notice = Notice::from_raw(request.length).ok_or(Status::BadArgument)?;
    check(request.address & !(LINE - 1), LINE)?;
    let serror = match notice {
        Notice::Corrected | Notice::ThresholdExceeded | Notice::PatrolScrub => None,
        Notice::SErrorCorrected => Some(AsyncErrorType::Corrected),
        Notice::SErrorRestartable => Some(AsyncErrorType::Restartable),
        Notice::SErrorRecoverable => Some(AsyncErrorType::Recoverable),
        Notice::SErrorUncontainable => Some(AsyncErrorType::Uncontainable),
    };
    if serror.is_some() && !has_ras() {
        return Err(Status::Unsupported);
    }
    let source = if serror.is_some() {
        Source::Sei
    } else {
        Source::Gsiv
    };
    let record = Record::notice(notice, request.address);
    devices::REPORTER
        .report(devices::window(), source, cpu, &record)
        .map_err(|_| Status::Unacknowledged)?;
    mailbox::count(cpu, Counter::Records);
    match serror {
        None => gic::notify(),
        Some(error_type) => {
            mailbox::count(cpu, Counter::SErrors);
            summon::serror(cpu, error_type);
        }
    }
    Ok(0)
}
