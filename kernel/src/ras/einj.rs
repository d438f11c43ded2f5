//! Error injection by ACPI EINJ: what is behind `/sys/kernel/debug/apei/einj`.
//!
//! | file | meaning |
//! |---|---|
//! | `available_error_type` | what firmware can inject, one kind a line |
//! | `error_type` | the kind |
//! | `flags` | which parameters count: 1 processor, 2 memory, 4 PCIe; 0 for those that go with the kind |
//! | `param1`, `param2` | a physical address, and which bits of it count |
//! | `param3` | a processor |
//! | `param4` | a PCIe device |
//! | `notrigger` | 1: leave the error to be met |
//! | `error_inject` | 1 is written: inject |

use alloc::format;
use alloc::string::String;

use apei::{
    CommandError, Einj, ErrorTypes, InjectError, Limits, Platform, SetErrorTypeWithAddress,
    TargetFlags, Trigger,
};
use mm::PAGE_SIZE;

use crate::error::{Errno, Result};
use crate::ras::controls::number;

/// Every file of the directory.
pub const FILES: [&str; 9] = [
    "available_error_type",
    "error_type",
    "flags",
    "param1",
    "param2",
    "param3",
    "param4",
    "notrigger",
    "error_inject",
];

/// Linux's names of the kinds, from bit 0 on.
const NAMES: [&str; 18] = [
    "Processor Correctable",
    "Processor Uncorrectable non-fatal",
    "Processor Uncorrectable fatal",
    "Memory Correctable",
    "Memory Uncorrectable non-fatal",
    "Memory Uncorrectable fatal",
    "PCI Express Correctable",
    "PCI Express Uncorrectable non-fatal",
    "PCI Express Uncorrectable fatal",
    "Platform Correctable",
    "Platform Uncorrectable non-fatal",
    "Platform Uncorrectable fatal",
    "CXL.cache Protocol Correctable",
    "CXL.cache Protocol Uncorrectable non-fatal",
    "CXL.cache Protocol Uncorrectable fatal",
    "CXL.mem Protocol Correctable",
    "CXL.mem Protocol Uncorrectable non-fatal",
    "CXL.mem Protocol Uncorrectable fatal",
];

/// The files' contents. They are one person's at a time: whoever serves them keeps a lock around
/// this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    error_type: u64,
    flags: u64,
    params: [u64; 4],
    notrigger: u64,
}

/// The table, and the machine that it describes.
#[derive(Debug)]
pub struct Injector<'a, P> {
    /// The table's bytes.
    pub table: &'a [u8],
    /// Access to what it names.
    pub platform: P,
}

impl Parameters {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            error_type: 0,
            flags: 0,
            params: [0; 4],
            notrigger: 0,
        }
    }

    /// What a file says.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no such file. `EACCES`: it can only be written. `EIO`: firmware fails.
    pub fn read<P: Platform + Copy>(
        &self,
        injector: &Injector<'_, P>,
        file: &str,
    ) -> Result<String> {
        Ok(match file {
            "available_error_type" => describe(injector.available()?),
            "error_type" => format!("{:#x}\n", self.error_type),
            "flags" => format!("{:#010x}\n", self.flags),
            "notrigger" => format!("{:#010x}\n", self.notrigger),
            "error_inject" => return Err(Errno::EACCES),
            other => format!("{:#018x}\n", self.params[parameter(other)?]),
        })
    }

    /// Sets what a file says, or injects.
    ///
    /// # Errors
    ///
    /// `EINVAL`: no number, or firmware cannot do this. `EACCES`: the file can only be read. `EBUSY`:
    /// firmware has failed to do it. `ENOENT`: no such file. `EIO`: firmware does not answer as its
    /// table says.
    pub fn write<P: Platform + Copy>(
        &mut self,
        injector: &Injector<'_, P>,
        file: &str,
        text: &[u8],
    ) -> Result<()> {
        let value = number(text)?;
        match file {
            "available_error_type" => return Err(Errno::EACCES),
            "error_type" => {
                let wanted = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
                let is_one = wanted.is_power_of_two();
                if !is_one || injector.available()?.bits() & wanted == 0 {
                    return Err(Errno::EINVAL);
                }
                self.error_type = value;
            }
            "flags" => self.flags = u32::try_from(value).map_err(|_| Errno::EINVAL)?.into(),
            "notrigger" => {
                self.notrigger = u32::try_from(value).map_err(|_| Errno::EINVAL)?.into();
            }
            "error_inject" if value == 1 => return self.inject(injector),
            "error_inject" => return Err(Errno::EINVAL),
            other => self.params[parameter(other)?] = value,
        }
        Ok(())
    }

    fn inject<P: Platform + Copy>(&self, injector: &Injector<'_, P>) -> Result<()> {
        const PAGE_MASK: u64 = !(PAGE_SIZE as u64 - 1);
        let error_type = ErrorTypes::from_bits_retain(self.error_type as u32);
        let flags = match TargetFlags::from_bits_retain(self.flags as u32) {
            flags if flags.is_empty() => implied(error_type),
            flags => flags,
        };
        let [address, mask, processor, device] = self.params;
        // An error in more than a page would hit those that nobody has asked for.
        if flags.contains(TargetFlags::MEMORY) && mask & PAGE_MASK != PAGE_MASK {
            return Err(Errno::EINVAL);
        }
        let error = SetErrorTypeWithAddress {
            flags: flags.bits().into(),
            processor_id: u32::try_from(processor).map_err(|_| Errno::EINVAL)?.into(),
            memory_address: address.into(),
            memory_mask: mask.into(),
            pcie_device: u32::try_from(device).map_err(|_| Errno::EINVAL)?.into(),
            ..SetErrorTypeWithAddress::new(error_type)
        };
        let trigger = if self.notrigger == 0 {
            Trigger::Fire
        } else {
            Trigger::Leave
        };
        let einj = Einj::parse(injector.table).map_err(|_| Errno::EIO)?;
        let mut platform = injector.platform;
        let result = einj.inject(&error, trigger, Limits::default(), &mut platform);
        result.map_err(|error| match error {
            InjectError::Unsupported { .. } | InjectError::NoAddress => Errno::EINVAL,
            InjectError::Command(CommandError::Status(1)) => Errno::EBUSY,
            InjectError::Command(CommandError::Status(_)) => Errno::EINVAL,
            _ => Errno::EIO,
        })
    }
}

impl<P: Platform + Copy> Injector<'_, P> {
    fn available(&self) -> Result<ErrorTypes> {
        let einj = Einj::parse(self.table).map_err(|_| Errno::EIO)?;
        let mut platform = self.platform;
        einj.available(Limits::default(), &mut platform)
            .map_err(|_| Errno::EIO)
    }
}

/// The parameters that go with a kind.
fn implied(error_type: ErrorTypes) -> TargetFlags {
    match error_type.bits().trailing_zeros() {
        0..=2 => TargetFlags::PROCESSOR,
        3..=5 => TargetFlags::MEMORY,
        6..=8 => TargetFlags::PCIE,
        _ => TargetFlags::empty(),
    }
}

fn describe(available: ErrorTypes) -> String {
    let bits = (0..NAMES.len()).filter(|bit| available.bits() & 1 << bit != 0);
    bits.map(|bit| format!("{:#010x}\t{}\n", 1 << bit, NAMES[bit]))
        .collect()
}

/// Which parameter a file is.
fn parameter(file: &str) -> Result<usize> {
    match file {
        "param1" => Ok(0),
        "param2" => Ok(1),
        "param3" => Ok(2),
        "param4" => Ok(3),
        _ => Err(Errno::ENOENT),
    }
}
