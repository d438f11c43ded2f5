//! Disks: virtio block devices (Virtual I/O Device 1.2, 5.2), by the crate `virtio-drivers`.
//!
//! The crate's own driver for them spins until a flush is over. This one uses the crate's queue, and
//! whoever waits for a disk sleeps. Bytes go through memory of the driver's, because stacks are not in
//! the direct map, and devices know physical addresses only.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ptr::{NonNull, with_exposed_provenance_mut};
use core::slice;

use bitflags::bitflags;
use mm::Pfn;
use spin::Once;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use super::layout::{self, PAGE};
use super::{interrupt, tables};
use crate::device_tree::VirtioDevice;
use crate::error::{Errno, Result};
use crate::fs::block::{self, BlockDevice, SECTOR};
use crate::memory::manager;
use crate::sync::{SpinLock, WaitQueue};

/// Descriptors of the queue: three for each request.
const QUEUE: usize = 16;
/// How many requests a disk has at the same time.
const SLOTS: usize = 4;
/// Frames of a slot, as an order: the first has header and status, the others the bytes.
const ORDER: usize = 2;
/// The longest request, in bytes.
const LONGEST: usize = ((1 << ORDER) - 1) * mm::PAGE_SIZE;
/// Bytes of the header: type, reserved, sector.
const HEADER: usize = 16;
/// Where the status is.
const STATUS: usize = 64;
/// `VIRTIO_BLK_S_OK`.
const OK: u8 = 0;

bitflags! {
    /// What a device offers, and is used here.
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        const READ_ONLY = 1 << 5;
        const FLUSH = 1 << 9;
        const VERSION_1 = 1 << 32;
    }
}

/// What a device is asked to do. Values: `VIRTIO_BLK_T_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read = 0,
    Write = 1,
    Flush = 4,
}

/// A request, but for its bytes.
#[derive(Clone, Copy, Debug)]
struct Request {
    kind: Kind,
    sector: u64,
    length: usize,
}

/// Memory for one request.
#[derive(Debug)]
struct Slot {
    memory: Pfn,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Free,
    /// Somebody fills or empties it.
    Taken,
    /// The device has it. The queue knows it by the token.
    Pending(u16, Request),
    /// The device is done with it.
    Done(Result<()>),
}

struct Inner {
    transport: MmioTransport<'static>,
    queue: VirtQueue<Frames, QUEUE>,
    slots: [Slot; SLOTS],
}

/// A virtio block device.
struct Disk {
    inner: SpinLock<Inner>,
    /// Threads that wait for a slot, or for the device.
    waiters: WaitQueue,
    sectors: u64,
    features: Features,
    interrupt: u32,
}

static DISKS: Once<Vec<Arc<Disk>>> = Once::new();

impl fmt::Debug for Disk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "virtio disk of {} sectors", self.sectors)
    }
}

/// Memory that devices share with the kernel: frames, which are never given back.
struct Frames;

// SAFETY: `dma_alloc` gives zeroed frames of the direct map that are nobody else's for ever; `share`
// gives the physical addresses of such frames.
unsafe impl Hal for Frames {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let order = pages.next_power_of_two().trailing_zeros() as usize;
        match allocate(order) {
            Ok((frame, place)) => (frame.0 * PAGE, place),
            // The crate takes 0 for a failure.
            Err(_) => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // Only a device that could not be set up does this, in boot.
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("only PCI needs this")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        let address = buffer.addr().get() as u64;
        layout::physical(address).expect("requests are in slots, which are in the direct map")
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// Frames filled with zeros.
fn allocate(order: usize) -> Result<(Pfn, NonNull<u8>)> {
    let block = manager().allocate_kernel(order)?;
    let place = super::kernel_address(block.start());
    // SAFETY: frames of the kernel's in the direct map, which nobody else has.
    unsafe { place.write_bytes(0, mm::PAGE_SIZE << order) };
    Ok((block.start(), NonNull::new(place).ok_or(Errno::ENOMEM)?))
}

/// The disks of the board become block devices, in the order of their addresses.
pub(super) fn start(devices: &[VirtioDevice]) {
    let disks: Vec<_> = devices
        .iter()
        .filter_map(|device| Disk::find(device).transpose())
        .filter_map(|found| {
            found
                .inspect_err(|reason| log::error!("virtio_blk: {reason}"))
                .ok()
        })
        .collect();
    for disk in DISKS.call_once(|| disks) {
        if let Err(reason) = interrupt::enable_edge(disk.interrupt) {
            log::error!("virtio_blk: interrupt {}: {reason}", disk.interrupt);
            continue;
        }
        block::add(Arc::clone(disk) as Arc<dyn BlockDevice>);
    }
}

/// Takes an interrupt, if it is a disk's.
pub(super) fn interrupt(number: u32) -> bool {
    let disks = DISKS.get().map_or(&[][..], Vec::as_slice);
    let mut own = disks.iter().filter(|disk| disk.interrupt == number);
    own.by_ref().map(|disk| disk.finish()).count() > 0
}

/// The parts of a request in its slot: what the device reads, and what it writes.
fn with_parts<T>(
    memory: Pfn,
    request: Request,
    act: impl for<'a> FnOnce(&'a [&'a [u8]], &'a mut [&'a mut [u8]]) -> T,
) -> T {
    let start = super::kernel_address(memory);
    // SAFETY: the first frame of the slot, which the caller or the device has.
    let header = unsafe { slice::from_raw_parts(start, HEADER) };
    // SAFETY: as above, and beyond the header.
    let status = unsafe { slice::from_raw_parts_mut(start.wrapping_add(STATUS), 1) };
    let data = bytes(memory, request.length);
    match request.kind {
        Kind::Read => act(&[header], &mut [data, status]),
        Kind::Write => act(&[header, data], &mut [status]),
        Kind::Flush => act(&[header], &mut [status]),
    }
}

/// The bytes of a slot that the caller has.
fn bytes<'a>(memory: Pfn, length: usize) -> &'a mut [u8] {
    debug_assert!(length <= LONGEST);
    let start = super::kernel_address(Pfn(memory.0 + 1));
    // SAFETY: the other frames of the slot, which only the caller or the device has.
    unsafe { slice::from_raw_parts_mut(start, length) }
}

impl Disk {
    /// The disk at a place where one may be.
    fn find(device: &VirtioDevice) -> Result<Option<Arc<Self>>, &'static str> {
        let no_memory = |_: Errno| "no memory";
        let address = tables::map_device(device.address, device.length).map_err(no_memory)?;
        let header = with_exposed_provenance_mut::<VirtIOHeader>(address as usize);
        let header = NonNull::new(header).ok_or("no address")?;
        // SAFETY: the device's registers, mapped just now, for ever, and for nobody else.
        let transport = unsafe { MmioTransport::new(header, device.length as usize) };
        let mut transport = match transport {
            Ok(transport) if transport.device_type() == DeviceType::Block => transport,
            // Most places are empty.
            _ => return Ok(None),
        };
        let features = transport.begin_init(Features::all());
        let sectors = transport
            .read_consistent(|| {
                let word = |offset| transport.read_config_space::<u32>(offset).map(u64::from);
                Ok(word(0)? | word(4)? << 32)
            })
            .map_err(|_| "a disk does not say how large it is")?;
        let queue = VirtQueue::new(&mut transport, 0, false, false)
            .map_err(|_| "a disk has no queue that will do")?;
        transport.finish_init();
        let mut slots = [const {
            Slot {
                memory: Pfn(0),
                state: State::Free,
            }
        }; SLOTS];
        for slot in &mut slots {
            slot.memory = allocate(ORDER).map_err(no_memory)?.0;
        }
        Ok(Some(Arc::new(Self {
            inner: SpinLock::new(Inner {
                transport,
                queue,
                slots,
            }),
            waiters: WaitQueue::new(),
            sectors,
            features,
            interrupt: device.interrupt,
        })))
    }

    /// Has the device do something, and sleeps until it is done. `fill` gets the bytes of the request
    /// before, `empty` after.
    fn perform(
        &self,
        request: Request,
        fill: impl FnOnce(&mut [u8]),
        empty: impl FnOnce(&[u8]),
    ) -> Result<()> {
        let (index, memory) = self.waiters.wait_until(|| self.inner.lock().take_slot());
        fill(bytes(memory, request.length));
        let submitted = self.inner.lock().submit(index, request);
        let result =
            submitted.and_then(|()| self.waiters.wait_until(|| self.inner.lock().result(index)));
        if result.is_ok() {
            empty(bytes(memory, request.length));
        }
        self.inner.lock().slots[index].state = State::Free;
        self.waiters.wake_all();
        result
    }

    /// Takes what the device is done with.
    fn finish(&self) {
        self.inner.lock().finish();
        self.waiters.wake_all();
    }

    fn check(&self, sector: u64, length: usize) -> Result<()> {
        let end = sector.checked_add((length / SECTOR) as u64);
        if length.is_multiple_of(SECTOR) && end.is_some_and(|end| end <= self.sectors) {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }
}

impl Inner {
    fn take_slot(&mut self) -> Option<(usize, Pfn)> {
        let free = |slot: &Slot| matches!(slot.state, State::Free);
        let index = self.slots.iter().position(free)?;
        self.slots[index].state = State::Taken;
        Some((index, self.slots[index].memory))
    }

    /// Hands a slot that the caller has to the device.
    fn submit(&mut self, index: usize, request: Request) -> Result<()> {
        let memory = self.slots[index].memory;
        let mut header = [0; STATUS + 1];
        header[..4].copy_from_slice(&(request.kind as u32).to_le_bytes());
        header[8..HEADER].copy_from_slice(&request.sector.to_le_bytes());
        // The device says otherwise, or nothing.
        header[STATUS] = !OK;
        let place = super::kernel_address(memory);
        // SAFETY: the first frame of the slot, which the caller has.
        unsafe { place.copy_from_nonoverlapping(header.as_ptr(), header.len()) };
        let queue = &mut self.queue;
        let added = with_parts(memory, request, |inputs, outputs| {
            // SAFETY: the slot is the device's until `finish` has taken it back.
            unsafe { queue.add(inputs, outputs) }
        });
        let token = added.map_err(|_| Errno::EIO)?;
        self.slots[index].state = State::Pending(token, request);
        if self.queue.should_notify() {
            self.transport.notify(0);
        }
        Ok(())
    }

    /// What came of a request, if that is known.
    fn result(&mut self, index: usize) -> Option<Result<()>> {
        match self.slots[index].state {
            State::Done(result) => Some(result),
            _ => None,
        }
    }

    fn finish(&mut self) {
        self.transport.ack_interrupt();
        while let Some(used) = self.queue.peek_used() {
            let slot = self.slots.iter_mut().find_map(|slot| match slot.state {
                State::Pending(token, request) if token == used => Some((slot, request)),
                _ => None,
            });
            let Some((slot, request)) = slot else {
                log::error!("virtio_blk: a disk is done with what it was not given");
                return;
            };
            let queue = &mut self.queue;
            let popped = with_parts(slot.memory, request, |inputs, outputs| {
                // SAFETY: the parts that were added with this token.
                unsafe { queue.pop_used(used, inputs, outputs) }
            });
            let status = super::kernel_address(slot.memory).wrapping_add(STATUS);
            // SAFETY: in the first frame of the slot, which the device has given back.
            let status = popped.map(|_| unsafe { status.read() });
            slot.state = State::Done(match status {
                Ok(OK) => Ok(()),
                _ => Err(Errno::EIO),
            });
        }
    }
}

impl BlockDevice for Disk {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&self, sector: u64, into: &mut [u8]) -> Result<()> {
        self.check(sector, into.len())?;
        let per_request = LONGEST / SECTOR;
        for (sector, part) in (sector..)
            .step_by(per_request)
            .zip(into.chunks_mut(LONGEST))
        {
            let request = Request {
                kind: Kind::Read,
                sector,
                length: part.len(),
            };
            self.perform(request, |_| {}, |bytes| part.copy_from_slice(bytes))?;
        }
        Ok(())
    }

    fn write(&self, sector: u64, bytes: &[u8]) -> Result<()> {
        if self.features.contains(Features::READ_ONLY) {
            return Err(Errno::EROFS);
        }
        self.check(sector, bytes.len())?;
        let per_request = LONGEST / SECTOR;
        for (sector, part) in (sector..).step_by(per_request).zip(bytes.chunks(LONGEST)) {
            let request = Request {
                kind: Kind::Write,
                sector,
                length: part.len(),
            };
            self.perform(request, |bytes| bytes.copy_from_slice(part), |_| {})?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        if !self.features.contains(Features::FLUSH) {
            return Ok(());
        }
        let request = Request {
            kind: Kind::Flush,
            sector: 0,
            length: 0,
        };
        self.perform(request, |_| {}, |_| {})
    }

    fn is_read_only(&self) -> bool {
        self.features.contains(Features::READ_ONLY)
    }
}
