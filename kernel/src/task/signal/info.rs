//! Why a signal came: `siginfo_t`.

use mm::Sigbus;

use crate::task::Pid;
use crate::task::signal::Signal;

/// The size of `siginfo_t` in bytes.
pub const INFO_SIZE: usize = 128;

/// Values of `si_code` that say who sent a signal. Linux, `asm-generic/siginfo.h`.
pub mod code {
    /// `kill`.
    pub const USER: i32 = 0;
    /// The kernel.
    pub const KERNEL: i32 = 0x80;
    /// `sigqueue`.
    pub const QUEUE: i32 = -1;
    /// `tkill` and `tgkill`.
    pub const TKILL: i32 = -6;
    /// `ILL_ILLOPC`.
    pub const ILLEGAL_OPCODE: i32 = 1;
    /// `TRAP_BRKPT`.
    pub const BREAKPOINT: i32 = 1;
    /// `BUS_OBJERR`.
    pub const OBJECT: i32 = 3;
    /// `BUS_ADRALN`.
    pub const ALIGNMENT: i32 = 1;
    /// `BUS_OBJERR`.
    pub const OBJECT_ERROR: i32 = 3;
    /// `SEGV_MAPERR`.
    pub const NOT_MAPPED: i32 = 1;
    /// `CLD_EXITED`.
    pub const CHILD_EXITED: i32 = 1;
    /// `CLD_KILLED`.
    pub const CHILD_KILLED: i32 = 2;
    /// `CLD_DUMPED`.
    pub const CHILD_DUMPED: i32 = 3;
    /// `CLD_STOPPED`.
    pub const CHILD_STOPPED: i32 = 5;
    /// `CLD_CONTINUED`.
    pub const CHILD_CONTINUED: i32 = 6;
}

/// A signal that was sent, and what is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The signal.
    pub signal: Signal,
    /// `si_code`.
    pub code: i32,
    /// The part that depends on both.
    pub detail: Detail,
}

/// The part of `siginfo_t` that depends on the signal and on who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// `si_pid` and `si_uid`.
    Sender(Pid, u32),
    /// A child: `si_pid`, `si_uid`, `si_status`.
    Child(Pid, u32, i32),
    /// `si_addr`, and `si_addr_lsb` where memory failed.
    Fault(u64, u16),
    /// Bytes 16 to 127 as their sender wrote them (`rt_sigqueueinfo`).
    Raw([u8; INFO_SIZE - 16]),
}

impl Info {
    /// From the kernel, without more to say.
    pub fn kernel(signal: Signal) -> Self {
        Self {
            signal,
            code: code::KERNEL,
            detail: Detail::None,
        }
    }

    /// A fault at `address`.
    pub fn fault(signal: Signal, code: i32, address: u64) -> Self {
        Self {
            signal,
            code,
            detail: Detail::Fault(address, 0),
        }
    }

    /// What the memory manager says of a lost or missing page.
    pub fn memory(bus: Sigbus) -> Self {
        Self {
            signal: Signal::SIGBUS,
            code: bus.code as i32,
            detail: Detail::Fault(bus.address.0, bus.lsb.into()),
        }
    }

    /// Whether the kernel sent it for something that the thread itself did.
    pub fn is_forced(&self) -> bool {
        matches!(self.detail, Detail::Fault(..))
    }

    /// `siginfo_t` of Linux on a 64-bit little-endian machine (`asm-generic/siginfo.h`).
    pub fn to_bytes(self) -> [u8; INFO_SIZE] {
        let mut bytes = [0; INFO_SIZE];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &i32::from(self.signal.number()).to_le_bytes());
        put(8, &self.code.to_le_bytes());
        match self.detail {
            Detail::None => {}
            Detail::Sender(pid, user) => {
                put(16, &pid.0.to_le_bytes());
                put(20, &user.to_le_bytes());
            }
            Detail::Child(pid, user, status) => {
                put(16, &pid.0.to_le_bytes());
                put(20, &user.to_le_bytes());
                put(24, &status.to_le_bytes());
            }
            Detail::Fault(address, lsb) => {
                put(16, &address.to_le_bytes());
                put(24, &lsb.to_le_bytes());
            }
            Detail::Raw(raw) => put(16, &raw),
        }
        bytes
    }

    /// What `rt_sigqueueinfo` was given, for `signal`.
    pub fn from_bytes(signal: Signal, bytes: &[u8; INFO_SIZE]) -> Self {
        let (head, raw) = bytes.split_at(16);
        let mut detail = [0; INFO_SIZE - 16];
        detail.copy_from_slice(raw);
        Self {
            signal,
            code: i32::from_le_bytes([head[8], head[9], head[10], head[11]]),
            detail: Detail::Raw(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use mm::{BusCode, Sigbus, VirtualAddress};

    use super::{Detail, INFO_SIZE, Info};
    use crate::task::Pid;
    use crate::task::signal::Signal;

    /// The host's C library knows the same layout.
    fn as_libc(bytes: [u8; INFO_SIZE]) -> libc::siginfo_t {
        #[expect(unsafe_code, reason = "siginfo_t is plain data")]
        // SAFETY: both have 128 bytes, and any bytes are a siginfo_t.
        unsafe {
            core::mem::transmute(bytes)
        }
    }

    #[test]
    fn the_c_library_reads_what_is_written() {
        let bus = Info::memory(Sigbus {
            code: BusCode::ActionRequired,
            address: VirtualAddress(0x1234_5000),
            lsb: 12,
        });
        let bytes = bus.to_bytes();
        assert_eq!(u16::from_le_bytes([bytes[24], bytes[25]]), 12);
        let info = as_libc(bytes);
        assert_eq!((info.si_signo, info.si_code), (libc::SIGBUS, 4));
        #[expect(unsafe_code, reason = "a union")]
        // SAFETY: SIGBUS has an address.
        let address = unsafe { info.si_addr() };
        assert_eq!(address.addr(), 0x1234_5000);
    }

    #[test]
    fn a_child_is_reported_as_the_c_library_expects() {
        let info = as_libc(
            Info {
                signal: Signal::SIGCHLD,
                code: super::code::CHILD_EXITED,
                detail: Detail::Child(Pid(12), 3, 7),
            }
            .to_bytes(),
        );
        assert_eq!(
            (info.si_signo, info.si_code),
            (libc::SIGCHLD, libc::CLD_EXITED)
        );
        #[expect(unsafe_code, reason = "a union")]
        // SAFETY: SIGCHLD has a sender.
        let pid = unsafe { info.si_pid() };
        #[expect(unsafe_code, reason = "a union")]
        // SAFETY: SIGCHLD has a status.
        let status = unsafe { info.si_status() };
        assert_eq!((pid, status), (12, 7));
    }

    #[test]
    fn queued_information_passes_unchanged() {
        let mut bytes = [0; INFO_SIZE];
        for (place, byte) in bytes.iter_mut().enumerate().skip(16) {
            *byte = place as u8;
        }
        bytes[0] = 34;
        bytes[8..12].copy_from_slice(&(-1i32).to_le_bytes());
        let signal = Signal::new(34).unwrap();
        assert_eq!(Info::from_bytes(signal, &bytes).to_bytes(), bytes);
    }
}
