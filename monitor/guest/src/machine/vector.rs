//! The vector registers, which no code here uses but the stubs: what a stub leaves in them stays.

use core::arch::naked_asm;

use super::features::Feature;
use super::registers;

/// v0 to v31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub(crate) struct Vectors(pub(crate) [[u8; 16]; 32]);

/// The longest scalable vector, in bytes.
pub(crate) const LONGEST: usize = 256;

/// z0 to z31, p0 to p15 and FFR, each in the room that the longest needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub(crate) struct Scalable {
    /// z0 to z31.
    pub(crate) z: [[u8; LONGEST]; 32],
    /// p0 to p15, and FFR.
    pub(crate) p: [[u8; LONGEST / 8]; 17],
}

/// Makes vectors as long as they get.
pub(crate) fn init() {
    if Feature::Sve.is_present() {
        // ZCR_EL1.LEN.
        registers::write!("s3_0_c1_c2_0", 0xf);
    }
}

/// Bytes of a scalable vector on this CPU, which has `FEAT_SVE`.
pub(crate) fn length() -> usize {
    let length: u64;
    // SAFETY: it has `FEAT_SVE`, and it is not trapped.
    unsafe {
        core::arch::asm!(".arch_extension sve", "rdvl {}, #1", out(reg) length, options(nomem, nostack));
    }
    length as usize
}

impl Vectors {
    /// All zero.
    pub(crate) const ZERO: Self = Self([[0; 16]; 32]);

    /// Reads the registers.
    pub(crate) fn save() -> Self {
        let mut vectors = Self::ZERO;
        // SAFETY: it writes the 512 bytes of `vectors`.
        unsafe { save(&mut vectors) }
        vectors
    }

    /// Writes the registers.
    pub(crate) fn load(&self) {
        // SAFETY: it reads the 512 bytes of `self`; no Rust code keeps anything in the registers.
        unsafe { load(self) }
    }
}

impl Scalable {
    /// All zero.
    pub(crate) const ZERO: Self = Self {
        z: [[0; LONGEST]; 32],
        p: [[0; LONGEST / 8]; 17],
    };

    /// Reads the registers of a CPU with `FEAT_SVE`.
    pub(crate) fn save(&mut self) {
        // SAFETY: it writes at most `LONGEST` bytes to each row.
        unsafe { save_scalable(self) }
    }

    /// Writes the registers of a CPU with `FEAT_SVE`.
    pub(crate) fn load(&self) {
        // SAFETY: it reads at most `LONGEST` bytes of each row.
        unsafe { load_scalable(self) }
    }
}

#[unsafe(naked)]
unsafe extern "C" fn save(vectors: *mut Vectors) {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "st1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [x0], #64",
        "st1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [x0], #64",
        "st1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [x0], #64",
        "st1 {{v12.16b, v13.16b, v14.16b, v15.16b}}, [x0], #64",
        "st1 {{v16.16b, v17.16b, v18.16b, v19.16b}}, [x0], #64",
        "st1 {{v20.16b, v21.16b, v22.16b, v23.16b}}, [x0], #64",
        "st1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [x0], #64",
        "st1 {{v28.16b, v29.16b, v30.16b, v31.16b}}, [x0], #64",
        "ret",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn load(vectors: *const Vectors) {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [x0], #64",
        "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [x0], #64",
        "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [x0], #64",
        "ld1 {{v12.16b, v13.16b, v14.16b, v15.16b}}, [x0], #64",
        "ld1 {{v16.16b, v17.16b, v18.16b, v19.16b}}, [x0], #64",
        "ld1 {{v20.16b, v21.16b, v22.16b, v23.16b}}, [x0], #64",
        "ld1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [x0], #64",
        "ld1 {{v28.16b, v29.16b, v30.16b, v31.16b}}, [x0], #64",
        "ret",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn save_scalable(to: *mut Scalable) {
    naked_asm!(
        ".arch_extension sve",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
        "str z\\n, [x0]",
        "add x0, x0, #256",
        ".endr",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "str p\\n, [x0]",
        "add x0, x0, #32",
        ".endr",
        "mov x1, x0",
        "rdffr p0.b",
        "str p0, [x1]",
        "sub x1, x1, #512",
        "ldr p0, [x1]",
        "ret",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn load_scalable(from: *const Scalable) {
    naked_asm!(
        ".arch_extension sve",
        "add x1, x0, #8192",
        "add x2, x1, #512",
        "ldr p0, [x2]",
        "wrffr p0.b",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
        "ldr z\\n, [x0]",
        "add x0, x0, #256",
        ".endr",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "ldr p\\n, [x1]",
        "add x1, x1, #32",
        ".endr",
        "ret",
    )
}
