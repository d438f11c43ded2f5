//! SIGBUS: what we fix up, and how everything else reaches whoever had it before.
//!
//! | `si_code` | number | here |
//! |---|---|---|
//! | `SI_USER`, `SI_QUEUE`, ... | <= 0 | sent by a process: never ours, passed on |
//! | `BUS_ADRALN` | 1 | an alignment fault is a bug of the program: passed on |
//! | `BUS_ADRERR` | 2 | fixed up if the interrupted instruction is in a table |
//! | `BUS_OBJERR` | 3 | the same; arm64 sends it for an abort that no firmware claims |
//! | `BUS_MCEERR_AR` | 4 | the same; retried once where the program counter may be imprecise |
//! | `BUS_MCEERR_AO` | 5 | asynchronous, its program counter means nothing: noted or passed on |
//!
//! `si_addr` never decides how far a copy got: it may be that of the page. Progress comes from
//! the interrupted registers. The address only tells which access of the instruction failed, and
//! whether it was that instruction.

pub(crate) mod chain;
mod context;
pub(crate) mod handler;
mod kernel;
mod place;
mod retry;
mod turn;

use libc::siginfo_t;

/// What the kernel says of a SIGBUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// `si_code`.
    pub(crate) code: i32,
    /// `si_addr`: exact, or the start of the page, or 0; of no meaning for a code <= 0.
    pub(crate) address: usize,
    /// `si_addr_lsb`: base-2 logarithm of what is lost; 0 where the kernel does not say.
    pub(crate) log2_extent: u8,
}

impl Cause {
    fn of(info: &siginfo_t) -> Self {
        let code = info.si_code;
        if code <= 0 {
            return Self {
                code,
                address: 0,
                log2_extent: 0,
            };
        }
        // SAFETY: every code above 0 of a SIGBUS is the kernel's, which then sets the address.
        let address = unsafe { info.si_addr() }.addr();
        let log2_extent = match code {
            libc::BUS_MCEERR_AR | libc::BUS_MCEERR_AO => log2_extent(info),
            _ => 0,
        };
        Self {
            code,
            address,
            log2_extent,
        }
    }

    /// Whether the interrupted instruction caused it, and will again if nothing is changed.
    fn is_synchronous(self) -> bool {
        self.code > 0 && self.code != libc::BUS_MCEERR_AO
    }
}

/// The field that follows `si_addr` in the kernel's `siginfo_t` (`asm-generic/siginfo.h`), to
/// which the `libc` crate gives no name.
fn log2_extent(info: &siginfo_t) -> u8 {
    #[repr(C)]
    struct Fault {
        signal: i32,
        errno: i32,
        code: i32,
        address: usize,
        address_lsb: i16,
    }
    const _: () = assert!(size_of::<Fault>() <= size_of::<siginfo_t>());
    // SAFETY: the layout is the kernel's, for these codes; the assertion keeps it in bounds.
    let fault = unsafe { &*(&raw const *info).cast::<Fault>() };
    // More than the 47 bits of an address is nonsense; so is less than 0.
    u8::try_from(fault.address_lsb)
        .ok()
        .filter(|&log2| log2 < 48)
        .unwrap_or(0)
}
