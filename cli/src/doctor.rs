//! `cargo seaworthy doctor`: what is here, what is missing, and how to get it.

use std::process::ExitCode;

use anyhow::Result;

use crate::test::{Suite, tools_by_suite};
use crate::tools::{Status, Tool};
use crate::workspace::Workspace;

/// Prints the state of every tool that a suite needs. Fails if one is missing.
///
/// # Errors
///
/// None so far; the type is that of the other tasks.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let rows: Vec<Row> = needs(&tools_by_suite(workspace))
        .into_iter()
        .map(|(tool, suites)| Row::new(&tool, &suites, workspace))
        .collect();
    print!("{}", table(&rows));
    let missing = rows.iter().filter(|row| row.install.is_some()).count();
    if missing == 0 {
        println!("\nNothing is missing.");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "\nMissing: {missing}. `cargo seaworthy test` installs what it may; to do it yourself:"
    );
    for row in &rows {
        if let Some(install) = &row.install {
            println!("\n  {}:\n    {install}", row.item);
        }
    }
    Ok(ExitCode::FAILURE)
}

struct Row {
    item: String,
    state: String,
    needed_by: String,
    /// How to install it, if it is missing.
    install: Option<String>,
}

impl Row {
    fn new(tool: &Tool, suites: &[Suite], workspace: &Workspace) -> Self {
        let (state, install) = match tool.status(workspace) {
            Status::Found(version) => (version, None),
            Status::Missing(why) => (format!("MISSING: {why}"), Some(tool.recipe().to_string())),
        };
        let needed_by = suites
            .iter()
            .map(Suite::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        Self {
            item: tool.to_string(),
            state,
            needed_by,
            install,
        }
    }
}

/// Each tool once, with the suites that need it.
fn needs(by_suite: &[(Suite, Vec<Tool>)]) -> Vec<(Tool, Vec<Suite>)> {
    let mut needs: Vec<(Tool, Vec<Suite>)> = Vec::new();
    for (suite, tools) in by_suite {
        for tool in tools {
            match needs.iter_mut().find(|(known, _)| known == tool) {
                Some((_, suites)) => suites.push(*suite),
                None => needs.push((tool.clone(), vec![*suite])),
            }
        }
    }
    needs
}

fn table(rows: &[Row]) -> String {
    let width = |column: fn(&Row) -> &str, title: &str| {
        rows.iter()
            .map(|row| column(row).len())
            .chain([title.len()])
            .max()
            .unwrap_or(0)
    };
    let (items, states) = (
        width(|row| &row.item, "item"),
        width(|row| &row.state, "found"),
    );
    let mut text = format!("{:items$}  {:states$}  needed by\n", "item", "found");
    for row in rows {
        text += &format!(
            "{:items$}  {:states$}  {}\n",
            row.item, row.state, row.needed_by
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{CLIPPY, RUSTFMT};

    #[test]
    fn a_tool_is_listed_once_with_all_that_need_it() {
        let by_suite = [
            (Suite::Lint, vec![RUSTFMT, CLIPPY]),
            (Suite::Host, vec![CLIPPY]),
        ];
        assert_eq!(
            needs(&by_suite),
            [
                (RUSTFMT, vec![Suite::Lint]),
                (CLIPPY, vec![Suite::Lint, Suite::Host])
            ]
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |item: &str, state: &str| Row {
            item: item.to_owned(),
            state: state.to_owned(),
            needed_by: "lint".to_owned(),
            install: None,
        };
        assert_eq!(
            table(&[row("clippy", "1"), row("a", "MISSING")]),
            "item    found    needed by\nclippy  1        lint\na       MISSING  lint\n"
        );
    }
}
