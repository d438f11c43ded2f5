//! Files that a package of the system has.

use std::path::Path;

use crate::tools::system::{self, AptSuite, Packages};
use crate::tools::{Recipe, Status};

/// A file and the package that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packaged {
    /// What it is.
    pub(super) name: &'static str,
    /// Where the package of Debian and Ubuntu puts it.
    pub(crate) path: &'static str,
    /// That package.
    package: &'static str,
}

/// UEFI firmware for arm64 machines in QEMU.
pub(crate) const EDK2: Packaged = Packaged {
    name: "EDK2 for arm64",
    path: "/usr/share/AAVMF/AAVMF_CODE.fd",
    package: "qemu-efi-aarch64",
};

/// The keys that Debian's packages are signed with.
pub(crate) const DEBIAN_KEYRING: Packaged = Packaged {
    name: "Debian's keyring",
    path: "/usr/share/keyrings/debian-archive-keyring.gpg",
    package: "debian-archive-keyring",
};

pub(super) fn status(file: &Packaged) -> Status {
    if Path::new(file.path).is_file() {
        Status::Found("there".to_owned())
    } else {
        Status::Missing(format!("there is no {}", file.path))
    }
}

pub(super) fn recipe(file: &Packaged) -> Recipe {
    match system::packages() {
        // Their own versions will do, even where QEMU's would not.
        Packages::Apt { .. } => system::apt_recipe(file.package, AptSuite::Own),
        Packages::Unknown { system } => Recipe::ByHand(format!(
            "on {system}, put {} at {} (Debian and Ubuntu have it in {})",
            file.name, file.path, file.package
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_missing() {
        let file = Packaged {
            name: "x",
            path: "/no/such/file",
            package: "x",
        };
        assert_eq!(
            status(&file),
            Status::Missing("there is no /no/such/file".to_owned())
        );
        assert!(matches!(
            status(&Packaged {
                path: "/proc/self/maps",
                ..file
            }),
            Status::Found(_)
        ));
    }
}
