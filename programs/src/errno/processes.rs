//! Processes, threads, identity, scheduling.

use libc::{ECHILD, EFAULT, EINVAL, EPERM, ESRCH};

use super::ground::{EDGE, GOOD, KERNEL, READ_ONLY, UNMAPPED};
use super::row::{Row, rows};

/// No process has this number: `pid_max` is at most 4194304.
const NOBODY: i32 = 0x7fff_0000;

#[rustfmt::skip]
pub(super) fn rows() -> Vec<Row> {
    rows! {
        SYS_clone(libc::CLONE_THREAD, 0, 0, 0, 0) = Errno EINVAL;
        SYS_clone(libc::CLONE_SIGHAND, 0, 0, 0, 0) = Errno EINVAL;
        SYS_clone(libc::CLONE_THREAD | libc::CLONE_SIGHAND, 0, 0, 0, 0) = Errno EINVAL;
        SYS_clone(libc::CLONE_FS | libc::CLONE_NEWNS, 0, 0, 0, 0) = Errno EINVAL;
        SYS_clone3(UNMAPPED, 64) = Errno EFAULT;
        SYS_clone3(GOOD, 63) = Errno EINVAL;
        SYS_clone3(GOOD, 0) = Errno EINVAL;
        SYS_clone3(GOOD, 4097) = Errno libc::E2BIG;
        SYS_clone3(EDGE, 88) = Errno EFAULT;
        SYS_clone3([0xff_u64, 0, 0, 0, 0, 0, 0, 0], 64) = Errno EINVAL;
        SYS_clone3([0_u64, 0, 0, 0, 100, 0, 0, 0], 64) = Errno EINVAL;
        SYS_clone3([0_u64, 0, 0, 0, 0, GOOD, 0, 0], 64) = Errno EINVAL;
        SYS_clone3([0_u64, 0, 0, 0, 0, 0, 4096, 0], 64) = Errno EINVAL;
        SYS_clone3([1_u64 << 63, 0, 0, 0, 0, 0, 0, 0], 64) = Errno EINVAL;
        SYS_clone3([0_u64, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], 88) = Errno EINVAL;
        SYS_clone3([0_u64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 96) = Errno libc::E2BIG;
        SYS_wait4(-1, 0, 0, 0) = Errno ECHILD;
        SYS_wait4(-1, 0, -1, 0) = Errno EINVAL;
        SYS_wait4(i32::MIN, 0, 0, 0) = Errno ESRCH;
        SYS_wait4(NOBODY, UNMAPPED, 0, 0) = Errno ECHILD;
        SYS_waitid(libc::P_ALL, 0, GOOD, libc::WEXITED) = Errno ECHILD;
        SYS_waitid(libc::P_ALL, 0, GOOD, 0) = Errno EINVAL;
        SYS_waitid(libc::P_ALL, 0, GOOD, 0x10) = Errno EINVAL;
        SYS_waitid(100, 0, GOOD, libc::WEXITED) = Errno EINVAL;
        SYS_waitid(libc::P_PID, 0, GOOD, libc::WEXITED) = Errno EINVAL;
        SYS_waitid(libc::P_PID, -1, GOOD, libc::WEXITED) = Errno EINVAL;
        SYS_waitid(libc::P_PGID, -1, GOOD, libc::WEXITED) = Errno EINVAL;
        SYS_prctl(-1, 0, 0, 0, 0) = Errno EINVAL;
        SYS_prctl(libc::PR_SET_NAME, UNMAPPED, 0, 0, 0) = Errno EFAULT;
        SYS_prctl(libc::PR_GET_NAME, UNMAPPED, 0, 0, 0) = Errno EFAULT;
        SYS_prctl(libc::PR_GET_NAME, READ_ONLY, 0, 0, 0) = Errno EFAULT;
        SYS_prctl(libc::PR_GET_PDEATHSIG, UNMAPPED, 0, 0, 0) = Errno EFAULT;
        SYS_prctl(libc::PR_MCE_KILL, 2, 0, 0, 0) = Errno EINVAL;
        SYS_prctl(libc::PR_MCE_KILL, 1, 3, 0, 0) = Errno EINVAL;
        SYS_prctl(libc::PR_MCE_KILL, 0, 0, 1, 0) = Errno EINVAL;
        SYS_prctl(libc::PR_MCE_KILL_GET, 1, 0, 0, 0) = Errno EINVAL;
        SYS_prlimit64(0, 100, 0, GOOD) = Errno EINVAL;
        SYS_prlimit64(0, 0, UNMAPPED, 0) = Errno EFAULT;
        SYS_prlimit64(0, 0, 0, UNMAPPED) = Errno EFAULT;
        SYS_prlimit64(0, 0, [2_u64, 1], 0) = Errno EINVAL;
        SYS_prlimit64(NOBODY, 0, 0, GOOD) = Errno ESRCH;
        SYS_prlimit64(-1, 0, 0, GOOD) = Errno ESRCH;
        SYS_prlimit64(0, libc::RLIMIT_NOFILE, [1_u64 << 40, 1 << 40], 0) = Errno EPERM;
        SYS_getrlimit(100, GOOD) = Errno EINVAL;
        SYS_getrlimit(0, UNMAPPED) = Errno EFAULT;
        SYS_setrlimit(100, GOOD) = Errno EINVAL;
        SYS_setrlimit(0, UNMAPPED) = Errno EFAULT;
        SYS_setrlimit(0, [2_u64, 1]) = Errno EINVAL;
        SYS_getrusage(0, UNMAPPED) = Errno EFAULT;
        SYS_getrusage(2, GOOD) = Errno EINVAL;
        SYS_getrusage(-2, GOOD) = Errno EINVAL;
        SYS_times(UNMAPPED) = Errno EFAULT;
        SYS_getresuid(UNMAPPED, GOOD, GOOD) = Errno EFAULT;
        SYS_getresuid(GOOD, GOOD, KERNEL) = Errno EFAULT;
        SYS_getresgid(GOOD, UNMAPPED, GOOD) = Errno EFAULT;
        SYS_setuid(-1) = Errno EINVAL;
        SYS_setgid(-1) = Errno EINVAL;
        SYS_setuid(1000) = Value 0, ours Errno EINVAL, "there is no user but root";
        SYS_setresuid(1000, -1, -1) = Value 0, ours Errno EINVAL, "there is no user but root";
        SYS_setresgid(-1, 1000, -1) = Value 0, ours Errno EINVAL, "there is no group but root's";
        SYS_getgroups(-1, GOOD) = Errno EINVAL;
        SYS_setgroups(-1, GOOD) = Errno EINVAL;
        SYS_setgroups(70000, GOOD) = Errno EINVAL;
        SYS_setgroups(1, UNMAPPED) = Errno EFAULT;
        SYS_setpgid(0, -1) = Errno EINVAL;
        SYS_setpgid(NOBODY, 0) = Errno ESRCH;
        SYS_setpgid(-1, 0) = Errno EINVAL;
        SYS_setpgid(0, NOBODY) = Errno EPERM;
        SYS_getpgid(NOBODY) = Errno ESRCH;
        SYS_getpgid(-1) = Errno ESRCH;
        SYS_getsid(NOBODY) = Errno ESRCH;
        SYS_getsid(-1) = Errno ESRCH;
        SYS_sched_setaffinity(0, 8, UNMAPPED) = Errno EFAULT;
        SYS_sched_setaffinity(0, 8, [0_u64]) = Errno EINVAL;
        SYS_sched_setaffinity(NOBODY, 8, [1_u64]) = Errno ESRCH;
        SYS_sched_setaffinity(0, 0, GOOD) = Errno EINVAL;
        SYS_sched_getaffinity(0, 8, UNMAPPED) = Errno EFAULT;
        SYS_sched_getaffinity(0, 7, GOOD) = Errno EINVAL;
        SYS_sched_getaffinity(0, 0, GOOD) = Errno EINVAL;
        SYS_sched_getaffinity(NOBODY, 8, GOOD) = Errno ESRCH;
        SYS_sched_getaffinity(-1, 8, GOOD) = Errno ESRCH;
        SYS_sched_setscheduler(0, 0, UNMAPPED) = Errno EFAULT;
        SYS_sched_setscheduler(0, 0, 0) = Errno EINVAL;
        SYS_sched_setscheduler(0, 100, [0_u64]) = Errno EINVAL;
        SYS_sched_setscheduler(0, 0, [1_u64]) = Errno EINVAL;
        SYS_sched_setscheduler(0, -1, [0_u64]) = Errno EINVAL;
        SYS_sched_setscheduler(-1, 0, [0_u64]) = Errno EINVAL;
        SYS_sched_setscheduler(NOBODY, 0, [0_u64]) = Errno ESRCH;
        SYS_sched_getscheduler(NOBODY) = Errno ESRCH;
        SYS_sched_getscheduler(-1) = Errno EINVAL;
        SYS_sched_getparam(0, UNMAPPED) = Errno EFAULT;
        SYS_sched_getparam(0, 0) = Errno EINVAL;
        SYS_sched_getparam(-1, GOOD) = Errno EINVAL;
        SYS_sched_getparam(NOBODY, GOOD) = Errno ESRCH;
        SYS_sched_get_priority_max(100) = Errno EINVAL;
        SYS_sched_get_priority_min(-1) = Errno EINVAL;
        SYS_setpriority(3, 0, 0) = Errno EINVAL;
        SYS_setpriority(-1, 0, 0) = Errno EINVAL;
        SYS_setpriority(0, NOBODY, 0) = Errno ESRCH;
        SYS_getpriority(3, 0) = Errno EINVAL;
        SYS_getpriority(0, NOBODY) = Errno ESRCH;
        SYS_getcpu(UNMAPPED, 0) = Errno EFAULT;
        SYS_getcpu(0, KERNEL) = Errno EFAULT;
    }
}
