//! Multiple APIC description table: ACPI 5.2.12, as QEMU 10's `virt` has it.

use alloc::vec;
use alloc::vec::Vec;

use apei::{Oem, TableHeader};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// QEMU's, but for the revision, which must be higher than QEMU's 1.
const OEM: Oem = Oem {
    id: *b"BOCHS ",
    table_id: *b"BXPC    ",
    revision: U32::new(0x1000),
    creator_id: *b"SEAW",
    creator_revision: U32::new(1),
};

const REVISION: u8 = 4;

// Where `virt` has the parts of its interrupt controller.
const DISTRIBUTOR: u64 = 0x0800_0000;
const TRANSLATION_SERVICE: u64 = 0x0808_0000;
const REDISTRIBUTORS: u64 = 0x080a_0000;
const REDISTRIBUTORS_LENGTH: u32 = 0x00f6_0000;
/// INTIDs of private interrupts: performance monitors and virtual interrupt maintenance.
const PMU_INTERRUPT: u32 = 23;
const MAINTENANCE_INTERRUPT: u32 = 25;
/// With GICv3, QEMU puts so many CPUs into a cluster: as many as a list of targets can name.
const CPUS_PER_CLUSTER: u32 = 16;

/// ACPI 5.2.12, after the table's header.
#[derive(FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    local_controller: U32,
    flags: U32,
}

/// ACPI 5.2.12.14, "GIC CPU Interface (GICC) Structure"; the 80 bytes that it had in ACPI 6.0.
#[derive(FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct CpuInterface {
    kind: u8,
    length: u8,
    reserved: U16,
    number: U32,
    processor_uid: U32,
    flags: U32,
    parking_version: U32,
    performance_interrupt: U32,
    parked_address: U64,
    base: U64,
    virtual_interface: U64,
    control_block: U64,
    maintenance_interrupt: U32,
    redistributor: U64,
    mpidr: U64,
    efficiency_class: u8,
    reserved_end: [u8; 3],
}

/// ACPI 5.2.12.15, "GIC Distributor (GICD) Structure".
#[derive(FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Distributor {
    kind: u8,
    length: u8,
    reserved: U16,
    id: U32,
    base: U64,
    vector_base: U32,
    version: u8,
    reserved_end: [u8; 3],
}

/// ACPI 5.2.12.17, "GIC Redistributor (GICR) Structure".
#[derive(FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Redistributors {
    kind: u8,
    length: u8,
    reserved: U16,
    base: U64,
    range_length: U32,
}

/// ACPI 5.2.12.18, "GIC Interrupt Translation Service (ITS) Structure".
#[derive(FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TranslationService {
    kind: u8,
    length: u8,
    reserved: U16,
    id: U32,
    base: U64,
    reserved_end: U32,
}

const _: () = {
    assert!(size_of::<CpuInterface>() == 80);
    assert!(size_of::<Distributor>() == 24);
    assert!(size_of::<Redistributors>() == 16);
    assert!(size_of::<TranslationService>() == 20);
};

pub(super) fn encode(cpus: u32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(Head::new_zeroed().as_bytes());
    body.extend(distributor().as_bytes());
    for index in 0..cpus {
        body.extend(cpu_interface(index).as_bytes());
    }
    body.extend(redistributors().as_bytes());
    body.extend(translation_service().as_bytes());

    let mut table = vec![0; size_of::<TableHeader>() + body.len()];
    let encoded = TableHeader::encode(*b"APIC", REVISION, &OEM, &body, &mut table);
    debug_assert_eq!(encoded, Ok(table.len()));
    table
}

fn distributor() -> Distributor {
    const GIC_V3: u8 = 3;
    Distributor {
        kind: 0x0c,
        length: size_of::<Distributor>() as u8,
        base: DISTRIBUTOR.into(),
        version: GIC_V3,
        ..Distributor::new_zeroed()
    }
}

/// Its addresses are 0: with GICv3 they are registers and redistributors.
fn cpu_interface(index: u32) -> CpuInterface {
    const ENABLED: u32 = 1 << 0;
    const AFF1_SHIFT: u32 = 8;
    let (cluster, core) = (index / CPUS_PER_CLUSTER, index % CPUS_PER_CLUSTER);
    let mpidr = (cluster << AFF1_SHIFT) | core;
    CpuInterface {
        kind: 0x0b,
        length: size_of::<CpuInterface>() as u8,
        number: index.into(),
        processor_uid: index.into(),
        flags: ENABLED.into(),
        performance_interrupt: PMU_INTERRUPT.into(),
        maintenance_interrupt: MAINTENANCE_INTERRUPT.into(),
        mpidr: u64::from(mpidr).into(),
        ..CpuInterface::new_zeroed()
    }
}

fn redistributors() -> Redistributors {
    Redistributors {
        kind: 0x0e,
        length: size_of::<Redistributors>() as u8,
        base: REDISTRIBUTORS.into(),
        range_length: REDISTRIBUTORS_LENGTH.into(),
        ..Redistributors::new_zeroed()
    }
}

fn translation_service() -> TranslationService {
    TranslationService {
        kind: 0x0f,
        length: size_of::<TranslationService>() as u8,
        base: TRANSLATION_SERVICE.into(),
        ..TranslationService::new_zeroed()
    }
}
