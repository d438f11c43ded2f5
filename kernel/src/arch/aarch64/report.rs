//! The end: what happened, where, and to which page. Addresses are for `cargo seaworthy run`,
//! which finds their names in the image.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use mm::{FrameState, Pfn};
use syndrome::{Esr, Syndrome};

use super::console::AtOnce;
use super::layout::{self, PAGE};
use super::registers::{mrs, run};
use super::{cpu, psci, stack};
use crate::arch::Registers;
use crate::memory::try_manager;
use crate::task::try_current;

/// The CPU that reports, plus 1.
static REPORTER: AtomicUsize = AtomicUsize::new(0);

/// How many calls a backtrace shows.
const CALLS: usize = 48;

macro_rules! print {
    ($($argument:tt)*) => {
        // `AtOnce` does not fail.
        let _ = writeln!(AtOnce, $($argument)*);
    };
}

/// Begins a report, of which there is one: other CPUs stop, and a report about the report is
/// left out.
fn begin() {
    run!("msr daifset, #0xf");
    let own = cpu::id() + 1;
    match REPORTER.compare_exchange(0, own, Ordering::AcqRel, Ordering::Relaxed) {
        Ok(_) => cpu::stop_others(),
        Err(owner) if owner == own => {
            print!("---[ end Kernel panic: and another failure while it was reported ]---");
            psci::power_off();
        }
        Err(_) => psci::halt(),
    }
}

fn end() -> ! {
    print!("---[ end Kernel panic ]---");
    psci::reset()
}

fn who() {
    let thread = try_current();
    let (id, name) = thread.map_or((0, Default::default()), |thread| {
        let name = thread.name.try_lock().map(|name| *name);
        (thread.id().0, name.unwrap_or_default())
    });
    print!(
        "CPU: {} PID: {id} Comm: {}",
        cpu::id(),
        name.bytes().escape_ascii()
    );
}

/// Follows frame records from `frame` on (AAPCS64, 6.2.3), as long as they are on one stack.
fn backtrace(mut frame: u64) {
    print!("Call trace:");
    let Some(stack) = stack::containing(frame) else {
        print!(" (the frame pointer is not on a stack)");
        return;
    };
    for _ in 0..CALLS {
        if !frame.is_multiple_of(8) || !stack.contains(&frame) || !stack.contains(&(frame + 8)) {
            return;
        }
        let record = core::ptr::with_exposed_provenance::<[u64; 2]>(frame as usize);
        // SAFETY: 16 bytes of a kernel stack, all of which are mapped.
        let [next, link] = unsafe { record.read_volatile() };
        if link == 0 {
            return;
        }
        print!(" {link:#018x}");
        if next <= frame {
            return;
        }
        frame = next;
    }
}

fn registers(registers: &Registers) {
    print!(
        "pc : {:016x} lr : {:016x} sp : {:016x} pstate: {:08x}",
        registers.pc, registers.x[30], registers.sp, registers.pstate
    );
    for (row, values) in registers.x[..30].chunks(3).enumerate() {
        let _ = write!(AtOnce, "x{:<2}: {:016x}", row * 3, values[0]);
        for (column, value) in values.iter().enumerate().skip(1) {
            let _ = write!(AtOnce, " x{:<2}: {value:016x}", row * 3 + column);
        }
        print!("");
    }
}

/// What is at a physical address.
fn owner(physical: u64) {
    let image = layout::image_physical(layout::IMAGE)..layout::image_physical(layout::image_end());
    let page = Pfn(physical / PAGE);
    if image.contains(&physical) {
        let part = if physical < layout::image_physical(layout::text_end()) {
            "text"
        } else if physical < layout::image_physical(layout::rodata_end()) {
            "constants"
        } else {
            "data"
        };
        print!(
            "page {:#x} (physical {physical:#x}) is the kernel's {part}",
            page.0
        );
        return;
    }
    // Whoever reports may have interrupted a holder of the frame's lock.
    let state = try_manager().and_then(|manager| manager.try_frame_state(page));
    match state {
        Some(state) => {
            print!(
                "page {:#x} (physical {physical:#x}) is {}",
                page.0,
                use_of(state)
            );
        }
        None => {
            print!(
                "page {:#x} (physical {physical:#x}) has no known owner",
                page.0
            );
        }
    }
}

/// What a frame is used for.
fn use_of(state: FrameState) -> &'static str {
    match state {
        FrameState::Reserved => "reserved",
        FrameState::Free => "free",
        FrameState::Kernel => "of the kernel's heap or a stack",
        FrameState::Table => "a translation table of a program's",
        FrameState::Anonymous => "private memory of a program",
        FrameState::File { .. } => "of a file in the page cache",
        FrameState::Ksm => "private memory that programs share",
        FrameState::Claimed => "claimed by compaction",
        FrameState::Hugetlb | FrameState::Tail => "in a huge page",
        FrameState::Isolated => "isolated",
    }
}

/// The physical address behind a kernel address.
fn translate(address: u64) -> Option<u64> {
    super::registers::run_with!("at s1e1r, {}", address);
    run!("isb");
    let result = mrs!("par_el1");
    (result & 1 == 0).then_some(result & ((1 << 48) - PAGE) | address & (PAGE - 1))
}

/// Reports an exception that nothing can be done about, and ends.
pub(super) fn exception(what: &str, frame: &Registers, esr: Esr, far: u64) -> ! {
    begin();
    print!("Kernel panic - not syncing: {what}");
    print!("ESR = {esr}");
    let address = match esr.decode() {
        Syndrome::DataAbort(abort) => abort.address(far),
        Syndrome::InstructionAbort(abort) => abort.address(far),
        _ => None,
    };
    if let Some(address) = address {
        print!("FAR = {address:#018x}");
        if let Some(physical) = translate(address) {
            owner(physical);
        }
    }
    who();
    registers(frame);
    // The record that the entry code has made holds where the exception came from.
    backtrace((core::ptr::from_ref(frame).addr() + size_of::<Registers>()) as u64);
    end()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    begin();
    print!("Kernel panic - not syncing: {info}");
    who();
    let frame: u64;
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov {}, x29", out(reg) frame, options(nomem, nostack, preserves_flags));
    }
    backtrace(frame);
    end()
}
