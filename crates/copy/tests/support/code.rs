//! The machine code of this program's routines.

use std::fs;
use std::sync::OnceLock;

use object::{Object, ObjectSymbol, SymbolKind};

/// Start and length of every function, sorted.
fn functions() -> &'static [(usize, usize)] {
    static FUNCTIONS: OnceLock<Vec<(usize, usize)>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| {
        let file = fs::read("/proc/self/exe").unwrap();
        let file = object::File::parse(&*file).unwrap();
        let linked = |name: &str| {
            let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
            symbol.expect("the symbol table is not stripped").address() as usize
        };
        // Where the program was loaded, as the place of one symbol tells.
        let bias =
            (anchor as *const () as usize).wrapping_sub(linked("seaworthy_copy_test_anchor"));
        let mut functions: Vec<_> = file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
            .map(|symbol| {
                (
                    (symbol.address() as usize).wrapping_add(bias),
                    symbol.size() as usize,
                )
            })
            .collect();
        functions.sort_unstable();
        functions.dedup();
        functions
    })
}

#[unsafe(export_name = "seaworthy_copy_test_anchor")]
extern "C" fn anchor() {}

/// The code of the function that starts at `address`.
pub fn code(address: usize) -> &'static [u8] {
    let functions = functions();
    let found = functions.binary_search_by_key(&address, |&(start, _)| start);
    let (start, length) = functions[found.expect("a function starts there")];
    // SAFETY: the code of a function of this program is readable and never changes.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(start), length) }
}
