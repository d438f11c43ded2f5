//! What each scenario does. Each runs in a process of its own.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fmt, ptr, slice};

use anyhow::{Context, Result, ensure};
use control::Policy;
use programs::case::{Observation, Outcome, Scenario};
use programs::inject::{Injector, Method};
use programs::page::{Page, SIZE};
use programs::signal::{self, BusError};

use crate::arena::{
    Arena, Kind, content, disk_file, is_isolated, memory_file, pattern, physical_of_file,
};
use crate::process::{fork, tell};
use crate::{core_dump, table_walk, two_cpus};

/// Where the kernel takes orders to do what it should not.
const PROVOKE: &str = "/sys/kernel/debug/provoke-crash/DIRECT";

/// How long another process may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// One case, and what it may use.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) line: u32,
    pub(crate) seed: u64,
    pub(crate) by: Method,
    /// Who asks the monitor for what only it can do.
    pub(crate) monitor: Method,
    /// A folder on a disk.
    pub(crate) disk: Option<PathBuf>,
}

/// This system has not what a scenario needs.
#[derive(Debug)]
pub(crate) struct Lacking(pub(crate) String);

impl fmt::Display for Lacking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

impl Case {
    /// Does it, in a process that may die of it.
    ///
    /// # Errors
    ///
    /// If it cannot be done. [`Lacking`] if it cannot be done on this system.
    pub(crate) fn run(&self) -> Result<Observation> {
        match self.scenario {
            Scenario::Load => self.load(),
            Scenario::Fetch => self.fetch(),
            Scenario::FetchDisk => self.fetch_disk(),
            Scenario::Copyin => self.copyin(),
            Scenario::ReadTmpfs => self.read(&memory_file(self.seed)?),
            Scenario::ReadDisk => self.read(&self.disk_file()?),
            Scenario::Futex => self.futex(),
            Scenario::CopyOnWrite => self.copy_on_write(),
            Scenario::PrivateFile => self.private(&memory_file(self.seed)?),
            Scenario::PrivateDisk => self.private(&self.disk_file()?),
            Scenario::CoreDump => core_dump::run(self),
            Scenario::EarlyKill => self.early_kill(),
            Scenario::Patrol => self.patrol(),
            Scenario::Unclaimed => self.unclaimed(),
            Scenario::LoadNoAddress => self.load_so(Policy::NO_FAR),
            Scenario::LoadBareRecord => self.load_so(Policy::NO_PHYSICAL_ADDRESS),
            Scenario::LoadProcessorRecord => self.load_so(Policy::PROCESSOR),
            Scenario::CopyinNoAddress => self.copyin_so(Policy::NO_FAR),
            Scenario::CopyinMasked => self.copyin_masked(),
            Scenario::TwoCpus => two_cpus::run(self),
            Scenario::TableWalk => table_walk::run(self),
            Scenario::SerrorRestartable => self.load_so(Policy::SERROR | Policy::RESTARTABLE),
            Scenario::SerrorRecoverable => self.load_so(Policy::SERROR),
            Scenario::SerrorUncontainable => self.load_so(Policy::SERROR | Policy::UNCONTAINABLE),
            Scenario::CopyinSerror => self.copyin_so(Policy::SERROR),
            Scenario::HardOffline => self.hard_offline(),
            Scenario::SoftOffline => self.soft_offline(),
            Scenario::NullPointer => {
                provoke(|kinds| kinds.iter().position(|kind| kind == "ACCESS_NULL"))
            }
            Scenario::WildPointer => provoke(|kinds| {
                let is_wild = |&index: &usize| kinds[index].starts_with("WILD_");
                (0..kinds.len()).filter(is_wild).nth(self.line as usize)
            }),
        }
    }

    /// Where the failing line begins, in the page.
    pub(crate) fn offset(&self) -> usize {
        self.line as usize * 64
    }

    /// Makes the line fail of the page at this physical address.
    pub(crate) fn poison(&self, page: u64) -> Result<()> {
        self.by.open()?.poison(page + self.offset() as u64)
    }

    fn disk_file(&self) -> Result<File> {
        match &self.disk {
            Some(folder) => disk_file(folder, self.seed),
            None => Err(Lacking("no disk was named".to_owned()).into()),
        }
    }

    fn monitor(&self) -> Result<Injector> {
        self.monitor
            .open()
            .map_err(|error| Lacking(format!("it needs the monitor: {error:#}")).into())
    }

    fn load(&self) -> Result<Observation> {
        self.load_after(|page| self.poison(page))
    }

    fn load_so(&self, policy: Policy) -> Result<Observation> {
        let monitor = self.monitor()?;
        self.load_after(|page| self.poison_so(&monitor, page, policy))
    }

    /// Makes the line fail in a way that only the monitor can.
    fn poison_so(&self, monitor: &Injector, page: u64, policy: Policy) -> Result<()> {
        let poisoned = monitor.poison_so(page + self.offset() as u64, policy);
        poisoned.map_err(|error| Lacking(format!("{error:#}")).into())
    }

    fn load_after(&self, poison: impl FnOnce(u64) -> Result<()>) -> Result<Observation> {
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        signal::expect(&page)?;
        poison(physical)?;
        let start = Instant::now();
        let value = load(&page, self.offset());
        let seen = after_signal(&page, physical, start);
        let is_exact = seen.signal.is_some() || value == pattern(self.seed, SIZE + self.offset());
        Ok(checked(seen, is_exact && arena.neighbours_are_good()))
    }

    fn fetch(&self) -> Result<Observation> {
        let arena = Arena::new(Kind::Code, self.seed)?;
        let page = arena.target()?;
        page.put_code(self.offset(), RETURN);
        let physical = page.physical()?;
        signal::expect(&page)?;
        self.poison(physical)?;
        let start = Instant::now();
        call(page.address().wrapping_add(self.offset()));
        let seen = after_signal(&page, physical, start);
        Ok(checked(seen, arena.neighbours_are_good()))
    }

    fn fetch_disk(&self) -> Result<Observation> {
        let file = self.disk_file()?;
        {
            use std::os::unix::fs::FileExt;
            file.write_all_at(RETURN, (SIZE + self.offset()) as u64)?;
            file.sync_all()?;
        }
        let arena = Arena::map(Kind::PrivateFile(&file), self.seed)?;
        make_executable(arena.at(SIZE))?;
        let page = arena.target()?;
        load(&page, 0);
        let physical = page.physical()?;
        signal::expect(&page)?;
        self.poison(physical)?;
        let start = Instant::now();
        call(page.address().wrapping_add(self.offset()));
        let seen = after_signal(&page, physical, start);
        Ok(checked(seen, arena.neighbours_are_good()))
    }

    fn copyin(&self) -> Result<Observation> {
        self.copyin_after(|page| self.poison(page))
    }

    fn copyin_so(&self, policy: Policy) -> Result<Observation> {
        let monitor = self.monitor()?;
        self.copyin_after(|page| self.poison_so(&monitor, page, policy))
    }

    fn copyin_after(&self, poison: impl FnOnce(u64) -> Result<()>) -> Result<Observation> {
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        let mut file = memory_file(self.seed)?;
        file.set_len(0)?;
        signal::expect(&page)?;
        poison(physical)?;
        let start = Instant::now();
        // SAFETY: mapped; only the kernel reads it.
        let buffer = unsafe { slice::from_raw_parts(page.address(), SIZE) };
        let result = file.write(buffer);
        let seen = after_call(&page, physical, start, &result);
        let mut written = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut written)?;
        let is_exact = written == content(self.seed, SIZE, result.unwrap_or(0));
        Ok(checked(seen, is_exact && arena.neighbours_are_good()))
    }

    fn copyin_masked(&self) -> Result<Observation> {
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        let request = format!("COPY_MASKED {:#x}", page.address().addr());
        signal::expect(&page)?;
        // As long as memory is good, it can be done at all.
        fs::write(PROVOKE, &request)
            .map_err(|error| Lacking(format!("{PROVOKE}: {request}: {error}")))?;
        self.poison(physical)?;
        let start = Instant::now();
        let result = fs::write(PROVOKE, &request).map(|()| SIZE);
        let seen = after_call(&page, physical, start, &result);
        Ok(checked(seen, arena.neighbours_are_good()))
    }

    fn read(&self, file: &File) -> Result<Observation> {
        /// What no byte of the buffer is by chance alone.
        const UNTOUCHED: u8 = 0xee;
        let physical = physical_of_file(file, self.seed)?;
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        signal::expect(&page)?;
        let mut buffer = vec![UNTOUCHED; SIZE];
        let mut file = file;
        file.seek(SeekFrom::Start(SIZE as u64))?;
        self.poison(physical)?;
        let start = Instant::now();
        let result = file.read(&mut buffer);
        let seen = after_call(&page, physical, start, &result);
        let done = result.unwrap_or(0);
        let mut around = vec![0; SIZE];
        let mut is_exact = buffer[..done] == content(self.seed, SIZE, done);
        for neighbour in [0, 2 * SIZE] {
            file.seek(SeekFrom::Start(neighbour as u64))?;
            file.read_exact(&mut around)?;
            is_exact &= around == content(self.seed, neighbour, SIZE);
        }
        Ok(checked(seen, is_exact))
    }

    fn futex(&self) -> Result<Observation> {
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        let limit = libc::timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        signal::expect(&page)?;
        self.poison(physical)?;
        let start = Instant::now();
        // SAFETY: an aligned word of this process, and a valid time.
        let result = unsafe {
            libc::syscall(
                libc::SYS_futex,
                page.address().wrapping_add(self.offset()),
                libc::FUTEX_WAIT,
                0,
                &limit,
            )
        };
        let result = match result {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(0),
        };
        let seen = after_call(&page, physical, start, &result);
        Ok(checked(seen, arena.neighbours_are_good()))
    }

    fn copy_on_write(&self) -> Result<Observation> {
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        let (resume, mut go) = io::pipe()?;
        let mut sharer = fork(|mut answer| {
            let mut resume = resume;
            // The parent has done its part, and its neighbours may have changed.
            let _ = resume.read(&mut [0]);
            let verdict = if arena.neighbours_are_good() {
                "good"
            } else {
                "bad"
            };
            let _ = tell(&mut answer, verdict);
        })?;
        signal::expect(&page)?;
        self.poison(physical)?;
        // In another line than the one that fails: the copy reads them all.
        let other = (self.offset() + 64) % SIZE;
        let start = Instant::now();
        // SAFETY: mapped writable; the handler puts the spare there if need be.
        unsafe { ptr::write_volatile(page.address().wrapping_add(other), 0) };
        let seen = after_signal(&page, physical, start);
        go.write_all(&[0])?;
        let said = sharer.line(PATIENCE)?;
        Ok(checked(seen, said == "good" && arena.neighbours_are_good()))
    }

    fn private(&self, file: &File) -> Result<Observation> {
        let physical = physical_of_file(file, self.seed)?;
        let arena = Arena::map(Kind::PrivateFile(file), self.seed)?;
        let page = arena.target()?;
        signal::expect(&page)?;
        self.poison(physical)?;
        let other = (self.offset() + 64) % SIZE;
        let start = Instant::now();
        // SAFETY: mapped writable; the handler puts the spare there if need be.
        unsafe { ptr::write_volatile(page.address().wrapping_add(other), 0) };
        let seen = after_signal(&page, physical, start);
        let rest = signal::received().is_some()
            || arena.is_good(SIZE, other) && arena.is_good(SIZE + other + 1, SIZE - other - 1);
        Ok(checked(seen, rest && arena.neighbours_are_good()))
    }

    fn early_kill(&self) -> Result<Observation> {
        let arena = Arena::new(Kind::Shared, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        let mut told = fork(|mut answer| {
            let seen = (|| {
                ask_to_be_told_early()?;
                signal::expect(&page)?;
                // Maps the page in this process.
                load(&page, 0);
                tell(&mut answer, "ready")?;
                let start = Instant::now();
                wait_for_signal();
                let seen = after_signal(&page, physical, start);
                Ok(checked(seen, arena.neighbours_are_good()))
            })();
            let _ = tell(&mut answer, &crate::as_json(seen));
        })?;
        told.line(PATIENCE)?;
        signal::expect(&page)?;
        self.poison(physical)?;
        load(&page, self.offset());
        let own = signal::received().context("the load raised no signal")?;
        ensure!(own.code == signal::ACTION_REQUIRED, "the load raised {own}");
        let seen = told.line(PATIENCE)?;
        Ok(serde_json::from_str(&seen)?)
    }

    fn patrol(&self) -> Result<Observation> {
        let monitor = self.monitor()?;
        ask_to_be_told_early()?;
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        signal::expect(&page)?;
        let start = Instant::now();
        monitor.report_scrubbed(physical + self.offset() as u64)?;
        wait_for_signal();
        let seen = after_signal(&page, physical, start);
        Ok(checked(seen, arena.neighbours_are_good()))
    }

    fn unclaimed(&self) -> Result<Observation> {
        let monitor = self.monitor()?;
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        let line = physical + self.offset() as u64;
        signal::expect(&page)?;
        monitor.poison_so(line, Policy::NO_RECORD)?;
        let start = Instant::now();
        load(&page, self.offset());
        let seen = after_signal(&page, physical, start);
        // A kernel that has not heard of it uses the page again.
        monitor.clear(line)?;
        Ok(checked(seen, arena.neighbours_are_good()))
    }

    fn hard_offline(&self) -> Result<Observation> {
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        signal::expect(&page)?;
        advise(&page, libc::MADV_HWPOISON)?;
        let start = Instant::now();
        load(&page, self.offset());
        let seen = after_signal(&page, physical, start);
        Ok(checked(seen, arena.neighbours_are_good()))
    }

    fn soft_offline(&self) -> Result<Observation> {
        let arena = Arena::new(Kind::Private, self.seed)?;
        let page = arena.target()?;
        let physical = page.physical()?;
        signal::expect(&page)?;
        let start = Instant::now();
        advise(&page, libc::MADV_SOFT_OFFLINE)?;
        let is_good = arena.is_good(SIZE, SIZE);
        let seen = after_signal(&page, physical, start);
        ensure!(page.physical()? != physical, "the page has not moved");
        Ok(checked(seen, is_good && arena.neighbours_are_good()))
    }
}

/// A function that only returns.
#[cfg(target_arch = "aarch64")]
const RETURN: &[u8] = &0xd65f_03c0_u32.to_le_bytes();
#[cfg(target_arch = "x86_64")]
const RETURN: &[u8] = &[0xc3];

fn call(address: *mut u8) {
    // SAFETY: the caller has put `RETURN` there.
    let function: extern "C" fn() = unsafe { std::mem::transmute(address) };
    function();
}

pub(crate) fn load(page: &Page, offset: usize) -> u8 {
    // SAFETY: mapped; if it fails, the handler maps the spare there.
    unsafe { ptr::read_volatile(page.address().wrapping_add(offset)) }
}

fn make_executable(page: *mut u8) -> Result<()> {
    let rights = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: a page of an arena; nothing stores to it any more.
    match unsafe { libc::mprotect(page.cast(), SIZE, rights) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("cannot make a page executable"),
    }
}

fn ask_to_be_told_early() -> Result<()> {
    let (set, early) = (libc::PR_MCE_KILL_SET, libc::PR_MCE_KILL_EARLY);
    // SAFETY: changes only when this process is told.
    match unsafe { libc::prctl(libc::PR_MCE_KILL, set, early, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("cannot ask for early SIGBUS"),
    }
}

fn advise(page: &Page, advice: libc::c_int) -> Result<()> {
    // SAFETY: a page of this process, which then fails or moves; only raw pointers go there.
    match unsafe { libc::madvise(page.address().cast(), SIZE, advice) } {
        0 => Ok(()),
        _ => Err(Lacking(format!("madvise({advice}): {}", io::Error::last_os_error())).into()),
    }
}

fn wait_for_signal() {
    let deadline = Instant::now() + PATIENCE;
    while signal::received().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Has the kernel do something that it must not survive, chosen among the kinds that it offers.
fn provoke(choose: impl Fn(&[String]) -> Option<usize>) -> Result<Observation> {
    let text = fs::read_to_string(PROVOKE)
        .map_err(|error| Lacking(format!("{PROVOKE} (CONFIG_LKDTM): {error}")))?;
    let kinds: Vec<_> = text.lines().skip(1).map(str::to_owned).collect();
    let Some(kind) = choose(&kinds).map(|index| &kinds[index]) else {
        return Err(Lacking("the kernel offers no such crash".to_owned()).into());
    };
    fs::write(PROVOKE, kind).with_context(|| format!("cannot ask for {kind}"))?;
    Ok(Observation::with_detail(Outcome::Complete, kind.as_str()))
}

/// What was seen by somebody who waited for a signal.
fn after_signal(page: &Page, physical: u64, start: Instant) -> Observation {
    let micros = micros_since(start);
    let seen = match signal::received() {
        Some(error) => of_signal(page, &error),
        None => Observation::only(Outcome::Complete),
    };
    Observation {
        micros,
        isolated: is_isolated(physical),
        ..seen
    }
}

/// What was seen by somebody who made a system call on a page of [`SIZE`].
fn after_call(
    page: &Page,
    physical: u64,
    start: Instant,
    result: &io::Result<usize>,
) -> Observation {
    let micros = micros_since(start);
    let seen = match (signal::received(), result) {
        (Some(error), _) => of_signal(page, &error),
        (None, Ok(SIZE)) => Observation::only(Outcome::Complete),
        (None, Ok(_)) => Observation::only(Outcome::Short),
        (None, Err(_)) => Observation::only(Outcome::Error),
    };
    Observation {
        micros,
        bytes: result.as_ref().ok().map(|&bytes| bytes as u64),
        errno: result.as_ref().err().and_then(io::Error::raw_os_error),
        isolated: is_isolated(physical),
        ..seen
    }
}

fn of_signal(page: &Page, error: &BusError) -> Observation {
    Observation {
        signal: Some(libc::SIGBUS),
        si_code: Some(error.code),
        si_addr_ok: Some(error.address / SIZE == page.address().addr() / SIZE),
        si_addr_lsb: Some(error.least_significant_bit),
        ..Observation::only(Outcome::Signal)
    }
}

pub(crate) fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn checked(seen: Observation, is_good: bool) -> Observation {
    Observation {
        corrupted: !is_good,
        ..seen
    }
}
