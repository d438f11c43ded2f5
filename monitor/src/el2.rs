//! The program at EL2.
//!
//! | module | what it does |
//! |---|---|
//! | `boot`, `device_tree`, `cpu`, `psci` | gets every CPU to EL2, set up, and into the guest |
//! | `stage2` | what the guest's physical addresses lead to, for each CPU |
//! | `vectors`, `trap` | exceptions from the guest, sent to who handles them |
//! | `abort` | a stage 2 abort: which page, what kind of access |
//! | `step`, `debug` | runs one instruction with the page open and bad lines guarded |
//! | `hit` | hands the guest its abort, with the record in place |
//! | `poison` | what is poisoned, and the commands that change it |
//! | `tlb` | the maintenance of a guest's only CPU |
//! | `devices`, `mailbox`, `service`, `gic`, `summon` | who gives commands, and who is told |

mod abort;
mod boot;
mod cpu;
mod debug;
mod device_tree;
mod devices;
mod gic;
mod guest;
mod hit;
mod mailbox;
mod poison;
mod psci;
mod registers;
mod service;
mod stage2;
mod step;
mod summon;
mod tlb;
mod trap;
mod uart;
mod vectors;

use core::arch::asm;
use core::ops::Range;

use control::boot::{ALL_FLAGS, Config, FIRMWARE, SERVICE_CPU, SIGNATURE, SILENT, VERSION};
use control::layout::{BOOT_CONFIG, GUEST_IMAGE, RAM_BASE, RESERVED_LENGTH};
use control::{MAX_CPUS, PAGE};
use monitor::device_tree::Changes;

use self::boot::place;
use self::cpu::Cpu;
use self::registers::mrs;

/// EL1 with its own stack, all interrupts masked.
const ENTRY_PSTATE: u64 = 0x3c5;

/// The first CPU, in the image that has moved to the end of RAM.
extern "C" fn main() -> ! {
    let started = mrs!("cntpct_el0");
    let config = read_config();
    clear_starting_place();
    match start(&config, started) {
        Ok(service_cpu) => {
            if let Some(index) = service_cpu {
                psci::start(index);
            }
            mailbox::running();
            if config.flags & FIRMWARE != 0 {
                enter(0, 0)
            } else {
                enter(config.entry, RAM_BASE)
            }
        }
        Err(reason) => {
            mailbox::failed();
            mailbox::log!("cannot start: {reason}");
            uart::refuse(format_args!("{reason}"))
        }
    }
}

/// Every further CPU.
extern "C" fn secondary_main(index: usize) -> ! {
    match stage2::view(index) {
        Some(view) => {
            Cpu::begin(index, view);
            let (pc, argument) = psci::entry(index);
            enter(pc, argument)
        }
        None => service::run(index),
    }
}

/// Why the machine cannot be started.
#[derive(Debug)]
enum Refusal {
    DeviceTree(monitor::device_tree::Error),
    ConfigVersion(u32),
    ConfigFlags(u32),
    Entry(u64),
    Initrd(Range<u64>),
    Cpus(usize),
    NoRoom,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::DeviceTree(error) => write!(f, "{error}"),
            Self::ConfigVersion(version) => write!(
                f,
                "the boot configuration has version {version}, not {VERSION}: host command and \
                 monitor are of different builds"
            ),
            Self::ConfigFlags(flags) => {
                write!(f, "the boot configuration has unknown flags {flags:#x}")
            }
            Self::Entry(entry) => write!(
                f,
                "the guest's entry {entry:#x} is not an instruction's address in its RAM"
            ),
            Self::Initrd(range) => write!(
                f,
                "the initial RAM disk {:#x}..{:#x} is not in the guest's RAM",
                range.start, range.end
            ),
            Self::Cpus(count) => write!(
                f,
                "{count} CPUs: at least one for the guest, and at most {MAX_CPUS} in all"
            ),
            Self::NoRoom => f.write_str("no room for the stage 2 tables"),
        }
    }
}

/// Prepares everything for the first CPU to enter the guest. Gives the monitor's own CPU.
fn start(config: &Config, started: u64) -> Result<Option<usize>, Refusal> {
    let ram = device_tree::ram().map_err(Refusal::DeviceTree)?;
    let reserved = ram.end - RESERVED_LENGTH;
    let guest_ram = ram.start..reserved;
    let cpus = device_tree::cpus().map_err(Refusal::DeviceTree)?;
    let service_cpu = (config.flags & SERVICE_CPU != 0).then(|| cpus.wrapping_sub(1));
    let guest_cpus = service_cpu.unwrap_or(cpus);
    if guest_cpus == 0 || cpus > MAX_CPUS {
        return Err(Refusal::Cpus(cpus));
    }
    let initrd = check_config(config, &guest_ram)?;

    let window = reserved + place::WINDOW;
    let free = boot::image_end().next_multiple_of(PAGE)..ram.end;
    stage2::make(guest_cpus, guest_ram.clone(), ram.end, window, free)
        .map_err(|_| Refusal::NoRoom)?;
    mailbox::make(
        reserved + place::MAILBOX,
        started,
        guest_cpus,
        service_cpu.is_some(),
    );
    devices::make(window);
    device_tree::change(&Changes {
        ram: guest_ram.clone(),
        hidden_cpu: service_cpu,
        initrd,
        announce: config.flags & SILENT == 0,
    })
    .map_err(Refusal::DeviceTree)?;
    let view = stage2::view(0).ok_or(Refusal::NoRoom)?;
    Cpu::begin(0, view);
    mailbox::log!(
        "guest: {guest_cpus} CPUs, RAM {:#x}..{:#x}",
        guest_ram.start,
        guest_ram.end
    );
    Ok(service_cpu)
}

/// What the host said, or what to do if it said nothing.
fn read_config() -> Config {
    // SAFETY: RAM, aligned; any bytes are a `Config`; the guest does not run yet.
    let config = unsafe { (BOOT_CONFIG as *const Config).read_volatile() };
    if config.signature == SIGNATURE {
        return config;
    }
    Config {
        signature: SIGNATURE,
        version: VERSION,
        flags: 0,
        entry: GUEST_IMAGE,
        initrd_start: 0,
        initrd_length: 0,
    }
}

/// Checks what the host said. Gives the initial RAM disk.
fn check_config(config: &Config, ram: &Range<u64>) -> Result<Option<Range<u64>>, Refusal> {
    if config.version != VERSION {
        return Err(Refusal::ConfigVersion(config.version));
    }
    if config.flags & !ALL_FLAGS != 0 {
        return Err(Refusal::ConfigFlags(config.flags));
    }
    if config.flags & FIRMWARE != 0 {
        return Ok(None);
    }
    if !ram.contains(&config.entry) || !config.entry.is_multiple_of(4) {
        return Err(Refusal::Entry(config.entry));
    }
    if config.initrd_length == 0 {
        return Ok(None);
    }
    let end = config.initrd_start.saturating_add(config.initrd_length);
    let initrd = config.initrd_start..end;
    if initrd.start < ram.start || initrd.end > ram.end {
        return Err(Refusal::Initrd(initrd));
    }
    Ok(Some(initrd))
}

/// The guest shall not find the image that has moved.
fn clear_starting_place() {
    for address in (BOOT_CONFIG..GUEST_IMAGE).step_by(8) {
        // SAFETY: RAM that the monitor used while it started, and uses no more.
        unsafe { (address as *mut u64).write_volatile(0) };
    }
}

/// Enters the guest at EL1. See the boot protocol: x0 is the device tree, or what the guest gave to
/// CPU_ON; x1 to x3 are 0.
fn enter(pc: u64, argument: u64) -> ! {
    // SAFETY: leaves this program. From here on it runs only as the handler of exceptions, on the same
    // stack, of which nothing is needed any more.
    unsafe {
        asm!(
            "msr elr_el2, {pc}",
            "msr spsr_el2, {pstate}",
            "isb",
            "mov x1, xzr",
            "mov x2, xzr",
            "mov x3, xzr",
            "eret",
            pc = in(reg) pc,
            pstate = in(reg) ENTRY_PSTATE,
            in("x0") argument,
            options(noreturn, nostack)
        );
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    mailbox::failed();
    mailbox::log!("internal error: {info}");
    uart::last_words(format_args!("internal error: {info}"))
}
