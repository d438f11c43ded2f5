//! Gives orders to the program in the guest, hears its answers, and restarts a guest that died.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use programs::case::{Observation, Outcome, Scenario};
use programs::host;
use serde::Deserialize;

use crate::campaign::disk::Disk;
use crate::campaign::guest::Run;
use crate::machine::{End, Machine};

/// Time for a boot, on a busy machine.
const BOOT: Duration = Duration::from_secs(180);

/// After such a silence in a case the guest hangs. The program itself gives up a case after 20 s.
const SILENCE: Duration = Duration::from_secs(60);

/// How often the machine is looked at while the console is silent.
const POLL: Duration = Duration::from_millis(1);

/// What the guest says when a panic is over.
const LAST_WORDS: [&str; 2] = ["Kernel panic - not syncing", "kernel panic:"];

/// A campaign that runs.
pub(crate) struct Driver<'a> {
    run: &'a Run,
    /// Which of those that run at once.
    number: usize,
    machine: Option<Machine>,
    disk: Disk,
    /// Up to here the console has been read.
    position: usize,
    /// The beginning of a line.
    partial: String,
    boots: usize,
}

/// What happens next.
enum Event {
    /// The guest printed a line.
    Line(String),
    /// The guest wants to be restarted, as kernels do that panic.
    Reset,
    /// It is quiet, or gone.
    Silence(String),
}

/// What the program says of a case.
#[derive(Deserialize)]
struct Answer {
    scenario: Scenario,
    line: u32,
    seen: Observation,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(run: &'a Run, number: usize) -> Self {
        Self {
            run,
            number,
            machine: None,
            disk: run.disk(number),
            position: 0,
            partial: String::new(),
            boots: 0,
        }
    }

    /// How many times the guest has booted.
    pub(crate) fn boots(&self) -> usize {
        self.boots
    }

    /// Has these lines fail, one after the other. `result` gets each line with what was seen.
    ///
    /// # Errors
    ///
    /// If the guest does not boot; and what `result` returns.
    pub(crate) fn run(
        &mut self,
        scenario: Scenario,
        lines: &[u32],
        seed: u64,
        mut result: impl FnMut(u32, Observation) -> Result<()>,
    ) -> Result<()> {
        let mut pending = lines;
        while !pending.is_empty() {
            self.boot_if_needed()?;
            self.give_order(scenario, pending, seed)?;
            while let Some((&line, rest)) = pending.split_first() {
                let (seen, lives) = self.hear(scenario, line)?;
                result(line, seen)?;
                pending = rest;
                if !lives {
                    break;
                }
                if pending.is_empty() {
                    self.await_ready(SILENCE)?;
                }
            }
        }
        Ok(())
    }

    fn give_order(&self, scenario: Scenario, lines: &[u32], seed: u64) -> Result<()> {
        let lines: Vec<_> = lines.iter().map(u32::to_string).collect();
        let order = format!("{} {} {seed}\n", scenario.name(), lines.join(","));
        self.machine()?.console().send(order.as_bytes())
    }

    /// What becomes of one case, and whether the guest goes on with its order. If not, it has been
    /// restarted and is ready for another, or it is gone.
    fn hear(&mut self, scenario: Scenario, line: u32) -> Result<(Observation, bool)> {
        let before = self.position;
        loop {
            match self.next(SILENCE)? {
                Event::Line(text) if let Some(request) = host::request(&text) => {
                    let done = self.machine()?.mailbox()?.run(request).map(drop);
                    let answer = host::answer(done.map_err(|error| error.to_string()));
                    self.machine()?.console().send(answer.as_bytes())?;
                }
                Event::Line(text) => {
                    if let Some(answer) = parse(&text)
                        && (answer.scenario, answer.line) == (scenario, line)
                    {
                        return Ok((answer.seen, true));
                    }
                }
                Event::Reset => {
                    let said = self.machine()?.console().since(before).0;
                    let words = said
                        .lines()
                        .find(|line| LAST_WORDS.iter().any(|words| line.contains(words)))
                        .map(|line| line.trim().to_owned());
                    // The first line is the heading.
                    let place = self.run.name_calls(&said).into_iter().nth(1);
                    let words = words.map(|words| match place {
                        Some(place) => format!("{words}; {}", place.trim()),
                        None => words,
                    });
                    self.restart()?;
                    return Ok((
                        Observation {
                            detail: words,
                            ..Observation::only(Outcome::Panic)
                        },
                        false,
                    ));
                }
                Event::Silence(why) => {
                    // Whatever state it is in: a new machine.
                    self.machine = None;
                    return Ok((Observation::with_detail(Outcome::Hang, why), false));
                }
            }
        }
    }

    fn boot_if_needed(&mut self) -> Result<()> {
        if self.machine.is_some() {
            return Ok(());
        }
        self.machine = Some(self.run.start(self.number, &self.disk)?);
        (self.position, self.partial) = (0, String::new());
        self.boots += 1;
        self.await_ready(BOOT)
    }

    /// After a panic: the same machine, from its first instruction.
    fn restart(&mut self) -> Result<()> {
        let machine = self.machine.as_mut().context("no machine runs")?;
        machine.reset()?;
        self.partial.clear();
        self.boots += 1;
        self.await_ready(BOOT)
    }

    fn await_ready(&mut self, limit: Duration) -> Result<()> {
        loop {
            match self.next(limit)? {
                Event::Line(line) if line == "# ready" => return Ok(()),
                Event::Line(_) => {}
                Event::Reset => bail!("the guest dies before it is ready:\n{}", self.last_lines()),
                Event::Silence(why) => {
                    bail!(
                        "the guest does not become ready: {why}\n{}",
                        self.last_lines()
                    )
                }
            }
        }
    }

    fn next(&mut self, patience: Duration) -> Result<Event> {
        let deadline = Instant::now() + patience;
        loop {
            let machine = self.machine.as_mut().context("no machine runs")?;
            let (text, position) = machine.console().since(self.position);
            self.position = position;
            self.partial += &text;
            if let Some((line, rest)) = self.partial.split_once('\n') {
                let (line, rest) = (line.trim_end_matches('\r').to_owned(), rest.to_owned());
                self.partial = rest;
                return Ok(Event::Line(line));
            }
            machine.console().await_more(self.position, POLL);
            match machine.wait(Some(Duration::ZERO), None)? {
                // What it printed last is in the text now.
                End::Reset => return Ok(Event::Reset),
                End::TimedOut => {}
                end => return Ok(Event::Silence(end.to_string())),
            }
            if Instant::now() >= deadline {
                return Ok(Event::Silence(format!(
                    "{} s of silence",
                    patience.as_secs()
                )));
            }
        }
    }

    fn last_lines(&self) -> String {
        let lines = |machine: &Machine| machine.console().last_lines(20).join("\n");
        self.machine.as_ref().map(lines).unwrap_or_default()
    }

    fn machine(&self) -> Result<&Machine> {
        self.machine.as_ref().context("no machine runs")
    }
}

/// The answer in a line, if there is one.
fn parse(line: &str) -> Option<Answer> {
    serde_json::from_str(line.strip_prefix("# ")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_among_other_lines() {
        let seen = Observation::only(Outcome::Complete);
        let seen = serde_json::to_string(&seen).unwrap();
        let line = format!("# {{\"scenario\":\"copy-on-write\",\"line\":7,\"seen\":{seen}}}");
        let answer = parse(&line).unwrap();
        assert_eq!((answer.scenario, answer.line), (Scenario::CopyOnWrite, 7));
        for other in ["# ready", "ok 1 load line 7", "# begin load 7", "", "# {}"] {
            assert!(parse(other).is_none(), "{other}");
        }
    }
}
