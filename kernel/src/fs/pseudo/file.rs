//! Files whose contents are made by functions.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Debug};

use crate::error::{Errno, Result};
use crate::fs::{FileOperations, OpenFlags};
use crate::memory::{Sink, Source};
use crate::sync::Mutex;

/// The longest write, in bytes.
const WRITE_MAX: usize = mm::PAGE_SIZE;

/// What is behind a file.
pub trait PseudoFile: Debug + Send + Sync {
    /// All of its contents.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from saying.
    fn read(&self) -> Result<Vec<u8>> {
        Err(Errno::EIO)
    }

    /// Does what one write says.
    ///
    /// # Errors
    ///
    /// `EIO`: it cannot be written. `EINVAL`: it says nothing that is understood.
    fn write(&self, _bytes: &[u8]) -> Result<()> {
        Err(Errno::EIO)
    }
}

type Reader = dyn Fn() -> Result<String> + Send + Sync;
type Writer = dyn Fn(&[u8]) -> Result<()> + Send + Sync;

struct Functions {
    read: Option<Arc<Reader>>,
    write: Option<Arc<Writer>>,
}

impl Debug for Functions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Functions")
    }
}

impl PseudoFile for Functions {
    fn read(&self) -> Result<Vec<u8>> {
        let read = self.read.as_ref().ok_or(Errno::EIO)?;
        read().map(String::into_bytes)
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let write = self.write.as_ref().ok_or(Errno::EIO)?;
        write(bytes)
    }
}

/// A file that shows what a function says.
pub fn read_only(read: impl Fn() -> Result<String> + Send + Sync + 'static) -> Arc<dyn PseudoFile> {
    Arc::new(Functions {
        read: Some(Arc::new(read)),
        write: None,
    })
}

/// A file that shows what one function says, and tells another what is written.
pub fn read_write(
    read: impl Fn() -> Result<String> + Send + Sync + 'static,
    write: impl Fn(&[u8]) -> Result<()> + Send + Sync + 'static,
) -> Arc<dyn PseudoFile> {
    Arc::new(Functions {
        read: Some(Arc::new(read)),
        write: Some(Arc::new(write)),
    })
}

/// A file that tells a function what is written.
pub fn write_only(
    write: impl Fn(&[u8]) -> Result<()> + Send + Sync + 'static,
) -> Arc<dyn PseudoFile> {
    Arc::new(Functions {
        read: None,
        write: Some(Arc::new(write)),
    })
}

/// Such a file while it is open. Reads from the start see it as it is then, and those that
/// follow see the same.
#[derive(Debug)]
pub(super) struct OpenPseudoFile {
    file: Arc<dyn PseudoFile>,
    contents: Mutex<Option<Vec<u8>>>,
}

impl OpenPseudoFile {
    pub(super) fn new(file: Arc<dyn PseudoFile>) -> Self {
        Self {
            file,
            contents: Mutex::new(None),
        }
    }
}

impl FileOperations for OpenPseudoFile {
    fn read(&self, position: u64, sink: &mut Sink<'_>, _: OpenFlags) -> Result<usize> {
        let mut contents = self.contents.lock();
        if position == 0 {
            *contents = None;
        }
        let contents = match &mut *contents {
            Some(contents) => contents,
            none => none.insert(self.file.read()?),
        };
        let start =
            usize::try_from(position).map_or(contents.len(), |start| start.min(contents.len()));
        let end = contents.len().min(start.saturating_add(sink.left()));
        match sink.put(&contents[start..end]) {
            Err(stopped) if stopped.done == 0 => Err(stopped.errno()),
            Err(stopped) => Ok(stopped.done),
            Ok(()) => Ok(end - start),
        }
    }

    fn write(&self, _: u64, source: &mut Source<'_>, _: OpenFlags) -> Result<usize> {
        let length = source.left();
        if length > WRITE_MAX {
            return Err(Errno::EINVAL);
        }
        let mut bytes = alloc::vec![0; length];
        source.take(&mut bytes).map_err(|stopped| stopped.errno())?;
        self.file.write(&bytes)?;
        Ok(length)
    }
}
