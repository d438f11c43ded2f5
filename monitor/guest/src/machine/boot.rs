//! From the first instruction to Rust, on every CPU.
//!
//! QEMU starts an ELF with x0 = 0 and its device tree at the start of RAM; a monitor starts it as
//! the Linux boot protocol says, with x0 the device tree.

use core::arch::naked_asm;

use control::MAX_CPUS;
use control::layout::RAM_BASE;
use dtoolkit::fdt::Fdt;

use super::{exception, mmu};

const STACK_LENGTH: usize = 0x2_0000;

#[repr(C, align(4096))]
struct Stacks(core::cell::UnsafeCell<[u8; STACK_LENGTH * MAX_CPUS]>);

// SAFETY: each CPU uses its own part, as its stack.
unsafe impl Sync for Stacks {}

static STACKS: Stacks = Stacks(core::cell::UnsafeCell::new([0; STACK_LENGTH * MAX_CPUS]));

// Registers, by the Arm ARM (DDI 0487). SCTLR_EL1: RES1 bits and bits that only matter for AArch32
// state; M, C, I; DZE, UCT, UCI so that EL0 has its cache instructions; MSCEn; ATA and ATA0, without tag
// check faults.
const SCTLR: u64 =
    0x30d0_0800 | 1 | 1 << 2 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 26 | 1 << 33 | 1 << 42 | 1 << 43;
/// CPACR_EL1: FP, SIMD and SVE are not trapped.
const CPACR: u64 = 0b11 << 20 | 0b11 << 16;

/// The first instruction of the image.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
unsafe extern "C" fn start() -> ! {
    naked_asm!(
        "mov x19, x0",
        "adrp x1, __bss_start",
        "adrp x2, __bss_end",
        "1: cmp x1, x2",
        "b.hs 2f",
        "stp xzr, xzr, [x1], #16",
        "b 1b",
        "2: mov x20, #0",
        "adr x21, {main}",
        "b {enter}",
        main = sym main,
        enter = sym enter,
    )
}

/// Where PSCI starts the other CPUs, with their number in x0.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn start_secondary() -> ! {
    naked_asm!(
        "mov x20, x0",
        "mov x19, x0",
        "adrp x21, {secondary}",
        "add x21, x21, :lo12:{secondary}",
        "b {enter}",
        secondary = sym super::cpu::secondary,
        enter = sym enter,
    )
}

/// Gives CPU number x20 its stack, vectors and MMU, and calls x21 with x19.
#[unsafe(naked)]
unsafe extern "C" fn enter() -> ! {
    naked_asm!(
        "msr daifset, #0xf",
        "msr spsel, #1",
        "msr tpidr_el1, x20",
        "adrp x1, {stacks}",
        "add x1, x1, :lo12:{stacks}",
        "mov x2, {stack_length}",
        "add x3, x20, #1",
        "madd x1, x2, x3, x1",
        "mov sp, x1",
        "adrp x1, {vectors}",
        "add x1, x1, :lo12:{vectors}",
        "msr vbar_el1, x1",
        "ldr x1, ={mair}",
        "msr mair_el1, x1",
        "ldr x1, ={tcr}",
        "msr tcr_el1, x1",
        "adrp x1, {root}",
        "msr ttbr0_el1, x1",
        "ldr x1, ={cpacr}",
        "msr cpacr_el1, x1",
        "msr mdscr_el1, xzr",
        "msr oslar_el1, xzr",
        "tlbi vmalle1",
        "dsb nsh",
        "isb",
        "ldr x1, ={sctlr}",
        "msr sctlr_el1, x1",
        "isb",
        "mov x29, xzr",
        "mov x30, xzr",
        "mov x0, x19",
        "br x21",
        ".ltorg",
        stacks = sym STACKS,
        stack_length = const STACK_LENGTH,
        vectors = sym exception::vectors,
        mair = const mmu::MAIR,
        tcr = const mmu::TCR,
        root = sym mmu::ROOT,
        cpacr = const CPACR,
        sctlr = const SCTLR,
    )
}

/// The first Rust on the first CPU.
extern "C" fn main(x0: u64) -> ! {
    let address = if x0 == 0 { RAM_BASE } else { x0 };
    // SAFETY: the boot protocol: x0 is the device tree, and nobody writes to it.
    let tree = unsafe { Fdt::from_raw(address as *const u8) };
    crate::check::run(tree)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    super::uart::print_at_once(format_args!("Bail out! {info}\n"));
    super::psci::system_off()
}
