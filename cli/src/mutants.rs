//! `cargo seaworthy mutants`: takes safety measures out of the memory manager, one at a time, and
//! checks that a test notices.
//!
//! The list is `crates/mm/mutants.txt`. A change is given as lines to replace, which must occur in
//! their file exactly once, so that the list cannot fall behind the code unnoticed.

mod list;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::list::Mutant;
use crate::command::{Command, End};
use crate::workspace::Workspace;

/// Building and testing one mutant. A test that takes longer hangs, which also is noticed.
const LIMIT: Duration = Duration::from_secs(180);
const LIST: &str = "crates/mm/mutants.txt";
const PACKAGE: &str = "crates/mm";

#[derive(Args)]
pub(crate) struct Options {
    /// Only mutants with this in their name or file
    #[arg(default_value = "")]
    filter: String,
    /// Leave out so many of those
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    skip: usize,
    /// Test at most so many of those
    #[arg(long, value_name = "COUNT", default_value_t = usize::MAX)]
    take: usize,
    /// Name them, and check that each applies, without testing any
    #[arg(long)]
    list: bool,
}

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its test failed.
    Killed,
    /// Its test did not end.
    Hung,
    /// Its test passed.
    Survived,
    /// It is no program.
    NotBuilt,
}

/// Tests mutants. The exit status is 0 if all were noticed.
///
/// # Errors
///
/// If a mutant does not apply, or the tests fail without one.
pub(crate) fn run(options: &Options, workspace: &Workspace) -> Result<ExitCode> {
    let text = fs::read_to_string(workspace.root.join(LIST)).context(LIST)?;
    let mutants: Vec<Mutant> = list::parse(&text)?
        .into_iter()
        .filter(|mutant| {
            mutant.name.contains(&options.filter) || mutant.file.contains(&options.filter)
        })
        .skip(options.skip)
        .take(options.take)
        .collect();
    if mutants.is_empty() {
        bail!("no mutant of {LIST} is chosen");
    }
    let source = workspace.root.join(PACKAGE).join("src");
    let mutated: Vec<String> = mutants
        .iter()
        .map(|mutant| mutant.apply_in(&source))
        .collect::<Result<_>>()?;
    if options.list {
        for mutant in &mutants {
            println!("{}: {} ({})", mutant.file, mutant.name, mutant.test);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let copy = Copy::make(workspace)?;
    copy.check_tests(&mutants)?;
    let mut unnoticed = 0;
    for (mutant, text) in mutants.iter().zip(&mutated) {
        let fate = copy.with(&mutant.file, text, || copy.test(&mutant.test))?;
        let word = match fate {
            Fate::Killed => "killed",
            Fate::Hung => "killed: it hangs",
            Fate::Survived => "SURVIVED",
            Fate::NotBuilt => "DOES NOT BUILD",
        };
        println!("{word}: {}: {} ({})", mutant.file, mutant.name, mutant.test);
        unnoticed += usize::from(!matches!(fate, Fate::Killed | Fate::Hung));
    }
    println!("{} mutants, {unnoticed} unnoticed", mutants.len());
    Ok(if unnoticed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A workspace with nothing but the package, so that the user's files stay as they are.
struct Copy {
    root: PathBuf,
    source: PathBuf,
}

impl Copy {
    fn make(workspace: &Workspace) -> Result<Self> {
        let root = workspace.target_directory.join("mutants");
        let package = root.join(PACKAGE);
        if package.exists() {
            fs::remove_dir_all(&package)?;
        }
        copy_tree(&workspace.root.join(PACKAGE), &package)?;
        for file in ["Cargo.lock", "rust-toolchain.toml"] {
            fs::copy(workspace.root.join(file), root.join(file)).context(file)?;
        }
        let manifest = fs::read_to_string(workspace.root.join("Cargo.toml"))?;
        fs::write(root.join("Cargo.toml"), only_package(&manifest)?)?;
        Ok(Self {
            source: package.join("src"),
            root,
        })
    }

    /// Checks that the tests which kill pass as long as nothing is wrong.
    fn check_tests(&self, mutants: &[Mutant]) -> Result<()> {
        let mut tests: Vec<_> = mutants.iter().map(|mutant| &mutant.test).collect();
        tests.sort_unstable();
        tests.dedup();
        for test in tests {
            let fate = self.test(test)?;
            if fate != Fate::Survived {
                bail!("{test} fails without any mutant: {fate:?}");
            }
        }
        Ok(())
    }

    /// Runs `act` while a file has other contents.
    fn with<R>(&self, file: &str, text: &str, act: impl FnOnce() -> Result<R>) -> Result<R> {
        let path = self.source.join(file);
        let before = fs::read_to_string(&path)?;
        fs::write(&path, text)?;
        let result = act();
        fs::write(&path, before)?;
        result
    }

    /// Runs one test, which must exist.
    fn test(&self, test: &str) -> Result<Fate> {
        let Some((target, name)) = test.split_once("::") else {
            bail!("{test} is not the name of a file of tests or `lib`, `::` and a test");
        };
        let target = match target {
            "lib" => vec!["--lib"],
            file => vec!["--test", file],
        };
        let cargo = |arguments: &[&str]| {
            Command::new("cargo")
                .args(["test", "--quiet", "--package", "seaworthy-mm"])
                .args(target.iter().copied())
                .args(arguments.iter().copied())
                .env("RUST_BACKTRACE", "0")
                .directory(&self.root)
        };
        match cargo(&["--no-run"]).stream(LIMIT, |_| {})? {
            End::Exited(status) if status.success() => {}
            _ => return Ok(Fate::NotBuilt),
        }
        let mut has_run = false;
        let end = cargo(&["--", "--exact", name])
            .stream(LIMIT, |line| has_run |= line.starts_with("running 1 test"))?;
        match end {
            _ if !has_run => bail!("there is no test {test}"),
            End::TimedOut => Ok(Fate::Hung),
            End::Exited(status) if status.success() => Ok(Fate::Survived),
            End::Exited(_) => Ok(Fate::Killed),
        }
    }
}

/// The workspace's manifest with this package as its only member.
fn only_package(manifest: &str) -> Result<String> {
    let mut found = false;
    let lines = manifest.lines().map(|line| {
        if line.starts_with("members = ") {
            found = true;
            format!("members = [\"{PACKAGE}\"]\n")
        } else {
            format!("{line}\n")
        }
    });
    let text = lines.collect();
    if !found {
        bail!("the workspace's Cargo.toml has no line of members");
    }
    Ok(text)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_applies_to_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = fs::read_to_string(root.join(LIST)).unwrap();
        for mutant in list::parse(&text).unwrap() {
            mutant.apply_in(&root.join(PACKAGE).join("src")).unwrap();
            let (file, name) = mutant.test.rsplit_once("::").unwrap();
            let file = match file.strip_prefix("lib::") {
                Some(module) => format!("src/{}.rs", module.replace("::", "/")),
                None => format!("tests/{file}.rs"),
            };
            let file = root.join(PACKAGE).join(file);
            let test = fs::read_to_string(&file).unwrap();
            assert!(test.contains(&format!("fn {name}(")), "{}", mutant.test);
        }
    }

    #[test]
    fn the_copy_has_one_member() {
        let manifest = "[workspace]\nmembers = [\"a\", \"b\"]\nx = 1\n";
        let ours = "[workspace]\nmembers = [\"crates/mm\"]\nx = 1\n";
        assert_eq!(only_package(manifest).unwrap(), ours);
        assert!(only_package("[package]\n").is_err());
    }
}
