//! What the kernel must know of the machine before anything else, from its device tree
//! (Devicetree specification 0.4, and the bindings that are named).

use core::fmt;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

use crate::arch::cpu::MAX;
use crate::memory::Ranges;

/// Bytes of a command line.
const COMMAND_LINE: usize = 2048;
/// How deep a tree may be where it is searched.
const DEPTH: usize = 8;
/// How many places for virtio devices are kept: as many as QEMU's `virt` has.
const VIRTIO: usize = 32;
/// How many redistributor regions are kept.
const REGIONS: usize = 1;

/// The machine.
#[derive(Clone, Debug)]
pub struct Board {
    /// All RAM.
    pub ram: Ranges,
    /// The parts of it that nobody may use.
    pub reserved: Ranges,
    /// The initial RAM disk: start and end.
    pub initrd: Option<(u64, u64)>,
    /// The kernel's command line.
    pub command_line: CommandLine,
    /// The affinity (MPIDR_EL1) of each CPU, as far as there is room for them.
    pub cpus: [u64; MAX],
    /// How many of them there are.
    pub cpu_count: usize,
    /// The console.
    pub console: Option<Console>,
    /// The interrupt controller.
    pub gic: Gic,
    /// The interrupt of the virtual timer.
    pub timer: u32,
    /// Whether firmware is called by HVC, and not by SMC.
    pub hvc: bool,
    /// Where virtio devices may be, in the order of their addresses.
    pub virtio: [VirtioDevice; VIRTIO],
    /// How many such places there are.
    pub virtio_count: usize,
    /// Where the monitor's ACPI tables about errors start, with their root pointer
    /// (`seaworthy,firmware` in `/chosen`).
    pub firmware: Option<u64>,
}

/// The kernel's command line.
#[derive(Clone)]
pub struct CommandLine {
    text: [u8; COMMAND_LINE],
    length: usize,
}

/// A PL011 (`arm,pl011`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Console {
    /// Physical address of its registers.
    pub address: u64,
    /// Its interrupt.
    pub interrupt: u32,
}

/// A place where a virtio device may be (`virtio,mmio`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioDevice {
    /// Physical address of its registers.
    pub address: u64,
    /// Bytes of its registers.
    pub length: u64,
    /// Its interrupt.
    pub interrupt: u32,
}

/// A GICv3 (`arm,gic-v3`): physical addresses and lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gic {
    /// The distributor.
    pub distributor: (u64, u64),
    /// The redistributors.
    pub redistributors: (u64, u64),
}

/// Why a machine cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The tree is malformed.
    Malformed,
    /// There is no such node.
    Missing(&'static str),
    /// This property is missing or malformed.
    Property(&'static str),
    /// There are more ranges of memory than the kernel keeps.
    TooManyRanges,
    /// The command line is too long.
    CommandLine,
    /// This way to call firmware is unknown.
    FirmwareMethod,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("device tree: ")?;
        match self {
            Self::Malformed => formatter.write_str("it is malformed"),
            Self::Missing(what) => write!(formatter, "there is no {what}"),
            Self::Property(what) => write!(formatter, "{what} is missing or malformed"),
            Self::TooManyRanges => formatter.write_str("there are too many ranges of memory"),
            Self::CommandLine => {
                write!(formatter, "the command line has over {COMMAND_LINE} bytes")
            }
            Self::FirmwareMethod => {
                formatter.write_str("the method of /psci is neither \"hvc\" nor \"smc\"")
            }
        }
    }
}

impl core::error::Error for Error {}

impl fmt::Debug for CommandLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl CommandLine {
    /// The empty one.
    pub const fn new() -> Self {
        Self {
            text: [0; COMMAND_LINE],
            length: 0,
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        // It was made of a `str`.
        core::str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }

    fn of(text: &str) -> Result<Self, Error> {
        let mut line = Self::new();
        let place = line.text.get_mut(..text.len()).ok_or(Error::CommandLine)?;
        place.copy_from_slice(text.as_bytes());
        line.length = text.len();
        Ok(line)
    }
}

impl Default for CommandLine {
    fn default() -> Self {
        Self::new()
    }
}

/// The first node under `node` that is compatible with `wanted`.
fn find<'a>(node: FdtNode<'a>, wanted: &str, depth: usize) -> Option<FdtNode<'a>> {
    if node
        .compatible()
        .is_some_and(|mut names| names.any(|name| name == wanted))
    {
        return Some(node);
    }
    let depth = depth.checked_sub(1)?;
    node.children().find_map(|child| find(child, wanted, depth))
}

/// The ranges of `reg`: start and length of each.
fn ranges<'a>(
    node: FdtNode<'a>,
    what: &'static str,
) -> Result<impl Iterator<Item = Result<(u64, u64), Error>> + 'a, Error> {
    let reg = node.reg().map_err(|_| Error::Property(what))?;
    let reg = reg.ok_or(Error::Property(what))?;
    Ok(reg.map(move |range| {
        let start: u64 = range.address().map_err(|_| Error::Property(what))?;
        let length: u64 = range.size().map_err(|_| Error::Property(what))?;
        start.checked_add(length).ok_or(Error::Property(what))?;
        Ok((start, length))
    }))
}

/// Interrupt number `index` of a node, by the binding of `arm,gic-v3`: cells of kind, number
/// and trigger, where kind 0 counts from 32 and kind 1 from 16.
fn interrupt(node: FdtNode<'_>, index: usize, what: &'static str) -> Result<u32, Error> {
    let cells = node.property("interrupts").ok_or(Error::Property(what))?;
    let cell = |cell: usize| {
        let bytes = cells.value().get(cell * 4..cell * 4 + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let (kind, number) = (cell(index * 3), cell(index * 3 + 1));
    match (kind, number) {
        (Some(0), Some(number @ 0..988)) => Ok(32 + number),
        (Some(1), Some(number @ 0..16)) => Ok(16 + number),
        _ => Err(Error::Property(what)),
    }
}

/// An address in `/chosen`, which has one cell or two.
fn address(node: FdtNode<'_>, name: &'static str) -> Result<Option<u64>, Error> {
    let Some(property) = node.property(name) else {
        return Ok(None);
    };
    match property.value().len() {
        4 => property.value_as::<u32>().map(u64::from),
        _ => property.value_as::<u64>(),
    }
    .map(Some)
    .map_err(|_| Error::Property(name))
}

/// The console, if there is one.
///
/// # Errors
///
/// [`Error`]: the tree or the console's node is malformed.
pub fn console(tree: Fdt<'_>) -> Result<Option<Console>, Error> {
    let Some(node) = find(tree.root(), "arm,pl011", DEPTH) else {
        return Ok(None);
    };
    let (address, _) = ranges(node, "reg of the PL011")?
        .next()
        .ok_or(Error::Property("reg of the PL011"))??;
    Ok(Some(Console {
        address,
        interrupt: interrupt(node, 0, "interrupts of the PL011")?,
    }))
}

/// Those at the root, where QEMU has them.
fn virtio(tree: Fdt<'_>) -> Result<([VirtioDevice; VIRTIO], usize), Error> {
    let (mut devices, mut count) = ([VirtioDevice::default(); VIRTIO], 0);
    let nodes = tree.root().children();
    let nodes = nodes.filter(|node| find(*node, "virtio,mmio", 0).is_some());
    for (device, node) in devices.iter_mut().zip(nodes) {
        let (address, length) = ranges(node, "reg of a virtio device")?
            .next()
            .ok_or(Error::Property("reg of a virtio device"))??;
        *device = VirtioDevice {
            address,
            length,
            interrupt: interrupt(node, 0, "interrupts of a virtio device")?,
        };
        count += 1;
    }
    devices[..count].sort_unstable_by_key(|device| device.address);
    Ok((devices, count))
}

fn gic(tree: Fdt<'_>) -> Result<Gic, Error> {
    let node = find(tree.root(), "arm,gic-v3", DEPTH).ok_or(Error::Missing("GICv3"))?;
    let mut reg = ranges(node, "reg of the GICv3")?;
    let mut next = || reg.next().ok_or(Error::Property("reg of the GICv3"))?;
    let (distributor, redistributors) = (next()?, next()?);
    let regions = node.property("#redistributor-regions");
    if regions.is_some_and(|count| count.value_as::<u32>() != Ok(REGIONS as u32)) {
        return Err(Error::Property("#redistributor-regions of the GICv3"));
    }
    Ok(Gic {
        distributor,
        redistributors,
    })
}

fn memory(tree: Fdt<'_>) -> Result<(Ranges, Ranges), Error> {
    let (mut ram, mut reserved) = (Ranges::new(), Ranges::new());
    let nodes = tree.root().children();
    for node in nodes.filter(|node| node.name_without_address() == "memory") {
        for range in ranges(node, "reg of the memory")? {
            let (start, length) = range?;
            ram.add(start, start + length)
                .map_err(|_| Error::TooManyRanges)?;
        }
    }
    for entry in tree.memory_reservations() {
        let end = entry
            .address()
            .checked_add(entry.size())
            .ok_or(Error::Malformed)?;
        reserved
            .add(entry.address(), end)
            .map_err(|_| Error::TooManyRanges)?;
    }
    let nodes = tree.root().child("reserved-memory");
    for node in nodes.into_iter().flat_map(|node| node.children()) {
        if node.property("reg").is_none() {
            continue;
        }
        for range in ranges(node, "reg of reserved memory")? {
            let (start, length) = range?;
            reserved
                .add(start, start + length)
                .map_err(|_| Error::TooManyRanges)?;
        }
    }
    Ok((ram, reserved))
}

fn cpus(tree: Fdt<'_>) -> Result<([u64; MAX], usize), Error> {
    let node = tree.root().child("cpus").ok_or(Error::Missing("/cpus"))?;
    let (mut cpus, mut count) = ([0; MAX], 0);
    let nodes = node.children();
    for node in nodes
        .filter(|node| node.name_without_address() == "cpu")
        .take(MAX)
    {
        let reg = node
            .property("reg")
            .ok_or(Error::Property("reg of a CPU"))?;
        cpus[count] = match reg.value().len() {
            4 => reg.value_as::<u32>().map(u64::from),
            _ => reg.value_as::<u64>(),
        }
        .map_err(|_| Error::Property("reg of a CPU"))?;
        count += 1;
    }
    Ok((cpus, count))
}

impl Board {
    /// Reads a tree.
    ///
    /// # Errors
    ///
    /// [`Error`]: the tree is malformed, or the machine is not one that the kernel can use.
    pub fn read(tree: Fdt<'_>) -> Result<Self, Error> {
        let (ram, reserved) = memory(tree)?;
        if ram.total() == 0 {
            return Err(Error::Missing("memory"));
        }
        let (cpus, cpu_count) = cpus(tree)?;
        let timer = find(tree.root(), "arm,armv8-timer", DEPTH).ok_or(Error::Missing("timer"))?;
        let psci = tree.root().child("psci").ok_or(Error::Missing("/psci"))?;
        let method = psci.property("method").ok_or(Error::FirmwareMethod)?;
        let hvc = match method.value() {
            b"hvc\0" => true,
            b"smc\0" => false,
            _ => return Err(Error::FirmwareMethod),
        };
        let (virtio, virtio_count) = virtio(tree)?;
        let mut board = Self {
            virtio,
            virtio_count,
            ram,
            reserved,
            initrd: None,
            command_line: CommandLine::new(),
            cpus,
            cpu_count,
            console: console(tree)?,
            gic: gic(tree)?,
            // In order: secure and not, EL1 physical; virtual; EL2 physical.
            timer: interrupt(timer, 2, "interrupts of the timer")?,
            hvc,
            firmware: None,
        };
        if let Some(chosen) = tree.root().child("chosen") {
            if let Some(line) = chosen.property("bootargs") {
                let line = line
                    .value_as::<&str>()
                    .map_err(|_| Error::Property("bootargs"))?;
                board.command_line = CommandLine::of(line)?;
            }
            // Address and length; an address alone has the same first cells.
            board.firmware = chosen
                .property("seaworthy,firmware")
                .and_then(|range| Some(u64::from_be_bytes(*range.value().first_chunk()?)));
            let start = address(chosen, "linux,initrd-start")?;
            let end = address(chosen, "linux,initrd-end")?;
            board.initrd = start.zip(end).filter(|(start, end)| start < end);
        }
        Ok(board)
    }
}

#[cfg(test)]
mod tests {
    use dtoolkit::fdt::Fdt;
    use proptest::prelude::*;

    use super::{Board, Console, Gic, VirtioDevice};

    /// The tree of QEMU's `virt` with 3 CPUs.
    const VIRT: &[u8] = include_bytes!("../../monitor/tests/data/virt-3-cpus.dtb");

    #[test]
    fn virt_is_understood() {
        let board = Board::read(Fdt::new(VIRT).unwrap()).unwrap();
        assert_eq!(
            board.ram.iter().next().map(|(start, _)| start),
            Some(0x4000_0000)
        );
        assert_eq!((board.cpu_count, board.cpus[2], board.timer), (3, 2, 27));
        let console = Console {
            address: 0x900_0000,
            interrupt: 33,
        };
        assert_eq!(board.console, Some(console));
        let gic = Gic {
            distributor: (0x800_0000, 0x1_0000),
            redistributors: (0x80a_0000, 0xf6_0000),
        };
        assert_eq!(board.gic, gic);
        let device = |index: u32| VirtioDevice {
            address: 0xa00_0000 + u64::from(index) * 0x200,
            length: 0x200,
            interrupt: 48 + index,
        };
        assert_eq!(board.virtio_count, 32);
        assert_eq!((board.virtio[0], board.virtio[31]), (device(0), device(31)));
    }

    proptest! {
        #[test]
        fn a_corrupt_tree_is_an_error_or_a_board(
            changes in prop::collection::vec((0..VIRT.len(), any::<u8>()), 1..8),
        ) {
            let mut bytes = VIRT.to_vec();
            for (at, value) in changes {
                bytes[at] = value;
            }
            if let Ok(tree) = Fdt::new(&bytes) {
                let _ = Board::read(tree);
            }
        }
    }
}
