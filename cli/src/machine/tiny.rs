//! Guests of a few instructions, to test what starts and watches machines.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::machine::{Guest, Machine, Options};

/// The header of an `Image` that is entered right behind it.
const HEADER: [u32; 16] = {
    let mut header = [0; 16];
    header[0] = 0x1400_0010; // b . + 64
    header[4] = 0x20_0000; // image_size
    header[6] = 0xa; // flags: little-endian, 4 KiB pages, anywhere in memory
    header[14] = 0x644d_5241; // magic
    header
};

/// Bytes from the image's begin to the first instruction of the program.
pub(crate) const START: u64 = 64;

/// How a guest calls firmware (PSCI).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduit {
    /// With HVC: on QEMU alone.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests do without the monitor")
    )]
    Hvc,
    /// With SMC: under the monitor.
    Smc,
}

impl Conduit {
    fn instruction(self) -> u32 {
        match self {
            Self::Hvc => 0xd400_0002,
            Self::Smc => 0xd400_0003,
        }
    }
}

/// Prints `P` if the memory 1 MiB further on is 0, else `D`; writes there; asks for a reset.
pub(crate) fn resets(conduit: Conduit) -> [u32; 12] {
    [
        0xd2a1_2001, // mov x1, #0x9000000
        0x10ff_ffe3, // adr x3, . - 4
        0x9144_0063, // add x3, x3, #0x100, lsl #12
        0xf940_0064, // ldr x4, [x3]
        0x5280_0a02, // mov w2, #'P'
        0xb400_0044, // cbz x4, . + 8
        0x5280_0882, // mov w2, #'D'
        0xb900_0022, // str w2, [x1]
        0xf900_0061, // str x1, [x3]
        0x52b0_8000, // mov w0, #0x84000000
        0x7280_0120, // movk w0, #9
        conduit.instruction(),
    ]
}

/// Prints `h` and spins.
pub(crate) const SPINS: [u32; 6] = [
    0xd2a1_2001, // mov x1, #0x9000000
    0x5280_0d02, // mov w2, #'h'
    0xb900_0022, // str w2, [x1]
    0x5280_0142, // mov w2, #'\n'
    0xb900_0022, // str w2, [x1]
    0x1400_0000, // b .
];

/// Prints what is typed, until that is `q`; then switches itself off.
pub(crate) fn echoes(conduit: Conduit) -> [u32; 10] {
    [
        0xd2a1_2001, // mov x1, #0x9000000
        0xb940_1822, // ldr w2, [x1, #24]
        0x3727_ffe2, // tbnz w2, #4, . - 4
        0xb940_0022, // ldr w2, [x1]
        0xb900_0022, // str w2, [x1]
        0x7101_c45f, // cmp w2, #'q'
        0x54ff_ff61, // b.ne . - 20
        0x52b0_8000, // mov w0, #0x84000000
        0x7280_0100, // movk w0, #8
        conduit.instruction(),
    ]
}

/// A machine for such a guest, with a name of its own, and the file of its image.
pub(crate) struct Tiny {
    pub(crate) options: Options,
    pub(crate) image: PathBuf,
}

impl Tiny {
    /// Writes the image of a program.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn new(program: &[u32]) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tiny-{}-{number}", process::id());
        let image = std::env::temp_dir().join(format!("seaworthy-{name}"));
        let words = HEADER.iter().chain(program);
        let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        fs::write(&image, bytes).with_context(|| format!("cannot write {}", image.display()))?;
        let guest = Guest::Kernel {
            image: image.clone(),
            initrd: None,
        };
        Ok(Self {
            options: Options {
                memory: 128 << 20,
                ..Options::new(&name, guest)
            },
            image,
        })
    }

    /// Starts the machine.
    ///
    /// # Errors
    ///
    /// As [`Machine::start`].
    pub(crate) fn start(&self) -> Result<Machine> {
        Machine::start(&self.options)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        // It is small, and in the directory for temporary files.
        let _ = fs::remove_file(&self.image);
    }
}

/// Ample for what such a guest does, and still an end if it does not.
pub(crate) const AMPLE: Duration = Duration::from_secs(60);
