//! QEMU: which version is new enough, and where systems have one.

use std::fmt;

use crate::command::Command;
use crate::tools::system::{self, Packages};
use crate::tools::{Recipe, Status};

/// QEMU learned FEAT_MOPS in this version. 10.0.2 is known to be good.
const MINIMUM: Version = Version(8, 2);

/// A program of QEMU and the packages that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// For example `qemu-aarch64`.
    name: &'static str,
    /// Its package in Debian and Ubuntu.
    package: &'static str,
    /// Its packages in Fedora and Arch Linux.
    elsewhere: [&'static str; 2],
}

/// Runs Linux programs for arm64 on any Linux machine.
pub(crate) const QEMU_USER: Program = Program {
    name: "qemu-aarch64",
    package: "qemu-user",
    elsewhere: ["qemu-user", "qemu-user"],
};

/// Runs a whole arm64 machine.
pub(crate) const QEMU_SYSTEM: Program = Program {
    name: "qemu-system-aarch64",
    package: "qemu-system-arm",
    elsewhere: ["qemu-system-aarch64", "qemu-system-aarch64"],
};

/// Major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

pub(super) fn status(program: &Program) -> Status {
    match Command::new(program.name).arg("--version").capture() {
        Ok(output) => judge(&output),
        Err(_) => Status::Missing("not installed".to_owned()),
    }
}

pub(super) fn recipe(program: &Program) -> Recipe {
    match system::packages() {
        Packages::Apt { suite } => system::apt_recipe(program.package, suite),
        Packages::Unknown { system } => Recipe::ByHand(format!(
            "on {system}, install QEMU {MINIMUM} or newer yourself, so that `{}` is found \
             (Debian and Ubuntu have it in {}, Fedora in {}, Arch Linux in {})",
            program.name, program.package, program.elsewhere[0], program.elsewhere[1]
        )),
    }
}

fn judge(output: &str) -> Status {
    match parse(output) {
        Some((text, version)) if version >= MINIMUM => Status::Found(text.to_owned()),
        Some((text, _)) => Status::Missing(format!("{text} is too old, need {MINIMUM}")),
        None => Status::Missing("its --version names no version".to_owned()),
    }
}

/// Reads `qemu-aarch64 version 10.0.2 (Debian ...)`.
fn parse(output: &str) -> Option<(&str, Version)> {
    let text = output
        .split_once(" version ")?
        .1
        .split_whitespace()
        .next()?;
    let mut numbers = text.split('.').map(str::parse);
    Some((text, Version(numbers.next()?.ok()?, numbers.next()?.ok()?)))
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {MINIMUM}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let found = |text: &str| Status::Found(text.to_owned());
        assert_eq!(
            judge("qemu-aarch64 version 10.0.2 (Debian 1:10.0.2+ds-2)\n"),
            found("10.0.2")
        );
        assert_eq!(
            judge("qemu-aarch64 version 8.2.0\nCopyright\n"),
            found("8.2.0")
        );
        for old in ["8.1.5", "7.2.22", "2.12.0"] {
            let status = judge(&format!("qemu-aarch64 version {old} (x)\n"));
            assert_eq!(
                status,
                Status::Missing(format!("{old} is too old, need 8.2"))
            );
        }
        assert!(matches!(judge("gibberish"), Status::Missing(_)));
    }
}
