//! The system as a whole.

use super::Arguments;
use crate::arch::thread::has_signal;
use crate::arch::{power_off, reset, time, user};
use crate::error::{Errno, Result};
use crate::identity::{RELEASE, VERSION};
use crate::memory::manager;
use crate::random;
use crate::task::host::{self, FIELD};
use crate::task::tree;

/// How much of `getrandom` is made at a time, in bytes.
const PIECE: usize = 256;

/// The kernel says that it is a Linux, and of which release: programs ask before they use what it
/// has.
pub(super) fn uname(a: Arguments) -> Result<u64> {
    let host = host::field();
    let mut bytes = [0; 6 * FIELD];
    let fields: [&[u8]; 6] = [
        b"Linux",
        &host,
        RELEASE.as_bytes(),
        VERSION.as_bytes(),
        b"aarch64",
        b"(none)",
    ];
    for (chunk, field) in bytes.chunks_exact_mut(FIELD).zip(fields) {
        chunk[..field.len()].copy_from_slice(field);
    }
    a.address(0).write(&bytes).map(|()| 0)
}

pub(super) fn sethostname(a: Arguments) -> Result<u64> {
    let length = a.size(1);
    if length >= FIELD {
        return Err(Errno::EINVAL);
    }
    let mut name = [0; FIELD];
    user::copy_from_user(&mut name[..length], a.address(0)).map_err(|stopped| stopped.errno())?;
    host::set(name);
    Ok(0)
}

/// Switches the machine off, or starts it again. Linux, `linux/reboot.h`.
pub(super) fn reboot(a: Arguments) -> Result<u64> {
    const MAGIC: u32 = 0xfee1_dead;
    const SECOND_MAGICS: [u32; 4] = [0x2812_1969, 0x0512_1996, 0x1604_1998, 0x2011_2000];
    const CONTROL_ALT_DELETE: [u32; 2] = [0, 0x89ab_cdef];
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;

    if a.half(0) != MAGIC || !SECOND_MAGICS.contains(&a.half(1)) {
        return Err(Errno::EINVAL);
    }
    match a.half(2) {
        RESTART => reset(),
        HALT | POWER_OFF => power_off(),
        // There are no such keys.
        command if CONTROL_ALT_DELETE.contains(&command) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `struct sysinfo` of a 64-bit machine.
pub(super) fn sysinfo(a: Arguments) -> Result<u64> {
    let free = manager().free_frames() as u64;
    let processes = tree().lock().all().count() as u16;
    let mut bytes = [0; 112];
    let mut put = |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    put(0, time::now() / 1_000_000_000);
    put(32, crate::memory::total_bytes());
    put(40, free * mm::PAGE_SIZE as u64);
    put(80, processes.into());
    put(104, 1);
    a.address(0).write(&bytes).map(|()| 0)
}

pub(super) fn getrandom(a: Arguments) -> Result<u64> {
    /// `GRND_NONBLOCK`, `GRND_RANDOM`, `GRND_INSECURE`; the latter two are opposites.
    const KNOWN: u32 = 7;
    const OPPOSITES: u32 = 6;
    let length = a.address(0).range(a.size(1).min(0x7fff_f000))?.length;
    if a.half(2) & !KNOWN != 0 || a.half(2) & OPPOSITES == OPPOSITES {
        return Err(Errno::EINVAL);
    }
    let mut done = 0;
    while done < length && (done == 0 || !has_signal()) {
        let mut piece = [0; PIECE];
        let piece = &mut piece[..PIECE.min(length - done)];
        random::fill(piece);
        match a.address(0).offset(done).write(piece) {
            Ok(()) => done += piece.len(),
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done as u64)
}
