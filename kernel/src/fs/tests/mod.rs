//! What processes see of files.

mod data;
mod descriptors;
mod devices;
mod names;
mod pipes;

use std::sync::Arc;

use super::tmpfs::Tmpfs;
use super::{Context, Namespace, OpenFile, OpenFlags};
use crate::error::Result;
use crate::memory::{Sink, Source};

const READ: OpenFlags = OpenFlags::empty();
const CREATE: OpenFlags = OpenFlags::READ_WRITE.union(OpenFlags::CREATE);

/// A process with an empty root directory.
fn context() -> Context {
    Context::new(Namespace::new(Tmpfs::new("tmpfs", 1000)))
}

fn create(context: &Context, path: &[u8]) -> Arc<OpenFile> {
    context.open(None, path, CREATE, 0o666).unwrap()
}

fn write(file: &OpenFile, bytes: &[u8]) -> Result<usize> {
    file.write(&mut Source::Kernel(bytes))
}

/// What one read of at most `length` bytes gives.
fn read(file: &OpenFile, length: usize) -> Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let done = file.read(&mut Sink::Kernel(&mut buffer))?;
    buffer.truncate(done);
    Ok(buffer)
}
