//! The monitor's registers, reached through `/dev/mem`.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::{io, mem, ptr};

use anyhow::{Context, Result, bail, ensure};
use control::{Command, Status, doorbell, layout};

use crate::page::{Page, Use};
use crate::signal;

/// The registers of the CPU that this process runs on.
pub struct Doorbell {
    registers: *mut u8,
}

impl Doorbell {
    /// Maps the registers and binds the calling thread to its CPU, whose registers they then are.
    ///
    /// # Errors
    ///
    /// If `/dev/mem` cannot be used (it needs root and a kernel that has it), or no monitor answers.
    pub fn open() -> Result<Self> {
        ensure!(
            cfg!(target_arch = "aarch64"),
            "only arm64 machines have a monitor with a doorbell"
        );
        stay_on_this_cpu().context("cannot stay on one CPU")?;
        let memory = OpenOptions::new()
            .read(true)
            .write(true)
            // Device memory, not cached.
            .custom_flags(libc::O_SYNC)
            .open("/dev/mem")
            .context("cannot open /dev/mem")?;
        let length = usize::try_from(layout::REGISTERS_LENGTH)?;
        // SAFETY: a new mapping of registers that no driver owns.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                memory.as_raw_fd(),
                layout::DOORBELL.cast_signed(),
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("cannot map the doorbell");
        }
        let doorbell = Self {
            registers: address.cast(),
        };
        // Without a monitor the load ends in a SIGBUS, and reads the spare.
        signal::expect(&Page::over(doorbell.registers, Use::Data)?)?;
        let identity = doorbell.load(doorbell::IDENTITY);
        ensure!(
            identity == doorbell::SIGNATURE,
            "no monitor: the register at {:#x} reads as {identity:#x}",
            layout::DOORBELL
        );
        Ok(doorbell)
    }

    /// Has a command run and returns its answer.
    ///
    /// # Errors
    ///
    /// If the monitor refuses.
    pub fn run(&self, command: Command, address: u64, length: u64, policy: u32) -> Result<u64> {
        self.store(doorbell::ADDRESS, address);
        self.store(doorbell::LENGTH, length);
        self.store(doorbell::POLICY, policy.into());
        self.store(doorbell::COMMAND, command.raw().into());
        let status = self.load(doorbell::STATUS);
        match u32::try_from(status).ok().and_then(Status::from_raw) {
            Some(Status::Ok) => Ok(self.load(doorbell::VALUE)),
            Some(status) => bail!("the monitor refuses to {command} {address:#x}: {status}"),
            None => bail!("the monitor answers with the unknown status {status:#x}"),
        }
    }

    // The registers want single accesses of one general-purpose register: only assembly promises
    // that.

    #[cfg(target_arch = "aarch64")]
    fn load(&self, register: u64) -> u64 {
        let address = self.registers.wrapping_add(register as usize);
        let value: u64;
        // SAFETY: `open` has mapped the registers, and `register` is one of theirs.
        unsafe {
            std::arch::asm!("ldr {value}, [{address}]", value = out(reg) value,
                address = in(reg) address, options(nostack, preserves_flags));
        }
        value
    }

    #[cfg(target_arch = "aarch64")]
    fn store(&self, register: u64, value: u64) {
        let address = self.registers.wrapping_add(register as usize);
        // SAFETY: as for `load`. What a command does to memory is what its caller asks for.
        unsafe {
            std::arch::asm!("str {value}, [{address}]", value = in(reg) value,
                address = in(reg) address, options(nostack, preserves_flags));
        }
    }

    #[cfg(not(target_arch = "aarch64"))]
    fn load(&self, register: u64) -> u64 {
        unreachable!("{:p}+{register}: `open` has refused", self.registers)
    }

    #[cfg(not(target_arch = "aarch64"))]
    fn store(&self, register: u64, _: u64) {
        unreachable!("{:p}+{register}: `open` has refused", self.registers)
    }
}

/// Arguments and results are banked by CPU.
fn stay_on_this_cpu() -> io::Result<()> {
    // SAFETY: takes nothing and only answers.
    let cpu = unsafe { libc::sched_getcpu() };
    let cpu = usize::try_from(cpu).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: all bits zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the kernel's number of a CPU is below the set's size.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is valid and of this size; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
