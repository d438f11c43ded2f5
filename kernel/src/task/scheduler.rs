//! Who runs on which CPU.
//!
//! Each CPU has a queue ([`RunQueue`]) and a lock for it. The lock of the CPU that a thread is on
//! also protects the thread's own place in the schedule, and is held across the switch from one
//! thread to the next: so nobody can wake a thread, and run it elsewhere, before it has left.
//!
//! A thread sleeps by [`park`]. [`Waker::wake`] leaves a token, so that a wake-up just before the
//! sleep is not lost.

use alloc::sync::Arc;
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicI8, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering,
};

use crate::arch::{cpu, irq, space, thread, time};
use crate::error::{Errno, Result};
use crate::sync::{SpinGuard, SpinLock};
use crate::task::run_queue::{RunQueue, virtual_time, weight};
use crate::task::{Thread, Work, current, preemption, set_current, try_current};

/// How long a thread runs while others wait, in nanoseconds.
const SLICE: u64 = 4_000_000;
/// By how much a woken thread's claim must be better for it to interrupt the one that runs.
const GRANULARITY: u64 = 1_000_000;

/// What a thread is doing. Protected by the lock of its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Activity {
    /// It was made, and nobody has started it.
    New,
    /// It runs, or is in a queue.
    Runnable,
    /// It waits for a wake-up.
    Asleep,
    /// It ended.
    Dead,
}

/// A thread's place in the schedule.
#[derive(Debug)]
pub struct Entity {
    /// The CPU it is on, or was last.
    cpu: AtomicUsize,
    activity: AtomicU8,
    /// A wake-up that it has not used.
    token: AtomicBool,
    virtual_runtime: AtomicU64,
    runtime: AtomicU64,
    nice: AtomicI8,
    weight: AtomicU64,
    /// The CPUs it may run on, one bit each.
    affinity: AtomicU64,
}

impl Default for Entity {
    fn default() -> Self {
        Self {
            cpu: AtomicUsize::new(0),
            activity: AtomicU8::new(Activity::New as u8),
            token: AtomicBool::new(false),
            virtual_runtime: AtomicU64::new(0),
            runtime: AtomicU64::new(0),
            nice: AtomicI8::new(0),
            weight: AtomicU64::new(weight(0)),
            affinity: AtomicU64::new(u64::MAX),
        }
    }
}

impl Entity {
    fn is(&self, activity: Activity) -> bool {
        self.activity.load(Ordering::Relaxed) == activity as u8
    }

    fn set(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    fn may_run_on(&self, cpu: usize) -> bool {
        self.affinity.load(Ordering::Relaxed) & 1 << cpu != 0
    }

    /// How long it has run, in nanoseconds, up to its last switch.
    pub fn runtime(&self) -> u64 {
        self.runtime.load(Ordering::Relaxed)
    }

    /// The CPU it is on, or was last.
    pub fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }

    /// The state letter of `/proc/pid/stat`, but for stopped threads and zombies.
    pub fn letter(&self) -> char {
        if self.is(Activity::Asleep) { 'S' } else { 'R' }
    }

    /// The CPUs it may run on, one bit each.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    /// Restricts it to some CPUs; it leaves another one at its next switch.
    ///
    /// # Errors
    ///
    /// `EINVAL`: none of them runs.
    pub fn set_affinity(&self, cpus: u64) -> Result<()> {
        if cpus & online() == 0 {
            return Err(Errno::EINVAL);
        }
        self.affinity.store(cpus, Ordering::Relaxed);
        Ok(())
    }

    /// Its priority, -20 (much time) to 19 (little).
    pub fn nice(&self) -> i8 {
        self.nice.load(Ordering::Relaxed)
    }

    /// Sets its priority.
    pub fn set_nice(&self, nice: i8) {
        let nice = nice.clamp(-20, 19);
        self.nice.store(nice, Ordering::Relaxed);
        self.weight.store(weight(nice), Ordering::Relaxed);
    }

    /// A child starts where its parent is.
    pub fn inherit(&self, parent: &Self) {
        for (to, from) in [
            (&self.virtual_runtime, &parent.virtual_runtime),
            (&self.weight, &parent.weight),
            (&self.affinity, &parent.affinity),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.nice.store(parent.nice(), Ordering::Relaxed);
        self.cpu.store(parent.cpu(), Ordering::Relaxed);
    }
}

/// What a CPU's lock protects.
#[derive(Debug)]
struct Cpu {
    queue: RunQueue<Arc<Thread>>,
    running: Option<Arc<Thread>>,
    /// Runs when nothing else does. It is never in a queue.
    idle: Option<Arc<Thread>>,
    /// When the running thread began to.
    since: u64,
}

static CPUS: [SpinLock<Cpu>; cpu::MAX] = [const {
    SpinLock::new(Cpu {
        queue: RunQueue::new(),
        running: None,
        idle: None,
        since: 0,
    })
}; cpu::MAX];

/// The thread that each CPU has just left, until its successor has let go of it.
static LEFT: [AtomicPtr<Thread>; cpu::MAX] = [const { AtomicPtr::new(ptr::null_mut()) }; cpu::MAX];

/// The CPUs that run threads, and those of them that are idle, one bit each.
static ONLINE: AtomicU64 = AtomicU64::new(0);
static IDLE: AtomicU64 = AtomicU64::new(0);
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The CPUs that run threads, one bit each.
pub fn online() -> u64 {
    ONLINE.load(Ordering::Relaxed)
}

impl Cpu {
    fn is_idle(&self) -> bool {
        match (&self.running, &self.idle) {
            (Some(running), Some(idle)) => Arc::ptr_eq(running, idle),
            _ => false,
        }
    }

    /// Charges the running thread for its time.
    fn charge(&mut self, now: u64) {
        let time = now.saturating_sub(self.since);
        self.since = now;
        if let Some(thread) = &self.running {
            let entity = &thread.entity;
            entity.runtime.fetch_add(time, Ordering::Relaxed);
            let time = virtual_time(time, entity.weight.load(Ordering::Relaxed));
            entity.virtual_runtime.fetch_add(time, Ordering::Relaxed);
        }
    }

    fn enqueue(&mut self, thread: Arc<Thread>) {
        let runtime = thread.entity.virtual_runtime.load(Ordering::Relaxed);
        self.queue.insert(runtime, thread);
    }

    /// Whether the thread that runs must give way to the first in the queue.
    fn should_preempt(&self) -> bool {
        let (Some(first), Some(running)) = (self.queue.first(), &self.running) else {
            return false;
        };
        let now = running.entity.virtual_runtime.load(Ordering::Relaxed);
        self.is_idle() || first.saturating_add(GRANULARITY) < now
    }

    /// The interrupt that ends a slice is wanted only if someone waits.
    fn set_slice(&self) {
        let end = (!self.queue.is_empty()).then(|| self.since + SLICE);
        time::set_slice_end(end);
    }
}

/// The lock of the CPU that `thread` is on.
fn cpu_of(thread: &Thread) -> SpinGuard<'static, Cpu> {
    loop {
        let cpu = thread.entity.cpu();
        let guard = CPUS[cpu].lock();
        if thread.entity.cpu() == cpu {
            return guard;
        }
    }
}

/// Where a thread that was last on `last` runs next: there if it is idle, or on another idle
/// CPU; otherwise there.
fn choose(last: usize, affinity: u64, idle: u64, online: u64) -> usize {
    let allowed = match affinity & online {
        0 => online,
        allowed => allowed,
    };
    let has = |set: u64| set & 1 << last != 0;
    let free = idle & allowed;
    if has(free) || (free == 0 && has(allowed)) {
        last
    } else if free != 0 {
        free.trailing_zeros() as usize
    } else if allowed != 0 {
        allowed.trailing_zeros() as usize
    } else {
        // No CPU runs threads yet.
        last
    }
}

/// Puts a thread into the queue of a CPU. It is in none, and its CPU's lock is held.
fn place(thread: Arc<Thread>, home: SpinGuard<'static, Cpu>) {
    let entity = &thread.entity;
    let from = entity.cpu();
    entity.set(Activity::Runnable);
    let idle = IDLE.load(Ordering::Relaxed);
    let to = choose(from, entity.affinity(), idle, online());
    let mut target = if to == from {
        home
    } else {
        // Claims differ from queue to queue: only the distance to the others goes along.
        let lead = entity
            .virtual_runtime
            .load(Ordering::Relaxed)
            .saturating_sub(home.queue.floor());
        drop(home);
        let target = CPUS[to].lock();
        let runtime = target.queue.floor().saturating_add(lead);
        entity.virtual_runtime.store(runtime, Ordering::Relaxed);
        entity.cpu.store(to, Ordering::Relaxed);
        target
    };
    let runtime = entity.virtual_runtime.load(Ordering::Relaxed);
    let runtime = target.queue.after_sleep(runtime);
    entity.virtual_runtime.store(runtime, Ordering::Relaxed);
    target.enqueue(thread);
    let here = cpu::id() == to;
    if here {
        target.charge(time::now());
    }
    let preempt = target.should_preempt();
    if preempt && let Some(running) = &target.running {
        running.work.set(Work::RESCHEDULE);
    }
    if here {
        target.set_slice();
    } else if preempt || target.queue.len() == 1 {
        cpu::reschedule(to);
    }
}

/// Starts a thread that has not run.
///
/// # Errors
///
/// `EAGAIN`: there is no memory for it in the queues.
pub fn start(thread: &Arc<Thread>) -> Result<()> {
    let threads = THREADS.fetch_add(1, Ordering::Relaxed) + 1;
    for queue in &CPUS[..cpu::count()] {
        if queue.lock().queue.reserve(threads).is_err() {
            THREADS.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::EAGAIN);
        }
    }
    place(Arc::clone(thread), cpu_of(thread));
    Ok(())
}

/// Wakes a thread, or makes its next [`park`] return.
pub fn wake(thread: &Arc<Thread>) {
    thread.entity.token.store(true, Ordering::SeqCst);
    let cpu = cpu_of(thread);
    if thread.entity.is(Activity::Asleep) {
        thread.entity.token.store(false, Ordering::SeqCst);
        place(Arc::clone(thread), cpu);
    }
}

/// Makes a thread that runs in user mode on another CPU look at its work.
pub fn kick(thread: &Thread) {
    let cpu = thread.entity.cpu();
    if cpu != cpu::id() {
        cpu::reschedule(cpu);
    }
}

/// Sleeps until a wake-up, or takes one that came before.
pub fn park() {
    if !current().entity.token.swap(false, Ordering::SeqCst) {
        switch(Activity::Asleep);
    }
}

/// Lets others run first, if any want to.
pub fn reschedule() {
    switch(Activity::Runnable);
}

/// Goes to the end of the queue.
pub fn yield_now() {
    {
        let this = CPUS[current().entity.cpu()].lock();
        if this.queue.is_empty() {
            return;
        }
        let entity = &current().entity;
        let behind = this
            .queue
            .floor()
            .max(entity.virtual_runtime.load(Ordering::Relaxed));
        entity.virtual_runtime.store(behind, Ordering::Relaxed);
    }
    reschedule();
}

/// Ends the running thread.
pub fn exit() -> ! {
    THREADS.fetch_sub(1, Ordering::Relaxed);
    switch(Activity::Dead);
    unreachable!("a thread that ended does not run again")
}

/// At the return from an interrupt in the kernel: lets a better thread run, if the interrupted
/// one allows it.
pub fn preempt() {
    if try_current().is_some_and(|thread| thread.work.has(Work::RESCHEDULE))
        && preemption::is_enabled()
    {
        reschedule();
    }
}

/// In the interrupt that ends a slice, and in the one by which another CPU says that it has put
/// something into the queue.
pub fn interrupt() {
    let mut this = CPUS[cpu::id()].lock();
    let now = time::now();
    let over = now.saturating_sub(this.since) >= SLICE && !this.queue.is_empty();
    this.charge(now);
    if (over || this.should_preempt())
        && let Some(running) = &this.running
    {
        running.work.set(Work::RESCHEDULE);
    }
    this.set_slice();
}

/// Gives the CPU to the next thread.
fn switch(activity: Activity) {
    let flags = irq::disable();
    let number = cpu::id();
    let mut this = CPUS[number].lock();
    this.charge(time::now());
    let previous = this.running.take().expect("a thread runs");
    previous.work.clear(Work::RESCHEDULE);
    let idles = this
        .idle
        .as_ref()
        .is_some_and(|idle| Arc::ptr_eq(idle, &previous));
    let mut stays = idles;
    match activity {
        Activity::Asleep if previous.entity.token.swap(false, Ordering::SeqCst) => stays = true,
        Activity::Runnable if !idles && previous.entity.may_run_on(number) => {
            this.enqueue(Arc::clone(&previous));
        }
        _ => previous.entity.set(activity),
    }
    let next = if stays && !idles {
        Arc::clone(&previous)
    } else {
        let next = this.queue.take().or_else(|| this.idle.clone());
        next.expect("a CPU that runs threads has an idle one")
    };
    let bit = 1 << number;
    if this
        .idle
        .as_ref()
        .is_some_and(|idle| Arc::ptr_eq(idle, &next))
    {
        IDLE.fetch_or(bit, Ordering::Relaxed);
    } else if idles {
        IDLE.fetch_and(!bit, Ordering::Relaxed);
    }
    this.running = Some(Arc::clone(&next));
    this.set_slice();
    if Arc::ptr_eq(&previous, &next) {
        drop(this);
        irq::restore(flags);
        return;
    }
    if let Some(space) = &*next.space.lock() {
        space::activate(Some((space.id(), space.root())));
    } else {
        space::activate(None);
    }
    set_current(&next);
    let from = Arc::into_raw(previous).cast_mut();
    LEFT[number].store(from, Ordering::Relaxed);
    // The successor opens the lock, when nothing of this thread is in use any more.
    core::mem::forget(this);
    // The CPU's `running` keeps the next thread alive, `LEFT` the previous one.
    #[expect(unsafe_code, reason = "the count moved to `LEFT`")]
    // SAFETY: `LEFT` has the count of an `Arc` until the successor has left this stack.
    let from = unsafe { &*from };
    let next_state = Arc::into_raw(next);
    #[expect(unsafe_code, reason = "the count was just taken out")]
    // SAFETY: this count is the one that `into_raw` gave up, and `running` has another.
    unsafe {
        Arc::decrement_strong_count(next_state);
    }
    #[expect(unsafe_code, reason = "`running` keeps it alive")]
    // SAFETY: `running` has a count until the next switch of this CPU.
    let to = unsafe { &*next_state };
    thread::switch(&from.state, &to.state);
    finish();
    irq::restore(flags);
}

/// The first thing that a thread does after it was switched to.
fn finish() {
    let number = cpu::id();
    let left = LEFT[number].swap(ptr::null_mut(), Ordering::Relaxed);
    #[expect(unsafe_code, reason = "the thread that left had the lock")]
    // SAFETY: `switch` took the lock on this CPU and forgot its guard.
    unsafe {
        CPUS[number].force_unlock();
    }
    #[expect(unsafe_code, reason = "the count is in `LEFT`")]
    // SAFETY: `switch` put the count of an `Arc` there.
    let left = unsafe { Arc::from_raw(left.cast_const()) };
    if !left.entity.may_run_on(number) && left.entity.is(Activity::Runnable) {
        // It may not stay here, and so was put into no queue.
        let home = cpu_of(&left);
        place(left, home);
    }
}

/// What the entry code of a new thread calls first, with interrupts masked. It then enables them.
pub fn started() {
    finish();
}

/// Makes the calling context the idle thread of this CPU, which from now on runs threads.
pub fn enter(idle: Arc<Thread>) {
    let flags = irq::disable();
    let number = cpu::id();
    let mut this = CPUS[number].lock();
    idle.entity.cpu.store(number, Ordering::Relaxed);
    idle.entity.set(Activity::Runnable);
    set_current(&idle);
    this.since = time::now();
    this.running = Some(Arc::clone(&idle));
    this.idle = Some(idle);
    drop(this);
    IDLE.fetch_or(1 << number, Ordering::Relaxed);
    ONLINE.fetch_or(1 << number, Ordering::Relaxed);
    irq::restore(flags);
}

/// What an idle thread does while `running` is true.
pub fn idle(running: impl Fn() -> bool) {
    while running() {
        let flags = irq::disable();
        let number = cpu::id();
        if CPUS[number].lock().queue.is_empty() && !steal(number) {
            cpu::idle();
        }
        let work = !CPUS[number].lock().queue.is_empty();
        irq::restore(flags);
        if work {
            reschedule();
        }
    }
}

/// Takes a thread from the CPU with the longest queue. Returns whether there was one.
fn steal(thief: usize) -> bool {
    let lengths = (0..cpu::count())
        .filter(|cpu| *cpu != thief)
        .map(|cpu| (CPUS[cpu].lock().queue.len(), cpu));
    let Some((1.., victim)) = lengths.max() else {
        return false;
    };
    let mut home = CPUS[victim].lock();
    let Some(thread) = home
        .queue
        .take_last(|thread| thread.entity.may_run_on(thief))
    else {
        return false;
    };
    place(thread, home);
    true
}

/// Wakes one thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Thread>);

impl PartialEq for Waker {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Waker {
    /// The waker of the running thread.
    pub fn of_current() -> Self {
        Self(current().share())
    }

    /// Makes the thread's next or present [`park`] return.
    pub fn wake(&self) {
        wake(&self.0);
    }
}

/// Whether a signal for the running thread waits to be delivered.
pub fn has_signal() -> bool {
    current().work.has(Work::SIGNAL)
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn an_idle_cpu_is_preferred_and_the_last_one_most() {
        assert_eq!(choose(1, !0, 0b1111, 0b1111), 1);
        assert_eq!(choose(1, !0, 0b1100, 0b1111), 2);
        assert_eq!(choose(1, !0, 0, 0b1111), 1);
        assert_eq!(choose(1, 0b1000, 0b0110, 0b1111), 3);
        assert_eq!(choose(1, 0b10000, 0, 0b1111), 1);
        assert_eq!(choose(1, !0, 0, 0), 1);
    }
}
