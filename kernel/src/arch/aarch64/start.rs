//! The order of things in boot.

use alloc::sync::Arc;
use core::ops::Range;

use dtoolkit::fdt::Fdt;
use mm::{PAGE_SIZE, Pfn};
use spin::Once;

use super::boot::{EARLY_2, EARLY_BLOCK, continue_on};
use super::layout::{self, direct, image_physical};
use super::{
    Firmware, console, cpu, disk, firmware, fixup, interrupt, irq, machine, psci, registers, stack,
    tables, thread, time,
};
use crate::device_tree::{self, Board};
use crate::memory::{self, Ranges, heap};
use crate::task::{self, Pid, scheduler};
use crate::{init, log, ras};

/// The last entries of the early map show the device tree: it has at most 2 MiB, at any place.
const TREE_ENTRY: usize = 510;
const BLOCK: u64 = 1 << 21;

/// Bytes that the heap begins with, besides the frame table.
const HEAP: u64 = 4 << 20;
/// Bytes of the frame table for each frame.
const FRAME: u64 = 66;

static BOARD: Once<Board> = Once::new();

/// The first Rust on the first CPU. `tree` and `image` are physical addresses.
pub(super) extern "C" fn main(tree: u64, image: u64) -> ! {
    layout::set_image(image);
    time::init();
    fixup::init();
    cpu::begin(0);
    cpu::report_on_boot_stack();
    let tree = early_tree(tree);
    if let Ok(tree) = tree
        && let Ok(Some(found)) = device_tree::console(tree)
    {
        console::init(&found);
    }
    log::init();
    let board = tree
        .map_err(|_| device_tree::Error::Malformed)
        .and_then(Board::read);
    let board = board.unwrap_or_else(|error| panic!("{error}"));
    let board = BOARD.call_once(|| board);
    psci::use_hvc(board.hvc);
    tables::make(board.ram.iter()).expect("a machine with fewer ranges of RAM");
    tables::activate();
    if let Some(level) = init::option(board.command_line.as_str(), "loglevel") {
        log::set_console_level(level.parse().unwrap_or(log::console_level()));
    }
    start_memory(board);
    let stack = stack::new().expect("there is memory at boot");
    let end = stack.end();
    // The CPU keeps it: its first thread never ends.
    core::mem::forget(stack);
    // SAFETY: a stack that nobody uses, and nothing on the old one is needed any more.
    unsafe { continue_on(end, with_memory) }
}

/// The rest of boot on the first CPU.
extern "C" fn with_memory() -> ! {
    let board = BOARD.get().expect("it was read before");
    log::info!(
        "Seaworthy {} on {} CPUs",
        env!("CARGO_PKG_VERSION"),
        board.cpu_count
    );
    log::info!("Command line: {}", board.command_line.as_str());
    if let Err(reason) = interrupt::start(board).and_then(|()| console::listen()) {
        panic!("the interrupt controller: {reason}");
    }
    become_idle();
    listen_to_firmware(board);
    disk::start(&board.virtio[..board.virtio_count]);
    start_others(board);
    if let Err(error) = init::start(initrd(board), board.command_line.as_str()) {
        panic!("the first process: {error:?}");
    }
    // The number 1 is the first process's.
    if let Err(error) = ras::start() {
        panic!("the thread that deals with memory errors: {error:?}");
    }
    irq::enable();
    scheduler::idle(|| true);
    unreachable!("the first CPU is idle for ever")
}

/// Finds out where firmware reports errors, and lets it call.
fn listen_to_firmware(board: &Board) {
    let recovers = init::option(board.command_line.as_str(), "recover") != Some("off");
    for number in ras::initialize(Firmware, board.firmware, recovers) {
        if let Err(reason) = interrupt::enable_edge(number) {
            log::error!("GHES: interrupt {number}: {reason}");
        }
    }
    firmware::seal();
}

/// The first Rust on the other CPUs.
pub(super) extern "C" fn secondary_main(id: usize) -> ! {
    cpu::begin(id);
    let board = BOARD.get().expect("the first CPU has read it");
    if let Err(reason) = interrupt::init_cpu(board.timer) {
        log::error!("CPU{id}: {reason}");
        psci::halt();
    }
    become_idle();
    cpu::started(id);
    irq::enable();
    scheduler::idle(|| true);
    unreachable!("a CPU is idle for ever")
}

/// The device tree, by way of the early map.
fn early_tree(physical: u64) -> Result<Fdt<'static>, dtoolkit::error::FdtParseError> {
    let first = physical & !(BLOCK - 1);
    for index in 0..2 {
        EARLY_2.set(
            TREE_ENTRY + index,
            (first + index as u64 * BLOCK) | EARLY_BLOCK,
        );
    }
    registers::run!("dsb ish", "isb");
    let base = (layout::IMAGE & !((1 << 30) - 1)) + TREE_ENTRY as u64 * BLOCK;
    let start = core::ptr::with_exposed_provenance::<u8>((base + (physical - first)) as usize);
    // SAFETY: the boot protocol: a device tree of at most 2 MiB, to which nobody writes.
    let bytes = unsafe { core::slice::from_raw_parts(start, BLOCK as usize) };
    let total = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
    Fdt::new(&bytes[..total.min(bytes.len())])
}

/// The heap and the memory manager, of all RAM that is not in use.
fn start_memory(board: &Board) {
    let free = free_memory(board).expect("a machine with fewer ranges of RAM");
    let mut rest = free;
    let length = (free.total() / PAGE_SIZE as u64 * FRAME + HEAP).next_multiple_of(BLOCK);
    let start = rest
        .take(length, BLOCK)
        .expect("more RAM than the frame table takes");
    // SAFETY: RAM in the direct map, which nobody uses.
    unsafe { heap::begin(direct(start) as usize, length as usize) };
    let mut usable = [const { Pfn(0)..Pfn(0) }; 64];
    let mut count = 0;
    for (place, (start, end)) in usable.iter_mut().zip(rest.whole(PAGE_SIZE as u64)) {
        *place = frame(start)..frame(end);
        count += 1;
    }
    memory::note_ram(board.ram);
    memory::begin(machine::Machine::new(), &usable[..count]);
    cpu::give_emergency_stack(0).expect("there is memory at boot");
    let image = layout::image_end() - layout::IMAGE;
    log::info!(
        "Memory: {} KiB of RAM, {} KiB free; the image takes {} KiB, frame table and heap {} KiB, \
         {}.{} % in all",
        board.ram.total() >> 10,
        (memory::manager().free_frames() * PAGE_SIZE) >> 10,
        image >> 10,
        length >> 10,
        (image + length) * 100 / board.ram.total(),
        (image + length) * 1000 / board.ram.total() % 10,
    );
}

fn frame(address: u64) -> Pfn {
    Pfn(address / PAGE_SIZE as u64)
}

fn free_memory(board: &Board) -> Result<Ranges, memory::Full> {
    let mut free = board.ram;
    let image = image_physical(layout::IMAGE)..image_physical(layout::image_end());
    let in_use = [Some(image), board.initrd.map(|(start, end)| start..end)];
    for Range { start, end } in in_use.into_iter().flatten() {
        free.remove(start, end.next_multiple_of(PAGE_SIZE as u64))?;
    }
    for (start, end) in board.reserved.iter() {
        free.remove(start, end)?;
    }
    Ok(free)
}

/// The initial RAM disk.
fn initrd(board: &Board) -> &'static [u8] {
    let Some((start, end)) = board.initrd else {
        return &[];
    };
    let inside = board
        .ram
        .iter()
        .any(|(from, to)| from <= start && end <= to);
    if !inside {
        log::error!("the initial RAM disk {start:#x}..{end:#x} is not in RAM");
        return &[];
    }
    let place = core::ptr::with_exposed_provenance(direct(start) as usize);
    // SAFETY: RAM that was kept from the memory manager, and to which nobody writes.
    unsafe { core::slice::from_raw_parts(place, (end - start) as usize) }
}

/// Makes the boot context of this CPU its idle thread.
fn become_idle() {
    let process = init::kernel_process();
    let idle = task::Thread::new(Pid::NONE, process, thread::State::boot());
    scheduler::enter(Arc::new(idle));
}

fn start_others(board: &Board) {
    let own = cpu::own_affinity();
    let all = &board.cpus[..board.cpu_count];
    for affinity in all.iter().filter(|affinity| **affinity != own) {
        if let Err(reason) = cpu::start(*affinity) {
            log::error!("the CPU with affinity {affinity:#x} stays off: {reason}");
        }
    }
    log::info!("{} CPUs run", cpu::count());
}
