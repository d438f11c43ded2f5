//! The tests: ways of meeting a memory error, and what must come of each.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;
use std::{env, io, process, ptr, slice};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use programs::kernel_log::{KernelLog, hardware_corrupted};
use programs::output::note;
use programs::page::{FILL, Page, SIZE, SPARE_FILL, Use};
use programs::signal::{self, ACTION_OPTIONAL, ACTION_REQUIRED, BusError, OBJECT_ERROR};

use crate::Options;

/// How long the kernel may take to say what it makes of an error.
const PATIENCE: Duration = Duration::from_secs(10);

/// A way of meeting a memory error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Look through the kernel's log: it has firmware's tables about errors, and no complaint
    Tables,
    /// Load a byte of a failing line: SIGBUS, and the page is given up
    Load,
    /// Call a function in a failing line: the same
    Fetch,
    /// write(2) from a buffer with a failing line: a short write, then EFAULT. Kills stock Linux
    Write,
    /// Overwrite the failing line with DC ZVA: it is good again
    StoreClears,
    /// Have a corrected error reported: it is logged, nothing else
    Corrected,
    /// Have a scrub find the error: with PR_MCE_KILL_EARLY a SIGBUS before anybody meets it
    Patrol,
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Runs the test.
    ///
    /// # Errors
    ///
    /// If it could not be done, or something else came of it than must.
    pub(crate) fn run(self, options: &Options) -> Result<()> {
        match self {
            Self::Tables => tables(),
            Self::Load => load(options),
            Self::Fetch => fetch(options),
            Self::Write => write(options),
            Self::StoreClears => store_clears(options),
            Self::Corrected => corrected(options),
            Self::Patrol => patrol(options),
        }
    }
}

fn tables() -> Result<()> {
    const ACCEPTED: [&str; 6] = [
        "ACPI: HEST 0x",
        "ACPI: BERT 0x",
        "ACPI: EINJ 0x",
        "ACPI: SSDT 0x",
        "HEST: Table parsing has been initialized",
        "EINJ: Error INJection is initialized",
    ];
    const COMPLAINTS: [&str; 6] = [
        "[Firmware Bug]",
        "[Firmware Warn]",
        "ACPI Error",
        "ACPI BIOS",
        "GHES: probe",
        "probe with driver GHES failed",
    ];
    let mut log = KernelLog::since_boot()?;
    let lines = log.lines()?;
    let with = |text: &&str| lines.iter().find(|line| line.contains(text));
    for text in ACCEPTED {
        let line = with(&text).with_context(|| format!("the kernel's log has no `{text}`"))?;
        note(&format!("kernel: {line}"));
    }
    match COMPLAINTS.iter().find_map(with) {
        Some(line) => bail!("the kernel complains: {line}"),
        None => Ok(()),
    }
}

fn load(options: &Options) -> Result<()> {
    let injector = options.by.open()?;
    let (page, line) = announce(Use::Data, options)?;
    let watch = Watch::begin(&page, options)?;
    injector.poison(line)?;
    let value = read_byte(&page, options.offset);
    watch.end(&page, line, options)?;
    ensure!(
        value == SPARE_FILL,
        "the load gave {value:#x}, which is not what the spare page holds"
    );
    Ok(())
}

fn fetch(options: &Options) -> Result<()> {
    #[cfg(target_arch = "aarch64")]
    const RETURN: &[u8] = &0xd65f_03c0_u32.to_le_bytes();
    #[cfg(target_arch = "x86_64")]
    const RETURN: &[u8] = &[0xc3];
    let injector = options.by.open()?;
    let (page, line) = announce(Use::Code, options)?;
    page.put_code(options.offset, RETURN);
    let watch = Watch::begin(&page, options)?;
    injector.poison(line)?;
    let address = page.address().wrapping_add(options.offset);
    // SAFETY: `put_code` has put a function there that only returns.
    let function: extern "C" fn() = unsafe { std::mem::transmute(address) };
    function();
    watch.end(&page, line, options)
}

fn write(options: &Options) -> Result<()> {
    let injector = options.by.open()?;
    let (page, line) = announce(Use::Data, options)?;
    let path = env::temp_dir().join(format!("ras-write-{}", process::id()));
    let mut file =
        File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    signal::expect(&page)?;
    injector.poison(line)?;
    note("writing; a kernel that cannot survive this says no more here");
    if options.offset > 0 {
        // SAFETY: the page is mapped and nothing writes to it. Only the kernel reads the bytes.
        let buffer = unsafe { slice::from_raw_parts(page.address(), SIZE) };
        let written = file.write(buffer).context("write from the page's start")?;
        note(&format!("write from the page's start: {written} bytes"));
        let content = fs::read(&path).context("cannot read back what was written")?;
        ensure!(
            written == options.offset && content == vec![FILL; written],
            "not what stands before the failing line: {} bytes",
            options.offset
        );
    }
    let start = page.address().wrapping_add(options.offset);
    // SAFETY: as above; the line is the last part of the page at the most.
    let buffer = unsafe { slice::from_raw_parts(start, 64) };
    let result = file.write(buffer);
    note(&format!("write from the failing line: {result:?}"));
    fs::remove_file(&path).context("cannot remove the file")?;
    let is_fault = |error: io::Error| error.raw_os_error() == Some(libc::EFAULT);
    ensure!(result.is_err_and(is_fault), "it did not fail with EFAULT");
    ensure!(signal::received().is_none(), "a SIGBUS came as well");
    Ok(())
}

fn store_clears(options: &Options) -> Result<()> {
    let injector = options.by.open()?;
    let (page, line) = announce(Use::Data, options)?;
    signal::expect(&page)?;
    injector.poison(line)?;
    zero_line(page.address().wrapping_add(options.offset))?;
    let value = read_byte(&page, options.offset);
    if let Some(error) = signal::received() {
        bail!("{error} although the line was overwritten");
    }
    ensure!(value == 0, "the line holds {value:#x} and not 0");
    note("the line is good again");
    Ok(())
}

fn corrected(options: &Options) -> Result<()> {
    let injector = options.by.open()?;
    let (page, line) = announce(Use::Data, options)?;
    let mut log = KernelLog::from_now()?;
    signal::expect(&page)?;
    injector.report_corrected(line)?;
    wait_for(&mut log, &physical_address(line), options)?;
    wait_for(&mut log, "event severity: corrected", options)?;
    show(&mut log, options)?;
    if let Some(error) = signal::received() {
        bail!("{error} although the error was corrected");
    }
    let value = read_byte(&page, options.offset);
    ensure!(value == FILL, "the line holds {value:#x} and not {FILL:#x}");
    Ok(())
}

fn patrol(options: &Options) -> Result<()> {
    let injector = options.by.open()?;
    let (page, line) = announce(Use::Data, options)?;
    // SAFETY: changes only when this process is told.
    let result = unsafe {
        libc::prctl(
            libc::PR_MCE_KILL,
            libc::PR_MCE_KILL_SET,
            libc::PR_MCE_KILL_EARLY,
            0,
            0,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error()).context("cannot ask for early SIGBUS");
    }
    let watch = Watch {
        code: ACTION_OPTIONAL,
        ..Watch::begin(&page, options)?
    };
    injector.report_scrubbed(line)?;
    watch.end(&page, line, options)
}

/// Maps a page and tells where it and its failing line are. Gives the line's physical address.
fn announce(usage: Use, options: &Options) -> Result<(Page, u64)> {
    let page = Page::new(usage)?;
    let line = page.physical()? + options.offset as u64;
    note(&format!(
        "page {:p}, line at offset {}, physical address {line:#x}",
        page.address(),
        options.offset
    ));
    Ok((page, line))
}

/// What is watched while a page fails: signal, log, the count of corrupted memory.
struct Watch {
    /// The `si_code` that must come.
    code: i32,
    log: KernelLog,
    corrupted: u64,
}

impl Watch {
    fn begin(page: &Page, options: &Options) -> Result<Self> {
        signal::expect(page)?;
        Ok(Self {
            code: if options.unclaimed {
                OBJECT_ERROR
            } else {
                ACTION_REQUIRED
            },
            log: KernelLog::from_now()?,
            corrupted: hardware_corrupted()?,
        })
    }

    /// Checks that the signal came, and that the kernel has given the page up; or, if firmware
    /// explained nothing, that it has not.
    fn end(mut self, page: &Page, line: u64, options: &Options) -> Result<()> {
        const KIBIBYTES: u64 = SIZE as u64 / 1024;
        let is_claimed = self.code != OBJECT_ERROR;
        if is_claimed {
            // The record itself may be missing: the kernel prints two in five seconds.
            let frame = line / SIZE as u64;
            wait_for(
                &mut self.log,
                &format!("Memory failure: {frame:#x}: recovery action for"),
                options,
            )?;
        }
        let error = wait_for_signal().context("no SIGBUS came")?;
        note(&error.to_string());
        show(&mut self.log, options)?;
        ensure!(error.code == self.code, "the code is not {}", self.code);
        ensure!(
            error.address / SIZE == page.address().addr() / SIZE,
            "the address is not in the page"
        );
        let corrupted = hardware_corrupted()?;
        note(&format!(
            "HardwareCorrupted: {} kB, before {} kB",
            corrupted, self.corrupted
        ));
        if is_claimed {
            ensure!(
                error.least_significant_bit == 12,
                "what is lost is not said to be one page"
            );
            ensure!(
                self.log
                    .lines()?
                    .iter()
                    .any(|line| line.ends_with(": Recovered")),
                "the kernel did not recover the page"
            );
            ensure!(
                corrupted == self.corrupted + KIBIBYTES,
                "it did not grow by a page"
            );
        } else {
            ensure!(
                corrupted == self.corrupted,
                "it changed though nobody explained the error"
            );
        }
        Ok(())
    }
}

/// A signal for an error that nobody has met comes when the kernel gets round to it.
fn wait_for_signal() -> Option<BusError> {
    const STEP: Duration = Duration::from_millis(10);
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        if signal::received().is_some() {
            break;
        }
        std::thread::sleep(STEP);
    }
    signal::received()
}

fn wait_for(log: &mut KernelLog, text: &str, options: &Options) -> Result<()> {
    if log
        .wait_for(PATIENCE, |line| line.contains(text))?
        .is_none()
    {
        show(log, options)?;
        bail!("the kernel's log does not say `{text}`");
    }
    Ok(())
}

fn show(log: &mut KernelLog, options: &Options) -> Result<()> {
    for line in log.lines()?.iter().filter(|_| !options.no_log) {
        note(&format!("kernel: {line}"));
    }
    Ok(())
}

/// As the kernel prints it in an error record.
fn physical_address(line: u64) -> String {
    format!("physical_address: {line:#018x}")
}

fn read_byte(page: &Page, offset: usize) -> u8 {
    let address = page.address().wrapping_add(offset);
    // SAFETY: the page is mapped; if its memory fails, the handler maps the spare there.
    unsafe { ptr::read_volatile(address) }
}

#[cfg(target_arch = "aarch64")]
fn zero_line(line: *mut u8) -> Result<()> {
    // DCZID_EL0: bit 4 forbids the instruction, bits 3:0 are the block's size, as a power of two
    // of 4-byte words (Arm ARM D24.2.44).
    let properties: u64;
    // SAFETY: reads an identification register.
    unsafe {
        std::arch::asm!("mrs {properties}, dczid_el0", properties = out(reg) properties,
            options(nomem, nostack, preserves_flags));
    }
    ensure!(
        properties & 0x1f == 4,
        "DC ZVA is forbidden, or does not clear 64 bytes"
    );
    // SAFETY: clears 64 bytes that are mapped writable.
    unsafe {
        std::arch::asm!("dc zva, {line}", line = in(reg) line, options(nostack, preserves_flags));
    }
    Ok(())
}

#[cfg(not(target_arch = "aarch64"))]
fn zero_line(_: *mut u8) -> Result<()> {
    bail!("only arm64 has an instruction that overwrites a line without reading it")
}
