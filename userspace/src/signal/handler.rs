//! The handler: find the fixup, apply it, return. Everything else is off that path.
//!
//! It allocates nothing, takes no lock and, where it fixes up, makes no system call and touches
//! no thread-local storage, `errno` included. Its stack need is a few hundred bytes, so the small
//! alternate stacks that `std` gives to threads are enough.

use std::ffi::{c_int, c_void};

use extable::{Abort, Fixup, Tables};
use libc::siginfo_t;

use super::context::Frame;
use super::place::Place;
use super::{Cause, chain, retry};
use crate::region::registry;
use crate::{listener, page};

/// How many objects of one process may have tables of their own. Every recovery looks at each
/// place, so there are few.
const OBJECTS: usize = 16;

/// The tables that this handler searches.
pub(crate) static TABLES: Tables<OBJECTS> = Tables::new();

/// Installed with `SA_SIGINFO | SA_ONSTACK | SA_NODEFER`.
pub(crate) extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes valid information, or a handler above us passes on what it got.
    let cause = Cause::of(unsafe { &*info });
    // SAFETY: `context` is what the kernel passed; whoever else had it runs again when we return.
    let mut frame = unsafe { Frame::new(context) };
    if let libc::BUS_ADRERR | libc::BUS_OBJERR | libc::BUS_MCEERR_AR = cause.code {
        let mut abort = abort(cause);
        let program_counter = frame.program_counter();
        if let Some(fixup) = TABLES.find(program_counter, &abort) {
            let access = fixup.access();
            let place = access.map_or(Place::Unknown, |access| Place::of(access, cause, &frame));
            // The report came late, when another access of ours was about to run.
            if place == Place::Elsewhere
                && cause.code == libc::BUS_MCEERR_AR
                && retry::is_first(program_counter, cause.address)
            {
                return;
            }
            abort.write = match place {
                Place::Source => Some(false),
                Place::Destination => Some(true),
                // A machine check leaves here what an earlier page fault put there.
                Place::Elsewhere | Place::Unknown => frame.write(),
            };
            fixup.apply(&abort, &mut frame);
            retry::settle();
            return;
        }
    }
    not_covered(signal, info, context, cause, frame.program_counter());
}

fn abort(cause: Cause) -> Abort {
    Abort {
        code: cause.code as i16,
        log2_extent: cause.log2_extent,
        // The kernel takes away whole pages, so an access inside one page tells all.
        ..Abort::new(extable::Cause::MemoryError, page::log2())
    }
}

/// A SIGBUS for which there is no fixup.
#[cold]
fn not_covered(
    signal: c_int,
    info: *mut siginfo_t,
    context: *mut c_void,
    cause: Cause,
    program_counter: usize,
) {
    // SAFETY: the address of this thread's `errno`, which is always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    let handled = match cause.code {
        libc::BUS_MCEERR_AR => {
            may_be_ours(program_counter, cause.address)
                && retry::is_first(program_counter, cause.address)
        }
        libc::BUS_MCEERR_AO => listener::notice(cause),
        _ => false,
    };
    if !handled {
        chain::pass_on(signal, info, context, cause);
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Whether an action-required error at a program counter in no table can be that of one of our
/// accesses.
///
/// The first report of a machine check may come a few instructions late (x86, EIPV = 0). The page
/// is gone by then, so if the thread just runs on, it fails again, and precisely. The same holds
/// for the report that `madvise(MADV_HWPOISON)` itself delivers.
fn may_be_ours(program_counter: usize, address: usize) -> bool {
    /// No routine has two covered instructions farther apart.
    const NEAR: usize = 256;
    let near = |fixup: Fixup| fixup.instruction.abs_diff(program_counter) <= NEAR;
    registry::contains(address) || TABLES.iter().any(|table| table.iter().any(near))
}
