//! `cargo seaworthy sim`: random programs on the memory manager, whose simulated memory fails.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use mm::sim::{Broken, Campaign, Counts, Script, Summary, run_script, shrink};
use serde_json::{Value, json};

#[derive(Args)]
pub(crate) struct Options {
    /// The first seed; all that happens follows from it
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds, from the first on
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    seeds: u64,
    /// Steps of each seed, rounded up to whole programs
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    steps: u64,
    /// How many threads [default: one for each processor]
    #[arg(long, value_name = "COUNT")]
    jobs: Option<NonZeroUsize>,
    /// Also write the results to this file, as JSON; `--replay` reads it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run the program in this file instead: the results of a run that failed, or lines of a step
    /// and four numbers
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "seeds", "steps", "jobs", "json"])]
    replay: Option<PathBuf>,
}

/// Runs a campaign, or replays one program. The exit status is 0 if all promises were kept.
///
/// # Errors
///
/// If a file cannot be read or written.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if let Some(file) = &options.replay {
        return replay(file);
    }
    let campaign = Campaign {
        seeds: options.seed..options.seed.saturating_add(options.seeds),
        steps: options.steps,
        jobs: match options.jobs {
            Some(jobs) => jobs.get(),
            None => thread::available_parallelism().map_or(1, NonZeroUsize::get),
        },
    };
    // A panic is reported with the program that led to it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut summary = campaign.run(show_progress());
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    print!("{}", describe(&summary));
    if let Some(broken) = summary.broken.first_mut() {
        print!("{}", describe_broken(broken));
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&as_json(options, &summary))? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(status(summary.broken.is_empty()))
}

fn status(kept: bool) -> ExitCode {
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Shows on a terminal, in one line, how far it is.
fn show_progress() -> impl FnMut(&Counts) {
    let shown = io::stderr().is_terminal();
    move |counts| {
        if shown {
            let steps = counts.steps;
            eprint!("\r\x1b[K{steps} steps, {} injections", counts.injected);
            // Without a terminal to show it on there is nothing to do about it.
            let _ = io::stderr().flush();
        }
    }
}

fn steps_per_second(summary: &Summary) -> f64 {
    summary.counts.steps as f64 / summary.elapsed.as_secs_f64()
}

fn describe(summary: &Summary) -> String {
    let mut text = String::new();
    for (_, title, count) in summary.counts.all() {
        text += &format!("{title:<18} {count}\n");
    }
    text += &format!("{:<18} {}\n", "violations", summary.broken.len());
    text + &format!(
        "{:<18} {:.0}\n",
        "steps per second",
        steps_per_second(summary)
    )
}

/// Makes the program short, if it ends, and says what it breaks.
fn describe_broken(broken: &mut Broken) -> String {
    let Broken { seed, episode, .. } = broken;
    let mut text = format!("\nseed {seed}, program {episode}: {}\n", broken.failure);
    if broken.ended {
        let short = shrink(&broken.script);
        if let Err(failure) = run_script(&short) {
            text += &format!("shortened, {failure}:\n");
            (broken.script, broken.failure) = (short, failure);
        }
    }
    text + &broken.script.to_string()
}

fn as_json(options: &Options, summary: &Summary) -> Value {
    let broken = |broken: &Broken| {
        let script = broken.script.to_string();
        json!({
            "seed": broken.seed,
            "program": broken.episode,
            "step": broken.failure.step,
            "what": broken.failure.what,
            "script": script.lines().collect::<Vec<_>>(),
        })
    };
    let mut results = json!({
        "seed": options.seed,
        "seeds": options.seeds,
        "seconds": summary.elapsed.as_secs_f64(),
        "steps_per_second": steps_per_second(summary),
        "violations": summary.broken.iter().map(broken).collect::<Vec<_>>(),
    });
    for (name, _, count) in summary.counts.all() {
        results[name] = count.into();
    }
    results
}

fn replay(file: &Path) -> Result<ExitCode> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let script = parse(&text).with_context(|| format!("{} has no program", file.display()))?;
    print!("{script}");
    Ok(match run_script(&script) {
        Ok(_) => {
            println!("{} steps kept all promises", script.0.len());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    })
}

/// The program in a file: the first violation of results, or just lines.
fn parse(text: &str) -> Result<Script> {
    let script = match serde_json::from_str::<Value>(text) {
        Ok(results) => {
            let lines = results["violations"][0]["script"].as_array();
            let lines = lines.ok_or_else(|| anyhow!("its run found no violation"))?;
            let lines: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
            lines.join("\n")
        }
        Err(_) => text.to_owned(),
    };
    let script: Script = script.parse().map_err(|error: String| anyhow!(error))?;
    if script.0.is_empty() {
        return Err(anyhow!("it has no steps"));
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use mm::sim::{Failure, script};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn broken() -> Broken {
        Broken {
            seed: 3,
            episode: 4,
            script: script(5, 6),
            failure: Failure {
                step: 1,
                what: "made up".to_owned(),
            },
            ended: true,
        }
    }

    #[test]
    fn results_can_be_replayed() {
        let options = Line::parse_from(["", "--seed", "3"]).options;
        let summary = Summary {
            broken: vec![broken()],
            elapsed: Duration::from_secs(1),
            ..Summary::default()
        };
        let text = as_json(&options, &summary).to_string();
        assert_eq!(parse(&text).unwrap(), script(5, 6));
        assert_eq!(parse(&script(5, 6).to_string()).unwrap(), script(5, 6));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for (text, error) in [
            ("", "it has no steps"),
            ("{}", "its run found no violation"),
            ("{\"violations\": []}", "its run found no violation"),
            ("Load 1 2 3", "line 1: expected a step and four numbers"),
            ("Fly 1 2 3 4", "line 1: expected a step and four numbers"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_promise_that_is_kept_when_tried_again_is_shown_with_its_whole_program() {
        let mut broken = broken();
        let text = describe_broken(&mut broken);
        assert!(text.starts_with("\nseed 3, program 4: step 1: made up\n"));
        assert_eq!(broken.script, script(5, 6));
    }
}
