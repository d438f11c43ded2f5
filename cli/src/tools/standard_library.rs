//! Building the standard library of a target from source, where rustup cannot supply it.

use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::workspace::Compiler;

/// Source of the standard library, of the same version as the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The folder `library` of Rust's repository.
    library: PathBuf,
}

impl Source {
    /// Looks in the toolchain (rustup's component `rust-src`) and where Debian's package
    /// `rust-src` puts it.
    pub(crate) fn find(compiler: &Compiler) -> Option<Self> {
        Self::among(&Self::places(compiler))
    }

    /// Where [`Source::find`] looks, for a message that it found nothing.
    pub(crate) fn places(compiler: &Compiler) -> [PathBuf; 2] {
        [
            compiler.sysroot.join("lib/rustlib/src/rust/library"),
            Path::new("/usr/src")
                .join(format!("rustc-{}", compiler.version))
                .join("library"),
        ]
    }

    fn among(places: &[PathBuf]) -> Option<Self> {
        // Cargo resolves the standard library's own dependencies by this file.
        let library = places
            .iter()
            .find(|library| library.join("Cargo.lock").is_file())?;
        Some(Self {
            library: library.clone(),
        })
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            library: PathBuf::from("/usr/src/rustc-1.95.0/library"),
        }
    }

    /// Makes a cargo command build `crates` of the standard library itself.
    pub(crate) fn applied_to(&self, command: Command, crates: &str) -> Command {
        command
            .option(format!("-Zbuild-std={crates}"))
            // The option is not stable. The compiler is pinned, so it will not change under us.
            .env("RUSTC_BOOTSTRAP", "1")
            // Cargo has no documented way to name a source outside of the toolchain.
            .env(
                "__CARGO_TESTS_ONLY_SRC_ROOT",
                self.library.to_string_lossy(),
            )
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn the_first_complete_source_is_taken() {
        let folder = env::temp_dir().join(format!("seaworthy-source-{}", std::process::id()));
        let places = [folder.join("toolchain"), folder.join("debian")];
        fs::create_dir_all(&places[0]).unwrap();
        fs::create_dir_all(&places[1]).unwrap();
        assert_eq!(Source::among(&places), None);
        fs::write(places[1].join("Cargo.lock"), "").unwrap();
        assert_eq!(
            Source::among(&places),
            Some(Source {
                library: places[1].clone()
            })
        );
        fs::write(places[0].join("Cargo.lock"), "").unwrap();
        assert_eq!(
            Source::among(&places),
            Some(Source {
                library: places[0].clone()
            })
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn only_source_of_the_compilers_version_is_looked_for() {
        let compiler = Compiler {
            version: "1.95.0".to_owned(),
            host: "x86_64-unknown-linux-gnu".to_owned(),
            sysroot: PathBuf::from("/toolchain"),
        };
        assert_eq!(
            Source::places(&compiler),
            [
                PathBuf::from("/toolchain/lib/rustlib/src/rust/library"),
                PathBuf::from("/usr/src/rustc-1.95.0/library"),
            ]
        );
    }

    #[test]
    fn the_command_says_all_that_it_needs() {
        let source = Source::for_tests();
        let command = Command::new("cargo").args(["clippy", "--", "-D", "warnings"]);
        assert_eq!(
            source.applied_to(command, "core,alloc").to_string(),
            "RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=/usr/src/rustc-1.95.0/library \
             cargo clippy -Zbuild-std=core,alloc -- -D warnings"
        );
    }
}
