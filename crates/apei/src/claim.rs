//! Claiming: taking what firmware reported, and letting it report again.
//!
//! This runs where a non-maskable interrupt may: no locks, no allocation, one pass. The block is
//! copied first and looked at afterwards, so nothing that firmware does meanwhile can change what
//! was checked.

use core::fmt;

use cper::{Malformed, StatusBlock, StatusHeader};
use zerocopy::IntoBytes;

use crate::{BadRegister, GenericSource, GenericSourceV2, Platform, ReadAck};

/// Why a report could not be taken. `E` is the platform's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError<E> {
    /// The register with the block's address is none. Nothing was touched.
    StatusAddress(BadRegister),
    /// The acknowledge register is none. The block was taken and released, but firmware will
    /// wait for ever.
    ReadAck(BadRegister),
    /// The platform refused an access, or it failed.
    Platform(E),
    /// The block, or the room for it, passes the end of the address space. Nothing was touched.
    BlockAddress(u64),
    /// The block is no block. It was released.
    Malformed(Malformed),
    /// The block is longer than the room that the source says it has. It was released.
    TooLong {
        /// Length of the block in bytes.
        length: usize,
        /// Room for it in bytes.
        limit: usize,
    },
    /// The block is longer than the caller's buffer. It was **not** released: claim it again.
    BufferTooSmall {
        /// Length of the block in bytes.
        needed: usize,
        /// Length of the buffer in bytes.
        available: usize,
    },
}

impl GenericSource {
    /// Whether the source has something to report. Cheaper than [`claim`](Self::claim): two
    /// reads.
    ///
    /// # Errors
    ///
    /// [`ClaimError`].
    pub fn is_pending<P: Platform>(&self, platform: &mut P) -> Result<bool, ClaimError<P::Error>> {
        let Some(address) = block_address(self, platform)? else {
            return Ok(false);
        };
        let mut status = [0; 4];
        platform
            .read_memory(address, &mut status)
            .map_err(ClaimError::Platform)?;
        Ok(status != [0; 4])
    }

    /// Takes the source's report, if it has one: copies the block to `buffer` and releases it.
    ///
    /// A block that makes no sense is released all the same, or the source could never report
    /// again.
    ///
    /// # Errors
    ///
    /// [`ClaimError`].
    pub fn claim<'b, P: Platform>(
        &self,
        platform: &mut P,
        buffer: &'b mut [u8],
    ) -> Result<Option<StatusBlock<'b>>, ClaimError<P::Error>> {
        claim(self, None, platform, buffer)
    }
}

impl GenericSourceV2 {
    /// As [`GenericSource::claim`]; a block that was taken is acknowledged too.
    ///
    /// # Errors
    ///
    /// [`ClaimError`].
    pub fn claim<'b, P: Platform>(
        &self,
        platform: &mut P,
        buffer: &'b mut [u8],
    ) -> Result<Option<StatusBlock<'b>>, ClaimError<P::Error>> {
        claim(&self.source, Some(&self.read_ack), platform, buffer)
    }
}

fn claim<'b, P: Platform>(
    source: &GenericSource,
    read_ack: Option<&ReadAck>,
    platform: &mut P,
    buffer: &'b mut [u8],
) -> Result<Option<StatusBlock<'b>>, ClaimError<P::Error>> {
    let Some(address) = block_address(source, platform)? else {
        return Ok(None);
    };
    let mut header = [0; StatusHeader::SIZE];
    platform
        .read_memory(address, &mut header)
        .map_err(ClaimError::Platform)?;
    let header = StatusHeader::from_bytes(header);
    if !header.is_pending() {
        return Ok(None);
    }
    let available = buffer.len();
    let copied = match checked_length(source, &header) {
        Ok(needed) if needed > available => {
            return Err(ClaimError::BufferTooSmall { needed, available });
        }
        Ok(length) => copy(platform, address, &header, &mut buffer[..length]),
        Err(error) => Err(error),
    };
    // A block that could not be copied, or makes no sense, goes too: it would never change.
    let released = release(platform, address, read_ack);
    let block = copied?;
    released?;
    StatusBlock::parse(block)
        .map(Some)
        .map_err(ClaimError::Malformed)
}

/// The address of the status block, unless firmware has not set it up. All the room that the
/// source says it has lies inside the address space.
fn block_address<P: Platform>(
    source: &GenericSource,
    platform: &mut P,
) -> Result<Option<u64>, ClaimError<P::Error>> {
    let register = source
        .error_status_address
        .register()
        .map_err(ClaimError::StatusAddress)?;
    let address = platform.read(register).map_err(ClaimError::Platform)?;
    let room = u64::from(source.error_status_block_length.get()).max(StatusHeader::SIZE as u64);
    match address {
        0 => Ok(None),
        _ if address.checked_add(room).is_none() => Err(ClaimError::BlockAddress(address)),
        _ => Ok(Some(address)),
    }
}

fn checked_length<E>(
    source: &GenericSource,
    header: &StatusHeader,
) -> Result<usize, ClaimError<E>> {
    let length = header.block_length().map_err(ClaimError::Malformed)?;
    let limit = source.error_status_block_length.get() as usize;
    if length > limit {
        return Err(ClaimError::TooLong { length, limit });
    }
    Ok(length)
}

/// Fills `block`. Its header is the one that was checked, not one that was read again.
fn copy<'b, P: Platform>(
    platform: &mut P,
    address: u64,
    header: &StatusHeader,
    block: &'b mut [u8],
) -> Result<&'b [u8], ClaimError<P::Error>> {
    let (head, rest) = block.split_at_mut(StatusHeader::SIZE);
    head.copy_from_slice(header.as_bytes());
    platform
        .read_memory(address + StatusHeader::SIZE as u64, rest)
        .map_err(ClaimError::Platform)?;
    Ok(block)
}

fn release<P: Platform>(
    platform: &mut P,
    address: u64,
    read_ack: Option<&ReadAck>,
) -> Result<(), ClaimError<P::Error>> {
    platform
        .write_memory(address, &[0; 4])
        .map_err(ClaimError::Platform)?;
    let Some(read_ack) = read_ack else {
        return Ok(());
    };
    let register = read_ack.register.register().map_err(ClaimError::ReadAck)?;
    let offset = read_ack.register.bit_offset;
    let kept =
        platform.read(register).map_err(ClaimError::Platform)? & read_ack.preserve.get() << offset;
    let value = kept | read_ack.write.get() << offset;
    platform
        .write(register, value & register.width.mask())
        .map_err(ClaimError::Platform)
}

impl<E: fmt::Display> fmt::Display for ClaimError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StatusAddress(error) => write!(f, "error status address: {error}"),
            Self::ReadAck(error) => write!(f, "read acknowledge register: {error}"),
            Self::Platform(error) => write!(f, "{error}"),
            Self::BlockAddress(address) => {
                write!(f, "status block at {address:#x} passes the end of memory")
            }
            Self::Malformed(error) => write!(f, "malformed status block: {error}"),
            Self::TooLong { length, limit } => write!(
                f,
                "status block of {length} bytes in a source with room for {limit}"
            ),
            Self::BufferTooSmall { needed, available } => write!(
                f,
                "status block of {needed} bytes for a buffer of {available}; claim it with a larger one"
            ),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ClaimError<E> {}
