//! `cargo seaworthy bench linux`: what the monitor costs a Linux that boots.
//!
//! Boots come in pairs, one with and one without the monitor, because a machine that others use
//! changes its speed over minutes; what is compared is the two of a pair. Which comes first takes
//! turns. Two things are measured: seconds on the clock, until the first process runs, and processor
//! seconds of all of QEMU, until the guest has switched itself off. The latter hardly feel what else
//! the machine does.
//!
//! The machine without the monitor has the monitor's CPU, too, and Linux leaves it off
//! (`maxcpus=`): with one CPU QEMU takes short cuts, such as atomic instructions that are not, which
//! have nothing to do with the monitor. `--plain` leaves the CPU out.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::json;

use crate::linux::{Boot, PROCESSORS, Parts, provide};
use crate::machine::End;
use crate::tools::Install;
use crate::workspace::Workspace;

/// Time for a boot, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// What the first process prints as soon as it runs.
const STARTED: &str = "init: started";

#[derive(Args)]
pub(crate) struct Options {
    /// Pairs of boots that count; one more comes first, to fill caches
    #[arg(long, value_name = "N", default_value_t = 7)]
    pairs: usize,
    /// Boot by EDK2 and with ACPI
    #[arg(long)]
    acpi: bool,
    /// The processor
    #[arg(long, value_parser = PROCESSORS, default_value = "max")]
    cpu: String,
    /// How many CPUs Linux sees
    #[arg(long, value_name = "N", default_value_t = 1)]
    smp: usize,
    /// Without the monitor, leave out its CPU as well
    #[arg(long)]
    plain: bool,
    /// Also write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Seconds of one boot.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// Of processors, for all of QEMU.
    of_processors: f64,
    /// From the start of QEMU until the guest's first process runs.
    to_init: f64,
    /// From the start of QEMU until the monitor has entered the guest, as the host sees it.
    to_guest: Option<f64>,
    /// What of that the monitor took, by its own clock.
    in_monitor: Option<f64>,
}

/// Measures and prints.
///
/// # Errors
///
/// If something cannot be built or started, or Linux does not boot.
pub(crate) fn run(options: &Options, workspace: &Workspace, install: Install) -> Result<ExitCode> {
    ensure!(options.pairs > 0, "there must be at least one pair");
    provide(workspace, install)?;
    let parts = Parts::prepare(None, None, workspace)?;
    let boot = Boot {
        acpi: options.acpi,
        processor: options.cpu.clone(),
        cpus: options.smp,
        command_line: "quiet -- /bin/busybox true".to_owned(),
        ..Boot::new(&format!("bench-linux-{}", std::process::id()))
    };
    let without = without_monitor(&boot, options.plain);
    pair(&parts, &boot, &without, true)?;
    let mut pairs = Vec::new();
    println!("      ---- seconds to init ----  -- processor seconds ---");
    println!("pair  monitor  without   ratio  monitor  without   ratio");
    for number in 1..=options.pairs {
        let (with, without) = pair(&parts, &boot, &without, number % 2 == 0)?;
        let columns = |with: f64, without: f64| {
            format!("{with:>7.3}  {without:>7.3}  {:>6.3}", with / without)
        };
        println!(
            "{number:>4}  {}  {}",
            columns(with.to_init, without.to_init),
            columns(with.of_processors, without.of_processors)
        );
        pairs.push((with, without));
    }
    report(options, &pairs)
}

/// The same machine without the monitor.
fn without_monitor(boot: &Boot, plain: bool) -> Boot {
    let boot = Boot {
        on_monitor: false,
        ..boot.clone()
    };
    if plain {
        return boot;
    }
    Boot {
        cpus: boot.cpus + 1,
        command_line: format!("maxcpus={} {}", boot.cpus, boot.command_line),
        ..boot
    }
}

/// A boot with the monitor, and one without.
fn pair(parts: &Parts, with: &Boot, without: &Boot, monitor_first: bool) -> Result<(Times, Times)> {
    if monitor_first {
        let with = measure(parts, with)?;
        Ok((with, measure(parts, without)?))
    } else {
        let without = measure(parts, without)?;
        Ok((measure(parts, with)?, without))
    }
}

fn measure(parts: &Parts, boot: &Boot) -> Result<Times> {
    let before = processor_seconds()?;
    let start = Instant::now();
    let mut machine = parts.start(boot)?;
    let (mut to_guest, mut in_monitor) = (None, None);
    if boot.on_monitor {
        let mailbox = machine.mailbox()?;
        to_guest = Some(start.elapsed().as_secs_f64());
        in_monitor = Some(mailbox.boot_time()?.as_secs_f64());
    }
    machine.console().wait_for(STARTED, LIMIT)?;
    let to_init = start.elapsed().as_secs_f64();
    let end = machine.wait(Some(LIMIT), None)?;
    ensure!(matches!(end, End::Off), "{end}");
    // Ends QEMU and waits for it, so that its time is known.
    drop(machine);
    Ok(Times {
        of_processors: processor_seconds()? - before,
        to_init,
        to_guest,
        in_monitor,
    })
}

/// What all children of this process that have ended have used.
fn processor_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask for used time")?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn report(options: &Options, pairs: &[(Times, Times)]) -> Result<ExitCode> {
    let median_of = |value: fn(&(Times, Times)) -> f64| median(pairs.iter().map(value).collect());
    let ratio = median_of(|(with, without)| with.to_init / without.to_init);
    let processors = median_of(|(with, without)| with.of_processors / without.of_processors);
    let with = median_of(|(with, _)| with.to_init);
    let without = median_of(|(_, without)| without.to_init);
    let to_guest = median_of(|(with, _)| with.to_guest.unwrap_or(f64::NAN));
    let in_monitor = median_of(|(with, _)| with.in_monitor.unwrap_or(f64::NAN));
    println!(
        "\nmedians of {} pairs: to the first process {with:.3} s with and {without:.3} s without \
         the monitor, ratio {ratio:.3}; ratio of processor seconds {processors:.3}\n\
         from the start of QEMU to the guest {:.0} ms, of which in the monitor {:.1} ms",
        pairs.len(),
        to_guest * 1000.0,
        in_monitor * 1000.0
    );
    if let Some(file) = &options.json {
        let results = json!({
            "benchmark": "linux",
            "processor": options.cpu,
            "cpus": options.smp,
            "acpi": options.acpi,
            "pairs": pairs.len(),
            "seconds_to_init_with_monitor": with,
            "seconds_to_init_without_monitor": without,
            "plain": options.plain,
            "median_of_ratios": ratio,
            "median_of_ratios_of_processor_seconds": processors,
            "seconds_to_guest": to_guest,
            "seconds_in_monitor": in_monitor,
        });
        fs::write(file, format!("{results:#}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The middle one, or the mean of the middle two. There must be one at least.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
    }
}
