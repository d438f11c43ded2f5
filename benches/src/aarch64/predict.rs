//! How many bytes a loop moves per cycle on a real CPU, as LLVM's scheduling models predict.
//!
//! The models know ports, latencies and widths, no caches: this is the rate in the first-level
//! cache, an upper bound everywhere else.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::bulk_loop::BulkLoop;
use super::image::run;

/// The CPUs that are asked about.
pub(super) const CPUS: [&str; 4] = ["neoverse-n1", "neoverse-n2", "neoverse-v1", "neoverse-v2"];

/// The version of LLVM that the targets come from. Models change: that of LLVM 22 thinks half as
/// well of pairs of stores on neoverse-n2 as that of 19.
pub(super) const REFERENCE: u32 = 19;

/// A version of LLVM whose analyser knows all of [`CPUS`].
pub(super) struct Analyser {
    pub(super) version: u32,
    /// `-19`, or nothing for the one without a number.
    suffix: String,
}

impl Analyser {
    /// The reference, if it is installed, and the newest, if that is another.
    pub(super) fn installed() -> Vec<Self> {
        let suffixes = (14..=40).map(|version| format!("-{version}"));
        let mut found: Vec<Self> = suffixes
            .chain([String::new()])
            .filter_map(Self::new)
            .filter(|analyser| CPUS.iter().all(|cpu| analyser.knows(cpu)))
            .collect();
        found.sort_by_key(|analyser| analyser.version);
        found.dedup_by_key(|analyser| analyser.version);
        let newest = found.last().map(|analyser| analyser.version);
        found.retain(|analyser| [Some(REFERENCE), newest].contains(&Some(analyser.version)));
        found
    }

    fn new(suffix: String) -> Option<Self> {
        let text = run(Command::new(format!("llvm-mca{suffix}")).arg("--version")).ok()?;
        let version = version(&text)?;
        Some(Self { version, suffix })
    }

    fn knows(&self, cpu: &str) -> bool {
        let report = self.analyse("nop\n", cpu, 1);
        report.is_ok_and(|(_, errors)| !errors.contains("not a recognized processor"))
    }

    /// Bytes per cycle of the loop whose instructions are `words`, once it has got going.
    ///
    /// # Errors
    ///
    /// If LLVM's tools fail, or do not print what they should.
    pub(super) fn bytes_per_cycle(
        &self,
        words: &[u32],
        found: &BulkLoop,
        cpu: &str,
    ) -> Result<f64> {
        const TURNS: usize = 1000;
        let text = self.disassemble(&words[found.instructions.clone()])?;
        let cycles = |turns| {
            let (report, _) = self.analyse(&text, cpu, turns)?;
            total_cycles(&report).context("llvm-mca did not print the total of cycles")
        };
        // Twice as many turns fill and drain the pipeline no more often.
        Ok((found.bytes * TURNS) as f64 / (cycles(2 * TURNS)? - cycles(TURNS)?))
    }

    fn analyse(&self, text: &str, cpu: &str, turns: usize) -> Result<(String, String)> {
        let mut command = Command::new(format!("llvm-mca{}", self.suffix));
        command
            .args(["-mtriple=aarch64", &format!("-mcpu={cpu}")])
            .arg(format!("-iterations={turns}"));
        filter(&mut command, text)
    }

    fn disassemble(&self, words: &[u32]) -> Result<String> {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        let hexadecimal: Vec<String> = bytes.map(|byte| format!("{byte:#04x}")).collect();
        let mut command = Command::new(format!("llvm-mc{}", self.suffix));
        command.args(["-disassemble", "-triple=aarch64", "-mattr=+all"]);
        let (text, _) = filter(&mut command, &hexadecimal.join(" "))?;
        Ok(text)
    }
}

/// `Debian LLVM version 19.1.7`: 19.
fn version(text: &str) -> Option<u32> {
    let (_, number) = text.split_once("LLVM version ")?;
    number.split('.').next()?.parse().ok()
}

fn total_cycles(report: &str) -> Option<f64> {
    let line = report
        .lines()
        .find_map(|line| line.strip_prefix("Total Cycles:"));
    line?.trim().parse().ok()
}

/// Feeds `input` to a command; what it writes to its output, and to its error output.
fn filter(command: &mut Command, input: &str) -> Result<(String, String)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    // These tools read all their input, which is small, before they write.
    child
        .stdin
        .take()
        .context("no pipe")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let [text, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    ensure!(output.status.success(), "{name} failed: {}", errors.trim());
    Ok((text, errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        assert_eq!(
            version("Debian LLVM version 19.1.7\n  Optimized build."),
            Some(19)
        );
        assert_eq!(version("LLVM version 22.1.0"), Some(22));
        assert_eq!(version("llvm-mca"), None);
    }

    #[test]
    fn the_cycles_are_read() {
        let report = "Iterations:        100\nInstructions:      200\nTotal Cycles:      103\n";
        assert_eq!(total_cycles(report), Some(103.0));
        assert_eq!(total_cycles("error"), None);
    }
}
