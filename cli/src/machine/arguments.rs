//! The command line of QEMU, and the boot configuration for the monitor.

use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use control::MAX_CPUS;
use control::boot::{Config, FIRMWARE, SERVICE_CPU, SIGNATURE, SILENT, VERSION};
use control::layout::{BOOT_CONFIG, GUEST_IMAGE, RAM_BASE, RESERVED_ALIGNMENT, RESERVED_LENGTH};
use zerocopy::IntoBytes;

use crate::machine::image::{self, Kernel};
use crate::machine::{Guest, Options};

/// The least RAM for a guest with its image and the monitor.
const LEAST_MEMORY: u64 = 64 << 20;

/// Bytes of a disk's sector.
const SECTOR: u64 = 512;

/// How many disks there may be: QEMU's `virt` has 32 places for virtio devices.
const MOST_DISKS: usize = 26;

/// Where an initial RAM disk begins: Linux asks for a multiple of its page size, up to 64 KiB.
const INITRD_ALIGNMENT: u64 = 0x1_0000;

/// QEMU's arguments. `config` is written: the monitor's boot configuration.
///
/// # Errors
///
/// If an option makes no sense, or a file is no good.
pub(super) fn of_qemu(
    options: &Options,
    ram: &Path,
    socket: &Path,
    config: &Path,
) -> Result<Vec<String>> {
    check(options)?;
    let mut arguments = common(options, ram, socket);
    match &options.guest {
        Guest::Kernel { image, initrd } => {
            let usable = usable(options);
            let kernel = image::kernel(image, &usable)?;
            let initrd = initrd
                .as_deref()
                .map(|path| place_initrd(path, &kernel, &usable))
                .transpose()?;
            if let Some(monitor) = &options.monitor {
                let mut boot = Boot::new(options);
                boot.config.entry = kernel.entry;
                boot.load(image, kernel.flat);
                if let Some((path, place)) = initrd {
                    boot.config.initrd_start = place.start;
                    boot.config.initrd_length = place.end - place.start;
                    boot.load(path, Some(place.start));
                }
                arguments.extend(boot.finish(config)?);
                arguments.extend(["-kernel".to_owned(), text(monitor)]);
            } else {
                arguments.extend(["-kernel".to_owned(), text(image)]);
                if let Some((path, _)) = initrd {
                    arguments.extend(["-initrd".to_owned(), text(path)]);
                }
            }
        }
        Guest::Firmware {
            code,
            kernel,
            initrd,
        } => {
            for file in [code, kernel] {
                fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
            }
            let flash = format!(
                "if=pflash,format=raw,unit=0,readonly=on,file={}",
                escape(code)
            );
            arguments.extend(["-drive".to_owned(), flash]);
            arguments.extend(["-kernel".to_owned(), text(kernel)]);
            if let Some(initrd) = initrd {
                image::initrd(initrd)?;
                arguments.extend(["-initrd".to_owned(), text(initrd)]);
            }
            if let Some(monitor) = &options.monitor {
                let mut boot = Boot::new(options);
                boot.config.flags |= FIRMWARE;
                // The flash is at the address where the first CPU starts, unless it is told.
                let loader = format!("loader,file={},cpu-num=0", escape(monitor));
                boot.loaders.push(loader);
                arguments.extend(boot.finish(config)?);
            }
        }
    }
    if !options.command_line.is_empty() {
        arguments.extend(["-append".to_owned(), options.command_line.clone()]);
    }
    arguments.extend(disks(&options.disks)?);
    arguments.extend(options.more.iter().cloned());
    Ok(arguments)
}

/// Disks in the order in which their names are given out: that of their addresses.
fn disks(images: &[PathBuf]) -> Result<Vec<String>> {
    let mut arguments = Vec::new();
    if images.len() > MOST_DISKS {
        bail!("a machine has {MOST_DISKS} disks at most");
    }
    if !images.is_empty() {
        // As virtio has been since 1.0.
        arguments.extend(["-global", "virtio-mmio.force-legacy=false"].map(str::to_owned));
    }
    for (index, image) in images.iter().enumerate() {
        check_disk(image)?;
        let file = escape(image);
        let drive = format!("if=none,id=disk{index},format=raw,file={file}");
        let device = format!("virtio-blk-device,drive=disk{index},bus=virtio-mmio-bus.{index}");
        for (name, value) in [("-drive", drive), ("-device", device)] {
            arguments.extend([name.to_owned(), value]);
        }
    }
    Ok(arguments)
}

/// QEMU would take a file of any length, and show the guest whole sectors only.
fn check_disk(image: &Path) -> Result<()> {
    let what = || format!("cannot use {} as a disk", image.display());
    let file = OpenOptions::new().read(true).write(true).open(image);
    let metadata = file.and_then(|file| file.metadata()).with_context(what)?;
    let length = metadata.len();
    if metadata.is_file() && (length == 0 || !length.is_multiple_of(SECTOR)) {
        bail!(
            "{} has {length} bytes; a disk's image has a multiple of {SECTOR}, and not 0",
            image.display()
        );
    }
    Ok(())
}

fn check(options: &Options) -> Result<()> {
    let most = MAX_CPUS - usize::from(options.monitor.is_some());
    if !(1..=most).contains(&options.guest_cpus) {
        bail!(
            "a guest cannot have {} CPUs, but 1 to {most}",
            options.guest_cpus
        );
    }
    let memory = options.memory;
    if memory < LEAST_MEMORY || !memory.is_multiple_of(RESERVED_ALIGNMENT) {
        bail!(
            "{memory} bytes of RAM will not do: take a multiple of {} MiB, and {} MiB or more",
            RESERVED_ALIGNMENT >> 20,
            LEAST_MEMORY >> 20
        );
    }
    Ok(())
}

fn common(options: &Options, ram: &Path, socket: &Path) -> Vec<String> {
    let mut machine = "virt,gic-version=3,memory-backend=ram".to_owned();
    let mut cpus = options.guest_cpus;
    if options.monitor.is_some() {
        machine += ",virtualization=on";
        cpus += 1;
    }
    if options.tags {
        machine += ",mte=on";
    }
    let memory = options.memory;
    let backend = format!(
        "memory-backend-file,id=ram,share=on,size={memory},mem-path={}",
        escape(ram)
    );
    // Counting needs an order, so all CPUs take turns on one thread.
    let accelerator = if options.counts_instructions {
        "tcg,thread=single"
    } else {
        "tcg,thread=multi"
    };
    let pairs = [
        ("-machine", machine),
        ("-cpu", options.processor.clone()),
        ("-smp", cpus.to_string()),
        ("-object", backend),
        ("-m", format!("size={memory}B")),
        ("-accel", accelerator.to_owned()),
        ("-display", "none".to_owned()),
        ("-monitor", "none".to_owned()),
        ("-chardev", "stdio,id=console,signal=off".to_owned()),
        ("-serial", "chardev:console".to_owned()),
        (
            "-qmp",
            format!("unix:{},server=on,wait=off", escape(socket)),
        ),
        // A guest's own reset stops it, so that the host can make its RAM pristine first; and
        // when it switches itself off, its RAM can still be read.
        ("-action", "reboot=shutdown,shutdown=pause".to_owned()),
    ];
    let mut arguments = ["-nodefaults", "-no-user-config", "-S"]
        .map(str::to_owned)
        .to_vec();
    for (name, value) in pairs {
        arguments.extend([name.to_owned(), value]);
    }
    if options.counts_instructions {
        arguments.extend(["-icount", "shift=0,sleep=off"].map(str::to_owned));
    }
    arguments
}

/// Guest-physical memory that an image may lie in.
fn usable(options: &Options) -> Range<u64> {
    let end = RAM_BASE + options.memory;
    let reserved = options.monitor.as_ref().map_or(0, |_| RESERVED_LENGTH);
    GUEST_IMAGE..end - reserved
}

/// Behind the kernel.
fn place_initrd<'a>(
    path: &'a Path,
    kernel: &Kernel,
    usable: &Range<u64>,
) -> Result<(&'a Path, Range<u64>)> {
    let length = image::initrd(path)?;
    let start = kernel.end.next_multiple_of(INITRD_ALIGNMENT);
    let end = start + length;
    if end > usable.end {
        bail!(
            "the initrd {} has {} MiB, but between the kernel and the end of the guest's RAM are \
             only {}; give it more",
            path.display(),
            length >> 20,
            usable.end.saturating_sub(start) >> 20
        );
    }
    Ok((path, start..end))
}

/// What the monitor is told, and what is loaded besides it. QEMU loads it anew at each reset.
struct Boot {
    config: Config,
    loaders: Vec<String>,
}

impl Boot {
    fn new(options: &Options) -> Self {
        let silent = if options.silent { SILENT } else { 0 };
        Self {
            config: Config {
                signature: SIGNATURE,
                version: VERSION,
                flags: SERVICE_CPU | silent,
                entry: 0,
                initrd_start: 0,
                initrd_length: 0,
            },
            loaders: Vec::new(),
        }
    }

    /// Loads a file as it is to an address, or an ELF file to where it says.
    fn load(&mut self, file: &Path, address: Option<u64>) {
        let file = escape(file);
        self.loaders.push(match address {
            Some(address) => format!("loader,file={file},addr={address:#x},force-raw=on"),
            None => format!("loader,file={file}"),
        });
    }

    fn finish(mut self, config: &Path) -> Result<Vec<String>> {
        fs::write(config, self.config.as_bytes())
            .with_context(|| format!("cannot write {}", config.display()))?;
        self.load(config, Some(BOOT_CONFIG));
        let arguments = self.loaders.into_iter();
        Ok(arguments
            .flat_map(|loader| ["-device".to_owned(), loader])
            .collect())
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// As part of a QEMU option, where a comma is written twice.
fn escape(path: &Path) -> String {
    text(path).replace(',', ",,")
}
