//! Watchpoint plans, against accesses that are simulated byte by byte: a poisoned byte that is loaded
//! is never missed, and a contiguous access is never in doubt.

use control::{LINE, PAGE};
use monitor::watch::{MAX_TOUCHED, Plan, PoisonedPage, Reach, Verdict, Watchpoint, plan};
use proptest::prelude::*;

/// The addresses of the bytes that an instruction loads, in the order in which it loads them: each
/// inner range at once.
type Loads = Vec<core::ops::Range<u64>>;

/// How a simulated instruction ends.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Nothing was hit.
    Through,
    /// A poisoned byte was hit, here.
    Hit(u64),
    /// Nobody can say.
    Ambiguous,
}

fn one(start: u64, length: u64) -> Loads {
    std::iter::once(start..start + length).collect()
}

const BASE: u64 = 0x7f12_3456_0000;

fn is_poisoned(pages: &[PoisonedPage], address: u64) -> bool {
    (pages.iter()).any(|page| {
        address & !(PAGE - 1) == page.address && page.lines >> (address % PAGE / LINE) & 1 != 0
    })
}

/// Where FAR points when `loads` run into one of `watchpoints`; backward, each load's last byte is
/// its first.
fn first_hit(watchpoints: &[Watchpoint], loads: &Loads, backward: bool) -> Option<u64> {
    loads.iter().find_map(|load| {
        let hits = watchpoints.iter().filter_map(|watchpoint| {
            let start = load.start.max(watchpoint.address);
            let last = (load.end - 1).min(watchpoint.last());
            (start <= last).then_some(if backward { last } else { start })
        });
        if backward { hits.max() } else { hits.min() }
    })
}

/// Runs `loads` under plan after plan until one decides.
fn run(first: Option<Plan>, loads: &Loads, backward: bool) -> (Outcome, usize) {
    let Some(mut plan) = first else {
        return (Outcome::Ambiguous, 0);
    };
    for tries in 1.. {
        let Some(far) = first_hit(plan.watchpoints(), loads, backward) else {
            return (Outcome::Through, tries);
        };
        match plan.after_hit(far) {
            Verdict::Poisoned => return (Outcome::Hit(far), tries),
            Verdict::Clean => {
                assert!(!plan.exact(), "an exact plan hit a clean line at {far:#x}");
                match plan.refine(far) {
                    Some(refined) => plan = refined,
                    None => return (Outcome::Ambiguous, tries),
                }
            }
        }
    }
    unreachable!()
}

/// The first byte of `loads` that is poisoned.
fn truth(pages: &[PoisonedPage], loads: &Loads, backward: bool) -> Outcome {
    let poisoned = |address: &u64| is_poisoned(pages, *address);
    let first = loads.iter().find_map(|load| {
        let mut bytes = load.clone();
        if backward {
            bytes.rev().find(poisoned)
        } else {
            bytes.find(poisoned)
        }
    });
    first.map_or(Outcome::Through, Outcome::Hit)
}

/// What every plan must be.
fn check(plan: &Plan, slots: usize) {
    let watchpoints = plan.watchpoints();
    assert!(watchpoints.len() <= slots);
    for (index, watchpoint) in watchpoints.iter().enumerate() {
        assert!((6..=31).contains(&watchpoint.size), "{watchpoint:?}");
        assert_eq!(
            watchpoint.address % (1 << watchpoint.size),
            0,
            "{watchpoint:?}"
        );
        for other in &watchpoints[..index] {
            assert!(other.last() < watchpoint.address || watchpoint.last() < other.address);
        }
    }
}

fn is_watched(plan: &Plan, line: u64) -> bool {
    (plan.watchpoints().iter()).any(|range| (range.address..=range.last()).contains(&line))
}

/// Few lines, many lines, or runs of them.
fn lines() -> impl Strategy<Value = u64> {
    prop_oneof![
        prop::collection::vec(0u32..64, 1..8)
            .prop_map(|lines| lines.iter().fold(0, |all, line| all | 1 << line)),
        1..=u64::MAX,
        (0u32..64, 0u32..64).prop_map(|(first, length)| (u64::MAX >> length) << first),
        Just(0x5555_5555_5555_5555),
    ]
}

/// Two adjacent pages, one of which may be clean.
fn adjacent() -> impl Strategy<Value = Vec<PoisonedPage>> {
    (lines(), lines(), 0..3).prop_map(|(low, high, which)| {
        let mut pages = Vec::new();
        let page = |address, lines| PoisonedPage { address, lines };
        if which != 1 {
            pages.push(page(BASE, low));
        }
        if which != 2 {
            pages.push(page(BASE + PAGE, high));
        }
        pages
    })
}

/// What FAR holds at the first stage 2 abort: the first byte in a poisoned page.
fn aborts_at(pages: &[PoisonedPage], loads: &Loads, backward: bool) -> Option<u64> {
    let known = |address: &u64| {
        pages
            .iter()
            .any(|page| page.address == address & !(PAGE - 1))
    };
    loads.iter().find_map(|load| {
        let mut bytes = load.clone();
        if backward {
            bytes.rev().find(known)
        } else {
            bytes.find(known)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn contiguous_accesses_are_always_told_exactly(
        pages in adjacent(),
        start in 0..2 * PAGE,
        length in prop_oneof![1..=64u64, 1..=PAGE],
        slots in 2usize..=16,
        backward: bool,
    ) {
        let loads = one(BASE + start, length);
        let Some(around) = aborts_at(&pages, &loads, backward) else { return Ok(()) };
        let plan = plan(&pages, around, Reach::Contiguous, slots).expect("two are enough");
        check(&plan, slots);
        prop_assert!(plan.exact());
        let (outcome, tries) = run(Some(plan), &loads, backward);
        prop_assert_eq!((outcome, tries), (truth(&pages, &loads, backward), 1));
    }

    /// A copy runs either way, and aborts at its destination as well as at its source.
    #[test]
    fn copies_are_always_told_exactly(
        pages in adjacent(),
        start in 0..2 * PAGE,
        length in 1..=PAGE,
        around in 0..2 * PAGE,
        backward: bool,
    ) {
        let loads = one(BASE + start, length);
        let reach = Reach::Copy { start: BASE + start, length };
        let plan = plan(&pages, BASE + around, reach, 2).expect("two are enough");
        check(&plan, 2);
        prop_assert!(plan.exact());
        let (outcome, tries) = run(Some(plan), &loads, backward);
        prop_assert_eq!((outcome, tries), (truth(&pages, &loads, backward), 1));
    }

    /// Contiguous accesses of which nobody knows that they are.
    #[test]
    fn unknown_accesses_never_leak(
        pages in adjacent(),
        start in 0..2 * PAGE,
        length in 1..=64u64,
        slots in 0usize..=6,
        backward: bool,
    ) {
        let loads = one(BASE + start, length);
        let Some(around) = aborts_at(&pages, &loads, backward) else { return Ok(()) };
        let (outcome, tries) = run(plan(&pages, around, Reach::Anywhere, slots), &loads, backward);
        prop_assert!(tries <= MAX_TOUCHED);
        if outcome != Outcome::Ambiguous {
            prop_assert_eq!(outcome, truth(&pages, &loads, backward));
        }
    }

    /// A vector of up to 256 bytes some of whose elements are left out. At most five lines, of which
    /// no more than three lie apart, so four watchpoints are enough.
    #[test]
    fn predicated_vectors_are_always_told_exactly(
        pages in adjacent(),
        start in 0..2 * PAGE - 256,
        active in prop::collection::vec(any::<bool>(), 32),
    ) {
        let loads: Loads = (active.iter().zip(0..))
            .filter(|(active, _)| **active)
            .map(|(_, element)| BASE + start + 8 * element..BASE + start + 8 * element + 8)
            .collect();
        let Some(around) = aborts_at(&pages, &loads, false) else { return Ok(()) };
        let plan = plan(&pages, around, Reach::Within(256), 4);
        let (outcome, tries) = run(plan, &loads, false);
        prop_assert_eq!((outcome, tries), (truth(&pages, &loads, false), 1));
    }

    #[test]
    fn gathers_never_leak(
        maps in prop::collection::vec((0u64..40, lines()), 1..10),
        elements in prop::collection::vec((0u64..40, 0..PAGE, 0u32..4), 1..=64),
        few in 1usize..=64,
        slots in 1usize..=16,
    ) {
        let mut pages: Vec<PoisonedPage> = (maps.iter())
            .map(|&(page, lines)| PoisonedPage { address: BASE + page * PAGE, lines })
            .collect();
        pages.sort_by_key(|page| page.address);
        pages.dedup_by_key(|page| page.address);
        let loads: Loads = (elements.iter().take(few))
            .map(|&(page, offset, size)| {
                let start = (BASE + page * PAGE + offset) & !((1 << size) - 1);
                start..start + (1 << size)
            })
            .collect();
        let Some(around) = aborts_at(&pages, &loads, false) else { return Ok(()) };
        let first = plan(&pages, around, Reach::Anywhere, slots);
        if let Some(plan) = &first {
            check(plan, slots);
        }
        let (outcome, tries) = run(first, &loads, false);
        prop_assert!(tries <= MAX_TOUCHED);
        if outcome != Outcome::Ambiguous {
            prop_assert_eq!(outcome, truth(&pages, &loads, false));
        }
    }

    /// Whatever is left out, every poisoned line stays watched, and what was hit does not.
    #[test]
    fn no_poisoned_line_is_unwatched(
        pages in adjacent(),
        hits in prop::collection::vec(0..2 * PAGE, 0..20),
        slots in 1usize..=16,
    ) {
        let around = pages[0].address;
        let Some(mut plan) = plan(&pages, around, Reach::Anywhere, slots) else { return Ok(()) };
        let mut clean = Vec::new();
        for hit in hits {
            check(&plan, slots);
            for page in &pages {
                for line in (0..PAGE).step_by(LINE as usize).map(|offset| page.address + offset) {
                    let poisoned = is_poisoned(&pages, line);
                    prop_assert!(!poisoned || is_watched(&plan, line));
                    prop_assert!(!plan.exact() || poisoned == is_watched(&plan, line));
                }
            }
            for line in &clean {
                prop_assert!(!is_watched(&plan, *line));
            }
            let far = BASE + hit;
            let refined = plan.refine(far);
            prop_assert!(refined.is_none() || !is_poisoned(&pages, far));
            if let Some(refined) = refined {
                plan = refined;
                clean.push(far);
            }
        }
    }

    /// If exact ranges fit, they are found.
    #[test]
    fn a_plan_is_exact_when_it_can_be(map in lines(), slots in 1usize..=16) {
        // Each line that is not the second of a full pair, each pair not of a full four, and so on.
        let (mut level, mut needed) = (map, 0);
        for size in 0..7 {
            let halves = 64 >> size;
            let full = (0..halves / 2).fold(0, |full, pair| {
                full | u64::from(level >> (2 * pair) & 0b11 == 0b11) << pair
            });
            needed += level.count_ones() - 2 * full.count_ones();
            level = full;
        }
        let pages = [PoisonedPage { address: BASE, lines: map }];
        // At a poisoned line, so that no line must be left out.
        let around = BASE + u64::from(map.trailing_zeros()) * LINE;
        let plan = plan(&pages, around, Reach::Anywhere, slots).expect("one range is always enough");
        prop_assert_eq!(plan.exact(), needed as usize <= slots, "{} needed", needed);
    }

    #[test]
    fn nothing_panics(
        pages in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
        around: u64,
        (start, length) in any::<(u64, u64)>(),
        which in 0usize..5,
        slots in 0usize..20,
        hits in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        let reach = [
            Reach::Nothing,
            Reach::Contiguous,
            Reach::Copy { start, length },
            Reach::Within(length),
            Reach::Anywhere,
        ][which];
        let pages: Vec<_> = (pages.into_iter())
            .map(|(address, lines)| PoisonedPage { address, lines })
            .collect();
        let mut plan = plan(&pages, around, reach, slots);
        for hit in hits {
            let Some(known) = plan else { break };
            check(&known, slots);
            plan = known.refine(hit);
        }
    }
}

#[test]
fn nothing_is_watched_for_a_store() {
    let pages = [PoisonedPage {
        address: BASE,
        lines: u64::MAX,
    }];
    let plan = plan(&pages, BASE, Reach::Nothing, 0).expect("none needed");
    assert!(plan.exact() && plan.watchpoints().is_empty());
}

#[test]
fn adjacent_lines_share_a_watchpoint() {
    let pages = [PoisonedPage {
        address: BASE,
        lines: 0b1111_0000 | 1 << 9,
    }];
    let plan = plan(&pages, BASE + 4 * LINE, Reach::Anywhere, 4).expect("two needed");
    let mut ranges: Vec<_> = plan
        .watchpoints()
        .iter()
        .map(|w| (w.address, w.size))
        .collect();
    ranges.sort_unstable();
    assert_eq!(ranges, [(BASE + 4 * LINE, 8), (BASE + 9 * LINE, 6)]);
    assert!(plan.exact());
}

/// FAR may come without the tag; the watchpoint has it all the same.
#[test]
fn tags_stay_in_watchpoints_and_do_not_matter_in_hits() {
    let tag = 0xa5 << 56;
    let pages = [PoisonedPage {
        address: tag | BASE,
        lines: 0b10_0010,
    }];
    let plan = plan(&pages, tag | BASE, Reach::Anywhere, 1);
    assert_eq!(
        plan.map(|plan| plan.exact()),
        None,
        "the first line has been touched"
    );
    let plan = monitor::watch::plan(&pages, tag | BASE, Reach::Contiguous, 1).expect("one line");
    assert_eq!(
        plan.watchpoints(),
        [Watchpoint {
            address: tag | (BASE + LINE),
            size: 6
        }]
    );
    assert_eq!(plan.after_hit(BASE + LINE + 5), Verdict::Poisoned);
    assert_eq!(plan.after_hit(tag | (BASE + 2 * LINE)), Verdict::Clean);
}

/// Pages too far apart for the watchpoints there are.
#[test]
fn pages_that_cannot_be_watched_are_refused() {
    let pages: Vec<_> = (0..5)
        .map(|page| PoisonedPage {
            address: page << 40,
            lines: 1,
        })
        .collect();
    assert!(plan(&pages, 0, Reach::Anywhere, 4).is_none());
    assert!(plan(&pages, 0, Reach::Anywhere, 5).is_some_and(|plan| plan.exact()));
}
