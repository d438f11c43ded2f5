//! Random programs under poison, refused allocations and failing stores.

use mm::sim::{Campaign, Kind, Script, run_refusing, run_script, script, shrink};

#[test]
fn promises_hold_over_random_programs() {
    let steps = std::env::var("STEPS").ok();
    let summary = Campaign {
        seeds: 0..1,
        steps: steps.map_or(400_000, |steps| steps.parse().expect("a number")),
        jobs: 2,
    }
    .run(|_| {});
    if let Some(broken) = summary.broken.first() {
        let short = shrink(&broken.script);
        panic!("{}\n{short}{:?}", broken.failure, run_script(&short));
    }
    let counts = summary.counts;
    println!("{counts:?}");
    // A run that injects or consumes nothing proves nothing.
    assert!(counts.injected > 5000 && counts.consumed > 1000 && counts.isolated > 1000);
    assert!(counts.signals > 1000 && counts.refused > 1000);
    assert!(counts.merged > 1000 && counts.healed > 50 && counts.emptied > 100);
    assert!(counts.huge > 1000);
    assert!(counts.swapped > 500 && counts.reread > 30);
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
