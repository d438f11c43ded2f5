//! Why the monitor did not do what it was asked for.

use std::fmt;
use std::io;
use std::time::Duration;

use control::mailbox::VERSION;
use control::{Command, Request, Status};

/// Why the monitor did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Error {
    /// It refused.
    Refused {
        /// What it was asked for.
        request: Request,
        /// Why.
        status: Status,
    },
    /// Its status is none that this program knows.
    UnknownStatus(u32),
    /// There is no monitor, or it has not got far enough yet.
    NotThere,
    /// It stopped, with this log.
    Failed(String),
    /// It speaks another version of the protocol.
    Version(u32),
    /// The machine has no CPU that could answer.
    Mute,
    /// It does not answer.
    Silent {
        /// How long was waited.
        waited: Duration,
        /// Whether it still looks for requests.
        looks: bool,
    },
    /// Another process has had its turn for too long.
    Busy,
    /// The RAM's file cannot be used.
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { request, status } => {
                let command = Command::from_raw(request.command).map_or("command", Command::name);
                let Request {
                    address, length, ..
                } = request;
                write!(
                    formatter,
                    "the monitor refuses to {command} {address:#x} (length {length:#x}): {status}"
                )
            }
            Self::UnknownStatus(status) => write!(
                formatter,
                "the monitor answers with status {status}, which this program does not know; build \
                 both from the same source"
            ),
            Self::NotThere => formatter.write_str(
                "there is no monitor in this machine, or it has not entered the guest yet; try \
                 again in a moment",
            ),
            Self::Failed(log) => write!(formatter, "the monitor gave up: {}", log.trim_end()),
            Self::Version(version) => write!(
                formatter,
                "the monitor's mailbox has version {version}, not {VERSION}; build both from the \
                 same source"
            ),
            Self::Mute => formatter.write_str(
                "this machine's monitor has no CPU of its own that could answer; start it with one",
            ),
            Self::Silent { waited, looks } => {
                let waited = waited.as_secs_f64();
                if *looks {
                    write!(
                        formatter,
                        "the monitor runs, but did not answer within {waited:.1} s; try again"
                    )
                } else {
                    write!(
                        formatter,
                        "the monitor did not move for {waited:.1} s: the machine is stopped, or \
                         its guest has ended; reset or restart it"
                    )
                }
            }
            Self::Busy => formatter
                .write_str("other processes ask this machine's monitor all the time; try again"),
            Self::Io(error) => write!(formatter, "cannot use the guest's RAM: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
