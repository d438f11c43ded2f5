//! Registers and memory that firmware's error tables name.
//!
//! What lies where they are is mapped when it is first reached, in boot. From [`seal`] on nothing is:
//! an exception may have interrupted whoever changes the kernel's tables.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use apei::{AddressSpace, Platform, Register, Width};

use super::registers::run;
use super::{tables, time};
use crate::sync::SpinLock;

/// What is mapped at once: an aligned block of this many bytes.
const BLOCK: u64 = 1 << 16;

/// Blocks that there can be: sources have their registers and memory side by side.
const MOST: usize = 16;

/// The blocks: physical and virtual address. Those below [`COUNT`] do not change.
static BLOCKS: [(AtomicU64, AtomicU64); MOST] =
    [const { (AtomicU64::new(0), AtomicU64::new(0)) }; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static IS_SEALED: AtomicBool = AtomicBool::new(false);
static CHANGE: SpinLock<()> = SpinLock::new(());

/// Access to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Firmware;

/// What is at this physical address cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable(u64);

impl fmt::Display for Unreachable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "firmware's memory at {:#x} cannot be reached",
            self.0
        )
    }
}

/// From now on only what is mapped can be reached.
pub(super) fn seal() {
    IS_SEALED.store(true, Ordering::Relaxed);
}

/// Where a physical address is mapped.
fn find(physical: u64) -> Option<u64> {
    let count = COUNT.load(Ordering::Acquire);
    BLOCKS[..count].iter().find_map(|(block, place)| {
        let offset = physical.wrapping_sub(block.load(Ordering::Relaxed));
        (offset < BLOCK).then(|| place.load(Ordering::Relaxed) + offset)
    })
}

fn reach(physical: u64) -> Result<u64, Unreachable> {
    if let Some(address) = find(physical) {
        return Ok(address);
    }
    if IS_SEALED.load(Ordering::Relaxed) {
        return Err(Unreachable(physical));
    }
    let _change = CHANGE.lock();
    let block = physical & !(BLOCK - 1);
    let count = COUNT.load(Ordering::Relaxed);
    let (from, to) = BLOCKS.get(count).ok_or(Unreachable(physical))?;
    let place = tables::map_device(block, BLOCK).map_err(|_| Unreachable(physical))?;
    from.store(block, Ordering::Relaxed);
    to.store(place, Ordering::Relaxed);
    COUNT.store(count + 1, Ordering::Release);
    Ok(place + (physical - block))
}

fn pointer<T>(address: u64) -> *mut T {
    core::ptr::with_exposed_provenance_mut(address as usize)
}

macro_rules! load {
    ($address:expr, $type:ty) => {
        // SAFETY: `reach` gave the address, in a mapping that stays; a register is aligned.
        u64::from(unsafe { pointer::<$type>($address).read_volatile() })
    };
}

macro_rules! store {
    ($address:expr, $type:ty, $value:expr) => {
        // SAFETY: as for `load`; nothing there is memory that Rust knows of.
        unsafe { pointer::<$type>($address).write_volatile($value as $type) }
    };
}

impl Platform for Firmware {
    type Error = Unreachable;

    fn read(&mut self, register: Register) -> Result<u64, Unreachable> {
        let address = reach_register(register)?;
        Ok(match register.width {
            Width::Bits8 => load!(address, u8),
            Width::Bits16 => load!(address, u16),
            Width::Bits32 => load!(address, u32),
            Width::Bits64 => load!(address, u64),
        })
    }

    fn write(&mut self, register: Register, value: u64) -> Result<(), Unreachable> {
        let address = reach_register(register)?;
        run!("dsb sy");
        match register.width {
            Width::Bits8 => store!(address, u8, value),
            Width::Bits16 => store!(address, u16, value),
            Width::Bits32 => store!(address, u32, value),
            Width::Bits64 => store!(address, u64, value),
        }
        Ok(())
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Unreachable> {
        for (at, byte) in (address..).zip(bytes) {
            *byte = load!(reach(at)?, u8) as u8;
        }
        Ok(())
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), Unreachable> {
        for (at, byte) in (address..).zip(bytes) {
            store!(reach(at)?, u8, *byte);
        }
        Ok(())
    }

    fn stall(&mut self, microseconds: u64) {
        let end = time::now().saturating_add(microseconds.saturating_mul(1000));
        while time::now() < end {
            core::hint::spin_loop();
        }
    }
}

fn reach_register(register: Register) -> Result<u64, Unreachable> {
    match register.space {
        AddressSpace::MEMORY => reach(register.address),
        _ => Err(Unreachable(register.address)),
    }
}
