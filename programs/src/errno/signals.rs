//! Signals, futexes, clocks.

use libc::{EAGAIN, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH, ETIMEDOUT};

use super::ground::{GOOD, KERNEL, READ_ONLY, UNMAPPED};
use super::row::{Row, rows};

/// No process has this number: `pid_max` is at most 4194304.
const NOBODY: i32 = 0x7fff_0000;

/// `struct robust_list_head` has this size.
const HEAD: i32 = 24;

#[rustfmt::skip]
pub(super) fn rows() -> Vec<Row> {
    rows! {
        SYS_kill(NOBODY, 0) = Errno ESRCH;
        SYS_kill(-NOBODY, 0) = Errno ESRCH;
        SYS_kill(i32::MIN, 0) = Errno ESRCH;
        SYS_kill(NOBODY, 65) = Errno ESRCH;
        SYS_kill(NOBODY, -1) = Errno ESRCH;
        SYS_tkill(0, 0) = Errno EINVAL;
        SYS_tkill(-1, 0) = Errno EINVAL;
        SYS_tkill(NOBODY, 0) = Errno ESRCH;
        SYS_tkill(1, 65) = Errno EINVAL;
        SYS_tgkill(0, 1, 0) = Errno EINVAL;
        SYS_tgkill(1, 0, 0) = Errno EINVAL;
        SYS_tgkill(NOBODY, 1, 0) = Errno ESRCH;
        SYS_tgkill(1, 1, 65) = Errno EINVAL;
        SYS_rt_sigqueueinfo(NOBODY, 1, UNMAPPED) = Errno EFAULT;
        SYS_rt_sigqueueinfo(NOBODY, 1, GOOD) = Errno EPERM;
        SYS_rt_sigqueueinfo(1, 1, GOOD) = Errno EPERM;
        SYS_rt_sigqueueinfo(NOBODY, 1, [0_u64, 0xffff_ffff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            = Errno ESRCH;
        SYS_rt_sigqueueinfo(1, 65, [0_u64, 0xffff_ffff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            = Errno EINVAL;
        SYS_rt_tgsigqueueinfo(0, 0, 1, GOOD) = Errno EINVAL;
        SYS_rt_tgsigqueueinfo(1, 1, 1, UNMAPPED) = Errno EFAULT;
        SYS_rt_tgsigqueueinfo(1, 1, 1, GOOD) = Errno EPERM;
        SYS_rt_tgsigqueueinfo(NOBODY, NOBODY, 1, UNMAPPED) = Errno EFAULT;
        SYS_rt_sigaction(1, UNMAPPED, 0, 8) = Errno EFAULT;
        SYS_rt_sigaction(1, 0, UNMAPPED, 8) = Errno EFAULT;
        SYS_rt_sigaction(1, GOOD, 0, 7) = Errno EINVAL;
        SYS_rt_sigaction(0, GOOD, 0, 8) = Errno EINVAL;
        SYS_rt_sigaction(65, GOOD, 0, 8) = Errno EINVAL;
        SYS_rt_sigaction(-1, GOOD, 0, 8) = Errno EINVAL;
        SYS_rt_sigaction(libc::SIGKILL, GOOD, 0, 8) = Errno EINVAL;
        SYS_rt_sigaction(libc::SIGSTOP, GOOD, 0, 8) = Errno EINVAL;
        SYS_rt_sigaction(libc::SIGKILL, 0, GOOD, 8) = Value 0;
        SYS_rt_sigaction(libc::SIGKILL, UNMAPPED, 0, 8) = Errno EFAULT;
        SYS_rt_sigprocmask(0, UNMAPPED, 0, 8) = Errno EFAULT;
        SYS_rt_sigprocmask(0, 0, READ_ONLY, 8) = Errno EFAULT;
        SYS_rt_sigprocmask(3, GOOD, 0, 8) = Errno EINVAL;
        SYS_rt_sigprocmask(3, 0, 0, 8) = Value 0;
        SYS_rt_sigprocmask(0, GOOD, 0, 9) = Errno EINVAL;
        SYS_rt_sigpending(UNMAPPED, 8) = Errno EFAULT;
        SYS_rt_sigpending(GOOD, 9) = Errno EINVAL;
        SYS_rt_sigsuspend(UNMAPPED, 8) = Errno EFAULT;
        SYS_rt_sigsuspend(GOOD, 7) = Errno EINVAL;
        SYS_rt_sigtimedwait(UNMAPPED, 0, 0, 8) = Errno EFAULT;
        SYS_rt_sigtimedwait(GOOD, 0, UNMAPPED, 8) = Errno EFAULT;
        SYS_rt_sigtimedwait(GOOD, 0, [0_u64, 1_000_000_000], 8) = Errno EINVAL;
        SYS_rt_sigtimedwait(GOOD, 0, [u64::MAX, 0], 8) = Errno EINVAL;
        SYS_rt_sigtimedwait(GOOD, 0, [0_u64, 0], 8) = Errno EAGAIN;
        SYS_rt_sigtimedwait(GOOD, 0, 0, 7) = Errno EINVAL;
        SYS_sigaltstack(UNMAPPED, 0) = Errno EFAULT;
        SYS_sigaltstack(0, UNMAPPED) = Errno EFAULT;
        SYS_sigaltstack([GOOD, 8, 65536], 0) = Errno EINVAL;
        SYS_sigaltstack([GOOD, 0, 100], 0) = Errno libc::ENOMEM;
        SYS_futex(UNMAPPED, libc::FUTEX_WAIT, 0, 0, 0, 0) = Errno EFAULT;
        SYS_futex(KERNEL, libc::FUTEX_WAIT, 0, 0, 0, 0) = Errno EFAULT;
        SYS_futex(GOOD + 1, libc::FUTEX_WAIT, 0, 0, 0, 0) = Errno EINVAL;
        SYS_futex(GOOD, libc::FUTEX_WAIT, 1, 0, 0, 0) = Errno EAGAIN;
        SYS_futex(GOOD, libc::FUTEX_WAIT, 0, UNMAPPED, 0, 0) = Errno EFAULT;
        SYS_futex(GOOD, libc::FUTEX_WAIT, 0, [0_u64, 0], 0, 0) = Errno ETIMEDOUT;
        SYS_futex(GOOD, libc::FUTEX_WAIT, 0, [u64::MAX, 0], 0, 0) = Errno EINVAL;
        SYS_futex(GOOD, libc::FUTEX_WAIT, 0, [0_u64, 1_000_000_000], 0, 0) = Errno EINVAL;
        SYS_futex(GOOD, libc::FUTEX_WAIT_BITSET, 0, 0, 0, 0) = Errno EINVAL;
        SYS_futex(GOOD + 1, libc::FUTEX_WAKE, 1, 0, 0, 0) = Errno EINVAL;
        SYS_futex(UNMAPPED, libc::FUTEX_WAKE, 1, 0, 0, 0) = Errno EFAULT;
        SYS_futex(UNMAPPED, libc::FUTEX_WAKE | 128, 1, 0, 0, 0) = Value 0;
        SYS_futex(KERNEL, libc::FUTEX_WAKE | 128, 1, 0, 0, 0) = Errno EFAULT;
        SYS_futex(GOOD, libc::FUTEX_WAKE_BITSET, 1, 0, 0, 0) = Errno EINVAL;
        SYS_futex(GOOD, libc::FUTEX_REQUEUE, -1, 0, GOOD, 0) = Errno EINVAL;
        SYS_futex(GOOD, libc::FUTEX_REQUEUE, 0, -1, GOOD, 0) = Errno EINVAL;
        SYS_futex(GOOD, libc::FUTEX_REQUEUE, 0, 0, GOOD + 1, 0) = Errno EINVAL;
        SYS_futex(GOOD, libc::FUTEX_CMP_REQUEUE, 0, 0, GOOD, 1) = Errno EAGAIN;
        SYS_futex(GOOD, libc::FUTEX_CMP_REQUEUE, 0, 0, UNMAPPED, 0) = Errno EFAULT;
        SYS_futex(GOOD, libc::FUTEX_WAKE_OP, 0, 0, UNMAPPED, 0) = Errno EFAULT;
        SYS_futex(GOOD, libc::FUTEX_WAKE_OP, 0, 0, READ_ONLY, 0) = Errno EFAULT;
        SYS_futex(GOOD, libc::FUTEX_WAKE_OP, 0, 0, GOOD, 0x6000_0000) = Errno ENOSYS;
        SYS_futex(GOOD, 100, 0, 0, 0, 0) = Errno ENOSYS;
        SYS_futex(GOOD, libc::FUTEX_WAKE | 256, 0, 0, 0, 0) = Errno ENOSYS;
        SYS_set_robust_list(GOOD, HEAD + 1) = Errno EINVAL;
        SYS_set_robust_list(UNMAPPED, HEAD) = Value 0;
        SYS_get_robust_list(NOBODY, GOOD, GOOD) = Errno ESRCH;
        SYS_get_robust_list(0, UNMAPPED, GOOD) = Errno EFAULT;
        SYS_get_robust_list(0, GOOD, UNMAPPED) = Errno EFAULT;
        SYS_nanosleep(UNMAPPED, 0) = Errno EFAULT;
        SYS_nanosleep([0_u64, 1_000_000_000], 0) = Errno EINVAL;
        SYS_nanosleep([u64::MAX, 0], 0) = Errno EINVAL;
        SYS_nanosleep([0_u64, 1], UNMAPPED) = Value 0;
        SYS_clock_nanosleep(100, 0, GOOD, 0) = Errno EINVAL;
        SYS_clock_nanosleep(0, 0, UNMAPPED, 0) = Errno EFAULT;
        SYS_clock_nanosleep(0, 0, [0_u64, u64::MAX], 0) = Errno EINVAL;
        SYS_clock_nanosleep(libc::CLOCK_THREAD_CPUTIME_ID, 0, GOOD, 0) = Errno libc::EOPNOTSUPP;
        SYS_clock_nanosleep(libc::CLOCK_MONOTONIC_RAW, 0, GOOD, 0) = Errno libc::EOPNOTSUPP;
        SYS_clock_gettime(100, GOOD) = Errno EINVAL;
        SYS_clock_gettime(0, UNMAPPED) = Errno EFAULT;
        SYS_clock_gettime(0, KERNEL) = Errno EFAULT;
        SYS_clock_settime(100, GOOD) = Errno EINVAL;
        SYS_clock_settime(libc::CLOCK_MONOTONIC, GOOD) = Errno EINVAL;
        SYS_clock_settime(0, UNMAPPED) = Errno EFAULT;
        SYS_clock_settime(0, [0_u64, 1_000_000_000]) = Errno EINVAL;
        SYS_clock_settime(0, [u64::MAX, 0]) = Errno EINVAL;
        SYS_clock_getres(100, GOOD) = Errno EINVAL;
        SYS_clock_getres(0, UNMAPPED) = Errno EFAULT;
        SYS_clock_getres(0, 0) = Value 0;
        SYS_gettimeofday(UNMAPPED, 0) = Errno EFAULT;
        SYS_gettimeofday(0, UNMAPPED) = Errno EFAULT;
        SYS_getitimer(3, GOOD) = Errno EINVAL;
        SYS_getitimer(-1, GOOD) = Errno EINVAL;
        SYS_getitimer(0, UNMAPPED) = Errno EFAULT;
        SYS_getitimer(0, 0) = Errno EFAULT;
        SYS_getitimer(1, GOOD) = Value 0,
            ours Errno EINVAL, "there are no timers of a process's running time";
        SYS_setitimer(3, GOOD, 0) = Errno EINVAL;
        SYS_setitimer(0, UNMAPPED, 0) = Errno EFAULT;
        SYS_setitimer(0, [0_u64, 1_000_000, 0, 0], 0) = Errno EINVAL;
        SYS_setitimer(0, [0_u64, 0, u64::MAX, 0], 0) = Errno EINVAL;
        SYS_restart_syscall() = Errno libc::EINTR;
    }
}
