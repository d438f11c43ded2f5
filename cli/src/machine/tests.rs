//! Machines without a monitor, to test what starts and watches them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process;

use super::tiny::{AMPLE, Conduit, SPINS, START, Tiny, echoes, resets};
use super::*;
use crate::command::Command;

fn error_of(tiny: &Tiny) -> String {
    format!("{:#}", tiny.start().err().unwrap())
}

fn has_qemu() -> bool {
    Command::new(QEMU).arg("--version").capture().is_ok()
}

macro_rules! need_qemu {
    () => {
        if !has_qemu() {
            testing::skip!("{QEMU} is not installed");
        }
    };
}

#[test]
fn a_guest_that_resets_itself_finds_its_memory_pristine() {
    need_qemu!();
    let tiny = Tiny::new(&resets(Conduit::Hvc)).unwrap();
    let mut machine = tiny.start().unwrap();
    for printed in ["P", "PP", "PPP"] {
        let end = machine.wait(Some(AMPLE), None).unwrap();
        assert!(matches!(end, End::Reset), "{end}");
        assert_eq!(machine.console().text(), printed);
        let took = machine.reset().unwrap();
        assert!(took < AMPLE);
    }
}

#[test]
fn a_reset_makes_all_of_ram_zero_but_for_what_is_loaded() {
    need_qemu!();
    let tiny = Tiny::new(&SPINS).unwrap();
    let mut machine = tiny.start().unwrap();
    machine.console().wait_for("h\n", AMPLE).unwrap();
    let ram = File::options()
        .read(true)
        .write(true)
        .open(machine.ram())
        .unwrap();
    let end = tiny.options.memory - 8;
    for place in [0x100_0000, end] {
        ram.write_all_at(b"leftover", place).unwrap();
    }
    machine.reset().unwrap();
    machine.console().wait_for("h\n", AMPLE).unwrap();
    for place in [0x100_0000, end] {
        let mut bytes = [1; 8];
        ram.read_exact_at(&mut bytes, place).unwrap();
        assert_eq!(bytes, [0; 8], "{place:#x}");
    }
}

#[test]
fn a_guest_reads_what_is_typed_and_its_end_leaves_its_memory_readable() {
    need_qemu!();
    let log = std::env::temp_dir().join(format!("seaworthy-log-{}", process::id()));
    let mut tiny = Tiny::new(&echoes(Conduit::Hvc)).unwrap();
    tiny.options.log = Some(log.clone());
    let mut machine = tiny.start().unwrap();
    machine.console().send(b"hello\n").unwrap();
    machine.console().wait_for("hello\n", AMPLE).unwrap();
    machine.console().send(b"q").unwrap();
    let end = machine.wait(Some(AMPLE), None).unwrap();
    assert!(matches!(end, End::Off), "{end}");
    assert!(fs::metadata(machine.ram()).is_ok());
    assert_eq!(fs::read_to_string(&log).unwrap(), "hello\nq");
    fs::remove_file(log).unwrap();
}

#[test]
fn a_hang_is_reported_with_the_place_and_the_last_lines() {
    need_qemu!();
    let mut tiny = Tiny::new(&SPINS).unwrap();
    tiny.options.guest_cpus = 2;
    let mut machine = tiny.start().unwrap();
    let mut watchdog = Watchdog::new(Duration::from_secs(1));
    let end = machine.wait(Some(AMPLE), Some(&mut watchdog)).unwrap();
    let End::Hung(hang) = end else {
        panic!("{end}");
    };
    assert_eq!(hang.processors.len(), 2);
    // Without a monitor QEMU chooses where the image goes; it is the last instruction.
    assert_eq!(hang.processors[0].pc & 0xffff, START + 5 * 4);
    assert!(hang.processors[0].state.contains("EL1h"));
    let text = hang.to_string();
    assert!(
        text.contains("the guest hangs") && text.ends_with("\n    h"),
        "{text}"
    );
}

#[test]
fn a_machine_is_found_by_name_and_leaves_nothing_behind() {
    need_qemu!();
    let tiny = Tiny::new(&SPINS).unwrap();
    let name = &tiny.options.name;
    let machine = tiny.start().unwrap();
    let of_name = || {
        let mut machines = directory::machines().unwrap().into_iter();
        machines.find(|machine| machine.name == *name)
    };
    let record = of_name().unwrap();
    assert_eq!(record.memory, tiny.options.memory);
    assert!(Path::new("/proc").join(record.pid.to_string()).exists());
    assert!(error_of(&tiny).contains("runs already"));
    let ram = machine.ram().to_owned();
    drop(machine);
    assert!(of_name().is_none() && !ram.exists());
}

#[test]
fn a_machine_without_a_monitor_says_so() {
    need_qemu!();
    let tiny = Tiny::new(&SPINS).unwrap();
    let machine = tiny.start().unwrap();
    let error = machine.mailbox().unwrap_err().to_string();
    assert!(error.contains("without a monitor"), "{error}");
}

#[test]
fn what_qemu_refuses_is_said_in_its_words() {
    need_qemu!();
    let mut tiny = Tiny::new(&SPINS).unwrap();
    tiny.options.processor = "no-such-processor".to_owned();
    let error = error_of(&tiny);
    assert!(error.contains("no-such-processor"), "{error}");
}

#[test]
fn the_end_of_qemu_is_noticed() {
    need_qemu!();
    let tiny = Tiny::new(&SPINS).unwrap();
    let mut machine = tiny.start().unwrap();
    machine.qmp().execute("quit", Value::Null).unwrap();
    let end = machine.wait(Some(AMPLE), None).unwrap();
    assert!(matches!(end, End::Exited(_)), "{end}");
    let mut machine = tiny_killed(&tiny);
    let end = machine.wait(Some(AMPLE), None).unwrap();
    assert!(end.to_string().contains("signal: 9"), "{end}");
}

/// A machine whose QEMU somebody has killed.
fn tiny_killed(tiny: &Tiny) -> Machine {
    let mut other = Options::clone(&tiny.options);
    other.name += "-killed";
    let machine = Machine::start(&other).unwrap();
    machine.process.kill();
    machine
}

#[test]
fn nonsense_is_refused_before_qemu_runs() {
    let mut tiny = Tiny::new(&SPINS).unwrap();
    tiny.options.guest_cpus = 0;
    assert!(error_of(&tiny).contains("1 to 16"));
    tiny.options.guest_cpus = 16;
    tiny.options.monitor = Some(PathBuf::from("monitor"));
    assert!(error_of(&tiny).contains("1 to 15"));
    tiny.options.guest_cpus = 1;
    tiny.options.memory = 1 << 20;
    assert!(error_of(&tiny).contains("64 MiB"));
    tiny.options.memory = 128 << 20;
    tiny.options.name = "a/b".to_owned();
    assert!(error_of(&tiny).contains("name"));
    tiny.options.name = format!("test-nonsense-{}", process::id());
    tiny.options.guest = Guest::Kernel {
        image: PathBuf::from("/no/such/kernel"),
        initrd: None,
    };
    assert!(error_of(&tiny).contains("/no/such/kernel"));
}

#[test]
fn the_monitor_is_told_where_everything_is() {
    let mut tiny = Tiny::new(&SPINS).unwrap();
    let initrd = tiny.image.with_extension("initrd,with,commas");
    fs::write(&initrd, b"\x1f\x8bcompressed").unwrap();
    let config = tiny.image.with_extension("config");
    tiny.options.monitor = Some(PathBuf::from("/target/monitor"));
    tiny.options.silent = true;
    tiny.options.guest = Guest::Kernel {
        image: tiny.image.clone(),
        initrd: Some(initrd.clone()),
    };
    let arguments = arguments::of_qemu(
        &tiny.options,
        Path::new("/ram"),
        Path::new("/socket"),
        &config,
    )
    .unwrap()
    .join(" ");
    let words: Vec<u64> = fs::read(&config)
        .unwrap()
        .chunks(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect();
    fs::remove_file(&initrd).unwrap();
    fs::remove_file(&config).unwrap();
    let flags = control::boot::SERVICE_CPU | control::boot::SILENT;
    assert_eq!(
        words,
        [
            control::boot::SIGNATURE,
            u64::from(flags) << 32 | u64::from(control::boot::VERSION),
            0x4020_0000,
            0x4040_0000,
            12
        ]
    );
    for part in [
        "virtualization=on",
        "-smp 2",
        "addr=0x40200000,force-raw=on",
        "initrd,,with,,commas,addr=0x40400000",
        "addr=0x40100000",
        "-kernel /target/monitor",
    ] {
        assert!(arguments.contains(part), "no {part} in {arguments}");
    }
}
