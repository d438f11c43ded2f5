//! The system as a whole.

use libc::{EFAULT, EINVAL};

use super::ground::{GOOD, KERNEL, READ_ONLY, UNMAPPED};
use super::row::{Row, rows};

#[rustfmt::skip]
pub(super) fn rows() -> Vec<Row> {
    rows! {
        SYS_uname(UNMAPPED) = Errno EFAULT;
        SYS_uname(KERNEL) = Errno EFAULT;
        SYS_sethostname(GOOD, 65) = Errno EINVAL;
        SYS_sethostname(GOOD, -1) = Errno EINVAL;
        SYS_sethostname(UNMAPPED, 1) = Errno EFAULT;
        SYS_reboot(0, 0, 0, 0) = Errno EINVAL;
        SYS_reboot(0xfee1_dead_u32, 1, 0, 0) = Errno EINVAL;
        SYS_reboot(0xfee1_dead_u32, 0x2812_1969, 1, 0) = Errno EINVAL;
        SYS_sysinfo(UNMAPPED) = Errno EFAULT;
        SYS_getrandom(UNMAPPED, 1, 0) = Errno EFAULT;
        SYS_getrandom(READ_ONLY, 1, 0) = Errno EFAULT;
        SYS_getrandom(GOOD, 1, 8) = Errno EINVAL;
        SYS_getrandom(GOOD, 1, 6) = Errno EINVAL;
        SYS_getrandom(GOOD, 0, 0) = Value 0;
        SYS_syslog(100, 0, 0) = Errno EINVAL;
        SYS_syslog(-1, 0, 0) = Errno EINVAL;
        SYS_syslog(3, 0, 100) = Errno EINVAL;
        SYS_syslog(3, GOOD, -1) = Errno EINVAL;
        SYS_syslog(3, UNMAPPED, 4096) = Errno EFAULT;
        SYS_syslog(8, 0, 9) = Errno EINVAL;
    }
}
