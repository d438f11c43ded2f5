//! What a SIGBUS says, and going on after it.
//!
//! The handler moves the spare of the [`Page`] into the page's place, so the access that failed is
//! repeated and succeeds. That works for loads and instruction fetches alike and needs no knowledge
//! of the interrupted instruction. What the access then yields is the spare's content, so a load
//! that did not fail cannot be mistaken for one that did.

use std::fmt;
use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use anyhow::{Context, Result};

use crate::page::{Page, SIZE};

/// `si_code`: an error in memory that was met. (`BUS_MCEERR_AR`, "action required".)
pub const ACTION_REQUIRED: i32 = 4;
/// `si_code`: an error in memory that nobody has met yet. (`BUS_MCEERR_AO`, "action optional".)
pub const ACTION_OPTIONAL: i32 = 5;
/// `si_code`: an error of hardware that firmware did not explain. (`BUS_OBJERR`.)
pub const OBJECT_ERROR: i32 = 3;

/// What a SIGBUS said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusError {
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: usize,
    /// `si_addr_lsb`: 2 to this power bytes are lost. Valid with the two codes for memory errors.
    pub least_significant_bit: i16,
}

static COUNT: AtomicUsize = AtomicUsize::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static LEAST_SIGNIFICANT_BIT: AtomicI32 = AtomicI32::new(0);
static PAGE: AtomicUsize = AtomicUsize::new(0);
static SPARE: AtomicUsize = AtomicUsize::new(0);

/// Waits for the next SIGBUS on behalf of `page`. A second one before the next call kills.
///
/// # Errors
///
/// If the system refuses the handler.
pub fn expect(page: &Page) -> Result<()> {
    COUNT.store(0, Ordering::SeqCst);
    PAGE.store(page.address().expose_provenance(), Ordering::SeqCst);
    SPARE.store(page.spare().expose_provenance(), Ordering::SeqCst);
    set_handler(on_bus_error as *const () as libc::sighandler_t).context("cannot handle SIGBUS")
}

/// The SIGBUS that came since [`expect`], if one did.
#[must_use]
pub fn received() -> Option<BusError> {
    (COUNT.load(Ordering::SeqCst) > 0).then(|| BusError {
        code: CODE.load(Ordering::SeqCst),
        address: ADDRESS.load(Ordering::SeqCst),
        least_significant_bit: LEAST_SIGNIFICANT_BIT.load(Ordering::SeqCst) as i16,
    })
}

fn set_handler(handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all bits zero is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the action is valid; our handler makes only system calls and uses only atomics.
    let result = unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

extern "C" fn on_bus_error(
    _: libc::c_int,
    information: *mut libc::siginfo_t,
    _: *mut libc::c_void,
) {
    // SAFETY: the kernel hands over a valid `siginfo_t`, ours for the handler's duration.
    let information = unsafe { &*information };
    CODE.store(information.si_code, Ordering::SeqCst);
    // SAFETY: SIGBUS fills in the variant that has an address.
    let address = unsafe { information.si_addr() };
    ADDRESS.store(address.addr(), Ordering::SeqCst);
    LEAST_SIGNIFICANT_BIT.store(least_significant_bit(information).into(), Ordering::SeqCst);
    let is_first = COUNT.fetch_add(1, Ordering::SeqCst) == 0;
    if !(is_first && put_spare_in_place()) {
        // The access is repeated, fails again, and this time nobody stands in its way.
        let _ = set_handler(libc::SIG_DFL);
    }
}

/// Whether it worked.
fn put_spare_in_place() -> bool {
    let page = ptr::with_exposed_provenance_mut(PAGE.load(Ordering::SeqCst));
    let spare = ptr::with_exposed_provenance_mut(SPARE.load(Ordering::SeqCst));
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: both are single pages that `Page::new` mapped for this purpose. Rust code reaches
    // them through raw pointers only.
    let moved = unsafe { libc::mremap(spare, SIZE, SIZE, flags, page) };
    moved == page
}

/// `si_addr_lsb`, which the `libc` crate does not name.
fn least_significant_bit(information: &libc::siginfo_t) -> i16 {
    // On all 64-bit architectures the field follows `si_addr` (offset 16).
    const OFFSET: usize = 24;
    const { assert!(size_of::<libc::siginfo_t>() > OFFSET && size_of::<usize>() == 8) };
    // SAFETY: the offset is inside of the structure.
    let field = unsafe { ptr::from_ref(information).cast::<u8>().add(OFFSET) };
    // SAFETY: aligned to 8, and the kernel clears what it does not fill in.
    unsafe { field.cast::<i16>().read() }
}

impl fmt::Display for BusError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.code {
            ACTION_REQUIRED => "BUS_MCEERR_AR",
            ACTION_OPTIONAL => "BUS_MCEERR_AO",
            OBJECT_ERROR => "BUS_OBJERR",
            _ => "other",
        };
        write!(
            formatter,
            "SIGBUS code {} ({name}) address {:#x} lsb {}",
            self.code, self.address, self.least_significant_bit
        )
    }
}
