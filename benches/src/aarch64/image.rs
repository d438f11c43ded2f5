//! This program, built for arm64: what its functions are and where their code lies.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol};

pub(super) const EMULATOR: &str = "qemu-aarch64";
const TARGET: &str = "aarch64-unknown-linux-musl";

/// The program and the code of its contestants, by name.
pub(super) struct Image {
    pub(super) program: PathBuf,
    functions: BTreeMap<String, Function>,
}

/// The code of one function.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) addresses: Range<u64>,
    pub(super) words: Vec<u32>,
}

impl Image {
    /// Builds the program and asks it for its contestants.
    ///
    /// # Errors
    ///
    /// If it cannot be built, or not be run by the emulator.
    pub(super) fn build() -> Result<Self> {
        let program = build()?;
        let bytes = std::fs::read(&program)?;
        let file = object::File::parse(&*bytes)?;
        let listing = run(Command::new(EMULATOR).arg(&program).arg("--addresses"))?;
        let functions = listing
            .lines()
            .map(|line| {
                let (address, name) = line.split_once(' ').context("a line without a name")?;
                let address = u64::from_str_radix(address.trim_start_matches("0x"), 16)?;
                Ok((name.to_owned(), function(&file, address)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { program, functions })
    }

    pub(super) fn function(&self, name: &str) -> Option<&Function> {
        self.functions.get(name)
    }

    /// The variants that have a routine of this name.
    pub(super) fn variants(&self, routine: &str) -> impl Iterator<Item = &str> {
        self.functions.keys().filter_map(move |name| {
            let variant = name.strip_prefix(routine)?.strip_prefix('/')?;
            Some(variant)
        })
    }
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--release", "--bin", "copy"])
        .args(["--target", TARGET])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .args(["--message-format", "json-render-diagnostics"])
        // Static binaries for arm64 need no cross compiler: rust-lld ships with Rust.
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld")
        .stderr(Stdio::inherit());
    let messages = run(&mut command)
        .with_context(|| format!("cannot build for {TARGET} (`rustup target add {TARGET}`?)"))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo did not say where it put the program")
}

/// Runs a command and returns what it printed.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {program}: is it installed?"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} failed: {}",
        errors.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The function that starts at `address`.
fn function(file: &object::File<'_>, address: u64) -> Result<Function> {
    let size = file
        .symbols()
        .filter(|symbol| symbol.address() == address)
        .map(|symbol| symbol.size())
        .max()
        .filter(|&size| size > 0)
        .with_context(|| format!("no symbol says how long the function at {address:#x} is"))?;
    let code = file
        .sections()
        .find_map(|section| section.data_range(address, size).ok().flatten())
        .with_context(|| format!("no section holds the function at {address:#x}"))?;
    let (words, _) = code.as_chunks();
    Ok(Function {
        addresses: address..address + size,
        words: words.iter().map(|&word| u32::from_le_bytes(word)).collect(),
    })
}
