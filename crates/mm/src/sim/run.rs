//! Running scripts, and making failing ones short.

use core::any::Any;
use core::fmt;
use std::format;
use std::panic::{self, AssertUnwindSafe};
use std::string::String;

use super::{Counts, Random, Script, Step, World};

/// A run that broke its promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The step at which it showed.
    pub step: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "step {}: {}", self.step, self.what)
    }
}

fn replay(script: &[Step]) -> Result<Counts, Failure> {
    replay_in(World::new(), script)
}

/// Runs a script whose allocation number `refuse` is refused, and returns whether it has so many.
///
/// # Errors
///
/// The first broken promise.
pub fn run_refusing(script: &Script, refuse: u32) -> Result<bool, Failure> {
    let world = World::new();
    world.refuse_allocation(refuse);
    replay_in(world, &script.0).map(|counts| counts.refused > 0)
}

/// The steps that `seed` stands for.
pub fn script(seed: u64, steps: usize) -> Script {
    let mut random = Random(seed);
    Script((0..steps).map(|_| Step::random(&mut random)).collect())
}

/// A panic is a broken promise like any other.
fn replay_in(mut world: World, script: &[Step]) -> Result<Counts, Failure> {
    let mut step = 0;
    let run = || {
        for next in script {
            world.step(*next)?;
            step += 1;
        }
        world.finish()
    };
    let what = match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(counts)) => return Ok(counts),
        Ok(Err(what)) => what,
        Err(payload) => words(&*payload),
    };
    Err(Failure { step, what })
}

/// What a panic said.
pub(super) fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without words"))
}

/// Runs a script.
///
/// # Errors
///
/// The first broken promise.
pub fn run_script(script: &Script) -> Result<Counts, Failure> {
    replay(&script.0)
}

/// Runs `steps` random steps from `seed`.
///
/// # Errors
///
/// A script that breaks a promise, and how; see [`shrink`].
pub fn run(seed: u64, steps: usize) -> Result<Counts, (Script, Failure)> {
    let script = script(seed, steps);
    replay(&script.0).map_err(|failure| (script, failure))
}

/// The shortest failing script that removing steps leads to.
pub fn shrink(script: &Script) -> Script {
    let mut steps = script.0.clone();
    if let Err(failure) = replay(&steps) {
        steps.truncate(failure.step + 1);
    }
    let mut size = steps.len().next_power_of_two();
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut shorter = steps.clone();
            shorter.drain(at..(at + size).min(steps.len()));
            if replay(&shorter).is_err() {
                steps = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    Script(steps)
}
