//! Interrupts: a GICv3 (Arm IHI 0069), by the crate `arm-gic`.

use core::ptr::{NonNull, with_exposed_provenance_mut};

use arm_gic::gicv3::registers::{Gicd, GicrSgi};
use arm_gic::gicv3::{GicCpuInterface, GicV3, Group, SgiTarget, SgiTargetGroup};
use arm_gic::{IntId, InterruptGroup, Trigger, UniqueMmioPointer};

use super::{console, cpu, disk, psci, tables, time};
use crate::device_tree::{Board, Gic};
use crate::error::Errno;
use crate::ras;
use crate::sync::SpinLock;
use crate::task::scheduler;

/// Another CPU has something for this one to run.
pub(super) const RESCHEDULE: u32 = 0;
/// Another CPU panics.
pub(super) const STOP: u32 = 1;

/// Bytes of a redistributor without virtual interrupts (GICv3).
const REDISTRIBUTOR: u64 = 0x2_0000;

static CONTROLLER: SpinLock<Option<GicV3<'static>>> = SpinLock::new(None);

/// Sets up the distributor.
///
/// # Errors
///
/// What is wrong with the controller.
pub(super) fn init(gic: &Gic) -> Result<(), &'static str> {
    let map = |(start, length)| tables::map_device(start, length).map_err(|_: Errno| "no memory");
    let distributor = map(gic.distributor)?;
    let redistributors = map(gic.redistributors)?;
    let pointer = |address: u64| with_exposed_provenance_mut::<()>(address as usize);
    let distributor = NonNull::new(pointer(distributor).cast::<Gicd>()).ok_or("no address")?;
    let redistributors =
        NonNull::new(pointer(redistributors).cast::<GicrSgi>()).ok_or("no address")?;
    let count = (gic.redistributors.1 / REDISTRIBUTOR) as usize;
    // SAFETY: the distributor's registers, mapped just now, and for nobody else.
    let distributor = unsafe { UniqueMmioPointer::new(distributor) };
    // SAFETY: the redistributors' registers, mapped just now, and for nobody else.
    let controller = unsafe { GicV3::new(distributor, redistributors, count) };
    let mut controller = controller.map_err(|_| "it is neither a GICv3 nor a GICv4")?;
    controller.distributor().configure_default_settings();
    *CONTROLLER.lock() = Some(controller);
    Ok(())
}

/// Sets up this CPU's redistributor and interface, with its timer's interrupt.
///
/// # Errors
///
/// What is wrong with the controller.
pub(super) fn init_cpu(timer: u32) -> Result<(), &'static str> {
    let mut guard = CONTROLLER.lock();
    let controller = guard.as_mut().ok_or("there is no interrupt controller")?;
    let own = cpu::own_affinity();
    let mut index = 0;
    loop {
        let found = controller
            .gicr_typer(index)
            .map_err(|_| "no redistributor is this CPU's")?;
        if found.core_mpidr() & !(1 << 31) == own {
            break;
        }
        if found.last_redistributor() {
            return Err("no redistributor is this CPU's");
        }
        index += 1;
    }
    controller.init_cpu(index);
    let mut redistributor = controller
        .redistributor(index)
        .map_err(|_| "no redistributor")?;
    redistributor.configure_default_settings();
    let own = [
        IntId::sgi(RESCHEDULE),
        IntId::sgi(STOP),
        IntId::ppi(timer - 16),
    ];
    for interrupt in own {
        let enable = redistributor
            .set_group(interrupt, Group::Group1NS)
            .and_then(|()| redistributor.set_interrupt_priority(interrupt, 0x80))
            .and_then(|()| redistributor.enable_interrupt(interrupt, true));
        enable.map_err(|_| "an interrupt cannot be enabled")?;
    }
    GicCpuInterface::set_priority_mask(0xff);
    GicCpuInterface::enable_group1(true);
    Ok(())
}

/// Lets a shared, level-triggered interrupt through, to this CPU.
///
/// # Errors
///
/// There is no such interrupt.
pub(super) fn enable(interrupt: u32) -> Result<(), &'static str> {
    enable_with(interrupt, Trigger::Level)
}

/// As [`enable`], for one that is raised by an edge.
///
/// # Errors
///
/// There is no such interrupt.
pub(super) fn enable_edge(interrupt: u32) -> Result<(), &'static str> {
    if !(32..1020).contains(&interrupt) {
        return Err("it is none that devices share");
    }
    enable_with(interrupt, Trigger::Edge)
}

fn enable_with(interrupt: u32, trigger: Trigger) -> Result<(), &'static str> {
    let interrupt = IntId::spi(interrupt - 32);
    let mut guard = CONTROLLER.lock();
    let controller = guard.as_mut().ok_or("there is no interrupt controller")?;
    let distributor = controller.distributor();
    distributor
        .set_group(interrupt, Group::Group1NS)
        .and_then(|()| distributor.set_trigger(interrupt, trigger))
        .and_then(|()| distributor.set_interrupt_priority(interrupt, 0x80))
        .and_then(|()| distributor.set_routing(interrupt, Some(cpu::own_affinity())))
        .and_then(|()| distributor.enable_interrupt(interrupt, true))
        .map_err(|_| "there is no such interrupt")
}

/// Interrupts the CPU with this affinity.
pub(super) fn send(affinity: u64, interrupt: u32) {
    let level = |shift: u32| (affinity >> shift) as u8;
    let target = SgiTarget::List {
        affinity3: level(32),
        affinity2: level(16),
        affinity1: level(8),
        target_list: 1 << (affinity & 0xf),
    };
    // What was written before is seen by whoever is interrupted.
    super::registers::run!("dsb ishst");
    let sent =
        GicCpuInterface::send_sgi(IntId::sgi(interrupt), target, SgiTargetGroup::CurrentGroup1);
    debug_assert!(sent.is_ok());
    super::registers::run!("isb");
}

/// Takes all interrupts that there are.
pub(super) fn handle() {
    while let Some(interrupt) =
        GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1)
    {
        // Deactivated first: a level-triggered one that is still there comes again.
        let number = interrupt.raw_value();
        match number {
            RESCHEDULE => {}
            STOP => psci::halt(),
            _ if number == time::interrupt_number() => time::interrupt(),
            _ if number == console::interrupt_number() => console::interrupt(),
            _ if disk::interrupt(number) => {}
            _ if ras::is_notification(number) => ras::notification(),
            _ => log::warn!("interrupt {number} is nobody's"),
        }
        GicCpuInterface::end_interrupt(interrupt, InterruptGroup::Group1);
        if number == RESCHEDULE {
            scheduler::interrupt();
        }
    }
}

/// What the board has, for the CPUs that start later.
pub(super) fn start(board: &Board) -> Result<(), &'static str> {
    init(&board.gic)?;
    time::set_interrupt_number(board.timer);
    init_cpu(board.timer)
}
