//! Tells a guest that hangs from one that works.

use std::fmt;
use std::time::{Duration, Instant};

use control::Counter;

use crate::machine::console::Console;
use crate::machine::mailbox::Mailbox;

/// Lines of the console that a report has.
const LINES: usize = 20;

/// Barks when for some time the guest has printed nothing and none of the monitor's counters has
/// moved.
#[derive(Debug)]
pub(crate) struct Watchdog {
    patience: Duration,
    last_progress: Instant,
    counters: Vec<(Counter, u64)>,
}

/// What a hanging guest looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hang {
    /// How long nothing has moved.
    pub(crate) quiet: Duration,
    /// Where each CPU is, the monitor's own among them.
    pub(crate) processors: Vec<Processor>,
    /// Whether the monitor still looks for requests, if there is one.
    pub(crate) monitor_looks: Option<bool>,
    /// The monitor's counters that are not 0.
    pub(crate) counters: Vec<(Counter, u64)>,
    /// The console's last lines.
    pub(crate) lines: Vec<String>,
}

/// Where a CPU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Processor {
    /// QEMU's number of it.
    pub(crate) index: usize,
    /// The program counter.
    pub(crate) pc: u64,
    /// The link register, X30.
    pub(crate) lr: u64,
    /// The stack pointer.
    pub(crate) sp: u64,
    /// The processor state as QEMU describes it, with the exception level.
    pub(crate) state: String,
}

impl Watchdog {
    /// A watchdog that waits this long. Its time begins now.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            last_progress: Instant::now(),
            counters: Vec::new(),
        }
    }

    /// Looks for progress. Returns how long there has been none, once that is too long.
    pub(super) fn look(
        &mut self,
        console: &Console,
        mailbox: Option<&Mailbox>,
    ) -> Option<Duration> {
        let counters = mailbox.and_then(|mailbox| mailbox.counters().ok());
        self.note(console.last_output(), counters.unwrap_or_default());
        let quiet = self.last_progress.elapsed();
        (quiet >= self.patience).then_some(quiet)
    }

    fn note(&mut self, last_output: Option<Instant>, counters: Vec<(Counter, u64)>) {
        if counters != self.counters {
            self.counters = counters;
            self.last_progress = Instant::now();
        }
        if let Some(output) = last_output {
            self.last_progress = self.last_progress.max(output);
        }
    }
}

impl Hang {
    pub(super) fn new(
        quiet: Duration,
        registers: &str,
        monitor_looks: Option<bool>,
        mailbox: Option<&Mailbox>,
        console: &Console,
    ) -> Self {
        let counters = mailbox.and_then(|mailbox| mailbox.counters().ok());
        Self {
            quiet,
            processors: processors(registers),
            monitor_looks,
            counters: counters
                .unwrap_or_default()
                .into_iter()
                .filter(|(_, count)| *count != 0)
                .collect(),
            lines: console.last_lines(LINES),
        }
    }
}

impl fmt::Display for Hang {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "the guest hangs: for {:.1} s it has printed nothing and met no poison",
            self.quiet.as_secs_f64()
        )?;
        for Processor {
            index,
            pc,
            lr,
            sp,
            state,
        } in &self.processors
        {
            writeln!(
                formatter,
                "  CPU {index}: PC {pc:#018x}, LR {lr:#018x}, SP {sp:#018x}, {state}"
            )?;
        }
        match self.monitor_looks {
            None => {}
            Some(true) => writeln!(formatter, "  the monitor answers")?,
            Some(false) => writeln!(formatter, "  the monitor does not move either")?,
        }
        if !self.counters.is_empty() {
            let counters: Vec<_> = self
                .counters
                .iter()
                .map(|(counter, count)| format!("{} {count}", counter.name()))
                .collect();
            writeln!(formatter, "  counters: {}", counters.join(", "))?;
        }
        if self.lines.is_empty() {
            return formatter.write_str("  it has never printed anything");
        }
        formatter.write_str("  its last lines:")?;
        self.lines
            .iter()
            .try_for_each(|line| write!(formatter, "\n    {line}"))
    }
}

/// Reads what QEMU's `info registers -a` prints.
pub(super) fn processors(registers: &str) -> Vec<Processor> {
    let mut processors: Vec<Processor> = Vec::new();
    for line in registers.lines().map(str::trim) {
        if let Some(index) = line.strip_prefix("CPU#") {
            processors.push(Processor {
                index: index.trim().parse().unwrap_or(processors.len()),
                pc: 0,
                lr: 0,
                sp: 0,
                state: String::new(),
            });
            continue;
        }
        let Some(processor) = processors.last_mut() else {
            continue;
        };
        if let Some(state) = line.strip_prefix("PSTATE=") {
            processor.state = format!("PSTATE {}", state.split("  ").next().unwrap_or(state));
        }
        let fields = line.split_whitespace();
        for (name, value) in fields.filter_map(|field| field.split_once('=')) {
            let Ok(value) = u64::from_str_radix(value, 16) else {
                continue;
            };
            match name {
                "PC" => processor.pc = value,
                "X30" => processor.lr = value,
                "SP" => processor.sp = value,
                _ => {}
            }
        }
    }
    processors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_read_as_qemu_prints_them() {
        let text = "\r\nCPU#0\r\n PC=0000000040080020 X00=0000000000000000 X01=0000000009000000\r\n\
                    X29=0000000000000000 X30=0000000040080044  SP=0000000040200000\r\n\
                    PSTATE=600003c5 -ZC- EL1h    FPU disabled\r\n\
                    \r\nCPU#1\r\n PC=000000007e001000 X00=0000000000000000\r\n\
                    PSTATE=000003c9 ---- EL2h    FPU disabled\r\n";
        let found = processors(text);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0],
            Processor {
                index: 0,
                pc: 0x4008_0020,
                lr: 0x4008_0044,
                sp: 0x4020_0000,
                state: "PSTATE 600003c5 -ZC- EL1h".to_owned()
            }
        );
        assert_eq!((found[1].index, found[1].pc), (1, 0x7e00_1000));
        assert!(processors("nothing of the kind").is_empty());
    }

    #[test]
    fn output_and_counters_are_progress() {
        let patience = Duration::from_secs(10);
        let long_ago = Instant::now().checked_sub(2 * patience).unwrap();
        let dog = || Watchdog {
            patience,
            last_progress: long_ago,
            counters: Vec::new(),
        };
        let is_hung = |dog: Watchdog| dog.last_progress.elapsed() >= patience;
        let mut quiet = dog();
        quiet.note(Some(long_ago), Vec::new());
        assert!(is_hung(quiet));
        let mut prints = dog();
        prints.note(Some(Instant::now()), Vec::new());
        assert!(!is_hung(prints));
        let mut steps = dog();
        steps.note(None, vec![(Counter::Steps, 1)]);
        assert!(!is_hung(steps));
    }
}
