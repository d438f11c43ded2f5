//! What the command line asks for.

use core::fmt;

/// The parameters of a run, from the kernel command line: `seed=7 count=100000 only=random,smp
/// verbose=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters<'a> {
    /// What all random choices follow from.
    pub seed: u64,
    /// How many random accesses to make.
    pub count: u64,
    /// The groups to run, separated by commas; all but `bench` if there is none.
    pub only: Option<&'a str>,
    /// Whether to tell more than the results.
    pub verbose: bool,
}

/// A word of the command line that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadParameter<'a>(pub &'a str);

impl<'a> Parameters<'a> {
    /// Reads the command line. Words without `=` belong to others, and are left alone.
    ///
    /// # Errors
    ///
    /// [`BadParameter`] for an unknown name, or a value that is no number.
    pub fn parse(line: &'a str) -> Result<Self, BadParameter<'a>> {
        let mut parameters = Self {
            seed: 1,
            count: 20_000,
            only: None,
            verbose: false,
        };
        for word in line.split_ascii_whitespace() {
            let Some((name, value)) = word.split_once('=') else {
                continue;
            };
            let number = || number(value).ok_or(BadParameter(word));
            match name {
                "seed" => parameters.seed = number()?,
                "count" => parameters.count = number()?,
                "only" => parameters.only = Some(value),
                "verbose" => parameters.verbose = number()? != 0,
                _ => return Err(BadParameter(word)),
            }
        }
        Ok(parameters)
    }

    /// Whether cases of this group are to run.
    #[must_use]
    pub fn selects(&self, group: &str) -> bool {
        match self.only {
            Some(groups) => groups.split(',').any(|wanted| wanted == group),
            None => group != "bench",
        }
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

impl fmt::Display for BadParameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot understand \"{}\": use seed=N count=N only=GROUP,GROUP verbose=1",
            self.0
        )
    }
}

impl core::error::Error for BadParameter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parameters_are_read() {
        let line = "seed=0x10 count=5 only=random,smp verbose=1 quiet";
        let parameters = Parameters::parse(line).unwrap();
        assert_eq!((parameters.seed, parameters.count), (16, 5));
        assert!(parameters.verbose);
        assert!(parameters.selects("smp") && parameters.selects("random"));
        assert!(!parameters.selects("holes"));
    }

    #[test]
    fn without_parameters_everything_but_the_benchmark_runs() {
        let parameters = Parameters::parse("").unwrap();
        assert!(parameters.selects("holes") && !parameters.selects("bench"));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        assert_eq!(Parameters::parse("seed=x"), Err(BadParameter("seed=x")));
        assert_eq!(Parameters::parse("sed=1"), Err(BadParameter("sed=1")));
    }
}
