//! The randomised access check: random accesses to random poisoned lines, compared with the model.
//!
//! Without a monitor nothing is poisoned, and the check is one of the model itself.

use control::Policy;
use guest::Random;
use guest::memory::LINES;

use super::access::Access;
use super::batch::{Batch, classes};
use super::class::Kind;
use super::context::{Case, Context, Verdict};
use super::judge::Seen;
use crate::machine::doorbell;
use crate::machine::uart::println;

/// The cases.
pub(crate) const CASES: &[Case] = &[Case {
    group: "random",
    name: "random accesses to random poisoned lines",
    needs_monitor: false,
    run,
}];

/// Accesses to the same set of poisoned lines.
const BATCH: u64 = 64;

/// Lines that a page can have and every gather still be told apart: watchpoints of a CPU with the
/// fewest, less one for a second page.
const TELLABLE: usize = 2;

fn run(context: &mut Context) -> Verdict {
    let mut left = context.count;
    let mut number = 0;
    let (mut hits, mut misses) = (0_u64, 0_u64);
    while left > 0 {
        let accesses = left.min(BATCH);
        left -= accesses;
        let (hit, missed) = batch(context, number, accesses);
        hits += hit;
        misses += missed;
        number += 1;
        if context.verbose && number.is_multiple_of(256) {
            println!("# {left} accesses to go, {hits} hits");
        }
    }
    println!("# {hits} aborts, {misses} accesses without one");
    if doorbell::is_present() {
        context.holds(hits > 0, format_args!("some accesses met poison"));
    }
    Verdict::Done
}

/// One set of poisoned lines, which follows from the seed and the batch's number alone.
fn batch(context: &mut Context, number: u64, accesses: u64) -> (u64, u64) {
    let mut random = Random::new(context.seed.wrapping_mul(0x1_0001).wrapping_add(number));
    let policy = match random.below(4) {
        0 => Policy::NO_RECORD,
        _ => Policy::empty(),
    };
    let mut batch = Batch::new(&mut random, policy);
    let most = [2, 6, 12, 40][random.below(4)];
    if doorbell::is_present() {
        for _ in 0..1 + random.below(most) {
            batch.poison(random.below(LINES));
        }
    }
    let classes =
        || classes().filter(|class| most <= TELLABLE || !matches!(class.kind, Kind::Gather));
    let count = classes().count();
    let (mut hits, mut misses) = (0, 0);
    for iteration in 0..accesses {
        let Some(class) = classes().nth(random.below(count)) else {
            continue;
        };
        let access = Access::random(class, &batch.memory, &mut random);
        let mistakes = context.verbose.then(super::mistakes);
        let seen = batch.access(context, &access);
        if let Some(mistakes) = mistakes
            && mistakes != super::mistakes()
        {
            println!("# the monitor counted a leak or a false abort at batch {number}: {access}");
        }
        match seen {
            Some(Seen::Done) => misses += 1,
            Some(Seen::Abort(_)) => hits += 1,
            None => {
                println!(
                    "# replay with seed={}: batch {number}, access {iteration}",
                    context.seed
                );
                // What memory holds is no longer known.
                if doorbell::is_present() {
                    doorbell::clear_all();
                }
                return (hits, misses);
            }
        }
    }
    batch.end(context);
    (hits, misses)
}
