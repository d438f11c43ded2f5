//! Debian's kernel for arm64, if it has what memory errors need.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::linux::debian::{Debian, Package};

/// Packages that always name the newest kernel, the smallest first.
const PACKAGES: [&str; 2] = ["linux-image-cloud-arm64", "linux-image-arm64"];

/// What a kernel must be configured with, and why.
const OPTIONS: [(&str, &str); 7] = [
    ("ACPI_TABLE_UPGRADE", "takes our tables from the RAM disk"),
    ("ACPI_APEI_GHES", "reads firmware's error records"),
    ("ACPI_APEI_EINJ", "injects errors"),
    ("MEMORY_FAILURE", "gives pages up"),
    ("HWPOISON_INJECT", "lets tests undo that"),
    ("DEVMEM", "reaches the monitor's registers"),
    ("DEBUG_FS", "is where EINJ is found"),
];

/// Modules that tests need, unless they are built in.
const MODULES: [&str; 2] = ["einj", "hwpoison-inject"];

/// A kernel and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// An image with an EFI stub.
    pub(super) image: PathBuf,
    /// Modules for its RAM disk.
    pub(super) modules: Vec<PathBuf>,
}

impl Kernel {
    /// A kernel that the user has. Nobody knows where its modules are.
    pub(super) fn given(image: PathBuf) -> Self {
        Self {
            image,
            modules: Vec::new(),
        }
    }

    /// Debian's, from the cache or the archive, and says which.
    ///
    /// # Errors
    ///
    /// If it cannot be fetched, or no package has all options.
    pub(super) fn fetch(debian: &Debian) -> Result<Self> {
        let mut objections = String::new();
        for name in PACKAGES {
            let package = debian.fetch(name, Some("linux-image-"), is_wanted)?;
            let found = Found::in_package(&package)?;
            match found.lacking.as_slice() {
                [] => {
                    let origin = if package.is_new {
                        "new"
                    } else {
                        "from the cache"
                    };
                    println!(
                        "Linux {} of {name}, {origin} (remove {} to have it fetched anew)",
                        found.version,
                        package.folder.display()
                    );
                    return Ok(found.kernel);
                }
                lacking => objections += &format!("\n  {name} lacks {}", lacking.join(", ")),
            }
        }
        bail!("no kernel of Debian's has all that is needed:{objections}")
    }
}

fn is_wanted(name: &str) -> bool {
    name.starts_with("vmlinuz-") || name.starts_with("config-") || module_of(name).is_some()
}

/// Which of [`MODULES`] the file `einj.ko.xz` is, for example.
fn module_of(name: &str) -> Option<&'static str> {
    MODULES.into_iter().find(|module| {
        name.strip_prefix(module)
            .is_some_and(|rest| rest == ".ko" || rest.starts_with(".ko."))
    })
}

/// What a package turned out to hold.
struct Found {
    kernel: Kernel,
    version: String,
    /// Options that are off.
    lacking: Vec<&'static str>,
}

impl Found {
    fn in_package(package: &Package) -> Result<Self> {
        let (mut image, mut configuration) = (None, None);
        let mut modules = Vec::new();
        for entry in fs::read_dir(&package.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(version) = name.strip_prefix("vmlinuz-") {
                image = Some((path.clone(), version.to_owned()));
            } else if name.starts_with("config-") {
                configuration = Some(fs::read_to_string(&path)?);
            } else if module_of(&name).is_some() {
                modules.push(path.clone());
            }
        }
        modules.sort();
        let folder = package.folder.display();
        let (image, version) = image.with_context(|| format!("no vmlinuz-* in {folder}"))?;
        let configuration = configuration.with_context(|| format!("no config-* in {folder}"))?;
        Ok(Self {
            kernel: Kernel { image, modules },
            version,
            lacking: lacking_in(&configuration),
        })
    }
}

/// The options that are neither built in nor a module.
fn lacking_in(configuration: &str) -> Vec<&'static str> {
    let is_on = |option: &str| {
        configuration.lines().any(|line| {
            line.strip_prefix("CONFIG_")
                .and_then(|rest| rest.strip_prefix(option))
                .is_some_and(|value| value == "=y" || value == "=m")
        })
    };
    OPTIONS
        .into_iter()
        .map(|(option, _)| option)
        .filter(|option| !is_on(option))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_off_are_named() {
        let mut configuration: String = OPTIONS
            .iter()
            .map(|(option, _)| format!("CONFIG_{option}=m\n"))
            .collect();
        assert!(lacking_in(&configuration).is_empty());
        configuration = configuration
            .replace(
                "CONFIG_DEVMEM=m",
                "# CONFIG_DEVMEM is not set\nCONFIG_NET_DEVMEM=y",
            )
            .replace("CONFIG_DEBUG_FS=m", "CONFIG_DEBUG_FS_ALLOW_ALL=y");
        assert_eq!(lacking_in(&configuration), ["DEVMEM", "DEBUG_FS"]);
    }

    #[test]
    fn modules_are_known_by_their_files_compressed_or_not() {
        assert_eq!(module_of("einj.ko.xz"), Some("einj"));
        assert_eq!(module_of("hwpoison-inject.ko"), Some("hwpoison-inject"));
        assert_eq!(module_of("einj_cxl.ko"), None);
        assert_eq!(module_of("einj.c"), None);
    }
}
