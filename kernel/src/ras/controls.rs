//! Pages that are given up on request, and what is told of errors: the content of Linux's files.
//!
//! | file | functions |
//! |---|---|
//! | `/sys/devices/system/memory/hard_offline_page` | [`hard_offline_page`] |
//! | `/sys/devices/system/memory/soft_offline_page` | [`soft_offline_page`] |
//! | `/sys/kernel/debug/hwpoison/corrupt-pfn` | [`corrupt_pfn`] |
//! | `/sys/kernel/debug/hwpoison/unpoison-pfn` | [`unpoison_pfn`] |
//! | `/sys/devices/system/node/node0/memory_failure/*` | [`statistic`] |
//! | `/proc/sys/vm/memory_failure_early_kill` | [`early_kill`], [`set_early_kill`] |
//! | `/proc/sys/vm/memory_failure_recovery` | [`recovery`], [`set_recovery`], on [`super::goes_on`] |
//! | `/proc/meminfo`, `HardwareCorrupted` | `mm::Memory::corrupted_bytes` |
//!
//! What is written is text: a number, decimal or with `0x` hexadecimal, and perhaps a line break.

use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicBool, Ordering};

use mm::{Action, Context, Machine, Memory, PAGE_SIZE, Pfn};

use crate::error::{Errno, Result};
use crate::ras::engine;

/// The names of the counts in `memory_failure/`.
pub const STATISTICS: [&str; 5] = ["total", "ignored", "failed", "delayed", "recovered"];

/// Gives up the page at a physical address, as if it had failed.
///
/// # Errors
///
/// `EINVAL`: no number. `ENXIO`: not RAM of ours. `EBUSY`: the kernel's own. `EHWPOISON`: it was
/// given up before.
pub fn hard_offline_page<M: Machine>(memory: &Memory<M>, text: &[u8]) -> Result<()> {
    simulate_failure(memory, Pfn(number(text)? / PAGE_SIZE as u64))
}

/// Gives up the page at a physical address and keeps its bytes.
///
/// # Errors
///
/// `EINVAL`: no number. `EBUSY`: it cannot be moved, now or ever.
pub fn soft_offline_page<M: Machine>(memory: &Memory<M>, text: &[u8]) -> Result<()> {
    let pfn = Pfn(number(text)? / PAGE_SIZE as u64);
    if engine::soft_offline(memory, pfn) {
        Ok(())
    } else {
        Err(Errno::EBUSY)
    }
}

/// As [`hard_offline_page`], by page frame number.
///
/// # Errors
///
/// As there.
pub fn corrupt_pfn<M: Machine>(memory: &Memory<M>, text: &[u8]) -> Result<()> {
    let pfn = Pfn(number(text)?);
    log::info!("Injecting memory failure at pfn {:#x}", pfn.0);
    simulate_failure(memory, pfn)
}

/// Takes back a failure that was simulated, by page frame number.
///
/// # Errors
///
/// `EINVAL`: no number, or the page has not failed. `EBUSY`: somebody holds it. `EOPNOTSUPP`: an
/// error of the hardware has happened since boot. `ENXIO`: not RAM of ours.
pub fn unpoison_pfn<M: Machine>(memory: &Memory<M>, text: &[u8]) -> Result<()> {
    let pfn = Pfn(number(text)?);
    let result = memory.unpoison(pfn);
    let said = match result {
        Ok(()) => "software-unpoisoned page",
        Err(mm::Errno::EOPNOTSUPP) => "disabled after HW memory failure",
        Err(mm::Errno::EINVAL) => "page was already unpoisoned",
        Err(mm::Errno::EBUSY) => "someone grabs the hwpoison page",
        Err(_) => "memory outside kernel control",
    };
    log::info!("Unpoison: {:#x}: {said}", pfn.0);
    Ok(result?)
}

fn simulate_failure<M: Machine>(memory: &Memory<M>, pfn: Pfn) -> Result<()> {
    let context = Context {
        consumer: None,
        simulated: true,
    };
    let report = memory.memory_failure(pfn, context)?;
    let (number, page, action) = (pfn.0, report.page, report.action);
    log::error!("Memory failure: {number:#x}: recovery action for {page}: {action}");
    match action {
        Action::Recovered | Action::Delayed => Ok(()),
        Action::Ignored | Action::Failed => Err(Errno::EBUSY),
    }
}

/// One of the [`STATISTICS`], as text. `None` for any other name.
pub fn statistic<M: Machine>(memory: &Memory<M>, name: &str) -> Option<String> {
    let counts = memory.failure_statistics();
    let count = match name {
        "total" => counts.total,
        "ignored" => counts.ignored,
        "failed" => counts.failed,
        "delayed" => counts.delayed,
        "recovered" => counts.recovered,
        _ => return None,
    };
    Some(format!("{count}\n"))
}

/// Sets whether processes without a policy of their own are told at once of memory that they lost.
///
/// # Errors
///
/// `EINVAL`: neither 0 nor 1.
pub fn set_early_kill<M: Machine>(memory: &Memory<M>, text: &[u8]) -> Result<()> {
    memory.set_early_kill(switch(text)?);
    Ok(())
}

/// Whether they are, as text.
pub fn early_kill<M: Machine>(memory: &Memory<M>) -> String {
    as_text(memory.early_kill())
}

/// Sets whether the system goes on after a page has failed.
///
/// # Errors
///
/// `EINVAL`: neither 0 nor 1.
pub fn set_recovery(goes_on: &AtomicBool, text: &[u8]) -> Result<()> {
    goes_on.store(switch(text)?, Ordering::Relaxed);
    Ok(())
}

/// Whether it does, as text.
pub fn recovery(goes_on: &AtomicBool) -> String {
    as_text(goes_on.load(Ordering::Relaxed))
}

fn switch(text: &[u8]) -> Result<bool> {
    match number(text)? {
        on @ 0..=1 => Ok(on == 1),
        _ => Err(Errno::EINVAL),
    }
}

fn as_text(on: bool) -> String {
    format!("{}\n", u8::from(on))
}

/// A number as it is written to such a file.
///
/// # Errors
///
/// `EINVAL`.
pub(super) fn number(text: &[u8]) -> Result<u64> {
    let text = str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let text = text.trim_ascii();
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign.
    if digits.starts_with('+') {
        return Err(Errno::EINVAL);
    }
    u64::from_str_radix(digits, radix).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicBool;

    use mm::{FrameState, PAGE_SIZE, Pfn};

    use super::*;

    /// A manager, and a frame of it that nobody uses.
    fn memory() -> (Memory<mm::sim::SimMachine>, Pfn) {
        let memory = mm::sim::memory(4096);
        let is_free = |pfn: &Pfn| memory.frame_state(*pfn) == Some(FrameState::Free);
        let free = (0..1 << 20).map(Pfn).find(is_free).unwrap();
        (memory, free)
    }

    #[test]
    fn a_page_is_given_up_counted_and_taken_back() {
        let (memory, pfn) = memory();
        let address = format!("{:#x}\n", pfn.0 * PAGE_SIZE as u64 + 17);
        hard_offline_page(&memory, address.as_bytes()).unwrap();
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
        assert_eq!(
            hard_offline_page(&memory, address.as_bytes()),
            Err(Errno::EHWPOISON)
        );
        assert_eq!(statistic(&memory, "total").as_deref(), Some("1\n"));
        assert_eq!(statistic(&memory, "recovered").as_deref(), Some("1\n"));
        assert_eq!(statistic(&memory, "other"), None);
        let text = format!("{}", pfn.0);
        unpoison_pfn(&memory, text.as_bytes()).unwrap();
        assert_eq!(unpoison_pfn(&memory, text.as_bytes()), Err(Errno::EINVAL));
        corrupt_pfn(&memory, text.as_bytes()).unwrap();
        assert_eq!(memory.corrupted_bytes(), PAGE_SIZE as u64);
    }

    #[test]
    fn a_free_page_is_given_up_softly() {
        let (memory, pfn) = memory();
        let address = format!("{}", pfn.0 * PAGE_SIZE as u64);
        soft_offline_page(&memory, address.as_bytes()).unwrap();
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
        assert_eq!(
            soft_offline_page(&memory, b"0xffffffffffff0000"),
            Err(Errno::EBUSY)
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let (memory, _) = memory();
        for bad in [
            &b""[..],
            b"x",
            b"-1",
            b"+1",
            b"0x",
            b"1 2",
            b"\xff",
            b"99999999999999999999",
        ] {
            assert_eq!(hard_offline_page(&memory, bad), Err(Errno::EINVAL));
        }
        assert_eq!(
            corrupt_pfn(&memory, b"0xffffffffffffffff"),
            Err(Errno::ENXIO)
        );
    }

    #[test]
    fn switches_are_0_and_1() {
        let (memory, _) = memory();
        let goes_on = AtomicBool::new(true);
        assert_eq!(recovery(&goes_on), "1\n");
        set_recovery(&goes_on, b"0\n").unwrap();
        assert_eq!(recovery(&goes_on), "0\n");
        assert_eq!(set_recovery(&goes_on, b"2"), Err(Errno::EINVAL));
        assert_eq!(early_kill(&memory), "0\n");
        set_early_kill(&memory, b"1").unwrap();
        assert_eq!(early_kill(&memory), "1\n");
    }
}
