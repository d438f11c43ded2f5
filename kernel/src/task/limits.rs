//! What a process may use: `getrlimit`, `setrlimit`, `prlimit64`.

use linux_raw_sys::general as linux;

use crate::error::{Errno, Result};

/// The most descriptors that a process can ask for (`fs.nr_open`).
const DESCRIPTORS_LIMIT: u64 = 1 << 20;
/// No limit.
const INFINITY: u64 = u64::MAX;
/// How many kinds there are.
const KINDS: usize = linux::RLIM_NLIMITS as usize;
/// The length of the stack of a first thread in bytes.
pub const STACK_SIZE: u64 = 8 << 20;

/// One limit: what holds now, and what it can be raised to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds.
    pub current: u64,
    /// The most it can be.
    pub maximum: u64,
}

/// All limits.
#[derive(Clone, Debug)]
pub struct Limits([Limit; KINDS]);

impl Default for Limits {
    fn default() -> Self {
        let same = |value| Limit {
            current: value,
            maximum: value,
        };
        let mut limits = [same(INFINITY); KINDS];
        limits[linux::RLIMIT_STACK as usize].current = STACK_SIZE;
        limits[linux::RLIMIT_CORE as usize].current = 0;
        limits[linux::RLIMIT_NOFILE as usize] = Limit {
            current: 1024,
            maximum: 4096,
        };
        limits[linux::RLIMIT_MEMLOCK as usize] = same(8 << 20);
        limits[linux::RLIMIT_MSGQUEUE as usize] = same(819_200);
        limits[linux::RLIMIT_NICE as usize] = same(0);
        limits[linux::RLIMIT_RTPRIO as usize] = same(0);
        limits[linux::RLIMIT_SIGPENDING as usize] = same(1024);
        Self(limits)
    }
}

impl Limits {
    /// One of them, by its `RLIMIT_...` number.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no such limit.
    pub fn get(&self, kind: u32) -> Result<Limit> {
        self.0.get(kind as usize).copied().ok_or(Errno::EINVAL)
    }

    /// Sets one.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no such limit, or the current one would exceed the maximum. `EPERM`: no
    /// process can have so many descriptors.
    pub fn set(&mut self, kind: u32, limit: Limit) -> Result<()> {
        let place = self.0.get_mut(kind as usize).ok_or(Errno::EINVAL)?;
        if limit.current > limit.maximum {
            return Err(Errno::EINVAL);
        }
        if kind == linux::RLIMIT_NOFILE && limit.maximum > DESCRIPTORS_LIMIT {
            return Err(Errno::EPERM);
        }
        *place = limit;
        Ok(())
    }
}
