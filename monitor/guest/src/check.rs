//! The checks: what each group proves is in its module.

mod access;
mod batch;
mod bench;
mod class;
mod commands;
mod context;
mod debug;
mod execute;
mod grid;
mod holes;
mod injection;
mod interrupts;
mod judge;
mod notice;
mod overwrite;
mod policy;
mod random;
mod smp;
mod state;
mod walk;

use control::Counter;
use control::layout::GUEST_IMAGE;
use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};
use guest::{Parameters, Random};

use crate::machine::features::Feature;
use crate::machine::uart::println;
use crate::machine::{arena, cpu, doorbell, firmware, gic, mmu, psci, registers, vector};
use context::{Case, Context, Verdict};

/// All cases, in the order in which they run.
const CASES: &[&[Case]] = &[
    holes::CASES,
    grid::CASES,
    overwrite::CASES,
    execute::CASES,
    walk::CASES,
    policy::CASES,
    notice::CASES,
    commands::CASES,
    injection::CASES,
    state::CASES,
    debug::CASES,
    interrupts::CASES,
    random::CASES,
    smp::CASES,
    bench::CASES,
];

/// Runs the cases that the command line asks for, and switches the machine off.
pub(crate) fn run(tree: Result<Fdt<'_>, dtoolkit::error::FdtParseError>) -> ! {
    let tree = match tree {
        Ok(tree) => tree,
        Err(error) => panic!("the device tree: {error}"),
    };
    let method = tree.find_node("/psci").and_then(|node| {
        let method = node.property("method")?;
        method.value_as::<&str>().ok().map(|name| name == "hvc")
    });
    psci::use_hvc(method == Some(true));
    mmu::init();
    arena::init();
    vector::init();
    gic::init();
    doorbell::init();
    start_cpus(tree);

    let chosen = tree.chosen();
    let line = match &chosen {
        Some(chosen) => chosen.bootargs().ok().flatten().unwrap_or(""),
        None => "",
    };
    let parameters = match Parameters::parse(line) {
        Ok(parameters) => parameters,
        Err(error) => panic!("{error}"),
    };
    for group in parameters.only.iter().flat_map(|only| only.split(',')) {
        assert!(
            CASES
                .iter()
                .copied()
                .flatten()
                .any(|case| case.group == group),
            "there is no group \"{group}\""
        );
    }
    describe(&parameters);
    let total = run_cases(&parameters, ram_end(tree));
    println!(
        "# Totals: pass:{} fail:{} xfail:0 xpass:0 skip:{} error:0",
        total.passed, total.failed, total.skipped
    );
    psci::system_off()
}

fn ram_end(tree: Fdt<'_>) -> u64 {
    let bank = tree
        .memory()
        .ok()
        .and_then(|memory| memory.reg().ok().flatten()?.next());
    let Some(bank) = bank else {
        return 0;
    };
    bank.address::<u64>().unwrap_or(0) + bank.size::<u64>().unwrap_or(0)
}

fn start_cpus(tree: Fdt<'_>) {
    let Ok(cpus) = tree.cpus() else {
        return;
    };
    for cpu in cpus.cpus().skip(1) {
        // `virt` uses one cell.
        let mpidr = cpu
            .property("reg")
            .and_then(|reg| reg.value_as::<u32>().ok())
            .map(u64::from);
        if let Some(mpidr) = mpidr
            && !cpu::start(mpidr)
        {
            println!("# CPU {mpidr:#x} does not start");
        }
    }
}

fn describe(parameters: &Parameters<'_>) {
    println!("KTAP version 1");
    println!(
        "# seaworthy acceptance guest at {GUEST_IMAGE:#x}: {} CPUs, MIDR {:#x}, monitor {}, seed={} \
         count={}",
        cpu::running(),
        registers::read!("midr_el1"),
        if doorbell::is_present() {
            "present"
        } else {
            "absent"
        },
        parameters.seed,
        parameters.count,
    );
    for feature in Feature::ALL {
        println!(
            "# {}: {}",
            feature.name(),
            if feature.is_present() { "yes" } else { "no" }
        );
    }
}

#[derive(Default)]
struct Total {
    passed: u64,
    failed: u64,
    skipped: u64,
}

fn run_cases(parameters: &Parameters<'_>, ram_end: u64) -> Total {
    let selected = || {
        CASES
            .iter()
            .copied()
            .flatten()
            .filter(|case| parameters.selects(case.group))
    };
    println!("1..{}", selected().count());
    let mut total = Total::default();
    let mut context = Context::new(parameters, ram_end);
    if doorbell::is_present() {
        match firmware::find() {
            Ok(firmware) => context.firmware = Some(firmware),
            // Without them reports would go unchecked.
            Err(what) => panic!("there is a monitor, but {what}"),
        }
    }
    for (index, case) in selected().enumerate() {
        let number = index + 1;
        // Each case has random numbers of its own, so that it runs the same alone.
        context.begin(Random::new(parameters.seed ^ hash(case.name)));
        let mistakes = mistakes();
        let verdict = match case.needs_monitor && !doorbell::is_present() {
            true => Verdict::Skip("there is no monitor"),
            false => (case.run)(&mut context),
        };
        if verdict == Verdict::Done && doorbell::is_present() {
            context.equal(
                format_args!("leaks and false aborts that the monitor counted"),
                self::mistakes(),
                mistakes,
            );
        }
        let seed = parameters.seed;
        let (group, name) = (case.group, case.name);
        let (checks, failures) = (context.checks, context.failures);
        match verdict {
            Verdict::Skip(reason) => {
                total.skipped += 1;
                println!("ok {number} {group}: {name} # SKIP {reason}");
            }
            Verdict::Done if checks == 0 => {
                total.failed += 1;
                println!("not ok {number} {group}: {name} # nothing was checked");
            }
            Verdict::Done if failures == 0 => {
                total.passed += 1;
                println!("ok {number} {group}: {name} # {checks} checks, seed={seed}");
            }
            Verdict::Done => {
                total.failed += 1;
                println!(
                    "not ok {number} {group}: {name} # {failures} of {checks} checks failed, seed={seed}"
                );
            }
        }
        if doorbell::is_present() {
            doorbell::clear_all();
        }
    }
    total
}

/// What the monitor counts, and should never have to.
fn mistakes() -> [u64; 2] {
    if doorbell::is_present() {
        [Counter::Leaks, Counter::FalseAborts].map(doorbell::count)
    } else {
        [0; 2]
    }
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
