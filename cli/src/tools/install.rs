//! Installing what is missing, or stopping with the text that says how.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::command::{Command, End};
use crate::tools::{Recipe, Status, Supplier, Tool, system};
use crate::workspace::Workspace;

/// Whether tools may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Install {
    /// The user forbade it.
    Never,
    /// Yes, as far as this user's rights go.
    IfPermitted,
}

/// Time for one installing command, on a slow line.
const LIMIT: Duration = Duration::from_secs(900);

/// What rustup says, whatever the cause, when it cannot download.
const DOWNLOAD_FAILED: &str = "could not download file";

/// Why a tool cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// rustup's server, which would supply it, cannot be reached, or there is no rustup.
    Unreachable(String),
    /// Installing it went wrong.
    Failed(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreachable(reason) | Self::Failed(reason)) = self;
        formatter.write_str(reason)
    }
}

/// Which of the tools asked for could not be had.
#[derive(Debug, Default)]
pub(crate) struct Toolbox {
    lacking: Vec<(Tool, Lack)>,
}

impl Toolbox {
    /// Why the tool is lacking; `None` if it is there.
    pub(crate) fn lack_of(&self, tool: &Tool) -> Option<&Lack> {
        self.lacking
            .iter()
            .find(|(lacking, _)| lacking == tool)
            .map(|(_, lack)| lack)
    }

    #[cfg(test)]
    pub(crate) fn without(lacking: Vec<(Tool, Lack)>) -> Self {
        Self { lacking }
    }
}

/// Installs those of the tools that are missing. What goes wrong is in the returned [`Toolbox`].
///
/// # Errors
///
/// If something is missing that may not be installed. Then nothing has been installed.
pub(crate) fn provide(tools: &[Tool], workspace: &Workspace, install: Install) -> Result<Toolbox> {
    let missing: Vec<Missing<'_>> = tools
        .iter()
        .filter_map(|tool| Missing::find(tool, workspace))
        .collect();
    let may_be_root = || system::may_install();
    if let Some(text) = objection(&missing, install, may_be_root) {
        bail!(text);
    }
    let mut toolbox = Toolbox::default();
    let mut server_is_away = false;
    for Missing { tool, why, recipe } in missing {
        println!("Missing: {tool} ({why})");
        let result = match &recipe {
            Recipe::ByHand(text) => Err(Lack::Unreachable(text.clone())),
            // One answer is enough: each try takes rustup's full patience.
            Recipe::Commands(_) if server_is_away && tool.supplier() == Supplier::Rustup => {
                Err(away(&recipe))
            }
            Recipe::Commands(commands) => install_with(commands, tool, workspace),
        };
        if let Err(lack) = result {
            server_is_away |= matches!(lack, Lack::Unreachable(_));
            toolbox.lacking.push((tool.clone(), lack));
        }
    }
    Ok(toolbox)
}

/// What to do once rustup's server is back.
fn away(commands: &impl fmt::Display) -> Lack {
    Lack::Unreachable(format!(
        "rustup's server cannot be reached; when it can, run: {commands}"
    ))
}

struct Missing<'a> {
    tool: &'a Tool,
    why: String,
    recipe: Recipe,
}

impl<'a> Missing<'a> {
    fn find(tool: &'a Tool, workspace: &Workspace) -> Option<Self> {
        match tool.status(workspace) {
            Status::Found(_) => None,
            Status::Missing(why) => Some(Self {
                tool,
                why,
                recipe: tool.recipe(),
            }),
        }
    }
}

/// The text to stop with, if anything may not be installed.
///
/// Without rustup there is no objection: a task may manage without what rustup would supply.
fn objection(
    missing: &[Missing<'_>],
    install: Install,
    may_be_root: impl Fn() -> bool,
) -> Option<String> {
    let is_forbidden = |missing: &&Missing<'_>| match (missing.tool.supplier(), &missing.recipe) {
        _ if install == Install::Never => true,
        (Supplier::Rustup, _) => false,
        (Supplier::System, Recipe::ByHand(_)) => true,
        (Supplier::System, Recipe::Commands(_)) => !may_be_root(),
    };
    let forbidden: Vec<_> = missing.iter().filter(is_forbidden).collect();
    if forbidden.is_empty() {
        return None;
    }
    let reason = match install {
        Install::Never => "--no-install forbids to install it",
        Install::IfPermitted => {
            "this command lacks the rights (root, or sudo without a password) or a known package"
        }
    };
    let mut text = format!("something is missing, and {reason}:");
    for Missing { tool, why, recipe } in forbidden {
        text.push_str(&format!("\n  {tool} ({why}):\n    {recipe}"));
    }
    text.push_str("\nInstall it so and try again, or choose what does not need it.");
    Some(text)
}

fn install_with(commands: &[Command], tool: &Tool, workspace: &Workspace) -> Result<(), Lack> {
    for command in commands {
        run(&command.clone().directory(&workspace.root))?;
    }
    match tool.status(workspace) {
        Status::Found(_) => Ok(()),
        Status::Missing(why) => Err(Lack::Failed(format!("was installed, and still: {why}"))),
    }
}

fn run(command: &Command) -> Result<(), Lack> {
    println!("$ {command}");
    let mut download_failed = false;
    let end = command.stream(LIMIT, |line| {
        println!("{line}");
        download_failed |= line.contains(DOWNLOAD_FAILED);
    });
    match end {
        Ok(End::Exited(status)) if status.success() => Ok(()),
        Ok(End::Exited(_)) if download_failed => Err(away(command)),
        Ok(End::Exited(status)) => Err(Lack::Failed(format!("`{command}` failed ({status})"))),
        Ok(End::TimedOut) => Err(Lack::Failed(format!(
            "`{command}` took over {} s",
            LIMIT.as_secs()
        ))),
        Err(error) => Err(Lack::Failed(format!("{error:#}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{CLIPPY, QEMU_USER};

    fn missing(tool: &Tool, recipe: Recipe) -> Missing<'_> {
        Missing {
            tool,
            why: "not installed".to_owned(),
            recipe,
        }
    }

    fn commands(program: &str) -> Recipe {
        Recipe::Commands(vec![Command::new(program)])
    }

    #[test]
    fn what_may_be_installed_meets_no_objection() {
        let qemu = Tool::Qemu(QEMU_USER);
        let all = [
            missing(&CLIPPY, commands("rustup")),
            missing(&qemu, commands("apt-get")),
        ];
        assert_eq!(objection(&all, Install::IfPermitted, || true), None);
        assert_eq!(objection(&all[..1], Install::IfPermitted, || false), None);
        assert_eq!(objection(&[], Install::Never, || false), None);
    }

    #[test]
    fn an_objection_names_each_command() {
        let qemu = Tool::Qemu(QEMU_USER);
        let all = [
            missing(&CLIPPY, commands("rustup")),
            missing(&qemu, commands("apt-get")),
        ];
        let text = objection(&all, Install::Never, || true).unwrap();
        assert!(
            text.contains("rustup") && text.contains("apt-get"),
            "{text}"
        );
        let text = objection(&all, Install::IfPermitted, || false).unwrap();
        assert!(
            !text.contains("rustup") && text.contains("apt-get"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_system_is_an_objection_even_for_root() {
        let qemu = Tool::Qemu(QEMU_USER);
        let all = [missing(&qemu, Recipe::ByHand("install QEMU".to_owned()))];
        let text = objection(&all, Install::IfPermitted, || true).unwrap();
        assert!(text.contains("install QEMU"), "{text}");
    }

    #[test]
    fn an_unreachable_server_is_told_from_other_failures() {
        let shell = |script: &str| run(&Command::new("sh").args(["-c", script]));
        assert_eq!(shell("true"), Ok(()));
        let answer = shell("echo \"error: could not download file from 'x'\" >&2; exit 1");
        assert!(matches!(answer, Err(Lack::Unreachable(_))), "{answer:?}");
        let answer = shell("echo 'error: no space left on device' >&2; exit 1");
        assert!(matches!(answer, Err(Lack::Failed(_))), "{answer:?}");
    }
}
