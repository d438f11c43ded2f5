//! How long it takes: not part of the tests, since it depends on the host.

use control::{Command, LINE, Policy};

use super::context::{Case, Context, Verdict};
use crate::machine::arena::{self, View};
use crate::machine::trial::{Mode, Trial};
use crate::machine::uart::println;
use crate::machine::{doorbell, firmware, psci, stub, timer};

/// The cases.
pub(crate) const CASES: &[Case] = &[Case {
    group: "bench",
    name: "nanoseconds, the least and the median",
    needs_monitor: true,
    run,
}];

const SAMPLES: usize = 1001;

/// Accesses that one sample of a clean access averages over.
const ACCESSES: u64 = 100;

fn measure(context: &mut Context, name: &str, divisor: u64, mut work: impl FnMut()) {
    let mut samples = [0; SAMPLES];
    for sample in &mut samples {
        let start = timer::now();
        work();
        *sample = timer::nanoseconds(timer::now() - start) / divisor;
    }
    samples.sort_unstable();
    println!(
        "# bench: {name}: min {} ns, median {} ns",
        samples[0],
        samples[SAMPLES / 2]
    );
    context.holds(samples[SAMPLES / 2] > 0, format_args!("{name} takes time"));
}

fn run(context: &mut Context) -> Verdict {
    let line = arena::physical(arena::SHARED);
    let trial = |stub, line: u64| {
        Trial::new(stub, Mode::El1h)
            .with(0, View::Kernel.address(arena::SHARED, 0) + line * LINE)
            .with(3, View::Kernel.address(arena::BUFFER, 0))
            .with(4, ACCESSES)
    };
    let nothing = trial(stub::NOTHING, 0);
    measure(context, "a trial of nothing", 1, || {
        nothing.run();
    });
    measure(context, "PSCI_VERSION", 1, || {
        psci::version();
    });
    measure(context, "doorbell ping", 1, || {
        doorbell::write_32(control::doorbell::COMMAND, Command::Ping.raw());
    });
    measure(context, "poison and clear", 1, || {
        doorbell::poison(line, Policy::NO_RECORD);
        doorbell::clear(line);
    });
    let loads = trial(stub::COUNT, 3);
    measure(context, "100 loads of a page without poison", 1, || {
        loads.run();
    });
    doorbell::poison(line, Policy::NO_RECORD);
    measure(context, "a load of a clean line", ACCESSES, || {
        loads.run();
    });
    let exclusive = trial(stub::EXCLUSIVE_ADD, 3);
    measure(context, "ldxr and stxr on a clean line", 1, || {
        exclusive.run();
    });
    let store = trial(stub::STR_X, 3);
    measure(context, "a store to a clean line", 1, || {
        store.run();
    });
    let hit = trial(stub::LDR_X, 0);
    measure(context, "a load of poison", 1, || {
        hit.run();
    });
    doorbell::clear_all();
    doorbell::poison(line, Policy::empty());
    if let Some(firmware) = context.firmware {
        measure(
            context,
            "a load of poison, and claiming its report",
            1,
            || {
                hit.run();
                // What it says is checked elsewhere.
                let _ = firmware::claim(&firmware.aborts);
            },
        );
    }
    Verdict::Done
}
