//! QEMU's control protocol (QMP): one JSON object a line, over a Unix socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// QEMU answers at once, unless the machine it runs on is very busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to QEMU's control socket.
pub(crate) struct Qmp {
    stream: UnixStream,
    replies: Receiver<Value>,
    events: Receiver<Event>,
    /// Number of the last command: a reply that came too late is told by it.
    number: u64,
}

/// Something that happened to the machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// For example `SHUTDOWN`.
    pub(crate) name: String,
    /// What else QEMU says of it.
    pub(crate) data: Value,
}

impl Qmp {
    /// Connects to the socket and gets ready for commands.
    ///
    /// # Errors
    ///
    /// If nobody listens there, or it is not QEMU.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to QEMU's socket {}", socket.display()))?;
        Self::on(stream)
    }

    fn on(stream: UnixStream) -> Result<Self> {
        let (reply, replies) = mpsc::channel();
        let (event, events) = mpsc::channel();
        let reader = BufReader::new(stream.try_clone().context("cannot share a socket")?);
        thread::spawn(move || read(reader, &reply, &event));
        let mut qmp = Self {
            stream,
            replies,
            events,
            number: 0,
        };
        let greeting = qmp.reply("its greeting", Instant::now() + PATIENCE)?;
        if greeting.get("QMP").is_none() {
            bail!("QEMU's socket greets with {greeting}, which is not QMP");
        }
        qmp.execute("qmp_capabilities", Value::Null)?;
        Ok(qmp)
    }

    /// Runs a command and returns its answer. `arguments` is an object, or null if there are none.
    ///
    /// # Errors
    ///
    /// If QEMU refuses the command, does not answer or has ended.
    pub(crate) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        self.number += 1;
        let mut message = json!({ "execute": command, "id": self.number });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        self.stream
            .write_all(format!("{message}\n").as_bytes())
            .with_context(|| format!("cannot ask QEMU for {command}; it may have ended"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut reply = self.reply(command, deadline)?;
            if reply["id"] != self.number {
                continue;
            }
            if let Some(error) = reply.get("error") {
                bail!("QEMU refuses {command}: {}", text(&error["desc"]));
            }
            return Ok(reply["return"].take());
        }
    }

    /// Runs a command of QEMU's monitor for people and returns its output.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub(crate) fn monitor(&mut self, line: &str) -> Result<String> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        Ok(text(&answer))
    }

    /// The next event, or `None` if there is none within `limit`.
    ///
    /// # Errors
    ///
    /// If QEMU has ended.
    pub(crate) fn event(&mut self, limit: Duration) -> Result<Option<Event>, Ended> {
        match self.events.recv_timeout(limit) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Ended),
        }
    }

    /// Waits for an event of this name and drops all before it.
    ///
    /// # Errors
    ///
    /// If it does not come or QEMU has ended.
    pub(crate) fn await_event(&mut self, name: &str) -> Result<Event> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.event(left)? {
                Some(event) if event.name == name => return Ok(event),
                Some(_) => {}
                None => bail!("QEMU sent no {name} within {} s", PATIENCE.as_secs()),
            }
        }
    }

    fn reply(&self, what: &str, deadline: Instant) -> Result<Value> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.replies.recv_timeout(left) {
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Timeout) => {
                bail!(
                    "QEMU did not answer ({what}) within {} s",
                    PATIENCE.as_secs()
                )
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Ended).with_context(|| format!("no answer to {what}"))
            }
        }
    }
}

/// QEMU closed its control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended;

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("QEMU has ended")
    }
}

impl std::error::Error for Ended {}

/// Sorts what QEMU sends until it ends. Both channels then close, which is how others notice.
fn read(reader: impl BufRead, replies: &Sender<Value>, events: &Sender<Event>) {
    for line in reader.lines() {
        let Ok(line) = line else { return };
        // QEMU writes one object a line; anything else could not be told apart from a reply.
        let Ok(mut message) = serde_json::from_str::<Value>(&line) else {
            return;
        };
        let sent = match message["event"].as_str().map(str::to_owned) {
            Some(name) => events
                .send(Event {
                    name,
                    data: message["data"].take(),
                })
                .is_ok(),
            None => replies.send(message).is_ok(),
        };
        if !sent {
            return;
        }
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays QEMU: greets, and answers each line it reads with the next of the texts.
    fn against(answers: &'static [&'static str]) -> Result<Qmp> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut writer = theirs.try_clone().unwrap();
            let mut lines = BufReader::new(theirs).lines();
            writeln!(writer, r#"{{"QMP": {{"version": {{}}}}}}"#).unwrap();
            for answer in [r#"{"return": {}, "id": 1}"#].iter().chain(answers) {
                let _ = lines.next();
                writeln!(writer, "{answer}").unwrap();
            }
        });
        Qmp::on(ours)
    }

    #[test]
    fn answers_refusals_and_events_are_told_apart() {
        let mut qmp = against(&[
            "{\"event\": \"STOP\", \"timestamp\": {}}\n{\"return\": {\"a\": 1}, \"id\": 2}",
            r#"{"error": {"class": "GenericError", "desc": "not so"}, "id": 3}"#,
        ])
        .unwrap();
        assert_eq!(qmp.execute("x", Value::Null).unwrap(), json!({ "a": 1 }));
        let error = qmp.execute("stop", Value::Null).unwrap_err().to_string();
        assert_eq!(error, "QEMU refuses stop: not so");
        let event = qmp.event(PATIENCE).unwrap().unwrap();
        assert_eq!(event.name, "STOP");
        assert_eq!(qmp.event(PATIENCE), Err(Ended));
    }

    #[test]
    fn a_late_reply_is_not_taken_for_the_next() {
        let mut qmp = against(&["{\"return\": 0, \"id\": 1}\n{\"return\": 7, \"id\": 2}"]).unwrap();
        assert_eq!(qmp.execute("x", Value::Null).unwrap(), json!(7));
    }

    #[test]
    fn the_end_of_qemu_is_an_error_that_says_so() {
        let mut qmp = against(&[]).unwrap();
        let error = format!("{:#}", qmp.execute("cont", Value::Null).unwrap_err());
        assert!(error.contains("ended"), "{error}");
    }
}
