//! Single tables: Intel's disassembler understands them, and the one that takes the place of QEMU's
//! differs from it only in who made it.

use std::path::{Path, PathBuf};
use std::process::Command;

use apei::{Hest, TableHeader};
use control::layout::NOTIFY_INTID;
use firmware::Source;
use firmware::host::{self, Table};
use zerocopy::FromBytes;

use crate::qemu::{self, Qemu};

/// A folder of one test's own.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn every_table_is_one() {
    let tables = host::tables(2);
    let signatures = tables.iter().map(|Table { bytes, .. }| {
        let signature = bytes[..4].try_into().unwrap();
        let (_, table) = TableHeader::parse(bytes, signature).unwrap();
        assert_eq!(table.len(), bytes.len());
        signature
    });
    let signatures: Vec<[u8; 4]> = signatures.collect();
    assert_eq!(
        signatures,
        [*b"HEST", *b"BERT", *b"EINJ", *b"SSDT", *b"APIC"]
    );
}

#[test]
fn linux_gets_the_sources_that_it_knows() {
    let tables = host::tables(1);
    let ids: Vec<u16> = Hest::parse(&tables[0].bytes)
        .unwrap()
        .sources()
        .map(|source| source.unwrap().generic().unwrap().source_id.get())
        .collect();
    assert_eq!(ids, [Source::Sea.id(), Source::Gsiv.id()]);
}

/// Disassembles a table and assembles it again. Returns the source and all that was said.
fn disassemble(folder: &Path, table: &Table) -> (String, String) {
    std::fs::write(folder.join(table.name), &table.bytes).unwrap();
    let disassembled = run(folder, &["-d", table.name]);
    let source = Path::new(table.name).with_extension("dsl");
    let compiled = run(folder, &["-p", "again", source.to_str().unwrap()]);
    let again = std::fs::read(folder.join("again.aml")).unwrap();
    let body = size_of::<TableHeader>();
    assert!(
        again[body..] == table.bytes[body..],
        "{} has changed",
        table.name
    );
    let source = std::fs::read_to_string(folder.join(source)).unwrap();
    (source, disassembled + &compiled)
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("iasl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "iasl {arguments:?}: {text}");
    text
}

#[test]
fn the_disassembler_has_no_complaints() {
    if Command::new("iasl").arg("-v").output().is_err() {
        testing::skip!("iasl is not installed; apt install acpica-tools");
    }
    let folder = folder("iasl");
    for table in host::tables(4) {
        let (source, said) = disassemble(&folder, &table);
        let name = table.name;
        let (said, praise) = (said.as_str(), "0 Errors, 0 Warnings, 0 Remarks");
        assert!(said.contains(praise), "{name}: {said}");
        for complaint in ["Warning", "Invalid", "Unknown", "****"] {
            assert!(
                !said.replace(praise, "").contains(complaint),
                "{name}: {said}"
            );
            assert!(!source.contains(complaint), "{name}: {source}");
        }
        if name == "ssdt.aml" {
            check_event_device(&source);
        }
    }
}

/// What the AML says, in the language that it is compiled from.
fn check_event_device(source: &str) {
    let source: Vec<&str> = source.split_whitespace().collect();
    let source = source.join(" ");
    for part in [
        "Scope (\\_SB) { Device (SWHE)",
        "Name (_HID, EisaId (\"PNP0C33\")",
        "Device (SWGE) { Name (_HID, \"ACPI0013\"",
        "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x00000084, }",
        "Method (_EVT, 1, Serialized)",
        "If ((Arg0 == 0x84)) { Notify (\\_SB.SWHE, 0x80)",
    ] {
        assert!(source.contains(part), "{part} is not in {source}");
    }
}

/// An interpreter of AML loads the devices next to QEMU's own, which must not have their names, and
/// takes the interrupt.
#[test]
fn the_interrupt_notifies_the_error_device() {
    if Command::new("acpiexec").arg("-v").output().is_err() {
        testing::skip!("acpiexec is not installed; apt install acpica-tools");
    }
    if qemu::version().is_none() {
        testing::skip!("qemu-system-aarch64 is not installed");
    }
    let folder = folder("acpiexec");
    let mut dsdt = Qemu::start(2, &folder).acpi_table(*b"DSDT");
    let has_event_device = dsdt.windows(4).any(|name| name == b"GED_");
    assert!(
        has_event_device,
        "QEMU has no event device that ours could clash with"
    );
    dsdt[9] = dsdt.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    std::fs::write(folder.join("dsdt.aml"), dsdt).unwrap();
    std::fs::write(folder.join("ssdt.aml"), host::ssdt()).unwrap();
    let interrupt = |number: u32| {
        let command = format!("execute \\_SB.SWGE._EVT {number:#x}");
        let output = Command::new("acpiexec")
            .args(["-b", &command, "dsdt.aml", "ssdt.aml"])
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            said.contains("2 ACPI AML tables successfully acquired and loaded"),
            "{said}"
        );
        assert!(said.contains("Evaluating \\_SB.SWGE._EVT"), "{said}");
        said.contains("Received a Device Notify on [SWHE]") && said.contains("Value 0x80")
    };
    assert!(interrupt(NOTIFY_INTID));
    assert!(!interrupt(NOTIFY_INTID + 1));
}

#[test]
fn the_table_of_cpus_is_qemu_s() {
    match qemu::version() {
        None => testing::skip!("qemu-system-aarch64 is not installed"),
        Some(version) if !version.starts_with("10.") => {
            testing::skip!("this is QEMU {version}, the tables are those of QEMU 10");
        }
        Some(_) => {}
    }
    let folder = folder("madt");
    for cpus in [1, 3, 16, 18] {
        let theirs = Qemu::start(cpus, &folder).acpi_table(*b"APIC");
        let ours = host::madt(cpus);
        // Firmware in the guest puts in the checksum.
        let (their_header, _) = TableHeader::read_from_prefix(&theirs).unwrap();
        let (our_header, _) = TableHeader::parse(&ours, *b"APIC").unwrap();
        let body = size_of::<TableHeader>();
        assert!(
            ours[body..] == theirs[body..],
            "{cpus} CPUs: {ours:02x?}, not {theirs:02x?}"
        );
        assert_eq!(our_header.revision, their_header.revision);
        // Linux takes a table for a newer version of another by these.
        assert_eq!(our_header.oem.id, their_header.oem.id);
        assert_eq!(our_header.oem.table_id, their_header.oem.table_id);
        assert!(our_header.oem.revision > their_header.oem.revision);
    }
}
