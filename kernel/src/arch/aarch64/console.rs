//! The console: a PL011 (Arm DDI 0183), as firmware left it.
//!
//! The crate `arm-pl011-uart` would set the line up anew, for which it must be told a clock that
//! the device tree does not say; and it has one owner, while a panic must print whoever has it.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::{interrupt, irq, tables};
use crate::device_tree::Console;

// Registers, by offset.
const DATA: u64 = 0x00;
const FLAGS: u64 = 0x18;
const INTERRUPT_MASK: u64 = 0x38;
const INTERRUPT_CLEAR: u64 = 0x44;
/// FR.RXFE: nothing was received.
const RECEIVE_EMPTY: u32 = 1 << 4;
/// FR.TXFF: no room to send.
const SEND_FULL: u32 = 1 << 5;
/// RXIM and RTIM: something was received, and nothing more comes for a while.
const RECEIVED: u32 = 1 << 4 | 1 << 6;

static ADDRESS: AtomicU64 = AtomicU64::new(0);
static INTERRUPT: AtomicU32 = AtomicU32::new(u32::MAX);
/// The CPU that prints, plus 1.
static OWNER: AtomicUsize = AtomicUsize::new(0);
/// What gets the bytes that come: a `fn(u8)`.
static RECEIVER: spin::Once<fn(u8)> = spin::Once::new();

fn register(offset: u64) -> Option<*mut u32> {
    let base = ADDRESS.load(Ordering::Acquire);
    (base != 0).then(|| core::ptr::with_exposed_provenance_mut((base + offset) as usize))
}

fn read(offset: u64) -> u32 {
    // SAFETY: a register of the PL011, which `init` has mapped.
    register(offset).map_or(0, |register| unsafe { register.read_volatile() })
}

fn set(offset: u64, value: u32) {
    if let Some(register) = register(offset) {
        // SAFETY: as above; none of these registers makes the device touch memory.
        unsafe { register.write_volatile(value) }
    }
}

/// Maps the device. From here on there is something to see.
pub(super) fn init(console: &Console) {
    if let Ok(address) = tables::map_device(console.address, 0x1000) {
        set(INTERRUPT_MASK, 0);
        ADDRESS.store(address, Ordering::Release);
        INTERRUPT.store(console.interrupt, Ordering::Relaxed);
    }
}

/// Lets interrupts of the device through.
///
/// # Errors
///
/// What is wrong with its interrupt.
pub(super) fn listen() -> Result<(), &'static str> {
    if ADDRESS.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    set(INTERRUPT_CLEAR, 0x7ff);
    set(INTERRUPT_MASK, RECEIVED);
    interrupt::enable(interrupt_number())
}

/// The device's interrupt.
pub(super) fn interrupt_number() -> u32 {
    INTERRUPT.load(Ordering::Relaxed)
}

/// Says who gets the bytes that come, in the interrupt, one by one. The first to ask gets them.
pub fn set_receiver(receiver: fn(u8)) {
    RECEIVER.call_once(|| receiver);
}

/// Takes the device's interrupt.
pub(super) fn interrupt() {
    set(INTERRUPT_CLEAR, RECEIVED);
    while read(FLAGS) & RECEIVE_EMPTY == 0 {
        let byte = read(DATA) as u8;
        if let Some(receiver) = RECEIVER.get() {
            receiver(byte);
        }
    }
}

/// Prints bytes, together.
pub fn write(bytes: &[u8]) {
    let flags = irq::disable();
    let own = super::cpu::id() + 1;
    // A CPU that fails while it prints goes on printing.
    while let Err(owner) = OWNER.compare_exchange_weak(0, own, Ordering::Acquire, Ordering::Relaxed)
        && owner != own
    {
        core::hint::spin_loop();
    }
    send(bytes);
    OWNER.store(0, Ordering::Release);
    irq::restore(flags);
}

fn send(bytes: &[u8]) {
    for byte in bytes {
        while read(FLAGS) & SEND_FULL != 0 {
            core::hint::spin_loop();
        }
        set(DATA, u32::from(*byte));
    }
}

/// Prints although another CPU may be about to: for a report of a failure.
pub(super) struct AtOnce;

impl Write for AtOnce {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            send(line.trim_end_matches('\n').as_bytes());
            if line.ends_with('\n') {
                send(b"\r\n");
            }
        }
        Ok(())
    }
}
