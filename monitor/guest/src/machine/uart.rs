//! The console: QEMU's PL011, which needs no setup to send.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

const DATA: *mut u32 = 0x0900_0000 as *mut u32;

struct Uart;

static BUSY: AtomicBool = AtomicBool::new(false);

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the PL011's data register, which `virt` has at this address; QEMU never
            // lets it be full.
            unsafe { DATA.write_volatile(u32::from(byte)) }
        }
        Ok(())
    }
}

/// Prints, whole lines at a time whichever CPU they come from.
pub(crate) fn print(arguments: fmt::Arguments<'_>) {
    while BUSY.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    // `Uart` does not fail, and what is printed is ours.
    let _ = Uart.write_fmt(arguments);
    BUSY.store(false, Ordering::Release);
}

/// Prints, although another CPU may be about to.
pub(crate) fn print_at_once(arguments: fmt::Arguments<'_>) {
    let _ = Uart.write_fmt(arguments);
}

/// Prints a line.
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::machine::uart::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}

pub(crate) use println;
