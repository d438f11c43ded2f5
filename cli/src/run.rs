//! `cargo seaworthy run`: our kernel, with its console on this terminal.
//!
//! | module | what it does |
//! |---|---|
//! | [`image`] | makes the `Image` that boots of the kernel's ELF file |
//! | [`symbols`] | names the functions in a panic's call trace |

mod image;
mod symbols;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::linux::{PROCESSORS, counted, disk, parse_size, provide};
use crate::machine::{self, End, Guest, Machine, Output, monitor};
use crate::tools::Install;
use crate::workspace::Workspace;

/// The package that the kernel is.
const PACKAGE: &str = "seaworthy-kernel";

#[derive(Args)]
pub(crate) struct Options {
    /// Put the monitor under the kernel, so that memory can be poisoned
    #[arg(long)]
    monitor: bool,
    /// Run this static program first, and nothing else is there
    #[arg(long, value_name = "PROGRAM", conflicts_with = "initrd")]
    init: Option<PathBuf>,
    /// With this RAM disk [default: a shell and our test programs]
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// The raw image of a disk, which the kernel may write to; given several times, they are
    /// /dev/vda, /dev/vdb and so on
    #[arg(long = "disk", value_name = "IMAGE")]
    disks: Vec<PathBuf>,
    /// The processor
    #[arg(long, value_parser = PROCESSORS, default_value = "max")]
    cpu: String,
    /// How many CPUs the kernel sees
    #[arg(long, value_name = "N", default_value_t = 4)]
    smp: usize,
    /// RAM, with M or G; the monitor keeps 32 MiB of it
    #[arg(long = "mem", value_name = "SIZE", value_parser = parse_size, default_value = "1G")]
    memory: u64,
    /// The name by which `cargo seaworthy inject` finds the machine
    #[arg(long, default_value = "seaworthy")]
    name: String,
    /// The kernel's command line; after another `--`, what to run instead of the shell
    #[arg(last = true)]
    command_line: Vec<String>,
}

/// Builds the kernel and boots it. Fails unless it switches itself off.
///
/// # Errors
///
/// If something is missing that may not be installed, or cannot be fetched, built or started.
pub(crate) fn run(options: &Options, workspace: &Workspace, install: Install) -> Result<ExitCode> {
    provide(workspace, install)?;
    let kernel = Kernel::build(workspace)?;
    let files = kernel.files(&options.name, &options.initrd(workspace)?)?;
    let mut machine = Machine::start(&options.machine(&files, workspace)?)?;
    println!("Ctrl-A x ends the machine.");
    let terminal = machine.console().attach_terminal()?;
    let end = machine.wait(None, None)?;
    drop(terminal);
    println!("\n{end}");
    for line in kernel.name_calls(&machine.console().text())? {
        println!("{line}");
    }
    if options.monitor {
        println!("monitor: {}", counted(&machine)?);
    }
    Ok(match end {
        End::Off | End::Left => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

impl Options {
    fn initrd(&self, workspace: &Workspace) -> Result<Vec<u8>> {
        match (&self.initrd, &self.init) {
            (Some(path), _) => read(path),
            (None, Some(program)) => Ok(disk::of_one_program(&read(program)?)),
            (None, None) => disk::of_shell(workspace),
        }
    }

    fn machine(&self, files: &BootFiles, workspace: &Workspace) -> Result<machine::Options> {
        Ok(machine::Options {
            processor: processor(&self.cpu),
            guest_cpus: self.smp,
            memory: self.memory,
            monitor: self
                .monitor
                .then(|| monitor::build(workspace))
                .transpose()?,
            command_line: self.command_line.join(" "),
            output: Output::Shown,
            disks: self.disks.clone(),
            ..machine::Options::new(&self.name, files.guest())
        })
    }
}

/// Our kernel, built.
pub(crate) struct Kernel {
    elf: PathBuf,
    folder: PathBuf,
}

impl Kernel {
    /// Builds it.
    ///
    /// # Errors
    ///
    /// If that fails, or there is no place for its image.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self> {
        let elf = monitor::build_package(PACKAGE, workspace)?;
        let folder = workspace.target_directory.join("run");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { elf, folder })
    }

    /// Where such files go.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a machine of this name boots: the flat image, and a RAM disk.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub(crate) fn files(&self, name: &str, initrd: &[u8]) -> Result<BootFiles> {
        let path = |kind: &str| self.folder.join(format!("{name}.{kind}"));
        let files = BootFiles {
            image: path("image"),
            initrd: path("initrd"),
        };
        let write = |path: &Path, bytes: &[u8]| {
            let written = fs::write(path, bytes);
            written.with_context(|| format!("cannot write {}", path.display()))
        };
        write(&files.image, &image::flatten(&read(&self.elf)?)?)?;
        write(&files.initrd, initrd)?;
        Ok(files)
    }

    /// The functions in the call trace of a report on the console.
    ///
    /// # Errors
    ///
    /// If the kernel's file cannot be read.
    pub(crate) fn name_calls(&self, console: &str) -> Result<Vec<String>> {
        symbols::name_calls(console, &read(&self.elf)?)
    }
}

/// What QEMU reads when a machine starts. It goes when this does.
pub(crate) struct BootFiles {
    image: PathBuf,
    initrd: PathBuf,
}

impl BootFiles {
    pub(crate) fn guest(&self) -> Guest {
        Guest::Kernel {
            image: self.image.clone(),
            initrd: Some(self.initrd.clone()),
        }
    }
}

impl Drop for BootFiles {
    fn drop(&mut self) {
        for path in [&self.image, &self.initrd] {
            // What was not written, or cannot be removed, the next build cleans up.
            let _ = fs::remove_file(path);
        }
    }
}

/// What QEMU calls a processor. Of Arm's own algorithm for pointer authentication nobody here
/// depends, and it is slow.
pub(crate) fn processor(name: &str) -> String {
    match name {
        "max" => "max,pauth-impdef=on".to_owned(),
        name => name.to_owned(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
