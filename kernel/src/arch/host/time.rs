//! The host's clock.

use std::sync::{Condvar, Mutex, Once, OnceLock};
use std::time::{Duration, Instant};

/// Nanoseconds since boot.
pub fn now() -> u64 {
    static BOOT: OnceLock<Instant> = OnceLock::new();
    BOOT.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// When this CPU is to be interrupted for the end of a slice (`task::scheduler::interrupt`), in
/// nanoseconds since boot. Here it never is.
pub fn set_slice_end(_end: Option<u64>) {}

/// When this CPU is to be interrupted for a timer (`task::timer::interrupt`), in nanoseconds since
/// boot. Here a thread of the host is interrupted instead.
pub fn set_alarm(time: Option<u64>) {
    static ALARM: Mutex<Option<u64>> = Mutex::new(None);
    static SET: Condvar = Condvar::new();
    static RINGER: Once = Once::new();

    RINGER.call_once(|| {
        std::thread::spawn(|| {
            let mut alarm = ALARM.lock().expect("no test panicked here");
            loop {
                let left = alarm.map(|time| time.saturating_sub(now()));
                if left == Some(0) {
                    *alarm = None;
                    drop(alarm);
                    crate::task::timer::interrupt();
                    alarm = ALARM.lock().expect("no test panicked here");
                    continue;
                }
                let left = Duration::from_nanos(left.unwrap_or(u64::from(u32::MAX)));
                let woken = SET.wait_timeout(alarm, left);
                (alarm, _) = woken.expect("no test panicked here");
            }
        });
    });
    *ALARM.lock().expect("no test panicked here") = time;
    SET.notify_one();
}
