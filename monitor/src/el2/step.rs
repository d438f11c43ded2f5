//! One instruction of the guest, with pages open that hold poison.
//!
//! The page that an access missed is opened to this CPU alone, watchpoints guard its bad lines
//! against loads, and single step brings the CPU back. Three ways it ends: the step exception (the access
//! touched no bad line), a watchpoint (it did), or an exception to EL1 that came first, of
//! which the step exception tells too.
//!
//! A load-exclusive cannot be stepped: each exception clears the monitor that its store-exclusive needs. It *runs
//! through*, from the load to behind the store, between breakpoints and with interrupts masked.

use core::ops::Range;

use control::{Counter, LINE, PAGE};
use monitor::access::{pieces, within_page};
use monitor::exclusive::RunThrough;
use monitor::instruction::{Mops, MopsValues};
use monitor::walk::Purpose;
use monitor::watch::{MAX_PAGES, Plan, PoisonedPage, Reach, Verdict, Watchpoint, plan};

use super::cpu::{Cpu, HCR_VSE};
use super::debug::Borrowed;
use super::registers::{mrs, msr, run};
use super::stage2::Access;
use super::vectors::Frame;
use super::{guest, mailbox, poison, stage2};

/// PSTATE.SS, and the interrupt masks.
const SS: u64 = 1 << 21;
const DAIF: u64 = 0xf << 6;

/// Pages open at a time. A copy that goes on to another closes the first again.
const OPEN: usize = MAX_PAGES;

/// Bytes that an address can stand for under top byte ignore.
const UNTAGGED: u64 = (1 << 56) - 1;

/// A page with poison that is open to this CPU.
#[derive(Clone, Copy, Debug)]
struct Open {
    page: u64,
    /// The page's virtual address, with its tag; `None` if the access is a table walk.
    address: Option<u64>,
    access: Access,
}

/// How the instruction is brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Single,
    RunThrough,
}

/// What the instruction writes, as far as that is known before it runs.
#[derive(Clone, Debug)]
pub(super) enum Writes {
    Nothing,
    Range(Range<u64>),
    /// A memory copy or set: its registers will tell.
    Mops(Mops, MopsValues),
}

/// What the syndrome says of a simple load: the answer of the watchpoints is checked against it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Whether it touches a bad line.
    pub(super) hit: bool,
    /// When the lines were looked at.
    pub(super) since: poison::Quiet,
}

/// The step in progress on a CPU, if there is one.
#[derive(Debug)]
pub(super) struct Step {
    mode: Option<Mode>,
    open: [Option<Open>; OPEN],
    /// Where the next page goes, and how many there are.
    count: usize,
    borrowed: Borrowed,
    /// The watchpoints that are armed.
    plan: Option<Plan>,
    /// The virtual address that the first abort was for, of those that were not table walks.
    around: Option<u64>,
    /// What the instruction may load, from there.
    reach: Reach,
    pc: u64,
    /// PSTATE of the guest, before the monitor changed SS and DAIF in it.
    pstate: u64,
    writes: Writes,
    /// A line whose data the instruction shall get, with an SError instead of an abort.
    excused: [Option<u64>; 4],
    expected: Option<Expected>,
}

/// What a watchpoint stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// A load of this physical address, which is bad.
    Poison(u64),
    /// Nothing: the instruction is tried again with other watchpoints.
    Again,
    /// A clean address that no choice of watchpoints can tell from bad ones.
    Ambiguous(u64),
    /// One of the guest's own.
    Guests,
}

impl Step {
    pub(super) const fn new() -> Self {
        Self {
            mode: None,
            open: [None; OPEN],
            count: 0,
            borrowed: Borrowed::new(),
            plan: None,
            around: None,
            reach: Reach::Anywhere,
            pc: 0,
            pstate: 0,
            writes: Writes::Nothing,
            excused: [None; 4],
            expected: None,
        }
    }

    /// Whether the CPU is between the start and the end of a step.
    pub(super) fn is_active(&self) -> bool {
        self.mode.is_some()
    }

    /// Whether the access being stepped has to touch a bad line, if that is known.
    pub(super) fn was_to_hit(&self) -> Option<bool> {
        let expected = self.expected.filter(|_| self.is_active())?;
        // What was bad when it was looked at may be good by now, and the other way round.
        (poison::Quiet::now() == Some(expected.since)).then_some(expected.hit)
    }

    /// Whether the page is open already, with at least this access.
    fn has(&self, page: u64, access: Access) -> bool {
        self.pages()
            .any(|open| open.page == page && (open.access == Access::All || open.access == access))
    }

    fn pages(&self) -> impl Iterator<Item = Open> {
        self.open.iter().flatten().copied()
    }

    fn remember(&mut self, open: Open) -> Option<Open> {
        let slot = &mut self.open[self.count % OPEN];
        self.count += 1;
        slot.replace(open)
    }
}

impl Cpu {
    /// Starts to step the instruction at the PC, or goes on with a step that met another page.
    pub(super) fn step(&mut self, frame: &mut Frame) {
        if self.step.is_active() {
            return;
        }
        self.begin_step(frame, Mode::Single);
        frame.pstate |= SS;
        mailbox::count(self.index, Counter::Steps);
    }

    /// Starts to run through from a load-exclusive at the PC.
    pub(super) fn run_through(&mut self, frame: &mut Frame, run: &RunThrough) {
        if self.step.is_active() {
            return;
        }
        self.begin_step(frame, Mode::RunThrough);
        let vectors = mrs!("vbar_el1");
        let group = if frame.pstate & 0b1111 == 0 {
            0x400
        } else if frame.pstate & 1 == 0 {
            0x000
        } else {
            0x200
        };
        const IRQ: u64 = 0x80;
        let vectors = [vectors + group, vectors + group + IRQ];
        let stops = run.stops().iter().copied().chain(vectors);
        self.step.borrowed.stop_at(&self.has, stops);
        // An interrupt would make the store fail. But a loop that waits for another CPU must not
        // keep interrupts out; then the breakpoint at the vector ends the run.
        if !run.repeats() {
            frame.pstate |= DAIF;
        }
        mailbox::count(self.index, Counter::Exclusives);
    }

    fn begin_step(&mut self, frame: &Frame, mode: Mode) {
        let step = &mut self.step;
        step.mode = Some(mode);
        step.pc = frame.pc;
        step.pstate = frame.pstate;
        step.writes = Writes::Nothing;
        step.expected = None;
        step.excused = [None; 4];
        step.plan = None;
        step.around = None;
        step.reach = Reach::Anywhere;
        step.borrowed
            .take(&self.has, frame.pstate, mode == Mode::Single);
    }

    /// Says what the instruction does, as far as it is known: before a page is opened for it.
    pub(super) fn describe(&mut self, reach: Reach, writes: Writes, expected: Option<Expected>) {
        self.step.reach = reach;
        self.step.writes = writes;
        self.step.expected = expected;
    }

    /// Says whether a load that goes on to another page touches a bad line there.
    pub(super) fn expect(&mut self, there: bool) {
        if let Some(expected) = &mut self.step.expected {
            expected.hit |= there;
        }
    }

    /// Says what is left of a copy that met another page.
    pub(super) fn goes_on(&mut self, reach: Reach) {
        self.step.reach = reach;
    }

    /// Whether a run-through is possible: not if the guest is stepping itself.
    pub(super) fn may_run_through(&self, frame: &Frame) -> bool {
        let steps = mrs!("mdscr_el1") & 1 != 0 && frame.pstate & SS != 0;
        !self.step.is_active() && !steps
    }

    /// Opens a page to the instruction, and guards what is bad in all pages that are open. `address` is
    /// where the instruction reaches the page to load from it; `None` if it does not.
    ///
    /// Gives whether all of it is guarded. If not, the instruction must not run.
    #[must_use]
    pub(super) fn open(&mut self, page: u64, address: Option<u64>, access: Access) -> bool {
        let open = Open {
            page,
            address: address.map(|address| address & !(PAGE - 1)),
            access,
        };
        if !self.step.has(page, access) || access == Access::All {
            let evicted = self.step.remember(open);
            if let Some(evicted) = evicted {
                self.close(evicted);
                run!("dsb nsh", "isb");
            }
        }
        if let (Some(address), Access::All) = (address, access) {
            self.step.around.get_or_insert(address);
            self.open_neighbour(page, address);
        }
        // First open, then look what is bad: poison that arrives meanwhile closes the page again.
        self.view.open(page, access);
        self.arm()
    }

    /// An access near the end of a page may go on in the next. If that is another mapping of a page
    /// that is open, there will be no fault to tell.
    fn open_neighbour(&mut self, page: u64, address: u64) {
        const LONGEST: u64 = 1024;
        if address % PAGE < PAGE - LONGEST {
            return;
        }
        let neighbour = (address & !(PAGE - 1)).wrapping_add(PAGE);
        if guest::translate(&self.has, neighbour, Purpose::Data).map(|target| target & !(PAGE - 1))
            == Some(page)
        {
            let alias = Open {
                page,
                address: Some(neighbour),
                access: Access::All,
            };
            self.step.remember(alias);
        }
    }

    /// Guards the bad lines of the open pages. Gives whether that is possible.
    fn arm(&mut self) -> bool {
        let mut pages = [PoisonedPage::default(); OPEN];
        let mut count = 0;
        for open in self.step.pages() {
            let (Some(address), Access::All) = (open.address, open.access) else {
                continue;
            };
            let mut lines = poison::SET.lines(open.page);
            for excused in self.step.excused.into_iter().flatten() {
                if excused & !(PAGE - 1) == open.page {
                    lines &= !(1 << (excused % PAGE / LINE));
                }
            }
            pages[count] = PoisonedPage { address, lines };
            count += 1;
        }
        let slots = self.step.borrowed.free_watchpoints(&self.has);
        let around = self.step.around.unwrap_or(0);
        self.guard(plan(&pages[..count], around, self.step.reach, slots))
    }

    fn guard(&mut self, plan: Option<Plan>) -> bool {
        let Some(plan) = plan else { return false };
        let watchpoints = plan
            .watchpoints()
            .iter()
            .map(|watchpoint| (watchpoint.address, watchpoint.size));
        if self.step.borrowed.watch(&self.has, watchpoints) {
            mailbox::count(self.index, Counter::Displaced);
        }
        self.step.plan = Some(plan);
        run!("dsb nsh", "isb");
        true
    }

    /// Says what a watchpoint at `address` stands for, and prepares the next try if there is to be one.
    pub(super) fn watched(&mut self, address: u64) -> Watched {
        let same_page = |open: &Open| {
            open.address
                .is_some_and(|page| page & UNTAGGED == address & UNTAGGED & !(PAGE - 1))
        };
        let Some(open) = self.step.pages().find(same_page) else {
            return Watched::Guests;
        };
        let line = (open.page + address % PAGE) & !(LINE - 1);
        if self.step.excused.contains(&Some(line)) {
            return Watched::Guests;
        }
        if poison::SET.lines(open.page) >> (line % PAGE / LINE) & 1 != 0 {
            return Watched::Poison(open.page + address % PAGE);
        }
        let Some(plan) = self.step.plan else {
            return Watched::Guests;
        };
        let covers = |watchpoint: &Watchpoint| {
            (watchpoint.address ^ address) & UNTAGGED < 1 << watchpoint.size
        };
        if !plan.watchpoints().iter().any(covers) {
            return Watched::Guests;
        }
        let guarded = match plan.after_hit(address) {
            // It has been made good meanwhile.
            Verdict::Poisoned => self.arm(),
            Verdict::Clean => self.guard(plan.refine(address)),
        };
        if guarded {
            Watched::Again
        } else {
            Watched::Ambiguous(open.page + address % PAGE)
        }
    }

    /// Lets the instruction have the data of a bad line, and tries it again.
    pub(super) fn excuse(&mut self, line: u64) -> bool {
        let Some(slot) = self.step.excused.iter_mut().find(|slot| slot.is_none()) else {
            return false;
        };
        *slot = Some(line);
        self.arm()
    }

    /// Ends the step after its exception: the instruction has run, or another exception came first.
    pub(super) fn end_step(&mut self, frame: &mut Frame) {
        let Some(mode) = self.step.mode else { return };
        self.account(frame);
        self.close_all(mode);
        frame.pstate &= !SS;
        self.repair_saved_pstate(frame, mode);
        if self.step.excused[0].is_some() {
            msr!("hcr_el2", mrs!("hcr_el2") | HCR_VSE);
        }
    }

    /// Ends the step, if there is one, before its instruction has run.
    pub(super) fn abandon_step(&mut self, frame: &mut Frame) {
        let Some(mode) = self.step.mode else { return };
        if matches!(self.step.writes, Writes::Mops(..)) {
            // It may have got somewhere.
            self.account(frame);
        }
        self.close_all(mode);
        frame.pstate = frame.pstate & !(SS | DAIF) | self.step.pstate & (SS | DAIF);
    }

    fn close_all(&mut self, mode: Mode) {
        self.step.mode = None;
        for index in 0..self.step.count.min(OPEN) {
            if let Some(open) = self.step.open[index].take() {
                self.close(open);
            }
        }
        self.step.count = 0;
        if mode == Mode::RunThrough || matches!(self.step.writes, Writes::Mops(..)) {
            // It may have reached the pages by other addresses than those it faulted at.
            stage2::flush_all_here();
        }
        self.step.borrowed.give_back(&self.has);
        run!("dsb nsh", "isb");
    }

    fn close(&self, open: Open) {
        if poison::SET.lines(open.page) == 0 {
            // Nothing is bad in it any more.
            poison::reopen(self.view, open.page);
        } else {
            self.view.close(open.page);
        }
        run!("dsb nshst");
        stage2::flush_here(open.page, open.address.or(self.step.around).unwrap_or(0));
    }

    /// If the instruction ended in an exception to EL1, what the monitor had set in PSTATE is in
    /// SPSR_EL1.
    fn repair_saved_pstate(&self, frame: &mut Frame, mode: Mode) {
        let vectors = mrs!("vbar_el1");
        let at_vector = frame.pc.wrapping_sub(vectors) < 0x800
            && frame.pc.is_multiple_of(0x80)
            && frame.pstate & 0b1100 != 0
            && frame.pc != self.step.pc.wrapping_add(4);
        if !at_vector {
            if mode == Mode::RunThrough {
                frame.pstate = frame.pstate & !DAIF | self.step.pstate & DAIF;
            }
            return;
        }
        // SS is that of the guest unless stepping has used it up.
        let mut saved = mrs!("spsr_el1");
        if self.step.pstate & SS == 0 {
            saved &= !SS;
        }
        if mode == Mode::RunThrough {
            saved = saved & !DAIF | self.step.pstate & DAIF;
        }
        msr!("spsr_el1", saved);
    }

    /// Counts what the instruction overwrote, and checks what can be checked.
    fn account(&mut self, frame: &Frame) {
        let completed = frame.pc == self.step.pc.wrapping_add(4);
        let excused = self.step.excused[0].is_some();
        if completed && !excused && self.step.was_to_hit() == Some(true) {
            mailbox::count(self.index, Counter::Leaks);
        }
        let written = match &self.step.writes {
            Writes::Range(range) if completed => range.clone(),
            Writes::Mops(mops, before) => {
                match mops.written(*before, mops.values(&|number| frame.get(number))) {
                    Some(range) => range,
                    None => return,
                }
            }
            _ => return,
        };
        for open in self.step.pages() {
            if let (Some(address), Access::All) = (open.address, open.access) {
                self.overwrite(open.page, address & UNTAGGED, &written);
            }
        }
    }

    /// Counts the part of `written` (virtual) that is in the page.
    fn overwrite(&self, page: u64, address: u64, written: &Range<u64>) {
        // A range never straddles the end of the address space, so tags can be dropped on both sides.
        let start = written.start & UNTAGGED;
        let range = start..start + (written.end - written.start);
        let bad = poison::SET.lines(page);
        for piece in pieces(within_page(&range, address)) {
            if bad >> (piece.line % PAGE / LINE) & 1 != 0 {
                poison::overwritten(self.index, page + piece.line % PAGE, piece.bytes);
            }
        }
    }
}
