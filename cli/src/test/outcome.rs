//! What passed, failed and was skipped.

use std::fmt;

/// A count of passed tests, and the names of all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) skipped: Vec<Skip>,
}

/// A test that did not run, or found out that it cannot run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl Outcome {
    /// One check that passed.
    pub(crate) fn pass() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    /// One check that failed for this reason.
    pub(crate) fn fail(reason: impl Into<String>) -> Self {
        Self {
            failed: vec![reason.into()],
            ..Self::default()
        }
    }

    /// One check that was skipped.
    pub(crate) fn skip(skip: Skip) -> Self {
        Self {
            skipped: vec![skip],
            ..Self::default()
        }
    }

    /// Adds the outcome of a part, whose name is put before the names of its tests.
    pub(crate) fn add(&mut self, part: &str, outcome: Self) {
        self.passed += outcome.passed;
        self.failed.extend(
            outcome
                .failed
                .iter()
                .map(|failure| format!("{part}: {failure}")),
        );
        self.skipped
            .extend(outcome.skipped.into_iter().map(|Skip { name, reason }| {
                let name = if name.is_empty() {
                    part.to_owned()
                } else {
                    format!("{part}: {name}")
                };
                Skip { name, reason }
            }));
    }

    /// The closing line: continuous integration recognises it, so its form is fixed.
    pub(crate) fn counts(&self) -> String {
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        format!("{} passed, {failed} failed, {skipped} skipped", self.passed)
    }
}

impl Skip {
    pub(crate) fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named() {
        let mut outcome = Outcome::default();
        outcome.add("a", Outcome::fail("x"));
        outcome.add("b", Outcome::skip(Skip::new("", "no server")));
        outcome.add("c", Outcome::skip(Skip::new("y", "no MOPS")));
        outcome.add("d", Outcome::pass());
        assert_eq!(outcome.failed, ["a: x"]);
        let skipped: Vec<_> = outcome.skipped.iter().map(Skip::to_string).collect();
        assert_eq!(skipped, ["b: no server", "c: y: no MOPS"]);
        assert_eq!(outcome.counts(), "1 passed, 1 failed, 2 skipped");
    }
}
