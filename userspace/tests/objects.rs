//! Several objects of one process: a program and a plugin that each have a copy of this crate, and
//! an object that has only a table.
#![expect(
    unsafe_code,
    reason = "functions of a loaded object, and memory that fails"
)]

mod common;

use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::transmute;
use std::path::PathBuf;

use common::child::{self, End};
use common::pages::{Pages, page};
use seaworthy::Memory;

/// The functions of `tests/plugin/plugin.rs`.
struct Plugin {
    install: extern "C" fn() -> i32,
    is_armed: extern "C" fn() -> i32,
    copy: Copy,
}

type Copy = unsafe extern "C" fn(*mut u8, *const u8, usize) -> usize;

/// Where cargo puts an example, seen from where it puts a test.
fn path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples/libplugin.so")
}

impl Plugin {
    fn load() -> Self {
        let path = path();
        assert!(
            path.exists(),
            "{} is not there: build it with `cargo build --example plugin`, in the same profile",
            path.display()
        );
        let path = CString::new(path.into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: a valid path to an object whose initialisers do nothing special.
        let object = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if object.is_null() {
            // SAFETY: takes nothing.
            let error = unsafe { libc::dlerror() };
            // SAFETY: the text about the call that just failed.
            let error = unsafe { CStr::from_ptr(error) };
            panic!("{}", error.to_string_lossy());
        }
        let find = |name: &CStr| -> *mut c_void {
            let name: *const c_char = name.as_ptr();
            // SAFETY: an open object and a valid name.
            let address = unsafe { libc::dlsym(object, name) };
            assert!(!address.is_null());
            address
        };
        let (install, is_armed) = (find(c"plugin_install"), find(c"plugin_is_armed"));
        let copy = find(c"plugin_copy");
        Self {
            // SAFETY: the type in the plugin's source; the object is never unloaded.
            install: unsafe { transmute::<*mut c_void, extern "C" fn() -> i32>(install) },
            // SAFETY: as above.
            is_armed: unsafe { transmute::<*mut c_void, extern "C" fn() -> i32>(is_armed) },
            // SAFETY: as above.
            copy: unsafe { transmute::<*mut c_void, Copy>(copy) },
        }
    }

    fn install(&self) {
        assert_eq!((self.install)(), 0);
    }

    fn is_armed(&self) -> bool {
        (self.is_armed)() != 0
    }
}

/// Both copies recover, each from its own accesses, on several threads.
fn both_recover(own: Memory, plugin: &Plugin) {
    let pages = Pages::truncated(1, 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut buffer = vec![0; 2 * page()];
                for before in 0..100 {
                    let (to, from) = (buffer.as_mut_ptr(), pages.at(page() - before));
                    // SAFETY: mapped for so many bytes.
                    let error = unsafe { own.copy(to, from, before + 50) }.unwrap_err();
                    assert_eq!(error.copied, before);
                    // SAFETY: as above.
                    assert_eq!(unsafe { (plugin.copy)(to, from, before + 50) }, before);
                }
            });
        }
    });
}

fn foreign_load() {
    let pages = Pages::truncated(0, 1);
    // SAFETY: not safe, which is the point.
    unsafe { pages.start().read_volatile() };
}

/// Runs `order` in a child, which installs both; then both must work, and a foreign fault kill.
fn check(order: impl Fn(&Plugin) -> Memory) {
    let with = |after: &dyn Fn()| {
        child::run(|| {
            let plugin = Plugin::load();
            let own = order(&plugin);
            both_recover(own, &plugin);
            after();
        })
    };
    assert_eq!(with(&|| ()), End::Returned);
    assert_eq!(with(&foreign_load), End::Signal(libc::SIGBUS));
    let raise = || {
        // SAFETY: a valid signal.
        unsafe { libc::raise(libc::SIGBUS) };
    };
    // Swallowed by the handler of `std`, as without us; the second kills.
    assert_eq!(with(&raise), End::Returned);
    let twice = || {
        raise();
        raise();
    };
    assert_eq!(with(&twice), End::Signal(libc::SIGBUS));
}

fn two_copies_of_the_crate_work_together() {
    if cfg!(target_env = "musl") {
        testing::skip!("a static program loads no objects");
    }
    // The program first.
    check(|plugin| {
        let own = seaworthy::install().unwrap();
        plugin.install();
        assert!(plugin.is_armed() && !seaworthy::is_armed());
        own
    });
    // The plugin first.
    check(|plugin| {
        plugin.install();
        let own = seaworthy::install().unwrap();
        assert!(!plugin.is_armed() && seaworthy::is_armed());
        own
    });
    // Each back over the other, so that each finds the other behind itself.
    check(|plugin| {
        plugin.install();
        seaworthy::install().unwrap();
        plugin.install();
        seaworthy::install().unwrap()
    });
}

testing::without_threads! {
    two_copies_of_the_crate_work_together,
}
