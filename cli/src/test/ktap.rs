//! Reads the kernel test anything protocol (KTAP), line by line, while it comes. See Linux,
//! Documentation/dev-tools/ktap.rst. Documents may follow each other; they are not nested.

use crate::test::outcome::{Outcome, Skip};

/// What has failed if there were no tests.
pub(crate) const NO_TESTS: &str = "ran no tests";

/// Collects the results of all documents.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    outcome: Outcome,
    document: Option<Document>,
    documents: usize,
}

/// A document whose end has not come.
#[derive(Debug, Default)]
struct Document {
    planned: Option<usize>,
    seen: usize,
}

impl Parser {
    /// Takes the next line of output. One that is not of the protocol is ignored.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if line.starts_with("KTAP version ") || line.starts_with("TAP version ") {
            self.end_document();
            self.documents += 1;
            self.document = Some(Document::default());
        } else if let Some(document) = &mut self.document {
            if let Some(planned) = line.strip_prefix("1..") {
                document.planned = planned.trim().parse().ok();
            } else if let Some(reason) = line.strip_prefix("Bail out!") {
                let reason = format!("the tests were given up:{reason}");
                self.outcome.failed.push(reason);
            } else if let Some(result) = line.strip_prefix("ok ") {
                document.seen += 1;
                self.passed(result);
            } else if let Some(result) = line.strip_prefix("not ok ") {
                document.seen += 1;
                let (name, comment) = parts(result);
                self.outcome.failed.push(match comment {
                    "" => name.to_owned(),
                    comment => format!("{name} ({comment})"),
                });
            }
        }
    }

    /// Ends the output.
    pub(crate) fn finish(mut self) -> Outcome {
        self.end_document();
        if self.documents == 0 {
            self.outcome.failed.push(NO_TESTS.to_owned());
        }
        self.outcome
    }

    fn passed(&mut self, result: &str) {
        let (name, comment) = parts(result);
        let is_skip = |word: &str| word.eq_ignore_ascii_case("skip");
        let (directive, reason) = comment.split_once(' ').unwrap_or((comment, ""));
        if !is_skip(directive) {
            self.outcome.passed += 1;
        } else if !self.outcome.skipped.iter().any(|skip| skip.name == name) {
            // Once, though each document may say so.
            self.outcome.skipped.push(Skip::new(name, reason));
        }
    }

    /// What was planned and did not come has failed, and so has a document without a plan.
    fn end_document(&mut self) {
        let Some(Document { planned, seen }) = self.document.take() else {
            return;
        };
        let failure = match planned {
            None => format!("ended after {seen} tests without having said how many there are"),
            Some(0) => NO_TESTS.to_owned(),
            Some(planned) if seen < planned => format!("ended after {seen} of {planned} tests"),
            Some(_) => return,
        };
        self.outcome.failed.push(failure);
    }
}

/// The name and the comment of `3 - NAME # COMMENT`.
fn parts(result: &str) -> (&str, &str) {
    let (result, comment) = result.split_once(" # ").unwrap_or((result, ""));
    let result = result.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let result = result.trim_start();
    (
        result.strip_prefix("- ").unwrap_or(result).trim_end(),
        comment.trim(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome {
        let mut parser = Parser::default();
        text.lines().for_each(|line| parser.line(line));
        parser.finish()
    }

    #[test]
    fn results_are_counted_and_reasons_kept() {
        let outcome = parse(
            "   Compiling x\nok 7 before the first document\nKTAP version 1\n1..3\r\n# a note\n\
             ok 1 holes: load # 12 checks, seed=1\nok 2 - mops # SKIP no FEAT_MOPS\n\
             not ok 3 random: all # 2 of 9 checks failed, seed=7\n\
             KTAP version 1\n1..2\nok 1 counters\nok 2 mops # skip no FEAT_MOPS\n",
        );
        assert_eq!(outcome.passed, 2);
        assert_eq!(
            outcome.failed,
            ["random: all (2 of 9 checks failed, seed=7)"]
        );
        assert_eq!(outcome.skipped, [Skip::new("mops", "no FEAT_MOPS")]);
    }

    #[test]
    fn what_did_not_come_has_failed() {
        assert_eq!(parse("").failed, ["ran no tests"]);
        assert_eq!(parse("ok 1 a\n").failed, ["ran no tests"]);
        let outcome = parse("KTAP version 1\n1..2\nok 1 a\nKTAP version 1\n1..1\nok 1 b\n");
        assert_eq!((outcome.passed, outcome.failed.len()), (2, 1));
        assert_eq!(outcome.failed[0], "ended after 1 of 2 tests");
        assert_eq!(parse("KTAP version 1\n1..0\n").failed, ["ran no tests"]);
        let outcome = parse("KTAP version 1\nok 1 a\n");
        assert!(outcome.failed[0].contains("how many"), "{outcome:?}");
        let outcome = parse("KTAP version 1\n1..1\nBail out! no RAM\n");
        assert_eq!(outcome.failed.len(), 2);
    }
}
