//! Machines without a monitor, and tiny guests, to test what starts and watches them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::command::Command;

/// Ample, and still an end if the code under test does not see one.
const AMPLE: Duration = Duration::from_secs(60);

const HEADER: [u32; 16] = {
    let mut header = [0; 16];
    header[0] = 0x1400_0010; // b . + 64
    header[4] = 0x20_0000; // image_size
    header[6] = 0xa; // flags
    header[14] = 0x644d_5241; // magic
    header
};

/// Prints `P` if the memory 1 MiB further on is 0, else `D`; writes there; asks for a reset.
const RESETS: [u32; 12] = [
    0xd2a1_2001, // mov x1, #0x9000000
    0x10ff_ffe3, // adr x3, . - 4
    0x9144_0063, // add x3, x3, #0x100, lsl #12
    0xf940_0064, // ldr x4, [x3]
    0x5280_0a02, // mov w2, #'P'
    0xb400_0044, // cbz x4, . + 8
    0x5280_0882, // mov w2, #'D'
    0xb900_0022, // str w2, [x1]
    0xf900_0061, // str x1, [x3]
    0x52b0_8000, // mov w0, #0x84000000
    0x7280_0120, // movk w0, #9
    0xd400_0002, // hvc #0
];

/// Prints `h` and spins.
const SPINS: [u32; 6] = [
    0xd2a1_2001, // mov x1, #0x9000000
    0x5280_0d02, // mov w2, #'h'
    0xb900_0022, // str w2, [x1]
    0x5280_0142, // mov w2, #'\n'
    0xb900_0022, // str w2, [x1]
    0x1400_0000, // b .
];

/// Prints what is typed, until that is `q`; then switches itself off.
const ECHOES: [u32; 10] = [
    0xd2a1_2001, // mov x1, #0x9000000
    0xb940_1822, // ldr w2, [x1, #24]
    0x3727_ffe2, // tbnz w2, #4, . - 4
    0xb940_0022, // ldr w2, [x1]
    0xb900_0022, // str w2, [x1]
    0x7101_c45f, // cmp w2, #'q'
    0x54ff_ff61, // b.ne . - 20
    0x52b0_8000, // mov w0, #0x84000000
    0x7280_0100, // movk w0, #8
    0xd400_0002, // hvc #0
];

/// A machine with a guest of these instructions, and a name of its own.
struct Tiny {
    options: Options,
    image: PathBuf,
}

impl Tiny {
    fn new(program: &[u32]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}", process::id());
        let image = std::env::temp_dir().join(format!("seaworthy-{name}"));
        let words = HEADER.iter().chain(program);
        let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        fs::write(&image, bytes).unwrap();
        let guest = Guest::Kernel {
            image: image.clone(),
            initrd: None,
        };
        Self {
            options: Options {
                memory: 128 << 20,
                ..Options::new(&name, guest)
            },
            image,
        }
    }

    fn start(&self) -> Machine {
        Machine::start(&self.options).unwrap()
    }

    fn error(&self) -> String {
        format!("{:#}", Machine::start(&self.options).err().unwrap())
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        fs::remove_file(&self.image).unwrap();
    }
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
    let tiny = Tiny::new(&RESETS);
    let mut machine = tiny.start();
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
    let tiny = Tiny::new(&SPINS);
    let mut machine = tiny.start();
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
    let mut tiny = Tiny::new(&ECHOES);
    tiny.options.log = Some(log.clone());
    let mut machine = tiny.start();
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
    let mut tiny = Tiny::new(&SPINS);
    tiny.options.guest_cpus = 2;
    let mut machine = tiny.start();
    let mut watchdog = Watchdog::new(Duration::from_secs(1));
    let end = machine.wait(Some(AMPLE), Some(&mut watchdog)).unwrap();
    let End::Hung(hang) = end else {
        panic!("{end}");
    };
    assert_eq!(hang.processors.len(), 2);
    // Without a monitor QEMU chooses where the image goes; it is the last instruction.
    assert_eq!(hang.processors[0].pc & 0xffff, 64 + 5 * 4);
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
    let tiny = Tiny::new(&SPINS);
    let name = &tiny.options.name;
    let machine = tiny.start();
    let of_name = || {
        let mut machines = directory::machines().unwrap().into_iter();
        machines.find(|machine| machine.name == *name)
    };
    let record = of_name().unwrap();
    assert_eq!(record.memory, tiny.options.memory);
    assert!(Path::new("/proc").join(record.pid.to_string()).exists());
    assert!(tiny.error().contains("runs already"));
    let ram = machine.ram().to_owned();
    drop(machine);
    assert!(of_name().is_none() && !ram.exists());
}

#[test]
fn a_machine_without_a_monitor_says_so() {
    need_qemu!();
    let tiny = Tiny::new(&SPINS);
    let machine = tiny.start();
    let error = machine.mailbox().unwrap_err().to_string();
    assert!(error.contains("without a monitor"), "{error}");
}

#[test]
fn what_qemu_refuses_is_said_in_its_words() {
    need_qemu!();
    let mut tiny = Tiny::new(&SPINS);
    tiny.options.processor = "no-such-processor".to_owned();
    let error = tiny.error();
    assert!(error.contains("no-such-processor"), "{error}");
}

#[test]
fn the_end_of_qemu_is_noticed() {
    need_qemu!();
    let tiny = Tiny::new(&SPINS);
    let mut machine = tiny.start();
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
    let mut tiny = Tiny::new(&SPINS);
    tiny.options.guest_cpus = 0;
    assert!(tiny.error().contains("1 to 16"));
    tiny.options.guest_cpus = 16;
    tiny.options.monitor = Some(PathBuf::from("monitor"));
    assert!(tiny.error().contains("1 to 15"));
    tiny.options.guest_cpus = 1;
    tiny.options.memory = 1 << 20;
    assert!(tiny.error().contains("64 MiB"));
    tiny.options.memory = 128 << 20;
    tiny.options.name = "a/b".to_owned();
    assert!(tiny.error().contains("name"));
    tiny.options.name = format!("test-nonsense-{}", process::id());
    tiny.options.guest = Guest::Kernel {
        image: PathBuf::from("/no/such/kernel"),
        initrd: None,
    };
    assert!(tiny.error().contains("/no/such/kernel"));
}

#[test]
fn the_monitor_is_told_where_everything_is() {
    let mut tiny = Tiny::new(&SPINS);
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
