//! What a program can use today instead of the routines.

use crate::contestant::Contestant;
use crate::guard::{self, Mask};
use crate::memory::{Operation, Place};

/// The name of the rival that the targets are about.
pub(crate) const LIBC_MEMCPY: &str = "libc memcpy";

pub(crate) const PROCESS_VM_READV: &str = "process_vm_readv";

/// The function of libc for `operation`, or what comes nearest.
pub(crate) fn libc_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Copy => LIBC_MEMCPY,
        Operation::Fill => "libc memset",
        Operation::Compare => "libc memcmp",
        Operation::ZeroTest => "shifted memcmp",
    }
}

/// Everyone who can do `operation`, the plain function of libc first.
pub(crate) fn of(operation: Operation) -> Vec<Contestant> {
    let rival = |name, function, succeeds| {
        // SAFETY: each function below takes the arguments of the operation it stands with.
        unsafe { Contestant::new(name, operation, function, succeeds) }
    };
    let plain = |function, succeeds| rival(libc_name(operation), function, succeeds);
    match operation {
        Operation::Copy => {
            let [unsaved, saved] = [Mask::Kept, Mask::Saved].map(|mask| guard::copy(mask) as _);
            let mut rivals = vec![
                plain(libc::memcpy as *const (), returns_place),
                #[cfg(target_arch = "x86_64")]
                rival("rep movsb", rep_movsb as *const (), returns_zero),
                rival("sigsetjmp(0)", unsaved, returns_zero),
                rival("sigsetjmp(1)", saved, returns_zero),
            ];
            if kernel_copies() {
                let function = kernel_copy as *const ();
                rivals.push(rival(PROCESS_VM_READV, function, returns_zero));
            }
            rivals
        }
        Operation::Fill => vec![plain(libc::memset as *const (), returns_place)],
        Operation::Compare => vec![plain(libc::memcmp as *const (), returns_zero)],
        Operation::ZeroTest => vec![plain(shifted_memcmp as *const (), returns_zero)],
    }
}

fn returns_place(result: usize, place: Place) -> bool {
    result == place.destination.addr()
}

/// A C `int` leaves the upper half of the register undefined.
fn returns_zero(result: usize, _: Place) -> bool {
    result as u32 == 0
}

#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn rep_movsb(destination: *mut u8, source: *const u8, length: usize) -> usize {
    core::arch::naked_asm!("mov rcx, rdx", "rep movsb", "xor eax, eax", "ret")
}

/// All bytes are zero if the first is, and each equals the one before it.
unsafe extern "C" fn shifted_memcmp(start: *const u8, length: usize) -> usize {
    // SAFETY: a place is mapped, and no test is of no byte.
    if unsafe { start.read_volatile() } != 0 {
        return 1;
    }
    // SAFETY: the second range is a byte shorter, so both end within the place.
    let order = unsafe { libc::memcmp(start.wrapping_add(1).cast(), start.cast(), length - 1) };
    usize::from(order != 0)
}

/// The kernel copies, and returns an error instead of sending a signal. 0 for success.
pub(crate) unsafe extern "C" fn kernel_copy(
    destination: *mut u8,
    source: *const u8,
    length: usize,
) -> usize {
    let range = |start: *const u8| libc::iovec {
        iov_base: start.cast_mut().cast(),
        iov_len: length,
    };
    let (local, remote) = (range(destination), range(source));
    let this = std::process::id() as i32;
    // SAFETY: the kernel checks both ranges, and the caller lends the destination.
    let copied =
        unsafe { libc::process_vm_readv(this, &raw const local, 1, &raw const remote, 1, 0) };
    usize::from(copied.cast_unsigned() != length)
}

/// Whether the kernel copies here: an emulator may not know the system call.
pub(crate) fn kernel_copies() -> bool {
    let (source, mut destination) = (1_u8, 0_u8);
    // SAFETY: one byte from one variable to another.
    unsafe { kernel_copy(&raw mut destination, &raw const source, 1) == 0 }
}
