//! The recorded runs: those that once found something.

use std::fs;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::check_monitor::Options;
use crate::check_monitor::guest::Run;
use crate::workspace::Workspace;

/// In the workspace. Each line has the options of one run, and after `#` what it found.
const FILE: &str = "monitor/guest/seeds.txt";

/// A line is read as the command line is.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// Reads the recorded runs.
///
/// # Errors
///
/// If the file cannot be read, or a line is no good.
pub(super) fn recorded(workspace: &Workspace) -> Result<Vec<Run>> {
    let path = workspace.root.join(FILE);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let runs = parse(&text).with_context(|| path.display().to_string())?;
    if runs.is_empty() {
        bail!("{} has no runs", path.display());
    }
    Ok(runs)
}

fn parse(text: &str) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words = line.split('#').next().unwrap_or_default();
        if words.trim().is_empty() {
            continue;
        }
        let words = [""].into_iter().chain(words.split_whitespace());
        let line = Line::try_parse_from(words)
            .with_context(|| format!("line {} is no good", number + 1))?;
        runs.extend(line.options.runs());
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_a_run_displays() {
        let line = "--cpu neoverse-n1 --smp 2 --seed 9 --only random,smp";
        let runs = parse(&format!("# comment\n\n{line} # a bug\n")).unwrap();
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].to_string(), line);
        let error = format!("{:#}", parse("--seed x").unwrap_err());
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn the_recorded_runs_can_be_read() {
        recorded(&Workspace::find().unwrap()).unwrap();
    }
}
