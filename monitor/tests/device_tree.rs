//! The device tree of QEMU's `virt` (three CPUs, 512 MiB, dumped by `-machine dumpdtb`), before and
//! after the monitor has changed it; and trees that are not what they should be.

use std::ops::Range;

use control::layout::RESERVED_LENGTH;
use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};
use monitor::device_tree::{Changes, Error, change, cpus, ram};
use proptest::prelude::*;

const VIRT: &[u8] = include_bytes!("data/virt-3-cpus.dtb");

const RAM: Range<u64> = 0x4000_0000..0x6000_0000;

fn changes() -> Changes {
    Changes {
        ram: RAM.start..RAM.end - RESERVED_LENGTH,
        hidden_cpu: Some(2),
        initrd: Some(0x4800_0000..0x4810_0000),
        announce: true,
    }
}

fn changed(changes: &Changes) -> Vec<u8> {
    let mut buffer = VIRT.to_vec();
    buffer.resize(1 << 20, 0);
    change(&mut buffer, changes).expect("there is room");
    let total = u32::from_be_bytes(buffer[4..8].try_into().expect("four bytes")) as usize;
    buffer.truncate(total);
    buffer
}

fn property(tree: &Fdt<'_>, path: &str, name: &str) -> Option<Vec<u8>> {
    let node = tree.find_node(path)?;
    let property = node.property(name)?;
    Some(property.value().to_vec())
}

#[test]
fn the_machine_is_read() {
    let tree = Fdt::new(VIRT).expect("QEMU's tree is valid");
    assert_eq!(ram(tree), Ok(RAM));
    assert_eq!(cpus(tree), Ok(3));
}

#[test]
fn the_guest_sees_its_own_machine() {
    let bytes = changed(&changes());
    let tree = Fdt::new(&bytes).expect("the result is valid");
    assert_eq!(ram(tree), Ok(changes().ram));
    assert_eq!(cpus(tree), Ok(2));
    assert!(tree.find_node("/cpus/cpu@1").is_some());
    assert!(tree.find_node("/cpus/cpu@2").is_none());
    assert!(tree.find_node("/cpus/cpu-map").is_none());
    let chosen = |name| property(&tree, "/chosen", name);
    let number = |value: u64| Some(value.to_be_bytes().to_vec());
    assert_eq!(chosen("linux,initrd-start"), number(0x4800_0000));
    assert_eq!(chosen("linux,initrd-end"), number(0x4810_0000));
    assert_eq!(chosen("bootargs"), Some(b"console=ttyAMA0\0".to_vec()));
    let doorbell = [0x0b10_0000_u64.to_be_bytes(), 0x1_0000_u64.to_be_bytes()].concat();
    assert_eq!(chosen("seaworthy,doorbell"), Some(doorbell));
    assert!(chosen("seaworthy,firmware").is_some());
}

#[test]
fn what_is_not_asked_for_stays() {
    let bytes = changed(&Changes {
        ram: RAM,
        hidden_cpu: None,
        initrd: None,
        announce: false,
    });
    let (before, after) = (Fdt::new(VIRT), Fdt::new(&bytes));
    let text = |tree: Fdt<'_>| tree.to_string();
    assert_eq!(before.map(text), after.map(text));
}

#[test]
fn a_second_change_replaces_the_initrd() {
    let mut buffer = changed(&changes());
    buffer.resize(1 << 20, 0);
    let second = Changes {
        hidden_cpu: None,
        initrd: Some(0x5000_0000..0x5000_1000),
        announce: false,
        ..changes()
    };
    change(&mut buffer, &second).expect("there is room");
    let total = u32::from_be_bytes(buffer[4..8].try_into().expect("four bytes")) as usize;
    let tree = Fdt::new(&buffer[..total]).expect("the result is valid");
    let start = property(&tree, "/chosen", "linux,initrd-start");
    assert_eq!(start, Some(0x5000_0000_u64.to_be_bytes().to_vec()));
}

#[test]
fn errors_name_what_is_wrong() {
    let mut buffer = VIRT.to_vec();
    let no_cpu = Changes {
        hidden_cpu: Some(7),
        ..changes()
    };
    assert_eq!(change(&mut buffer, &no_cpu), Err(Error::NoCpu(7)));
    assert_eq!(Error::NoCpu(7).to_string(), "the device tree has no CPU 7");
    let mut tight = VIRT.to_vec();
    let shown = Changes {
        hidden_cpu: None,
        ..changes()
    };
    assert_eq!(change(&mut tight, &shown), Err(Error::NoRoom));
    let malformed = change(&mut [0; 64], &changes());
    assert!(matches!(malformed, Err(Error::Malformed(_))));
}

/// The memory node of the tree with another range in it.
fn with_ram(range: Range<u64>) -> Vec<u8> {
    let value = [RAM.start, RAM.end - RAM.start]
        .map(u64::to_be_bytes)
        .concat();
    let place = VIRT
        .windows(16)
        .position(|window| window == value)
        .expect("the memory node holds it");
    let mut tree = VIRT.to_vec();
    let new = [range.start, range.end - range.start].map(u64::to_be_bytes);
    tree[place..place + 16].copy_from_slice(&new.concat());
    tree
}

#[test]
fn ram_must_be_what_the_monitor_can_use() {
    let of = |range: Range<u64>| ram(Fdt::new(&with_ram(range)).expect("valid"));
    assert_eq!(of(RAM), Ok(RAM));
    assert_eq!(
        of(0x8000_0000..0x9000_0000),
        Err(Error::RamStart(0x8000_0000))
    );
    assert_eq!(
        of(0x4000_0000..0x5000_1000),
        Err(Error::RamEnd(0x5000_1000))
    );
    assert_eq!(
        of(0x4000_0000..0x4200_0000),
        Err(Error::RamEnd(0x4200_0000))
    );
    let large = 0x4000_0000..0x4000_0000 + (1 << 40);
    assert_eq!(of(large.clone()), Err(Error::RamEnd(large.end)));
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(at in 0..VIRT.len(), byte in any::<u8>(), cut in 0..VIRT.len()) {
        let mut damaged = VIRT.to_vec();
        damaged[at] = byte;
        for tree in [&damaged[..], &damaged[..cut]] {
            if let Ok(tree) = Fdt::new(tree) {
                let _ = (ram(tree), cpus(tree));
            }
            let mut buffer = tree.to_vec();
            buffer.resize(1 << 16, 0);
            let _ = change(&mut buffer, &changes());
        }
    }
}
