//! The memory that accesses under test go to, and the mappings through which they see it.

use core::cell::UnsafeCell;

use control::layout::{FIRMWARE, FIRMWARE_LENGTH, HOLE};
use control::{MAX_CPUS, PAGE};

use super::cpu;
use super::mmu::{self, Table};
use super::stub;

/// Pages of the arena.
pub(crate) const PAGES: usize = 96;

/// The pages that the model follows.
pub(crate) const TARGET: usize = 0;
/// A clean page for what CPU 0 loads and stores.
pub(crate) const BUFFER: usize = 8;
/// A level 3 table.
pub(crate) const LEVEL_3_TABLE: usize = 16;
/// A level 2 table, and the level 3 table behind it.
pub(crate) const LEVEL_2_TABLE: usize = 18;
/// Code.
pub(crate) const CODE: usize = 24;
/// Pages for CPUs to work on, alone or together.
pub(crate) const SHARED: usize = 32;

/// For each CPU two pages: what its accesses load and store, and what else they need.
const BUFFERS: usize = 56;

const _: () = assert!(BUFFERS + 2 * MAX_CPUS < PAGES);

#[repr(C, align(4096))]
struct Arena(UnsafeCell<[u8; PAGES * PAGE as usize]>);

// SAFETY: Rust holds no reference into it; it is accessed by address only.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; PAGES * PAGE as usize]));

/// A mapping of the arena, or of what stands in for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum View {
    /// EL1 reads and writes.
    Kernel,
    /// EL0 and EL1 read and write.
    User,
    /// EL1 reads and writes data and tags.
    Tagged,
    /// EL1 executes.
    KernelCode,
    /// EL0 executes.
    UserCode,
    /// The hole in the memory map: EL1 reads and writes.
    Hole,
    /// The hole, for EL0 too.
    UserHole,
    /// The hole, executable.
    HoleCode,
    /// The stubs, which EL0 executes.
    UserStubs,
    /// The memory that is shared with firmware.
    Firmware,
    /// What the level 3 table in the arena maps.
    Walk,
    /// What a level 3 table in the hole would map.
    HoleWalk,
}

static TABLES: [Table; View::Walk as usize] = [const { Table::new() }; View::Walk as usize];

impl View {
    /// Where it starts.
    pub(crate) const fn base(self) -> u64 {
        mmu::WINDOW + self as u64 * mmu::BLOCK_LENGTH
    }

    /// The virtual address of a byte of the arena in this view.
    pub(crate) const fn address(self, page: usize, offset: usize) -> u64 {
        self.base() + page as u64 * PAGE + offset as u64
    }
}

/// Makes the views.
pub(crate) fn init() {
    let arena = physical(0);
    let stubs = stub::section();
    for (view, pages, physical, attributes) in [
        (View::Kernel, PAGES, arena, mmu::NORMAL | mmu::KERNEL_DATA),
        (View::User, PAGES, arena, mmu::NORMAL | mmu::USER_DATA),
        (View::Tagged, PAGES, arena, mmu::TAGGED | mmu::KERNEL_DATA),
        (
            View::KernelCode,
            PAGES,
            arena,
            mmu::NORMAL | mmu::KERNEL_CODE,
        ),
        (View::UserCode, PAGES, arena, mmu::NORMAL | mmu::USER_CODE),
        (View::Hole, PAGES, HOLE, mmu::NORMAL | mmu::KERNEL_DATA),
        (View::UserHole, PAGES, HOLE, mmu::NORMAL | mmu::USER_DATA),
        (View::HoleCode, PAGES, HOLE, mmu::NORMAL | mmu::KERNEL_CODE),
        (
            View::UserStubs,
            stubs.len() / PAGE as usize,
            stubs.start as u64,
            mmu::NORMAL | mmu::USER_CODE,
        ),
        (
            View::Firmware,
            (FIRMWARE_LENGTH / PAGE) as usize,
            FIRMWARE,
            mmu::NORMAL | mmu::KERNEL_DATA,
        ),
    ] {
        let table = &TABLES[view as usize];
        table.map(0, pages, physical, attributes);
        mmu::set_level_3(view as usize, table.address());
    }
    mmu::set_level_3(View::Walk as usize, physical(LEVEL_3_TABLE));
    mmu::set_level_3(View::HoleWalk as usize, HOLE);
    mmu::set_level_2(physical(LEVEL_2_TABLE));
}

/// The first of this CPU's two pages for what its accesses load and store.
pub(crate) fn buffer() -> usize {
    BUFFERS + 2 * cpu::number()
}

/// The physical address of a page of the arena.
pub(crate) fn physical(page: usize) -> u64 {
    ARENA.0.get() as u64 + page as u64 * PAGE
}

/// Copies `bytes` into the arena, `offset` bytes into `page`.
pub(crate) fn write(page: usize, offset: usize, bytes: &[u8]) {
    let start = page * PAGE as usize + offset;
    assert!(start + bytes.len() <= PAGES * PAGE as usize);
    let to = (physical(0) + start as u64) as *mut u8;
    // SAFETY: inside the arena, which no reference points into.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
}

/// Copies bytes out of the arena. None of them may be poisoned.
pub(crate) fn read(page: usize, offset: usize, bytes: &mut [u8]) {
    let start = page * PAGE as usize + offset;
    assert!(start + bytes.len() <= PAGES * PAGE as usize);
    let from = (physical(0) + start as u64) as *const u8;
    // SAFETY: inside the arena, which no reference points into.
    unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) }
}

/// Writes 8 bytes.
pub(crate) fn write_u64(page: usize, offset: usize, value: u64) {
    write(page, offset, &value.to_le_bytes());
}

/// Reads 8 bytes.
pub(crate) fn read_u64(page: usize, offset: usize) -> u64 {
    let mut bytes = [0; 8];
    read(page, offset, &mut bytes);
    u64::from_le_bytes(bytes)
}
