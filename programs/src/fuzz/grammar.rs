//! The calls, and of what kind their arguments are.

use super::grammar::Kind::{
    Address, Advice, AnyWord, Buffer, Clock, CloneFlags, Descriptor, Folder, Futex, Group, Length,
    Limit, Map, Mode, Name, Nice, Offset, Open, Own, Pointer, Process, Protect, Request, Set,
    SetSize, Signal, Small, Strings, Thread, Time, Vector, Wait,
};

/// What an argument should be, now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address of pages.
    Address,
    /// What `madvise` advises; never that memory shall fail.
    Advice,
    /// Anything.
    AnyWord,
    /// Memory for bytes.
    Buffer,
    /// A clock.
    Clock,
    /// Flags of `clone`.
    CloneFlags,
    /// A descriptor.
    Descriptor,
    /// A folder's descriptor.
    Folder,
    /// What `futex` does.
    Futex,
    /// A process group of the child's own.
    Group,
    /// How many bytes.
    Length,
    /// A resource.
    Limit,
    /// Flags of `mmap`.
    Map,
    /// Permissions, or a type of file.
    Mode,
    /// A name in the scratch folder.
    Name,
    /// A priority.
    Nice,
    /// A position in a file.
    Offset,
    /// Flags of `open`.
    Open,
    /// Zero: the caller.
    Own,
    /// A pointer to a structure.
    Pointer,
    /// A process of the child's own.
    Process,
    /// Protections.
    Protect,
    /// A request of `ioctl` or `fcntl`.
    Request,
    /// A set of signals.
    Set,
    /// Its size.
    SetSize,
    /// A signal.
    Signal,
    /// A small number: flags, a command.
    Small,
    /// An array of strings.
    Strings,
    /// A thread of the child's own.
    Thread,
    /// A short time.
    Time,
    /// An array of ranges.
    Vector,
    /// Options of `wait`.
    Wait,
}

/// A system call.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// Its number.
    pub number: i64,
    /// How often it is made, compared with others.
    pub weight: u64,
    /// Its arguments.
    pub arguments: &'static [Kind],
}

macro_rules! calls {
    ($($call:ident($($kind:expr),*) $(* $weight:literal)?;)*) => {
        &[$(Call {
            name: stringify!($call),
            number: libc::$call,
            weight: 8 $(* 0 + $weight)?,
            arguments: &[$($kind),*],
        }),*]
    };
}

/// All calls that our kernel knows, but `reboot`. 8 is the ordinary weight; what ends the caller,
/// or blocks it, has less.
pub const CALLS: &[Call] = calls! {
    SYS_getcwd(Buffer, Length);
    SYS_dup(Descriptor);
    SYS_dup3(Descriptor, Descriptor, Open);
    SYS_fcntl(Descriptor, Request, AnyWord);
    SYS_ioctl(Descriptor, Request, Pointer);
    SYS_flock(Descriptor, Small) * 4;
    SYS_mknodat(Folder, Name, Mode, Small);
    SYS_mkdirat(Folder, Name, Mode);
    SYS_unlinkat(Folder, Name, Request);
    SYS_symlinkat(Name, Folder, Name);
    SYS_linkat(Folder, Name, Folder, Name, Request);
    SYS_renameat(Folder, Name, Folder, Name);
    SYS_umount2(Name, Small);
    SYS_mount(Name, Name, Name, AnyWord, Pointer);
    SYS_statfs(Name, Pointer);
    SYS_fstatfs(Descriptor, Pointer);
    SYS_truncate(Name, Offset);
    SYS_ftruncate(Descriptor, Offset);
    SYS_fallocate(Descriptor, Small, Offset, Offset);
    SYS_faccessat(Folder, Name, Small);
    SYS_chdir(Name);
    SYS_fchdir(Folder);
    SYS_chroot(Name) * 1;
    SYS_fchmod(Descriptor, Mode);
    SYS_fchmodat(Folder, Name, Mode);
    SYS_fchownat(Folder, Name, Small, Small, Request);
    SYS_fchown(Descriptor, Small, Small);
    SYS_openat(Folder, Name, Open, Mode) * 16;
    SYS_close(Descriptor) * 4;
    SYS_pipe2(Pointer, Open);
    SYS_getdents64(Folder, Buffer, Length);
    SYS_lseek(Descriptor, Offset, Small);
    SYS_read(Descriptor, Buffer, Length) * 16;
    SYS_write(Descriptor, Buffer, Length) * 16;
    SYS_readv(Descriptor, Vector, Small);
    SYS_writev(Descriptor, Vector, Small);
    SYS_pread64(Descriptor, Buffer, Length, Offset);
    SYS_pwrite64(Descriptor, Buffer, Length, Offset);
    SYS_preadv(Descriptor, Vector, Small, Offset);
    SYS_pwritev(Descriptor, Vector, Small, Offset);
    SYS_sendfile(Descriptor, Descriptor, Pointer, Length);
    SYS_pselect6(Small, Set, Set, Set, Time, Pointer) * 4;
    SYS_ppoll(Pointer, Small, Time, Set, SetSize) * 4;
    SYS_readlinkat(Folder, Name, Buffer, Length);
    SYS_newfstatat(Folder, Name, Pointer, Request);
    SYS_fstat(Descriptor, Pointer);
    SYS_sync() * 1;
    SYS_fsync(Descriptor) * 2;
    SYS_fdatasync(Descriptor) * 2;
    SYS_utimensat(Folder, Name, Pointer, Request);
    SYS_exit(AnyWord) * 1;
    SYS_exit_group(AnyWord) * 1;
    SYS_waitid(Small, Process, Pointer, Wait, Pointer) * 4;
    SYS_set_tid_address(Pointer);
    SYS_futex(Pointer, Futex, Small, Time, Pointer, AnyWord) * 16;
    SYS_set_robust_list(Pointer, Length);
    SYS_get_robust_list(Thread, Pointer, Pointer);
    SYS_nanosleep(Time, Pointer) * 2;
    SYS_getitimer(Small, Pointer);
    SYS_setitimer(Small, Pointer, Pointer);
    SYS_clock_settime(Clock, Pointer) * 1;
    SYS_clock_gettime(Clock, Pointer);
    SYS_clock_getres(Clock, Pointer);
    SYS_clock_nanosleep(Clock, Small, Time, Pointer) * 2;
    SYS_syslog(Request, Buffer, Length) * 2;
    SYS_sched_setscheduler(Thread, Small, Pointer);
    SYS_sched_getscheduler(Thread);
    SYS_sched_getparam(Thread, Pointer);
    SYS_sched_setaffinity(Thread, Length, Set);
    SYS_sched_getaffinity(Thread, Length, Pointer);
    SYS_sched_yield();
    SYS_sched_get_priority_max(Small);
    SYS_sched_get_priority_min(Small);
    SYS_restart_syscall() * 2;
    SYS_kill(Process, Signal) * 4;
    SYS_tkill(Thread, Signal) * 4;
    SYS_tgkill(Process, Thread, Signal) * 4;
    SYS_sigaltstack(Pointer, Pointer);
    SYS_rt_sigsuspend(Set, SetSize) * 1;
    SYS_rt_sigaction(Signal, Pointer, Pointer, SetSize);
    SYS_rt_sigprocmask(Small, Set, Pointer, SetSize);
    SYS_rt_sigpending(Pointer, SetSize);
    SYS_rt_sigtimedwait(Set, Pointer, Time, SetSize) * 4;
    SYS_rt_sigqueueinfo(Process, Signal, Pointer) * 4;
    SYS_rt_sigreturn() * 1;
    SYS_setpriority(Own, Process, Nice);
    SYS_getpriority(Small, Process);
    SYS_setgid(Small) * 1;
    SYS_setuid(Small) * 1;
    SYS_setresuid(Small, Small, Small) * 1;
    SYS_getresuid(Pointer, Pointer, Pointer);
    SYS_setresgid(Small, Small, Small) * 1;
    SYS_getresgid(Pointer, Pointer, Pointer);
    SYS_times(Pointer);
    SYS_setpgid(Process, Group);
    SYS_getpgid(Process);
    SYS_getsid(Process);
    SYS_setsid() * 1;
    SYS_getgroups(Small, Pointer);
    SYS_setgroups(Small, Pointer) * 2;
    SYS_uname(Pointer);
    SYS_sethostname(Buffer, Length) * 1;
    SYS_getrlimit(Limit, Pointer);
    SYS_setrlimit(Limit, Pointer) * 2;
    SYS_getrusage(Small, Pointer);
    SYS_umask(Mode);
    SYS_prctl(Request, Pointer, Small, Small, Small);
    SYS_getcpu(Pointer, Pointer);
    SYS_gettimeofday(Pointer, Pointer);
    SYS_getpid() * 1;
    SYS_getppid() * 1;
    SYS_getuid() * 1;
    SYS_geteuid() * 1;
    SYS_getgid() * 1;
    SYS_getegid() * 1;
    SYS_gettid() * 1;
    SYS_sysinfo(Pointer);
    SYS_brk(Address) * 2;
    SYS_munmap(Address, Length) * 4;
    SYS_mremap(Address, Length, Length, Small, Address);
    SYS_clone(CloneFlags, Pointer, Pointer, Pointer, Pointer) * 4;
    SYS_execve(Name, Strings, Strings) * 4;
    SYS_mmap(Address, Length, Protect, Map, Descriptor, Offset) * 16;
    SYS_fadvise64(Descriptor, Offset, Offset, Small) * 2;
    SYS_mprotect(Address, Length, Protect);
    SYS_msync(Address, Length, Small);
    SYS_mlock(Address, Length);
    SYS_munlock(Address, Length);
    SYS_mlockall(Small) * 2;
    SYS_munlockall() * 2;
    SYS_mincore(Address, Length, Buffer);
    SYS_madvise(Address, Length, Advice) * 16;
    SYS_rt_tgsigqueueinfo(Process, Thread, Signal, Pointer) * 4;
    SYS_wait4(Process, Pointer, Wait, Pointer) * 4;
    SYS_prlimit64(Own, Limit, Pointer, Pointer) * 2;
    SYS_syncfs(Descriptor) * 1;
    SYS_renameat2(Folder, Name, Folder, Name, Small);
    SYS_getrandom(Buffer, Length, Small);
    SYS_memfd_create(Name, Small);
    SYS_execveat(Folder, Name, Strings, Strings, Request) * 4;
    SYS_mlock2(Address, Length, Small);
    SYS_preadv2(Descriptor, Vector, Small, Offset, AnyWord, Small);
    SYS_pwritev2(Descriptor, Vector, Small, Offset, AnyWord, Small);
    SYS_statx(Folder, Name, Request, AnyWord, Pointer);
    SYS_clone3(Pointer, Length) * 4;
    SYS_close_range(Small, Small, Small) * 1;
    SYS_faccessat2(Folder, Name, Small, Request);
};

#[cfg(test)]
mod tests {
    use super::CALLS;
    use crate::errno::table;

    /// The names in our kernel's own table. Numbers are those of another table on other machines.
    fn known() -> Vec<String> {
        let text = include_str!("../../../kernel/src/syscall/number.rs");
        let (_, list) = text.split_once("numbers! {").unwrap();
        let (list, _) = list.split_once('}').unwrap();
        let words: Vec<_> = list.split_whitespace().collect();
        let names = words.windows(2).filter(|window| window[1] == "=");
        let name = |window: &[&str]| format!("SYS_{}", window[0].to_lowercase());
        names.map(name).collect()
    }

    #[test]
    fn every_call_of_the_kernel_is_made_but_reboot() {
        let known = known();
        assert!(known.len() > 100);
        for name in known {
            let is_made = CALLS.iter().any(|call| call.name == name);
            assert_eq!(is_made, name != "SYS_reboot", "{name}");
        }
    }

    #[test]
    fn every_call_that_can_fail_has_rows_of_errors() {
        const CANNOT_FAIL: &[&str] = &[
            "sync",
            "exit",
            "exit_group",
            "set_tid_address",
            "sched_yield",
            "rt_sigreturn",
            "umask",
            "getpid",
            "getppid",
            "getuid",
            "geteuid",
            "getgid",
            "getegid",
            "gettid",
            "setsid",
            "brk",
            "munlockall",
        ];
        let table = table();
        for name in known() {
            let has_rows = table.iter().any(|row| row.name() == name);
            assert_eq!(has_rows, !CANNOT_FAIL.contains(&&name[4..]), "{name}");
        }
    }
}
