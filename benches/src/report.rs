//! Results for the terminal and for programs.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// One comparison, as it is written to the JSON file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Routine and variant, e.g. `memcpy_mc/avx512`.
    pub(crate) routine: String,
    pub(crate) rival: String,
    pub(crate) arch: &'static str,
    pub(crate) bytes: usize,
    pub(crate) misaligned: bool,
    /// The routine's time over the rival's; `null` where time means nothing (emulation).
    pub(crate) ratio_median: Option<f64>,
    /// The routine's time in nanoseconds.
    pub(crate) ns_median: Option<f64>,
    /// Recovery: quantiles of the routine's time in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ns_p10: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ns_p99: Option<f64>,
    /// Emulation: instructions that one call executes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rival_instructions: Option<usize>,
    /// Prediction for the loop of the routine on `cpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_cycle: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rival_bytes_per_cycle: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<&'static str>,
    /// The version of LLVM that predicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) llvm: Option<u32>,
    #[serde(skip)]
    pub(crate) target: Option<Target>,
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// A ratio no larger than this.
    AtMost(f64),
    /// A rate no smaller than this.
    AtLeast(f64),
    /// A rate no further below this than a twentieth.
    Approach(f64),
}

impl Target {
    pub(crate) fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::AtLeast(limit) => figure >= limit,
            Self::Approach(goal) => figure >= goal * 0.95,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {limit:.2}"),
            Self::AtLeast(limit) => write!(f, ">= {limit:.1}"),
            Self::Approach(goal) => write!(f, "near {goal:.1}"),
        }
    }
}

impl Row {
    /// The figure that the target is about.
    fn figure(&self) -> Option<f64> {
        self.bytes_per_cycle.or(self.ratio_median)
    }

    /// Whether the target is met; `None` without one.
    pub(crate) fn meets_target(&self) -> Option<bool> {
        Some(self.target?.is_met_by(self.figure()?))
    }

    /// For a column of its own: `<= 1.05 met`, or nothing.
    pub(crate) fn verdict(&self) -> String {
        match (self.target, self.meets_target()) {
            (Some(target), Some(true)) => format!("{target} met"),
            (Some(target), Some(false)) => format!("{target} MISSED"),
            _ => String::new(),
        }
    }
}

/// A table with right-aligned columns.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    lines: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, header: Vec<String>) -> Self {
        Self {
            title: title.into(),
            lines: vec![header],
        }
    }

    pub(crate) fn push(&mut self, line: Vec<String>) {
        self.lines.push(line);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        writeln!(f, "{}", self.title)?;
        for line in &self.lines {
            let cells = line.iter().zip(&widths);
            let text: String = cells
                .map(|(cell, width)| format!("  {cell:>width$}"))
                .collect();
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// A number of bytes as people say it: `64`, `4K`, `1M`.
pub(crate) fn bytes(count: usize) -> String {
    match count {
        _ if count >= 1 << 20 && count.is_multiple_of(1 << 20) => format!("{}M", count >> 20),
        _ if count >= 1 << 10 && count.is_multiple_of(1 << 10) => format!("{}K", count >> 10),
        _ => count.to_string(),
    }
}

/// A time in nanoseconds, to about three digits.
pub(crate) fn nanoseconds(time: f64) -> String {
    if time < 100.0 {
        format!("{time:.2}")
    } else {
        format!("{time:.0}")
    }
}

/// A ratio, to about three digits.
pub(crate) fn ratio(ratio: f64) -> String {
    if ratio < 10.0 {
        format!("{ratio:.3}")
    } else {
        format!("{ratio:.0}")
    }
}

/// Bytes per cycle.
pub(crate) fn rate(rate: f64) -> String {
    format!("{rate:.2}")
}

/// The last words: how many targets are met, and which are not.
pub(crate) fn summary(rows: &[Row]) -> String {
    let (met, missed): (Vec<&Row>, Vec<&Row>) = rows
        .iter()
        .filter(|row| row.meets_target().is_some())
        .partition(|row| row.meets_target() == Some(true));
    let mut text = format!("targets: {} met, {} missed\n", met.len(), missed.len());
    for row in missed {
        let placed = if row.misaligned { ", misaligned" } else { "" };
        text += &format!(
            "  missed: {} beside {}, {} bytes{placed}: {:.3}, not {}\n",
            row.routine,
            row.rival,
            row.bytes,
            row.figure().unwrap_or(f64::NAN),
            row.target
                .map(|target| target.to_string())
                .unwrap_or_default(),
        );
    }
    text
}

/// The file for the rows, made before anything is measured for nothing.
#[derive(Debug)]
pub(crate) struct JsonFile<'a> {
    path: &'a Path,
    file: BufWriter<File>,
}

impl<'a> JsonFile<'a> {
    /// Makes an empty file.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub(crate) fn create(path: &'a Path) -> Result<Self> {
        let file = File::create(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    /// Writes one JSON object a line.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(crate) fn write(mut self, rows: &[Row]) -> Result<()> {
        let mut write = || -> Result<()> {
            for row in rows {
                serde_json::to_writer(&mut self.file, row)?;
                self.file.write_all(b"\n")?;
            }
            Ok(self.file.flush()?)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ratio: f64, target: Option<Target>) -> Row {
        Row {
            routine: "memcpy_mc/test".to_owned(),
            rival: "libc memcpy".to_owned(),
            arch: "x86_64",
            bytes: 64,
            ratio_median: Some(ratio),
            ns_median: Some(2.0),
            target,
            ..Row::default()
        }
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new("title", vec!["bytes".into(), "ns".into(), "target".into()]);
        table.push(vec!["64M".into(), "3622102".into(), "<= 1.05 met".into()]);
        table.push(vec!["16".into(), "2.17".into(), String::new()]);
        assert_eq!(
            table.to_string(),
            "title\n\
             \x20 bytes       ns       target\n\
             \x20   64M  3622102  <= 1.05 met\n\
             \x20    16     2.17\n"
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [16, 1000, 1024, 4096, 1 << 20, 64 << 20].map(bytes),
            ["16", "1000", "1K", "4K", "1M", "64M"]
        );
        assert_eq!(
            [2.174, 99.99, 574.2].map(nanoseconds),
            ["2.17", "99.99", "574"]
        );
        assert_eq!([0.0042, 1.0, 33.4].map(ratio), ["0.004", "1.000", "33"]);
    }

    #[test]
    fn a_target_is_met_at_its_limit_and_not_beyond() {
        let at_most = Some(Target::AtMost(1.05));
        assert_eq!(row(1.05, at_most).meets_target(), Some(true));
        assert_eq!(row(1.051, at_most).verdict(), "<= 1.05 MISSED");
        assert_eq!(row(9.0, None).meets_target(), None);
        let rate = Row {
            bytes_per_cycle: Some(8.0),
            target: Some(Target::AtLeast(8.0)),
            ..row(9.0, None)
        };
        assert_eq!(rate.verdict(), ">= 8.0 met");
    }

    #[test]
    fn the_summary_names_what_missed() {
        let target = Some(Target::AtMost(1.05));
        let text = summary(&[row(1.0, target), row(1.2, target), row(5.0, None)]);
        assert_eq!(
            text,
            "targets: 1 met, 1 missed\n  missed: memcpy_mc/test beside libc memcpy, 64 bytes: \
             1.200, not <= 1.05\n"
        );
    }

    #[test]
    fn a_row_has_the_promised_keys() {
        let json = serde_json::to_value(row(1.0, Some(Target::AtMost(1.05)))).unwrap();
        let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(
            keys,
            [
                "arch",
                "bytes",
                "misaligned",
                "ns_median",
                "ratio_median",
                "rival",
                "routine"
            ]
        );
        let emulated = Row {
            instructions: Some(12),
            ..Row::default()
        };
        let json = serde_json::to_value(emulated).unwrap();
        assert!(json["ratio_median"].is_null() && json["instructions"] == 12);
    }
}
