//! What a program can use today instead of the routines.

use std::hint::black_box;

use crate::guard::{self, Mask};
use crate::memory::{FILL, Operation, Place};
use crate::race::Contestant;

/// The name of the rival that the targets are about.
pub(crate) const LIBC_MEMCPY: &str = "libc memcpy";

pub(crate) const PROCESS_VM_READV: &str = "process_vm_readv";

/// Everyone who can do `operation`, the plain function of libc first.
pub(crate) fn of(operation: Operation) -> Vec<Contestant> {
    match operation {
        Operation::Copy => [
            libc_memcpy(),
            #[cfg(target_arch = "x86_64")]
            rep_movsb(),
            guarded("sigsetjmp(0)", Mask::Kept),
            guarded("sigsetjmp(1)", Mask::Saved),
        ]
        .into_iter()
        .chain(kernel_copies().then(|| Contestant::new(PROCESS_VM_READV, process_vm_readv)))
        .collect(),
        Operation::Fill => vec![libc_memset()],
        Operation::Compare => vec![libc_memcmp()],
        Operation::ZeroTest => vec![shifted_memcmp()],
    }
}

// The compiler knows what libc's functions do and would drop a copy that nobody reads, so it
// must not see which function is called: hence `black_box`.

fn libc_memcpy() -> Contestant {
    let memcpy: unsafe extern "C" fn(_, _, _) -> _ = black_box(libc::memcpy);
    Contestant::new(LIBC_MEMCPY, move |place| {
        // SAFETY: a place is mapped, and its ranges do not overlap.
        let result: *mut libc::c_void =
            unsafe { memcpy(place.destination.cast(), place.source.cast(), place.length) };
        !result.is_null()
    })
}

fn libc_memset() -> Contestant {
    let memset: unsafe extern "C" fn(_, _, _) -> _ = black_box(libc::memset);
    Contestant::new("libc memset", move |place| {
        // SAFETY: a place is mapped.
        let result: *mut libc::c_void =
            unsafe { memset(place.destination.cast(), FILL.into(), place.length) };
        !result.is_null()
    })
}

fn libc_memcmp() -> Contestant {
    let memcmp: unsafe extern "C" fn(_, _, _) -> _ = black_box(libc::memcmp);
    Contestant::new("libc memcmp", move |place| {
        // SAFETY: a place is mapped.
        let order: i32 =
            unsafe { memcmp(place.destination.cast(), place.source.cast(), place.length) };
        order == 0
    })
}

/// All bytes are zero if the first is and each equals the one before it.
fn shifted_memcmp() -> Contestant {
    let memcmp: unsafe extern "C" fn(_, _, _) -> _ = black_box(libc::memcmp);
    Contestant::new("libc memcmp, shifted", move |place| {
        let start = place.destination;
        // SAFETY: a place is mapped, and no test is of no byte.
        let first = unsafe { start.read_volatile() };
        let next = start.wrapping_add(1);
        // SAFETY: as above; the second range is a byte shorter, so it ends with the place.
        let order: i32 = unsafe { memcmp(next.cast(), start.cast(), place.length - 1) };
        first == 0 && order == 0
    })
}

#[cfg(target_arch = "x86_64")]
fn rep_movsb() -> Contestant {
    #[unsafe(naked)]
    unsafe extern "C" fn copy(destination: *mut u8, source: *const u8, length: usize) -> usize {
        core::arch::naked_asm!("mov rcx, rdx", "rep movsb", "mov eax, 1", "ret")
    }
    let copy: unsafe extern "C" fn(_, _, _) -> _ = black_box(copy);
    Contestant::new("rep movsb", move |place| {
        // SAFETY: a place is mapped, and its ranges do not overlap.
        let done: usize = unsafe { copy(place.destination, place.source, place.length) };
        done != 0
    })
}

fn guarded(name: &str, mask: Mask) -> Contestant {
    let copy = black_box(guard::copy(mask));
    Contestant::new(name, move |place| {
        // SAFETY: a place is mapped, and its ranges do not overlap; there is one thread.
        let failed = unsafe { copy(place.destination, place.source, place.length) };
        failed == 0
    })
}

/// The kernel copies, and returns an error instead of sending a signal.
pub(crate) fn process_vm_readv(place: Place) -> bool {
    let range = |start: *const u8| libc::iovec {
        iov_base: start.cast_mut().cast(),
        iov_len: place.length,
    };
    let (local, remote) = (range(place.destination), range(place.source));
    let this = std::process::id() as i32;
    // SAFETY: the kernel checks both ranges; the destination is this place's alone.
    let copied =
        unsafe { libc::process_vm_readv(this, &raw const local, 1, &raw const remote, 1, 0) };
    copied.cast_unsigned() == place.length
}

/// Whether the kernel copies here: an emulator may not know the system call.
pub(crate) fn kernel_copies() -> bool {
    let (source, mut destination) = (1_u8, 0_u8);
    process_vm_readv(Place {
        destination: &raw mut destination,
        source: &raw const source,
        length: 1,
    })
}
