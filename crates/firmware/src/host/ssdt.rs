//! Two devices: an error device (HED), which sources with notification type GSIV report through,
//! and a generic event device (GED, ACPI 5.6.9), which tells it of the notification interrupt.
//!
//! QEMU has an event device of its own, `\_SB.GED` with the unique identifier `GED`, and with
//! `ras=on` an error device; these have other names.

use alloc::vec;
use alloc::vec::Vec;

use acpi_tables::Aml;
use acpi_tables::aml::{
    Arg, Device, EISAName, Equal, If, Interrupt, Method, Name, Notify, Path, ResourceTemplate,
    Scope,
};
use acpi_tables::sdt::Sdt;
use control::layout::NOTIFY_INTID;

use crate::tables::OEM;

const REVISION: u8 = 2;
const ERROR_DEVICE: &str = "\\_SB_.SWHE";

/// Notification value: the operating system shall look at its error sources (ACPI 18.3.2.7.2).
const LOOK_FOR_ERRORS: u8 = 0x80;

pub(super) fn encode() -> Vec<u8> {
    let error_device_hid = Name::new("_HID".into(), &EISAName::new("PNP0C33"));
    let error_device_uid = Name::new("_UID".into(), &"SEAW");
    let error_device = Device::new("SWHE".into(), vec![&error_device_hid, &error_device_uid]);

    let event_device_hid = Name::new("_HID".into(), &"ACPI0013");
    let event_device_uid = Name::new("_UID".into(), &"SEAW");
    let interrupt = interrupt();
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&interrupt]));
    let number = Arg(0);
    let is_ours = Equal::new(&number, &NOTIFY_INTID);
    let target = Path::new(ERROR_DEVICE);
    let notify = Notify::new(&target, &LOOK_FOR_ERRORS);
    let if_ours = If::new(&is_ours, vec![&notify]);
    let event = Method::new("_EVT".into(), 1, true, vec![&if_ours]);
    let event_device = Device::new(
        "SWGE".into(),
        vec![&event_device_hid, &event_device_uid, &resources, &event],
    );

    let system_bus = Scope::new("\\_SB_".into(), vec![&error_device, &event_device]);
    let mut body = Vec::new();
    system_bus.to_aml_bytes(&mut body);

    let mut table = Sdt::new(
        *b"SSDT",
        36,
        REVISION,
        OEM.id,
        OEM.table_id,
        OEM.revision.get(),
    );
    table.append_slice(&body);
    table.as_slice().to_vec()
}

fn interrupt() -> Interrupt {
    let (consumer, edge_triggered, active_low, shared) = (true, true, false, false);
    Interrupt::new(consumer, edge_triggered, active_low, shared, NOTIFY_INTID)
}
