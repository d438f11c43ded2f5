//! Stage 2 aborts: what the guest reached for, and what becomes of it.

use core::ops::Range;

use control::layout::{DOORBELL, EINJ, REGISTERS_LENGTH};
use control::{LINE, PAGE};
use monitor::access::lines_of;
use monitor::exclusive;
use monitor::instruction::{Class, VECTOR, classify, reach, store_range};
use monitor::walk::Purpose;
use monitor::watch::Reach;
use syndrome::{DataAbort, FaultKind, FaultStatus, InstructionAbort, Level};

use super::cpu::Cpu;
use super::hit::{self, Consumption};
use super::poison::Quiet;
use super::registers::mrs;
use super::stage2::Access;
use super::step::{Expected, Writes};
use super::vectors::Frame;
use super::{devices, guest, poison, stage2};

/// Where a stage 2 abort was.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The virtual address, tag included.
    far: u64,
    /// The guest-physical page.
    page: u64,
}

impl Place {
    /// `None` if the guest changed its tables meanwhile: the access is repeated.
    fn read(cpu: &Cpu, fault: FaultStatus, walk: bool) -> Option<Self> {
        let far = mrs!("far_el2");
        let page = if matches!(fault.kind(), FaultKind::Permission(_)) && !walk {
            // HPFAR_EL2 holds nothing for these (Arm ARM, HPFAR_EL2).
            guest::translate(&cpu.has, far, Purpose::Data)? & !(PAGE - 1)
        } else {
            (mrs!("hpfar_el2") >> 4) << 12
        };
        Some(Self { far, page })
    }

    /// The guest-physical address of the first byte, of accesses that are not table walks.
    fn address(self) -> u64 {
        self.page | (self.far % PAGE)
    }
}

/// What there is to say about the page before anything else.
enum Verdict {
    /// It has poison, in these lines.
    Poison(u64),
    /// Nothing is there.
    Nothing,
    /// It was closed for poison that is gone, or for a moment: repeat the access.
    Repeat,
}

fn judge(cpu: &Cpu, page: u64) -> Verdict {
    let lines = poison::SET.lines(page);
    if lines != 0 {
        Verdict::Poison(lines)
    } else if stage2::ram().contains(&page) {
        poison::reopen(cpu.view, page);
        Verdict::Repeat
    } else if stage2::is_hidden(page) {
        Verdict::Nothing
    } else {
        Verdict::Repeat
    }
}

/// A data abort from the guest.
pub(super) fn data(cpu: &mut Cpu, frame: &mut Frame, abort: DataAbort) {
    let walk = abort.on_stage1_walk();
    let Some(place) = Place::read(cpu, abort.fault(), walk) else {
        return;
    };
    let registers = DOORBELL..EINJ + REGISTERS_LENGTH;
    if !walk && registers.contains(&place.page) {
        return devices::access(cpu, frame, place.address(), abort);
    }
    let quiet = Quiet::now();
    let lines = match judge(cpu, place.page) {
        Verdict::Poison(lines) => lines,
        Verdict::Repeat => return,
        Verdict::Nothing => {
            return hit::nothing_there(cpu, frame, place.far, Some(abort));
        }
    };
    if walk {
        let write = abort.is_write() == Some(true);
        return on_walk(cpu, frame, place, Consumption::walk_of(write, abort));
    }
    access(cpu, frame, place, (lines, quiet), abort);
}

/// A load or store to a page with poison.
fn access(
    cpu: &mut Cpu,
    frame: &mut Frame,
    place: Place,
    (lines, quiet): (u64, Option<Quiet>),
    abort: DataAbort,
) {
    let is_load = abort.is_write() == Some(false);
    if let (Some(simple), true) = (abort.instruction(), is_load) {
        // Never needed, but free: the watchpoints' answer is checked against it.
        let size = u64::from(simple.size);
        let hit = lines_of(place.far, size) & lines != 0;
        if cpu.step.is_active() {
            cpu.expect(hit);
        } else {
            cpu.step(frame);
            let expected = quiet.map(|since| Expected { hit, since });
            cpu.describe(Reach::Contiguous, Writes::Nothing, expected);
        }
        return open(cpu, frame, place, Some(place.far), Access::All);
    }
    let word = guest::instruction(&cpu.has, frame.pc);
    let class = word.map_or(Class::Other, classify);
    if matches!(class, Class::LoadExclusive(_))
        && cpu.may_run_through(frame)
        && let Some(run) = scan(cpu, frame.pc)
    {
        cpu.run_through(frame, &run);
        cpu.describe(run.reach(), Writes::Nothing, None);
        return open(cpu, frame, place, Some(place.far), Access::All);
    }
    let registers = |number| register(frame, number);
    let reach = match word {
        _ if abort.far_not_precise() => Reach::Anywhere,
        // Not a load, whatever the syndrome calls it.
        _ if abort.is_cache_maintenance() => Reach::Nothing,
        Some(word) => match reach(word, &registers, frame.pstate) {
            Reach::Within(length) => Reach::Within(length * cpu.has.vector() / VECTOR),
            other => other,
        },
        None => Reach::Anywhere,
    };
    let writes = match class {
        Class::Mops(mops) => Writes::Mops(mops, mops.values(&registers)),
        Class::ZeroBlock {
            address,
            data: true,
        } => Writes::Range(zero_block(frame.get(address))),
        _ => word
            .and_then(|word| store_range(word, &registers))
            .map_or(Writes::Nothing, Writes::Range),
    };
    if !cpu.step.is_active() {
        cpu.step(frame);
        cpu.describe(reach, writes, None);
    } else if let Reach::Copy { .. } = reach {
        // It has got somewhere.
        cpu.goes_on(reach);
    }
    open(cpu, frame, place, Some(place.far), Access::All);
}

/// What DC ZVA writes. `DCZID_EL0.BS` is log2 of the words in a block.
fn zero_block(address: u64) -> Range<u64> {
    let length = 4 << (mrs!("dczid_el0") & 0xf);
    let start = address & !(length - 1);
    start..start + length
}

/// Opens the page to the instruction that is being stepped; or hands over an abort, if its bad lines
/// cannot be told from what the instruction reads.
fn open(cpu: &mut Cpu, frame: &mut Frame, place: Place, address: Option<u64>, access: Access) {
    if !cpu.open(place.page, address, access) {
        hit::ambiguous(cpu, frame, place.page, place.far);
    }
}

/// A base register, where 31 is the stack pointer that the guest uses.
fn register(frame: &Frame, number: u8) -> u64 {
    if number < 31 {
        return frame.get(number);
    }
    let uses_el1_stack = frame.pstate & 0b1111 == 0b0101;
    if uses_el1_stack {
        mrs!("sp_el1")
    } else {
        mrs!("sp_el0")
    }
}

fn scan(cpu: &Cpu, pc: u64) -> Option<exclusive::RunThrough> {
    let mut code = [0; exclusive::WINDOW];
    let mut count = 0;
    for (index, word) in code.iter_mut().enumerate() {
        let Some(instruction) = guest::instruction(&cpu.has, pc + 4 * index as u64) else {
            break;
        };
        *word = instruction;
        count += 1;
    }
    // Two breakpoints are kept for the vectors.
    exclusive::scan(&code[..count], pc, cpu.has.breakpoints - 2)
}

/// An instruction abort from the guest.
pub(super) fn fetch(cpu: &mut Cpu, frame: &mut Frame, abort: InstructionAbort) {
    let walk = abort.on_stage1_walk();
    let Some(place) = Place::read(cpu, abort.fault(), walk) else {
        return;
    };
    let lines = match judge(cpu, place.page) {
        Verdict::Poison(lines) => lines,
        Verdict::Repeat => return,
        Verdict::Nothing => {
            return hit::nothing_there(cpu, frame, place.far, None);
        }
    };
    if walk {
        return on_walk(cpu, frame, place, Consumption::walk_of_fetch());
    }
    if lines >> (place.far % PAGE / LINE) & 1 != 0 {
        return hit::load(cpu, frame, Consumption::fetch(place.address(), place.far));
    }
    let is_exclusive = guest::instruction(&cpu.has, frame.pc)
        .is_some_and(|word| matches!(classify(word), Class::LoadExclusive(_)));
    match is_exclusive.then(|| scan(cpu, frame.pc)).flatten() {
        Some(run) if cpu.may_run_through(frame) => {
            cpu.run_through(frame, &run);
            cpu.describe(run.reach(), Writes::Nothing, None);
        }
        _ => cpu.step(frame),
    }
    open(cpu, frame, place, Some(place.far), Access::Fetch);
}

/// A stage 1 table walk that went through a page with poison.
fn on_walk(cpu: &mut Cpu, frame: &mut Frame, place: Place, consumption: Consumption) {
    let purpose = if consumption.access == syndrome::Access::Fetch {
        Purpose::Fetch
    } else {
        Purpose::Data
    };
    let regime = guest::regime(&cpu.has);
    let step = regime
        .walk(&guest::Ram, place.far, purpose)
        .find(|(_, descriptor)| descriptor & !(PAGE - 1) == place.page);
    let Some((level, descriptor)) = step else {
        // The tables changed meanwhile. If the page is still in the way, it will be met again.
        cpu.step(frame);
        return open(cpu, frame, place, None, Access::All);
    };
    let line = descriptor & !(LINE - 1);
    if poison::SET.policy(line).is_some()
        && let Some(level) = Level::new(level)
    {
        let met = Consumption {
            address: descriptor,
            far: place.far,
            fault: FaultStatus::external_abort_on_walk(level),
            ..consumption
        };
        return hit::load(cpu, frame, met);
    }
    cpu.step(frame);
    // The page may be what the access itself goes to. Then there will be no further fault.
    let target =
        guest::translate(&cpu.has, place.far, Purpose::Data).map(|target| target & !(PAGE - 1));
    let address = (target == Some(place.page)).then_some(place.far);
    open(cpu, frame, place, address, Access::All);
}
