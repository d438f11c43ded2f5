//! The system's package manager, and whether this user may use it.

use std::fs;
use std::path::Path;

use nix::unistd::Uid;

use crate::command::Command;
use crate::tools::Recipe;

/// Where this system has packages of a recent QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AptSuite {
    /// The system's own suites.
    Own,
    /// The backports of Debian 12, whose own QEMU is too old.
    BookwormBackports,
}

/// How packages are installed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packages {
    /// With apt, from this suite.
    Apt {
        /// The suite that has a QEMU that is new enough.
        suite: AptSuite,
    },
    /// In a way this command does not know.
    Unknown {
        /// What the system calls itself.
        system: String,
    },
}

const BACKPORTS: &str = "bookworm-backports";
const BACKPORTS_SOURCE: &str = "deb http://deb.debian.org/debian bookworm-backports main";
const BACKPORTS_FILE: &str = "/etc/apt/sources.list.d/bookworm-backports.list";

pub(super) fn packages() -> Packages {
    packages_of(&fs::read_to_string("/etc/os-release").unwrap_or_default())
}

/// Decides from the text of `/etc/os-release`.
fn packages_of(os_release: &str) -> Packages {
    let field = |name: &str| {
        let value = os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches('"'))
    };
    // `24.04` as (24, 4). Debian's testing and unstable have no number and are newer than any.
    let version = field("VERSION_ID").map(|version| {
        let mut numbers = version
            .split('.')
            .map(|number| number.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    });
    let newest = (u32::MAX, 0);
    match (field("ID"), version.unwrap_or(newest)) {
        (Some("debian"), (12, _)) => Packages::Apt {
            suite: AptSuite::BookwormBackports,
        },
        (Some("debian"), version) if version >= (13, 0) => Packages::Apt {
            suite: AptSuite::Own,
        },
        (Some("ubuntu"), version) if version >= (24, 4) => Packages::Apt {
            suite: AptSuite::Own,
        },
        _ => Packages::Unknown {
            system: field("PRETTY_NAME").unwrap_or("this system").to_owned(),
        },
    }
}

/// The commands that install a package with apt.
pub(super) fn apt_recipe(package: &str, suite: AptSuite) -> Recipe {
    let mut commands = Vec::new();
    let install = match suite {
        AptSuite::Own => vec!["install", "--yes", "--no-install-recommends", package],
        AptSuite::BookwormBackports => {
            if !has_suite(Path::new("/etc/apt"), BACKPORTS) {
                commands.push(
                    Command::new("tee")
                        .arg(BACKPORTS_FILE)
                        .input(BACKPORTS_SOURCE),
                );
            }
            vec![
                "install",
                "--yes",
                "--no-install-recommends",
                "--target-release",
                BACKPORTS,
                package,
            ]
        }
    };
    commands.push(Command::new("apt-get").arg("update"));
    commands.push(
        Command::new("apt-get")
            .args(install)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    );
    Recipe::Commands(commands.into_iter().map(as_root).collect())
}

/// Whether one of apt's source files, of either format, names the suite outside of a comment.
fn has_suite(apt: &Path, suite: &str) -> bool {
    let parts = fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten();
    let is_source = |file: &Path| {
        file.extension()
            .is_some_and(|extension| extension == "list" || extension == "sources")
    };
    parts
        .map(|entry| entry.path())
        .filter(|file| is_source(file))
        .chain([apt.join("sources.list")])
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| {
            let lines = text
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'));
            lines
                .flat_map(str::split_whitespace)
                .any(|word| word == suite)
        })
}

fn as_root(command: Command) -> Command {
    if Uid::effective().is_root() {
        command
    } else {
        command.with_sudo()
    }
}

/// Whether a command of [`apt_recipe`] can run without asking for a password.
pub(super) fn may_install() -> bool {
    Uid::effective().is_root()
        || Command::new("sudo")
            .args(["--non-interactive", "true"])
            .capture()
            .is_ok()
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    fn suite_of(os_release: &str) -> Option<AptSuite> {
        match packages_of(os_release) {
            Packages::Apt { suite } => Some(suite),
            Packages::Unknown { .. } => None,
        }
    }

    #[test]
    fn debian_12_needs_backports_and_newer_systems_do_not() {
        assert_eq!(
            suite_of(
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n"
            ),
            Some(AptSuite::BookwormBackports)
        );
        assert_eq!(
            suite_of("ID=debian\nVERSION_ID=\"13\"\n"),
            Some(AptSuite::Own)
        );
        assert_eq!(
            suite_of("PRETTY_NAME=\"Debian forky/sid\"\nID=debian\n"),
            Some(AptSuite::Own)
        );
        assert_eq!(
            suite_of("ID=ubuntu\nVERSION_ID=\"24.04\"\n"),
            Some(AptSuite::Own)
        );
    }

    #[test]
    fn a_system_without_a_recent_qemu_is_named() {
        assert_eq!(suite_of("ID=debian\nVERSION_ID=\"11\"\n"), None);
        assert_eq!(suite_of("ID=ubuntu\nVERSION_ID=\"22.04\"\n"), None);
        assert_eq!(
            packages_of("ID=fedora\nPRETTY_NAME=\"Fedora Linux 42\"\n"),
            Packages::Unknown {
                system: "Fedora Linux 42".to_owned()
            }
        );
        assert_eq!(suite_of(""), None);
    }

    #[test]
    fn a_suite_is_found_in_both_formats_but_not_in_comments() {
        let apt = env::temp_dir().join(format!("seaworthy-apt-{}", std::process::id()));
        let parts = apt.join("sources.list.d");
        fs::create_dir_all(&parts).unwrap();
        let found_with = |name: &str, text: &str| {
            fs::write(parts.join(name), text).unwrap();
            let found = has_suite(&apt, BACKPORTS);
            fs::remove_file(parts.join(name)).unwrap();
            found
        };
        assert!(found_with("a.list", BACKPORTS_SOURCE));
        assert!(found_with(
            "a.sources",
            "Types: deb\nSuites: bookworm bookworm-backports\n"
        ));
        assert!(!found_with("a.list", &format!("# {BACKPORTS_SOURCE}")));
        assert!(!found_with("a.list.disabled", BACKPORTS_SOURCE));
        assert!(!found_with(
            "a.list",
            "deb http://deb.debian.org/debian bookworm main"
        ));
        fs::remove_dir_all(&apt).unwrap();
    }
}
