//! Prints a KTAP document of checks on the host's side.

/// A document; its lines are printed as they come.
pub(crate) struct Document {
    number: usize,
    has_passed: bool,
}

impl Document {
    /// Begins a document of so many checks.
    pub(crate) fn new(checks: usize) -> Self {
        println!("KTAP version 1\n1..{checks}");
        Self {
            number: 0,
            has_passed: true,
        }
    }

    /// Prints the result of a check: a comment, or why it failed.
    pub(crate) fn result(&mut self, name: &str, result: &anyhow::Result<String>) {
        self.number += 1;
        let number = self.number;
        match result {
            Ok(comment) if comment.is_empty() => println!("ok {number} {name}"),
            Ok(comment) => println!("ok {number} {name} # {}", one_line(comment)),
            Err(error) => {
                self.has_passed = false;
                println!(
                    "not ok {number} {name} # {}",
                    one_line(&format!("{error:#}"))
                );
            }
        }
    }

    /// Prints that a check cannot run here.
    pub(crate) fn skipped(&mut self, name: &str, reason: &str) {
        self.number += 1;
        println!("ok {} {name} # SKIP {}", self.number, one_line(reason));
    }

    /// Whether nothing has failed.
    pub(crate) fn has_passed(&self) -> bool {
        self.has_passed
    }
}

/// Prints text as comments.
pub(crate) fn comment(text: &str) {
    for line in text.lines() {
        println!("# {line}");
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
