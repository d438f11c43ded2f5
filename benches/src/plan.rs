//! What is raced, at which sizes, and what it must reach.

use std::time::Duration;

use copy::{Features, PAGE_SIZE, Routines};

use crate::race::Effort;
use crate::report::Target;
use crate::rivals::LIBC_MEMCPY;
use crate::routines::{ROUTINES, Routine};

const ALL_SIZES: [usize; 15] = [
    16,
    32,
    64,
    128,
    256,
    512,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
    64 << 20,
];
const SOME_SIZES: [usize; 5] = [16, 256, 4 << 10, 64 << 10, 1 << 20];

/// What the user asked for.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) quick: bool,
    pub(crate) sizes: Vec<usize>,
    pub(crate) routine: Option<String>,
    pub(crate) variant: Option<String>,
}

impl Wish {
    /// Whether only some races are wanted.
    pub(crate) fn is_particular(&self) -> bool {
        self.routine.is_some() || self.variant.is_some() || !self.sizes.is_empty()
    }
}

/// One routine of one variant, at some sizes.
pub(crate) struct Event {
    pub(crate) routine: &'static Routine,
    pub(crate) variant: &'static Routines,
    pub(crate) sizes: Vec<usize>,
    pub(crate) effort: Effort,
}

/// The variants this CPU can run, the best first.
pub(crate) fn variants() -> impl Iterator<Item = &'static Routines> {
    let features = Features::detect();
    Routines::all()
        .iter()
        .rev()
        .filter(move |variant| features.contains(variant.requires()))
}

/// The variant that this CPU is served best with.
pub(crate) fn best_variant() -> &'static Routines {
    Routines::select(Features::detect())
}

/// All events: the best variant's routines, `memcpy_mc` first and at every size, then the
/// `memcpy_mc` of the other variants. Whatever is asked for by name is raced at every size.
pub(crate) fn events(wish: &Wish) -> Vec<Event> {
    let named = wish.routine.is_some() || wish.variant.is_some();
    let is_best = |variant: &Routines| variant.name() == best_variant().name();
    variants()
        .filter(|variant| match &wish.variant {
            Some(name) => variant.name() == name,
            None => true,
        })
        .flat_map(|variant| ROUTINES.iter().map(move |routine| (routine, variant)))
        .filter(|(routine, variant)| match &wish.routine {
            Some(name) => routine.name == name && (wish.variant.is_some() || is_best(variant)),
            None => routine.name == "memcpy_mc" || is_best(variant),
        })
        .map(|(routine, variant)| {
            let thorough = named || (routine.name == "memcpy_mc" && is_best(variant));
            let sizes: &[usize] = match routine.only {
                Some(_) => &[PAGE_SIZE],
                None if !wish.sizes.is_empty() => &wish.sizes,
                None if thorough && !wish.quick => &ALL_SIZES,
                None => &SOME_SIZES,
            };
            Event {
                routine,
                variant,
                sizes: sizes.to_vec(),
                effort: effort(thorough, wish.quick),
            }
        })
        .collect()
}

fn effort(thorough: bool, quick: bool) -> Effort {
    let (milliseconds, least_rounds) = match (thorough, quick) {
        (true, false) => (800, 15),
        (false, false) => (200, 15),
        (true, true) => (100, 9),
        (false, true) => (30, 9),
    };
    Effort {
        time: Duration::from_millis(milliseconds),
        least_rounds,
    }
}

/// What the best variant must reach beside `rival`, on x86-64.
pub(crate) fn target(event: &Event, rival: &str, bytes: usize) -> Option<Target> {
    let concerned = cfg!(target_arch = "x86_64")
        && ["memcpy_mc", "copy_mc_page"].contains(&event.routine.name)
        && rival == LIBC_MEMCPY
        && event.variant.name() == best_variant().name();
    let limit = match bytes {
        4096..=0x4_0000 => 1.02,
        _ => 1.05,
    };
    (concerned && bytes >= 16).then_some(Target::AtMost(limit))
}
