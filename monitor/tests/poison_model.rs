//! The set of poisoned lines under a model checker: every order in which its steps can happen, and
//! every value that the memory model lets a load return.

use control::{LINE, Policy};
use loom::sync::Arc;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use poison::PoisonSet;

#[path = "../src/poison.rs"]
pub mod poison;

/// Loom's atomics, made when they are first used: Loom's own cannot be made by a constant function,
/// and a set has more of them than a model needs.
mod atomic {
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;

    pub(crate) use loom::sync::atomic::fence;

    macro_rules! lazy {
        ($name:ident, $value:ty) => {
            pub(crate) struct $name($value, OnceLock<loom::sync::atomic::$name>);

            #[expect(dead_code, reason = "each width needs some of them")]
            impl $name {
                pub(crate) const fn new(value: $value) -> Self {
                    Self(value, OnceLock::new())
                }

                fn get(&self) -> &loom::sync::atomic::$name {
                    self.1
                        .get_or_init(|| loom::sync::atomic::$name::new(self.0))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    self.get().load(order)
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    self.get().store(value, order);
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    self.get().swap(value, order)
                }

                pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                    self.get().fetch_or(value, order)
                }

                pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    self.get().fetch_add(value, order)
                }

                pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                    self.get().fetch_sub(value, order)
                }

                pub(crate) fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.get().compare_exchange(old, new, success, failure)
                }

                pub(crate) fn fetch_update(
                    &self,
                    success: Ordering,
                    failure: Ordering,
                    change: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    self.get().fetch_update(success, failure, change)
                }
            }
        };
    }

    lazy!(AtomicU32, u32);
    lazy!(AtomicU64, u64);
}

const P: u64 = 0x1000;
const Q: u64 = 0x2000;
const LOW: u64 = 0xffff_ffff;
const HIGH: u64 = LOW << 32;

/// All executions of `test` in which no thread is interrupted more than three times.
fn model(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

/// A set without lines, whose atomics exist: Loom wants them made before they are shared.
fn set<const PAGES: usize>() -> Arc<PoisonSet<PAGES>> {
    let set = PoisonSet::new();
    for line in [P, P + LINE, Q, Q + LINE].iter().take(2 * PAGES) {
        insert(&set, *line);
    }
    for line in [P, P + LINE, Q, Q + LINE] {
        set.remove(line);
    }
    Arc::new(set)
}

fn insert<const PAGES: usize>(set: &PoisonSet<PAGES>, line: u64) -> bool {
    set.insert(line, Policy::empty()).expect("room")
}

/// The only slot is passed from P to Q. What is asked or done about P never meets Q's line.
#[test]
fn a_slot_is_not_passed_on_under_its_user() {
    type Use = fn(&PoisonSet<1>);
    let uses: [Use; 4] = [
        |set| assert_eq!(set.lines(P) & !1, 0),
        |set| assert_eq!(set.policy(P + LINE), None),
        |set| assert!(!set.remove(P + LINE)),
        |set| assert!(!set.written(P + LINE, u64::MAX)),
    ];
    for each in uses {
        model(move || {
            let set = set::<1>();
            insert(&set, P);
            let other = set.clone();
            let user = thread::spawn(move || each(&other));
            assert!(set.remove(P));
            // While the user has its lease, there is no room.
            let passed = set.insert(Q + LINE, Policy::empty()).is_ok();
            user.join().unwrap();
            assert_eq!(set.lines(Q), u64::from(passed) << 1);
            assert_eq!(set.lines(P), 0);
        });
    }
}

/// Passing a slot on hides no line of a page whose slot lies behind it.
#[test]
fn a_line_is_found_while_others_come_and_go() {
    model(|| {
        let set = set::<2>();
        insert(&set, P);
        insert(&set, Q);
        let other = set.clone();
        let reader = thread::spawn(move || assert_eq!(other.lines(Q), 1));
        assert!(set.remove(P));
        let _ = set.insert(P + 2 * (Q - P), Policy::empty());
        reader.join().unwrap();
        assert_eq!(set.next(0).map(|line| set.lines(line)), Some(1));
    });
}

#[test]
fn one_caller_makes_a_line_good() {
    model(|| {
        let set = set::<1>();
        insert(&set, P);
        let (first, second) = (set.clone(), set.clone());
        let first = thread::spawn(move || first.written(P, LOW));
        let second = thread::spawn(move || second.written(P, HIGH));
        let good = [set.remove(P), first.join().unwrap(), second.join().unwrap()];
        assert_eq!(good.iter().filter(|good| **good).count(), 1, "{good:?}");
        assert_eq!(set.lines(P), 0);
    });
}

/// Half the line is overwritten, the line is poisoned again, the other half is overwritten: it stays
/// bad, whether the second half came before or after.
#[test]
fn a_line_that_is_poisoned_again_stays_so() {
    model(|| {
        let set = set::<1>();
        insert(&set, P);
        assert!(!set.written(P, LOW));
        let other = set.clone();
        let writer = thread::spawn(move || other.written(P, HIGH));
        let new = insert(&set, P);
        let good = writer.join().unwrap();
        assert_eq!(new, good);
        assert_eq!(set.lines(P), 1);
        assert!(set.written(P, LOW | HIGH));
    });
}

/// A line of which every byte is overwritten while it is poisoned again is good in the end if the
/// overwrite says so, and bad if not.
#[test]
fn an_overwrite_while_a_line_is_poisoned_again_is_before_or_after() {
    model(|| {
        let set = set::<1>();
        insert(&set, P);
        let other = set.clone();
        let writer = thread::spawn(move || other.written(P, LOW | HIGH));
        let new = insert(&set, P);
        assert!(writer.join().unwrap());
        assert_eq!(
            set.lines(P),
            u64::from(new),
            "before if the line was new, else after"
        );
        if new {
            assert!(
                !set.written(P, LOW),
                "what was written before does not count"
            );
        }
    });
}

/// The tables of stage 2, as the injector and the CPU that steps write them: never may both the
/// page be mapped in the end and the step not know of the line.
#[test]
fn a_step_knows_of_every_line_of_a_mapped_page() {
    model(|| {
        let set = set::<1>();
        let mapped = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let (step, leaf) = (set.clone(), mapped.clone());
        let step = thread::spawn(move || {
            leaf.store(true, Relaxed);
            step.lines(P)
        });
        insert(&set, P);
        mapped.store(false, Relaxed);
        let seen = step.join().unwrap();
        assert!(seen == 1 || !mapped.load(Relaxed));
    });
}
