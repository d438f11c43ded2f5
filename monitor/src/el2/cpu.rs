//! This CPU: its features, its registers, its state.

use core::cell::UnsafeCell;

use control::MAX_CPUS;
use monitor::instruction::VECTOR;
use syndrome::Features;

use super::registers::{mrs, msr, run};
use super::stage2::View;
use super::step::Step;
use super::tlb;

/// Bytes of each CPU's stack.
pub(super) const STACK: usize = 0x8000;

/// The stacks, by index of CPU.
#[repr(C, align(4096))]
pub(super) struct Stacks(UnsafeCell<[[u8; STACK]; MAX_CPUS]>);

// SAFETY: each CPU uses its own.
unsafe impl Sync for Stacks {}

pub(super) static STACKS: Stacks = Stacks(UnsafeCell::new([[0; STACK]; MAX_CPUS]));

/// What a CPU keeps between exceptions.
#[derive(Debug)]
pub(super) struct Cpu {
    pub(super) index: usize,
    pub(super) view: View,
    pub(super) has: Has,
    pub(super) step: Step,
    /// Since when it has been repeating an access, in ticks of CNTPCT_EL0.
    pub(super) waiting_since: Option<u64>,
}

/// What the CPU implements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Has {
    /// What decides how an exception looks.
    pub(super) syndrome: Features,
    /// Watchpoints.
    pub(super) watchpoints: usize,
    /// Breakpoints.
    pub(super) breakpoints: usize,
    /// `FEAT_SCTLR2`.
    pub(super) sctlr2: bool,
    /// `FEAT_TCR2`.
    pub(super) tcr2: bool,
    /// `FEAT_SVE`.
    pub(super) sve: bool,
    /// `FEAT_SME`, whose streaming mode has vectors of another length.
    pub(super) sme: bool,
}

struct Slot(UnsafeCell<Option<Cpu>>);

// SAFETY: each CPU uses its own, through `current` and `begin`.
unsafe impl Sync for Slot {}

static CPUS: [Slot; MAX_CPUS] = [const { Slot(UnsafeCell::new(None)) }; MAX_CPUS];

impl Cpu {
    /// Sets this CPU up to run the guest.
    pub(super) fn begin(index: usize, view: View) {
        let has = Has::read();
        set_up(&has);
        view.activate();
        tlb::prepare();
        let cpu = Self {
            index,
            view,
            has,
            step: Step::new(),
            waiting_since: None,
        };
        // SAFETY: nobody but this CPU uses this slot, and no reference to it is alive: it has not
        // entered the guest yet.
        unsafe { *CPUS[index].0.get() = Some(cpu) };
        msr!("tpidr_el2", index as u64);
    }

    /// The state of this CPU. For the handler of an exception from the guest, once in each.
    pub(super) fn current() -> Option<&'static mut Self> {
        let index = mrs!("tpidr_el2") as usize;
        // SAFETY: the slot is this CPU's. Exceptions do not nest, so the reference of the last
        // handler is gone.
        unsafe { (*CPUS[index].0.get()).as_mut() }
    }
}

impl Has {
    /// The most bytes that a vector of the guest can have now.
    pub(super) fn vector(&self) -> u64 {
        if self.sve && !self.sme {
            // ZCR_EL1.LEN, in quadwords less one. The CPU may round it down.
            16 * ((mrs!("S3_0_C1_C2_0") & 0xf) + 1)
        } else {
            VECTOR
        }
    }
}

fn field(register: u64, shift: u32) -> u64 {
    register >> shift & 0xf
}

impl Has {
    fn read() -> Self {
        let pfr0 = mrs!("id_aa64pfr0_el1");
        let pfr1 = mrs!("id_aa64pfr1_el1");
        let dfr0 = mrs!("id_aa64dfr0_el1");
        let mmfr1 = mrs!("id_aa64mmfr1_el1");
        let mmfr3 = mrs!("S3_0_C0_C7_3");
        Self {
            syndrome: Features {
                pan: field(mmfr1, 20) != 0,
                mte: field(pfr1, 8) != 0,
                ssbs: field(pfr1, 4) != 0,
                nmi: field(pfr1, 36) != 0,
                profiling_exceptions: false,
                gcs: field(pfr1, 44) != 0,
                ras: field(pfr0, 28) != 0,
                double_fault2: field(pfr1, 56) != 0,
                pfar: field(pfr1, 60) != 0,
            },
            watchpoints: field(dfr0, 20) as usize + 1,
            breakpoints: field(dfr0, 12) as usize + 1,
            sctlr2: field(mmfr3, 4) != 0,
            tcr2: field(mmfr3, 0) != 0,
            sve: field(pfr0, 32) != 0,
            sme: field(pfr1, 24) != 0,
        }
    }
}

/// `HCR_EL2` while the guest runs.
///
/// VM: stage 2. AMO: so that VSE works. TSC: SMC is trapped, or a guest's CPU_ON would start a CPU
/// past the monitor. HCD: HVC is undefined, as without EL2. RW: EL1 is AArch64. API, APK, EnSCXT
/// and ATA: nothing trapped. Physical interrupts (IMO, FMO clear) go straight to EL1.
const HCR: u64 = 1 | 1 << 5 | 1 << 19 | 1 << 29 | 1 << 31 | 1 << 40 | 1 << 41 | 1 << 53;
const HCR_ATA: u64 = 1 << 56;
/// Makes a virtual SError pending.
pub(super) const HCR_VSE: u64 = 1 << 8;

/// `MDCR_EL2` while the guest runs: all its counters are its own, nothing is trapped.
pub(super) fn mdcr() -> u64 {
    mrs!("pmcr_el0") >> 11 & 0x1f
}

/// Gives the guest all that the CPU has. What each bit does: Arm ARM D19.2.
fn set_up(has: &Has) {
    let mut hcr = HCR;
    if has.syndrome.mte {
        hcr |= HCR_ATA;
    }
    msr!("hcr_el2", hcr);
    let mmfr0 = mrs!("id_aa64mmfr0_el1");
    let mmfr1 = mrs!("id_aa64mmfr1_el1");
    let pfr0 = mrs!("id_aa64pfr0_el1");
    let pfr1 = mrs!("id_aa64pfr1_el1");
    if field(mmfr1, 40) != 0 {
        // HCRX_EL2: MSCEn, SCTLR2En, TCR2En, GCSEn and the 64-byte accesses.
        msr!(
            "S3_4_C1_C2_2",
            1 << 11 | 1 << 14 | 1 << 15 | 1 << 22 | 0b111
        );
    }
    if field(mmfr0, 56) != 0 {
        // HFGRTR_EL2 and HFGWTR_EL2: the bits that trap when clear. The rest trap when set.
        let negative = 1 << 50 | 0xfff << 52;
        msr!("S3_4_C1_C1_4", negative);
        msr!("S3_4_C1_C1_5", negative);
        // HFGITR_EL2: the same, for guarded control stacks and branch records.
        msr!("S3_4_C1_C1_6", 0b111 << 57 | 0b11 << 55);
        // HDFGRTR_EL2 and HDFGWTR_EL2: branch records and sampling.
        msr!("S3_4_C3_C1_4", 0b111 << 59 | 1 << 62);
        msr!("S3_4_C3_C1_5", 0b11 << 60 | 1 << 62);
    }
    // CPTR_EL2: RES1, and no trap of FP, SVE or SME.
    msr!("cptr_el2", 0x22ff);
    run!("isb");
    if field(pfr0, 32) != 0 {
        msr!("S3_4_C1_C2_0", 0xf);
    }
    if field(pfr1, 24) != 0 {
        // SMCR_EL2: the longest vectors, FA64, EZT0.
        msr!("S3_4_C1_C2_6", 0xf | 1 << 31 | 1 << 30);
    }
    msr!("hstr_el2", 0);
    msr!("mdcr_el2", mdcr());
    msr!("cnthctl_el2", 3);
    msr!("cntvoff_el2", 0);
    msr!("vpidr_el2", mrs!("midr_el1"));
    msr!("vmpidr_el2", mrs!("mpidr_el1"));
    if field(pfr0, 24) != 0 {
        // ICC_SRE_EL2: system registers, for EL1 too. ICH_HCR_EL2: no virtual interrupts.
        msr!("S3_4_C12_C9_5", 0xf);
        run!("isb");
        msr!("S3_4_C12_C11_0", 0);
    }
    msr!("oslar_el1", 0);
    // What a reset leaves, or what Linux's boot protocol asks for: MMU and caches off.
    msr!("sctlr_el1", 0x30d0_0800);
    msr!("cpacr_el1", 0);
    msr!("mdscr_el1", 0);
    run!("isb");
}
