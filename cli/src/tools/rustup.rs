//! What rustup supplies: targets and components.
//!
//! Looking for a tool never asks rustup's server and, but for Miri, not even rustup, so that a
//! compiler from elsewhere will do if it brings what is needed.

use crate::command::Command;
use crate::tools::{Recipe, Status};
use crate::workspace::{Compiler, Workspace};

/// The nightly toolchain that has Miri, else any, else `nightly`, which is yet to be installed.
pub(crate) fn nightly_for_miri() -> String {
    let mut nightlies = nightlies(&installed_toolchains());
    let complete = nightlies
        .iter()
        .position(|toolchain| missing_for_miri(toolchain).is_empty());
    if nightlies.is_empty() {
        "nightly".to_owned()
    } else {
        nightlies.swap_remove(complete.unwrap_or(0))
    }
}

pub(super) fn component_status(subcommand: &str, workspace: &Workspace) -> Status {
    let version = Command::new("cargo")
        .args([subcommand, "--version"])
        .directory(&workspace.root)
        .capture();
    version.map_or_else(
        |_| Status::Missing("not installed".to_owned()),
        // `clippy 0.1.95 (59807616e1 2026-04-14)`
        |version| {
            Status::Found(
                version
                    .split_whitespace()
                    .nth(1)
                    .unwrap_or("yes")
                    .to_owned(),
            )
        },
    )
}

pub(super) fn component_recipe(name: &str) -> Recipe {
    with_rustup(["component", "add", name])
}

pub(super) fn target_status(target: &str, compiler: &Compiler) -> Status {
    let library = compiler
        .sysroot
        .join("lib/rustlib")
        .join(target)
        .join("lib");
    if library.is_dir() {
        Status::Found(compiler.version.clone())
    } else {
        Status::Missing("not installed".to_owned())
    }
}

pub(super) fn target_recipe(target: &str) -> Recipe {
    with_rustup(["target", "add", target])
}

pub(super) fn miri_status(toolchain: &str) -> Status {
    let missing = missing_for_miri(toolchain);
    if missing.is_empty() {
        Status::Found("yes".to_owned())
    } else {
        Status::Missing(format!("{} not installed", missing.join(" and ")))
    }
}

pub(super) fn miri_recipe(toolchain: &str) -> Recipe {
    if installed_toolchains()
        .iter()
        .any(|installed| installed == toolchain)
    {
        with_rustup([
            "component",
            "add",
            "--toolchain",
            toolchain,
            "miri",
            "rust-src",
        ])
    } else {
        with_rustup([
            "toolchain",
            "install",
            toolchain,
            "--no-self-update",
            "--profile",
            "minimal",
            "--component",
            "miri",
            "--component",
            "rust-src",
        ])
    }
}

/// Run in the workspace, `rustup` without `--toolchain` is about the workspace's toolchain.
fn with_rustup<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Recipe {
    let command = Command::new("rustup").args(arguments);
    if Command::new("rustup").arg("--version").capture().is_ok() {
        Recipe::Commands(vec![command])
    } else {
        Recipe::ByHand(format!(
            "install rustup as https://rustup.rs says, then run: {command}"
        ))
    }
}

fn installed_toolchains() -> Vec<String> {
    let list = Command::new("rustup")
        .args(["toolchain", "list"])
        .capture()
        .unwrap_or_default();
    toolchains(&list)
}

/// Names in the output of `rustup toolchain list`, where marks such as `(default)` may follow.
fn toolchains(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn nightlies(toolchains: &[String]) -> Vec<String> {
    toolchains
        .iter()
        .filter(|name| name.starts_with("nightly"))
        .cloned()
        .collect()
}

fn missing_for_miri(toolchain: &str) -> Vec<&'static str> {
    let components = Command::new("rustup")
        .args(["component", "list", "--installed", "--toolchain", toolchain])
        .capture()
        .unwrap_or_default();
    lacking(&components, &["miri", "rust-src"])
}

/// Which of the components are not in the output of `rustup component list --installed`.
///
/// There a component that depends on the machine has its triple behind its name.
fn lacking(installed: &str, components: &[&'static str]) -> Vec<&'static str> {
    let is_installed = |component: &str| {
        installed.lines().any(|line| {
            line.strip_prefix(component)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    components
        .iter()
        .copied()
        .filter(|component| !is_installed(component))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nightlies_are_found_among_toolchains() {
        let list = "stable-x86_64-unknown-linux-gnu (default)\n\
                    nightly-2026-01-02-x86_64-unknown-linux-gnu\n\
                    1.95.0-x86_64-unknown-linux-gnu (active)\n";
        assert_eq!(
            nightlies(&toolchains(list)),
            ["nightly-2026-01-02-x86_64-unknown-linux-gnu"]
        );
        assert!(nightlies(&toolchains("no installed toolchains\n")).is_empty());
    }

    #[test]
    fn lacking_components_are_named() {
        let wanted = ["miri", "rust-src"];
        assert!(lacking("miri-x86_64-unknown-linux-gnu\nrust-src\n", &wanted).is_empty());
        assert_eq!(
            lacking("miri-x86_64-unknown-linux-gnu\n", &wanted),
            ["rust-src"]
        );
        assert_eq!(lacking("miripreview\nrust-srcs\n", &wanted), wanted);
        assert_eq!(lacking("", &wanted), wanted);
    }

    #[test]
    fn a_target_is_found_by_its_folder() {
        let compiler = Workspace::find().unwrap().compiler;
        assert_eq!(
            target_status(&compiler.host, &compiler),
            Status::Found(compiler.version.clone())
        );
        assert!(matches!(
            target_status("no-such-target", &compiler),
            Status::Missing(_)
        ));
    }
}
