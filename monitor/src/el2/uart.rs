//! Last words on the console, when there is no guest to disturb.

use core::fmt::{self, Write};

/// The data register of `virt`'s first PL011. QEMU's transmits at any time, set up or not.
const DATA: *mut u32 = 0x0900_0000 as *mut u32;

struct Uart;

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: `virt` has a PL011 there, and the monitor maps it as Device memory.
            unsafe { DATA.write_volatile(u32::from(byte)) };
        }
        Ok(())
    }
}

/// Says why the monitor does not go on, and switches the machine off.
pub(super) fn refuse(reason: fmt::Arguments<'_>) -> ! {
    let _ = writeln!(Uart, "\r\nseaworthy monitor: cannot start: {reason}\r");
    super::psci::system_off()
}

/// Says why the monitor stopped while a guest was running, and stops this CPU. The machine stays for the
/// host to look at.
pub(super) fn last_words(reason: fmt::Arguments<'_>) -> ! {
    let _ = writeln!(Uart, "\r\nseaworthy monitor: {reason}\r");
    loop {
        super::registers::run!("wfi");
    }
}
