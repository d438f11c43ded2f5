//! Random programs under poison, refused allocations and failing stores.

use mm::sim::{Counts, Kind, Script, run, run_refusing, script, shrink};

fn campaign(seeds: core::ops::Range<u64>, steps: usize) -> Counts {
    let mut counts = Counts::default();
    for seed in seeds {
        match run(seed, steps) {
            Ok(more) => counts += more,
            Err((script, failure)) => {
                let short = shrink(&script);
                panic!(
                    "seed {seed}: {failure}\n{short}{:?}",
                    mm::sim::run_script(&short)
                );
            }
        }
    }
    counts
}

#[test]
fn promises_hold_over_random_programs() {
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(40);
    let counts = campaign(0..seeds, 400);
    println!("{counts:?}");
    // A run that injects or consumes nothing proves nothing.
    assert!(counts.injected > 100 && counts.consumed > 50);
    assert!(counts.signals > 20 && counts.refused > 50);
    assert!(counts.merged > 50 && counts.healed > 3 && counts.emptied > 10);
}

#[test]
fn every_single_allocation_may_be_refused() {
    let mut refused = 0;
    for seed in 1000..1003 {
        let mut script = script(seed, 150);
        script
            .0
            .retain(|step| !matches!(step.kind, Kind::RefuseAllocation | Kind::RefuseIo));
        for allocation in 0.. {
            match run_refusing(&script, allocation) {
                Ok(true) => refused += 1,
                Ok(false) => break,
                Err(failure) => panic!("seed {seed}, allocation {allocation}: {failure}"),
            }
        }
    }
    assert!(refused > 100, "only {refused} allocations");
}

#[test]
fn a_script_survives_its_text() {
    let script = script(7, 50);
    assert_eq!(script.to_string().parse(), Ok(script));
    assert_eq!(
        "Load 1 2 3".parse::<Script>(),
        Err("line 1: expected a step and four numbers".into())
    );
}
