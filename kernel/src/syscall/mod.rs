//! System calls: from numbers in registers to calls of `task`, `fs` and `memory`.
//!
//! One table, `dispatch`. Each call is a short function in the module of its subject: it turns
//! arguments into types, calls, and turns the outcome into a number.

mod file;
mod identity;
mod io;
mod log;
mod memory;
mod metadata;
mod mount;
pub mod number;
mod poll;
mod process;
mod schedule;
mod signal;
mod synchronize;
mod system;
mod time;

use crate::arch::Registers;
use crate::error::{Errno, Result};
use crate::memory::UserAddress;
use crate::task::signal::{Restart, failure};
use crate::task::{Work, current};

/// The arguments of a call.
#[derive(Clone, Copy, Debug)]
struct Arguments([u64; 6]);

impl Arguments {
    /// An argument as it is.
    fn word(self, index: usize) -> u64 {
        self.0[index]
    }

    /// An `int`: the upper half of the register is not part of it.
    fn int(self, index: usize) -> i32 {
        self.0[index] as i32
    }

    /// An `unsigned int`.
    fn half(self, index: usize) -> u32 {
        self.0[index] as u32
    }

    /// A `size_t`.
    fn size(self, index: usize) -> usize {
        self.0[index] as usize
    }

    /// A pointer.
    fn address(self, index: usize) -> UserAddress {
        UserAddress(self.0[index])
    }
}

/// A call that starts again after a handler that was installed with `SA_RESTART`.
fn restarting<T>(result: Result<T>) -> Result<T> {
    result.map_err(|errno| match errno {
        Errno::EINTR => Errno::RESTART,
        other => other,
    })
}

/// A call that starts again if no handler runs: after a stop.
fn restarting_unless_handled<T>(result: Result<T>) -> Result<T> {
    result.map_err(|errno| match errno {
        Errno::EINTR => Errno::RESTART_UNLESS_HANDLED,
        other => other,
    })
}

/// Does the call that the running thread made: its number is in X8, its arguments are in X0 to
/// X5, and its result goes to X0.
pub fn handle(registers: &mut Registers) {
    let argument = registers.x[0];
    registers.x[0] = match dispatch(registers) {
        Ok(value) => value,
        Err(errno) => {
            if errno.is_restart() {
                let thread = current();
                thread.signals.lock().restart = Some(Restart { argument, errno });
                thread.work.set(Work::SIGNAL);
            }
            failure(errno)
        }
    };
}

/// The table of system calls.
fn dispatch(registers: &mut Registers) -> Result<u64> {
    use number as n;

    let [x0, x1, x2, x3, x4, x5, ..] = registers.x;
    let a = Arguments([x0, x1, x2, x3, x4, x5]);
    match registers.x[8] {
        n::GETPID => Ok(current().process.id.0.into()),
        n::GETTID => Ok(current().id().0.into()),
        n::GETPPID => identity::getppid(),
        n::GETUID | n::GETEUID | n::GETGID | n::GETEGID => Ok(0),
        n::GETRESUID | n::GETRESGID => identity::getresuid(a),
        n::SETUID | n::SETGID => identity::setuid(a),
        n::SETRESUID | n::SETRESGID => identity::setresuid(a),
        n::GETGROUPS => identity::getgroups(a),
        n::SETGROUPS => identity::setgroups(a),
        n::SETPGID => identity::setpgid(a),
        n::GETPGID => identity::getpgid(a),
        n::GETSID => identity::getsid(a),
        n::SETSID => identity::setsid(),

        n::READ => restarting(io::read(a)),
        n::WRITE => restarting(io::write(a)),
        n::READV => restarting(io::readv(a)),
        n::WRITEV => restarting(io::writev(a)),
        n::PREAD64 => restarting(io::pread64(a)),
        n::PWRITE64 => restarting(io::pwrite64(a)),
        n::PREADV => restarting(io::preadv(a)),
        n::PWRITEV => restarting(io::pwritev(a)),
        n::PREADV2 => restarting(io::preadv2(a)),
        n::PWRITEV2 => restarting(io::pwritev2(a)),
        n::SENDFILE => restarting(io::sendfile(a)),
        n::LSEEK => io::lseek(a),
        n::IOCTL => restarting(io::ioctl(a)),
        n::PPOLL => restarting_unless_handled(poll::ppoll(a)),
        n::PSELECT6 => restarting_unless_handled(poll::pselect6(a)),

        n::OPENAT => restarting(file::openat(a)),
        n::MEMFD_CREATE => file::memfd_create(a),
        n::CLOSE => file::close(a),
        n::CLOSE_RANGE => file::close_range(a),
        n::DUP => file::dup(a),
        n::DUP3 => file::dup3(a),
        n::FCNTL => file::fcntl(a),
        n::PIPE2 => file::pipe2(a),
        n::GETDENTS64 => file::getdents64(a),
        n::FTRUNCATE => file::ftruncate(a),
        n::TRUNCATE => file::truncate(a),
        n::FALLOCATE => file::fallocate(a),
        n::FSYNC => file::fsync(a, false),
        n::FDATASYNC => file::fsync(a, true),
        n::FLOCK => file::flock(a),
        n::FADVISE64 => file::fadvise64(a),
        n::GETCWD => file::getcwd(a),
        n::CHDIR => file::chdir(a),
        n::FCHDIR => file::fchdir(a),
        n::CHROOT => file::chroot(a),
        n::UMASK => file::umask(a),
        n::MKDIRAT => file::mkdirat(a),
        n::MKNODAT => file::mknodat(a),
        n::SYMLINKAT => file::symlinkat(a),
        n::LINKAT => file::linkat(a),
        n::UNLINKAT => file::unlinkat(a),
        n::RENAMEAT => file::renameat2(a, 0),
        n::RENAMEAT2 => file::renameat2(a, a.half(4)),
        n::READLINKAT => file::readlinkat(a),

        n::NEWFSTATAT => metadata::newfstatat(a),
        n::FSTAT => metadata::fstat(a),
        n::STATX => metadata::statx(a),
        n::FACCESSAT => metadata::faccessat(a, 0),
        n::FACCESSAT2 => metadata::faccessat(a, a.half(3)),
        n::FCHMOD => metadata::fchmod(a),
        n::FCHMODAT => metadata::fchmodat(a),
        n::FCHOWN => metadata::fchown(a),
        n::FCHOWNAT => metadata::fchownat(a),
        n::UTIMENSAT => metadata::utimensat(a),

        n::STATFS => mount::statfs(a),
        n::FSTATFS => mount::fstatfs(a),
        n::MOUNT => mount::mount(a),
        n::UMOUNT2 => mount::umount2(a),
        n::SYNC => mount::sync(),
        n::SYNCFS => mount::syncfs(a),

        n::BRK => memory::brk(a),
        n::MMAP => memory::mmap(a),
        n::MUNMAP => memory::munmap(a),
        n::MPROTECT => memory::mprotect(a),
        n::MADVISE => memory::madvise(a),
        n::MSYNC => memory::msync(a),
        n::MREMAP => memory::mremap(a),
        n::MINCORE => memory::mincore(a),
        n::MLOCK => memory::mlock(a),
        n::MLOCK2 => memory::mlock2(a),
        n::MUNLOCK => memory::munlock(a),
        n::MLOCKALL => memory::mlockall(a),
        n::MUNLOCKALL => memory::munlockall(),

        n::CLONE => process::clone(a, registers),
        n::CLONE3 => process::clone3(a, registers),
        n::EXECVE => process::execve(a, registers),
        n::EXECVEAT => process::execveat(a, registers),
        n::EXIT => process::exit(a),
        n::EXIT_GROUP => process::exit_group(a),
        n::WAIT4 => restarting(process::wait4(a)),
        n::WAITID => restarting(process::waitid(a)),
        n::SET_TID_ADDRESS => process::set_tid_address(a),
        n::PRCTL => process::prctl(a),
        n::PRLIMIT64 => process::prlimit64(a),
        n::GETRLIMIT => process::getrlimit(a),
        n::SETRLIMIT => process::setrlimit(a),
        n::GETRUSAGE => process::getrusage(a),
        n::TIMES => process::times(a),

        n::SCHED_YIELD => schedule::sched_yield(),
        n::SCHED_SETAFFINITY => schedule::sched_setaffinity(a),
        n::SCHED_GETAFFINITY => schedule::sched_getaffinity(a),
        n::SCHED_SETSCHEDULER => schedule::sched_setscheduler(a),
        n::SCHED_GETSCHEDULER => schedule::sched_getscheduler(a),
        n::SCHED_GETPARAM => schedule::sched_getparam(a),
        n::SCHED_GET_PRIORITY_MAX | n::SCHED_GET_PRIORITY_MIN => schedule::priority_limit(a),
        n::SETPRIORITY => schedule::setpriority(a),
        n::GETPRIORITY => schedule::getpriority(a),
        n::GETCPU => schedule::getcpu(a),

        n::KILL => signal::kill(a),
        n::TKILL => signal::tkill(a),
        n::TGKILL => signal::tgkill(a),
        n::RT_SIGQUEUEINFO => signal::rt_sigqueueinfo(a),
        n::RT_TGSIGQUEUEINFO => signal::rt_tgsigqueueinfo(a),
        n::RT_SIGACTION => signal::rt_sigaction(a),
        n::RT_SIGPROCMASK => signal::rt_sigprocmask(a),
        n::RT_SIGPENDING => signal::rt_sigpending(a),
        n::RT_SIGSUSPEND => restarting_unless_handled(signal::rt_sigsuspend(a)),
        n::RT_SIGTIMEDWAIT => signal::rt_sigtimedwait(a),
        n::RT_SIGRETURN => signal::rt_sigreturn(registers),
        n::SIGALTSTACK => signal::sigaltstack(a, registers.sp),

        n::FUTEX => synchronize::futex(a),
        n::SET_ROBUST_LIST => synchronize::set_robust_list(a),
        n::GET_ROBUST_LIST => synchronize::get_robust_list(a),

        n::NANOSLEEP => time::nanosleep(a),
        n::CLOCK_NANOSLEEP => time::clock_nanosleep(a),
        n::RESTART_SYSCALL => time::restart_syscall(),
        n::CLOCK_GETTIME => time::clock_gettime(a),
        n::CLOCK_SETTIME => time::clock_settime(a),
        n::CLOCK_GETRES => time::clock_getres(a),
        n::GETTIMEOFDAY => time::gettimeofday(a),
        n::GETITIMER => time::getitimer(a),
        n::SETITIMER => time::setitimer(a),

        n::UNAME => system::uname(a),
        n::SETHOSTNAME => system::sethostname(a),
        n::REBOOT => system::reboot(a),
        n::SYSINFO => system::sysinfo(a),
        n::GETRANDOM => system::getrandom(a),
        n::SYSLOG => log::syslog(a),

        _ => Err(Errno::ENOSYS),
    }
}
