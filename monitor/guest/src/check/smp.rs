//! Several CPUs at once: a page that one CPU steps through stays closed to the others.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use apei::GenericSourceV2;
use control::{Counter, LINE, Policy};
use guest::Random;
use guest::memory::LINES;

use super::access::Access;
use super::batch::{Batch, classes};
use super::class::Kind;
use super::context::{Case, Context, Verdict};
use super::judge::Seen;
use super::judge::load_syndrome;
use crate::machine::arena::{self, View};
use crate::machine::features::Feature;
use crate::machine::firmware;
use crate::machine::stub::{self, Stub};
use crate::machine::trial::{Mode, Outcome, Trial};
use crate::machine::uart::println;
use crate::machine::{cpu, doorbell};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "smp",
        name,
        needs_monitor: true,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case("one CPU meets poison while others step beside it", leaks),
    case(
        "a line is poisoned and cleared while others read it",
        poison_and_clear,
    ),
    case("random loads of the same pages by all CPUs", random_loads),
    case("all CPUs meet the same line at once", same_line),
    case(
        "no update of a shared counter is lost: exclusives",
        exclusives,
    ),
    case("no update of a shared counter is lost: atomics", atomics),
];

const ONE_CPU: Verdict = Verdict::Skip("there is one CPU");

/// Aborts that CPU 0 takes.
const HITS: u64 = 5000;

/// The line that is poisoned.
const BAD: usize = 7;

static STOP: AtomicBool = AtomicBool::new(false);
static WRONG: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);
/// Aborts without a report.
static UNCLAIMED: AtomicU64 = AtomicU64::new(0);
/// Odd while the line is known to be poisoned.
static EPOCH: AtomicU64 = AtomicU64::new(0);

fn reset() {
    STOP.store(false, Ordering::SeqCst);
    for counter in [&WRONG, &DONE, &UNCLAIMED, &EPOCH] {
        counter.store(0, Ordering::SeqCst);
    }
    for word in 0..512 {
        arena::write_u64(arena::SHARED, word * 8, value(word));
    }
}

/// What a word of the page holds.
fn value(word: usize) -> u64 {
    (word as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn bad_line() -> u64 {
    arena::physical(arena::SHARED) + BAD as u64 * LINE
}

/// Each CPU leaves what it loads in its own part of the buffer.
fn load(word: usize) -> Outcome {
    Trial::new(stub::LDR_X, Mode::El1h)
        .with(0, View::Kernel.address(arena::SHARED, word * 8))
        .with(3, View::Kernel.address(arena::BUFFER, cpu::number() * 64))
        .run()
}

fn is_abort(outcome: &Outcome, word: usize) -> bool {
    outcome.esr().bits() == load_syndrome(Mode::El1h)
        && outcome.far() == View::Kernel.address(arena::SHARED, word * 8)
}

fn start(work: cpu::Work, argument: u64) {
    for number in 1..cpu::running() {
        cpu::give(number, work, argument);
    }
}

fn stop() {
    STOP.store(true, Ordering::SeqCst);
    cpu::wait_for_others();
}

/// Reads every word but those of the poisoned line, again and again.
fn read_clean_words(_: u64) {
    let mut word = cpu::number() * 17;
    while !STOP.load(Ordering::Relaxed) {
        word = (word + 11) % 512;
        if word / 8 == BAD {
            continue;
        }
        let outcome = load(word);
        if !outcome.is_done() || outcome.x(1) != value(word) {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
        DONE.fetch_add(1, Ordering::Relaxed);
    }
}

fn leaks(context: &mut Context) -> Verdict {
    if cpu::running() < 2 {
        return ONE_CPU;
    }
    reset();
    doorbell::poison(bad_line(), Policy::NO_RECORD);
    start(read_clean_words, 0);
    let mut leaked = 0_u64;
    for number in 0..HITS as usize {
        let word = BAD * 8 + number % 8;
        if !is_abort(&load(word), word) {
            leaked += 1;
        }
    }
    stop();
    context.equal(format_args!("loads of poison that went through"), leaked, 0);
    context.equal(
        format_args!("loads beside it that went wrong"),
        WRONG.load(Ordering::SeqCst),
        0,
    );
    context.holds(
        DONE.load(Ordering::SeqCst) > 100,
        format_args!("there were loads beside it"),
    );
    Verdict::Done
}

/// Reads the line that comes and goes: an abort or the right value, and certainly an abort where the
/// line was poisoned before and after.
fn read_changing_line(_: u64) {
    let mut word = BAD * 8;
    while !STOP.load(Ordering::Relaxed) {
        word = BAD * 8 + (word + 3) % 8;
        let before = EPOCH.load(Ordering::SeqCst);
        let outcome = load(word);
        let after = EPOCH.load(Ordering::SeqCst);
        let poisoned = before % 2 == 1 && before == after;
        let right = if outcome.is_done() {
            !poisoned && outcome.x(1) == value(word)
        } else {
            is_abort(&outcome, word)
        };
        if !right {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
        if !outcome.is_done() {
            DONE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn poison_and_clear(context: &mut Context) -> Verdict {
    if cpu::running() < 2 {
        return ONE_CPU;
    }
    reset();
    start(read_changing_line, 0);
    for round in 0..1000 {
        doorbell::poison(bad_line(), Policy::NO_RECORD);
        EPOCH.fetch_add(1, Ordering::SeqCst);
        let word = BAD * 8 + round % 8;
        context.holds(
            is_abort(&load(word), word),
            format_args!("round {round}: poison is met at once"),
        );
        // Ends the epoch before the line may be good.
        EPOCH.fetch_add(1, Ordering::SeqCst);
        doorbell::clear(bad_line());
        let outcome = load(word);
        context.equal(
            format_args!("round {round}: data after clearing"),
            (outcome.is_done(), outcome.x(1)),
            (true, value(word)),
        );
    }
    stop();
    context.equal(
        format_args!("wrong loads of others"),
        WRONG.load(Ordering::SeqCst),
        0,
    );
    context.holds(
        DONE.load(Ordering::SeqCst) > 0,
        format_args!("others met the poison"),
    );
    Verdict::Done
}

/// Random loads that each CPU makes.
const LOADS: u64 = 2000;

/// Makes random loads of the model's pages. The argument is the address of the batch.
fn load_at_random(batch: u64) {
    // SAFETY: `random_loads` keeps the batch, and changes nothing, until all CPUs are done.
    let batch = unsafe { &*(batch as *const Batch) };
    let mut memory = batch.memory.clone();
    let mut random = Random::new(memory.bytes()[0].into());
    for _ in 0..cpu::number() {
        random = Random::new(random.next());
    }
    let loads = || classes().filter(|class| matches!(class.kind, Kind::Load | Kind::FirstFault));
    let count = loads().count();
    for _ in 0..LOADS {
        let Some(class) = loads().nth(random.below(count)) else {
            continue;
        };
        let access = Access::random(class, &memory, &mut random);
        match access.make(&mut memory) {
            Ok(Seen::Done) => {}
            Ok(Seen::Abort(_)) => {
                UNCLAIMED.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => {
                println!("# CPU {}: {access}: {failure}", cpu::number());
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
        }
        DONE.fetch_add(1, Ordering::Relaxed);
    }
}

fn random_loads(context: &mut Context) -> Verdict {
    if cpu::running() < 2 {
        return ONE_CPU;
    }
    reset();
    let mut batch = Batch::new(&mut context.random, Policy::NO_RECORD);
    for _ in 0..10 {
        batch.poison(context.random.below(LINES));
    }
    let address = &raw const batch as u64;
    start(load_at_random, address);
    load_at_random(address);
    cpu::wait_for_others();
    batch.end(context);
    context.equal(format_args!("wrong loads"), WRONG.load(Ordering::SeqCst), 0);
    context.equal(
        format_args!("loads"),
        DONE.load(Ordering::SeqCst),
        cpu::running() as u64 * LOADS,
    );
    context.holds(
        UNCLAIMED.load(Ordering::SeqCst) > 0,
        format_args!("some met poison"),
    );
    Verdict::Done
}

/// How often each CPU meets the line.
const TIMES: u64 = 200;

/// Meets the line and claims the report, as a kernel does. The argument is the address of the source.
fn meet_and_claim(source: u64) {
    // SAFETY: `same_line` keeps the source until all CPUs are done.
    let source = unsafe { &*(source as *const GenericSourceV2) };
    for number in 0..TIMES as usize {
        let word = BAD * 8 + number % 8;
        if !is_abort(&load(word), word) {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
        match firmware::claim(source) {
            Ok(Some(report)) if report.line() == Some(bad_line()) => {}
            Ok(None) => {
                UNCLAIMED.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                WRONG.fetch_add(1, Ordering::Relaxed);
            }
        }
        DONE.fetch_add(1, Ordering::Relaxed);
    }
}

fn same_line(context: &mut Context) -> Verdict {
    if cpu::running() < 2 {
        return ONE_CPU;
    }
    let Some(firmware) = context.firmware else {
        return Verdict::Skip("there are no tables");
    };
    let source = &raw const firmware.aborts as u64;
    reset();
    let unreported = doorbell::count(Counter::Unreported);
    doorbell::poison(bad_line(), Policy::empty());
    start(meet_and_claim, source);
    meet_and_claim(source);
    cpu::wait_for_others();
    let total = cpu::running() as u64 * TIMES;
    context.equal(format_args!("aborts"), DONE.load(Ordering::SeqCst), total);
    context.equal(
        format_args!("wrong aborts or reports"),
        WRONG.load(Ordering::SeqCst),
        0,
    );
    // A CPU whose turn does not come in time is told without a report; nothing else may go without.
    let unreported = doorbell::count(Counter::Unreported) - unreported;
    let unclaimed = UNCLAIMED.load(Ordering::SeqCst);
    context.holds(
        unclaimed <= unreported,
        format_args!("{unclaimed} aborts without a report, {unreported} counted"),
    );
    context.holds(
        unclaimed < total / 4,
        format_args!("{unclaimed} of {total} aborts without a report"),
    );
    Verdict::Done
}

const ADDITIONS: u64 = 1000;

fn add_exclusively(_: u64) {
    add(stub::EXCLUSIVE_ADD);
}

fn add_atomically(_: u64) {
    add(stub::LDADD_X);
}

fn add(stub: Stub) {
    let trial = Trial::new(stub, Mode::El1h)
        .with(0, View::Kernel.address(arena::SHARED, 0))
        .with(1, 1)
        .with(3, View::Kernel.address(arena::BUFFER, cpu::number() * 64));
    for _ in 0..ADDITIONS {
        let outcome = trial.run();
        // x6: the exclusive store failed until the stub gave up.
        if !outcome.is_done() || outcome.x(6) != 0 {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn counter(context: &mut Context, work: cpu::Work) -> Verdict {
    if cpu::running() < 2 {
        return ONE_CPU;
    }
    reset();
    arena::write_u64(arena::SHARED, 0, 0);
    doorbell::poison(bad_line(), Policy::NO_RECORD);
    start(work, 0);
    work(0);
    cpu::wait_for_others();
    doorbell::clear_all();
    context.equal(
        format_args!("additions without progress"),
        WRONG.load(Ordering::SeqCst),
        0,
    );
    context.equal(
        format_args!("the counter"),
        arena::read_u64(arena::SHARED, 0),
        cpu::running() as u64 * ADDITIONS,
    );
    Verdict::Done
}

fn exclusives(context: &mut Context) -> Verdict {
    counter(context, add_exclusively)
}

fn atomics(context: &mut Context) -> Verdict {
    if !Feature::Atomics.is_present() {
        return Verdict::Skip("this CPU has no FEAT_LSE");
    }
    counter(context, add_atomically)
}
