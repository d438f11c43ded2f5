//! The list of mutants.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A change that takes a safety measure out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mutant {
    /// What goes wrong.
    pub(super) name: String,
    /// Below `src`.
    pub(super) file: String,
    /// The test that notices: its file in `tests`, or `lib` and its module, `::`, its name.
    pub(super) test: String,
    /// Lines of the file, without the white space around them.
    old: Vec<String>,
    /// What stands there instead.
    new: Vec<String>,
}

/// Parses a list: each mutant has lines `mutant:`, `file:`, `test:`, then `-` and `+` as in a
/// patch. A `test:` holds for the mutants that follow. Lines that begin with `#` are comments.
///
/// # Errors
///
/// Names the first line that is none of those, or a mutant that lacks one.
pub(super) fn parse(text: &str) -> Result<Vec<Mutant>> {
    let mut mutants: Vec<Mutant> = Vec::new();
    let (mut file, mut test) = (String::new(), String::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let (word, rest) = line.split_at(line.find([':', ' ']).unwrap_or(line.len()));
        let rest = rest.trim_start_matches(':').trim();
        let last = mutants.last_mut();
        match (word, last) {
            ("" | "#", _) => {}
            ("mutant", _) => mutants.push(Mutant {
                name: rest.to_owned(),
                file: file.clone(),
                test: test.clone(),
                ..Mutant::default()
            }),
            ("file", _) => file = rest.to_owned(),
            ("test", _) => test = rest.to_owned(),
            ("-", Some(mutant)) => mutant.old.push(rest.to_owned()),
            ("+", Some(mutant)) => mutant.new.push(rest.to_owned()),
            _ => bail!("line {} of the list of mutants: {line:?}", number + 1),
        }
    }
    for mutant in &mutants {
        if mutant.file.is_empty() || mutant.test.is_empty() || mutant.old.is_empty() {
            bail!(
                "mutant {:?} lacks a file, a test or a line to replace",
                mutant.name
            );
        }
    }
    Ok(mutants)
}

impl Mutant {
    /// The text of its file with the change made.
    ///
    /// # Errors
    ///
    /// If the lines are not there, or there twice.
    pub(super) fn apply_in(&self, source: &Path) -> Result<String> {
        let path = source.join(&self.file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        self.apply(&text)
    }

    fn apply(&self, text: &str) -> Result<String> {
        let lines: Vec<&str> = text.lines().collect();
        let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        let places: Vec<usize> = trimmed
            .windows(self.old.len())
            .enumerate()
            .filter(|(_, window)| window.iter().eq(self.old.iter()))
            .map(|(place, _)| place)
            .collect();
        let [place] = places[..] else {
            bail!(
                "mutant {:?}: its lines are {} times in {}, not once",
                self.name,
                places.len(),
                self.file
            );
        };
        let new = self.new.iter().map(String::as_str);
        let after = lines[place + self.old.len()..].iter().copied();
        let changed = lines[..place].iter().copied().chain(new).chain(after);
        Ok(changed.flat_map(|line| [line, "\n"]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
# Those of one file.
file: a.rs
test: t::x
mutant: it leaks
- give(back);
mutant: it lies
- if a {
-     b
+ if !a {
+     b
";

    #[test]
    fn a_list_is_parsed_and_applied() {
        let mutants = parse(LIST).unwrap();
        let names: Vec<_> = mutants.iter().map(|mutant| &mutant.name[..]).collect();
        assert_eq!(names, ["it leaks", "it lies"]);
        assert_eq!(
            (&mutants[1].file[..], &mutants[1].test[..]),
            ("a.rs", "t::x")
        );
        let text = "x\n    give(back);\n  if a {\n  b\n}\n";
        assert_eq!(mutants[0].apply(text).unwrap(), "x\n  if a {\n  b\n}\n");
        assert_eq!(
            mutants[1].apply(text).unwrap(),
            "x\n    give(back);\nif !a {\nb\n}\n"
        );
    }

    #[test]
    fn what_does_not_apply_once_is_refused() {
        let mutants = parse(LIST).unwrap();
        for text in ["", "give(back);\ngive(back);\n"] {
            let error = mutants[0].apply(text).unwrap_err().to_string();
            assert!(error.contains("not once"), "{error}");
        }
    }

    #[test]
    fn lists_that_lack_something_are_refused() {
        for list in [
            "mutant: a\n- b\n",
            "- b\n",
            "file: a\nmutant: a\ntest: c\n",
            "x\n",
        ] {
            assert!(parse(list).is_err(), "{list}");
        }
    }
}
