//! The results of a campaign: data first, then a table.

use std::fmt;
use std::fmt::Write;

use programs::case::{Expected, Observation, Outcome, Scenario};
use serde_json::{Value, json};

use crate::campaign::guest::Run;

/// A case that has been judged.
pub(crate) struct Case {
    scenario: Scenario,
    line: u32,
    cpu: String,
    guest: String,
    recover: &'static str,
    expected: Expected,
    seen: Observation,
}

/// A judgement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Mismatch,
    /// The guest has not what the case needs.
    Skip,
}

impl Case {
    pub(crate) fn judge(run: &Run, scenario: Scenario, line: u32, seen: Observation) -> Self {
        Self {
            scenario,
            line,
            cpu: run.cpu.clone(),
            guest: run.guest.name(),
            recover: run.recover.name(),
            expected: scenario.expected(line, run.kernel),
            seen,
        }
    }

    fn verdict(&self) -> Verdict {
        if self.seen.outcome == Outcome::Skipped {
            Verdict::Skip
        } else if self.expected.is_met_by(&self.seen) {
            Verdict::Pass
        } else {
            Verdict::Mismatch
        }
    }

    /// Whether nothing is wrong. A case that was skipped proves nothing, but is counted as such.
    pub(crate) fn is_good(&self) -> bool {
        self.verdict() != Verdict::Mismatch
    }

    /// Where it belongs in a table: with recovery first, then in the order of scenarios and lines.
    pub(crate) fn place(&self) -> (bool, Scenario, u32) {
        (self.recover != "on", self.scenario, self.line)
    }

    pub(crate) fn scenario(&self) -> Scenario {
        self.scenario
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.seen.outcome
    }

    /// A line of KTAP.
    pub(crate) fn as_ktap(&self, number: usize) -> String {
        let (scenario, line, recover) = (self.scenario.name(), self.line, self.recover);
        let name = format!("{number} {scenario} line {line} recover={recover}");
        match self.verdict() {
            Verdict::Pass => format!("ok {name}"),
            Verdict::Mismatch => format!("not ok {name}"),
            Verdict::Skip => {
                let why = self.seen.detail.as_deref().unwrap_or("no reason given");
                format!("ok {name} # SKIP {why}")
            }
        }
    }

    /// One object with everything.
    pub(crate) fn as_json(&self) -> Value {
        let seen = &self.seen;
        json!({
            "scenario": self.scenario,
            "line": self.line,
            "cpu": self.cpu,
            "guest": self.guest,
            "recover": self.recover,
            "expected": self.expected.to_string(),
            "outcome": seen.outcome,
            "signal": seen.signal,
            "si_code": seen.si_code,
            "si_addr_ok": seen.si_addr_ok,
            "si_addr_lsb": seen.si_addr_lsb,
            "errno": seen.errno,
            "bytes": seen.bytes,
            "isolated": seen.isolated,
            "corrupted": seen.corrupted,
            "panicked": seen.outcome == Outcome::Panic,
            "verdict": match self.verdict() {
                Verdict::Pass => "pass",
                Verdict::Mismatch => "mismatch",
                Verdict::Skip => "skip",
            },
            "micros": seen.micros,
            "detail": seen.detail,
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict() {
            Verdict::Pass => "pass",
            Verdict::Mismatch => "MISMATCH",
            Verdict::Skip => "skipped",
        };
        write!(
            formatter,
            "{verdict}: {} line {}: expected {}, seen {}",
            self.scenario.name(),
            self.line,
            self.expected,
            self.seen
        )
    }
}

/// Cases of one scenario, counted.
#[derive(Default)]
struct Row {
    cases: usize,
    survived: usize,
    panics: usize,
    corruptions: usize,
    skipped: usize,
    mismatches: usize,
    /// Of those that were not skipped.
    micros: Vec<u64>,
}

impl Row {
    fn add(&mut self, case: &Case) {
        let outcome = case.seen.outcome;
        let is_over = matches!(
            outcome,
            Outcome::Panic | Outcome::Hang | Outcome::Failed | Outcome::Skipped
        );
        self.cases += 1;
        self.survived += usize::from(!is_over);
        self.panics += usize::from(outcome == Outcome::Panic);
        self.corruptions += usize::from(case.seen.corrupted);
        self.skipped += usize::from(outcome == Outcome::Skipped);
        self.mismatches += usize::from(case.verdict() == Verdict::Mismatch);
        if !is_over {
            self.micros.push(case.seen.micros);
        }
    }

    fn median(&self) -> String {
        let mut micros = self.micros.clone();
        micros.sort_unstable();
        match micros.get(micros.len() / 2) {
            Some(middle) => middle.to_string(),
            None => "-".to_owned(),
        }
    }
}

/// The table; why cases were skipped stands below it.
pub(crate) fn table(cases: &[Case]) -> String {
    let mut rows: Vec<((Scenario, &str), Row)> = Vec::new();
    let mut total = Row::default();
    let mut reasons: Vec<String> = Vec::new();
    for case in cases {
        if rows
            .last()
            .is_none_or(|(key, _)| *key != (case.scenario, case.recover))
        {
            rows.push(((case.scenario, case.recover), Row::default()));
        }
        if let Some((_, row)) = rows.last_mut() {
            row.add(case);
        }
        total.add(case);
        if let (Outcome::Skipped, Some(detail)) = (case.seen.outcome, &case.seen.detail) {
            let reason = format!("{} skipped: {detail}", case.scenario.name());
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    let mut text = format!(
        "{:<23}{:<8}{:>7}{:>10}{:>8}{:>13}{:>9}{:>12}{:>16}\n",
        "scenario",
        "recover",
        "cases",
        "survived",
        "panics",
        "corruptions",
        "skipped",
        "mismatches",
        "median micros"
    );
    let named = rows
        .iter()
        .map(|((scenario, recover), row)| (scenario.name(), *recover, row));
    for (name, recover, row) in named.chain([("all".to_owned(), "", &total)]) {
        let median = if name == "all" {
            String::new()
        } else {
            row.median()
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:<23}{recover:<8}{:>7}{:>10}{:>8}{:>13}{:>9}{:>12}{median:>16}",
            row.cases, row.survived, row.panics, row.corruptions, row.skipped, row.mismatches,
        );
    }
    for reason in reasons {
        text += &reason;
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use programs::case::Kernel;

    use super::*;

    fn case(scenario: Scenario, seen: Observation) -> Case {
        Case {
            scenario,
            line: 3,
            cpu: "max".to_owned(),
            guest: "linux".to_owned(),
            recover: "off",
            expected: scenario.expected(3, Kernel::Linux),
            seen,
        }
    }

    #[test]
    fn a_case_has_all_fields() {
        let case = case(Scenario::Copyin, Observation::only(Outcome::Panic));
        let object = case.as_json();
        assert_eq!(object["verdict"], "pass");
        assert_eq!(object["panicked"], true);
        assert_eq!(object["scenario"], "copyin");
        assert_eq!(object["expected"], "panic");
        assert_eq!(case.as_ktap(7), "ok 7 copyin line 3 recover=off");
    }

    #[test]
    fn the_table_counts_what_happened() {
        let skipped = Observation::with_detail(Outcome::Skipped, "no disk");
        let cases = [
            case(Scenario::Copyin, Observation::only(Outcome::Panic)),
            case(Scenario::Copyin, Observation::only(Outcome::Short)),
            case(Scenario::ReadDisk, skipped.clone()),
            case(Scenario::ReadDisk, skipped),
        ];
        assert!(cases[0].is_good() && !cases[1].is_good() && cases[2].is_good());
        let text = table(&cases);
        let words = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(
            words("copyin"),
            ["copyin", "off", "2", "1", "1", "0", "0", "1", "0"]
        );
        assert_eq!(words("all"), ["all", "4", "1", "1", "0", "2", "1"]);
        assert_eq!(text.matches("no disk").count(), 1);
    }
}
