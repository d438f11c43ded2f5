//! The workspace this command works on, and the compiler in use there.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::Command;

/// What cargo and rustc say about the checkout that the user stands in.
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
    /// Names of the packages in `crates/`: the ones that must build without an operating system.
    pub(crate) no_std_packages: Vec<String>,
    /// The compiler of this workspace.
    pub(crate) compiler: Compiler,
}

/// The compiler that `rust-toolchain.toml` chose, or the one there is without rustup.
pub(crate) struct Compiler {
    /// For example `1.95.0`.
    pub(crate) version: String,
    /// Target triple of this machine.
    pub(crate) host: String,
    /// Folder that holds the standard libraries of all installed targets.
    pub(crate) sysroot: PathBuf,
}

impl Workspace {
    /// Finds the workspace from the current directory or any directory above it.
    ///
    /// # Errors
    ///
    /// If the current directory is not in a checkout of Seaworthy, or cargo or rustc fails.
    pub(crate) fn find() -> Result<Self> {
        let metadata = Command::new("cargo")
            .args(["metadata", "--format-version=1", "--no-deps"])
            .capture()
            .context("run this inside a checkout of Seaworthy")?;
        let metadata: Value = serde_json::from_str(&metadata)
            .context("`cargo metadata` printed something that is not JSON")?;
        let root = path(&metadata, "workspace_root")?;
        if !root.join("cli").join("Cargo.toml").is_file() {
            bail!(
                "{} is not a checkout of Seaworthy; change to one and try again",
                root.display()
            );
        }
        Ok(Self {
            target_directory: path(&metadata, "target_directory")?,
            no_std_packages: packages_in(&metadata, &root.join("crates")),
            compiler: Compiler::find(&root)?,
            root,
        })
    }
}

impl Compiler {
    fn find(root: &Path) -> Result<Self> {
        let version = Command::new("rustc").arg("-vV").directory(root).capture()?;
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
                .with_context(|| format!("`rustc -vV` names no {name}"))
        };
        let sysroot = Command::new("rustc")
            .args(["--print", "sysroot"])
            .directory(root)
            .capture()?;
        Ok(Self {
            version: field("release")?,
            host: field("host")?,
            sysroot: PathBuf::from(sysroot.trim_end()),
        })
    }

    /// The triple of static Linux programs for this machine's processor.
    pub(crate) fn host_musl(&self) -> String {
        let architecture = self.host.split('-').next().unwrap_or(env::consts::ARCH);
        format!("{architecture}-unknown-linux-musl")
    }
}

fn path(metadata: &Value, key: &str) -> Result<PathBuf> {
    metadata[key]
        .as_str()
        .map(PathBuf::from)
        .with_context(|| format!("`cargo metadata` gives no {key}"))
}

fn packages_in(metadata: &Value, folder: &Path) -> Vec<String> {
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    packages
        .iter()
        .filter(|package| {
            let manifest = package["manifest_path"].as_str().unwrap_or_default();
            Path::new(manifest).starts_with(folder)
        })
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_chosen_by_their_folder() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "a", "manifest_path": "/w/crates/a/Cargo.toml" },
            { "name": "b", "manifest_path": "/w/cli/Cargo.toml" },
        ]});
        assert_eq!(packages_in(&metadata, Path::new("/w/crates")), ["a"]);
    }

    #[test]
    fn this_workspace_is_found() {
        let workspace = Workspace::find().unwrap();
        assert!(workspace.root.join("rust-toolchain.toml").is_file());
        assert!(
            workspace
                .no_std_packages
                .contains(&"seaworthy-extable".to_owned())
        );
        assert!(workspace.compiler.sysroot.join("lib").is_dir());
    }
}
