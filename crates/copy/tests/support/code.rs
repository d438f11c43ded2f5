//! The machine code of this program's routines.

use std::fs;
use std::sync::OnceLock;

use object::{Object, ObjectSymbol, SymbolKind};

/// A function of this program, by address.
struct Function {
    start: usize,
    length: usize,
    /// As the linker knows it.
    name: String,
}

/// Every function, sorted.
fn functions() -> &'static [Function] {
    static FUNCTIONS: OnceLock<Vec<Function>> = OnceLock::new();
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
            .map(|symbol| Function {
                start: (symbol.address() as usize).wrapping_add(bias),
                length: symbol.size() as usize,
                name: symbol.name().unwrap().to_owned(),
            })
            .collect();
        functions.sort_by_key(|function| function.start);
        functions.dedup_by_key(|function| function.start);
        functions
    })
}

#[unsafe(export_name = "seaworthy_copy_test_anchor")]
extern "C" fn anchor() {}

/// The code of the function that starts at `address`.
pub fn code(address: usize) -> &'static [u8] {
    let functions = functions();
    let found = functions.binary_search_by_key(&address, |function| function.start);
    let Function { start, length, .. } = functions[found.expect("a function starts there")];
    // SAFETY: the code of a function of this program is readable and never changes.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(start), length) }
}

/// Address of the only function whose mangled name contains `part`.
pub fn find(part: &str) -> usize {
    let mut found = functions()
        .iter()
        .filter(|function| function.name.contains(part));
    match (found.next(), found.next()) {
        (Some(function), None) => function.start,
        (found, _) => panic!(
            "{part}: {} functions",
            if found.is_none() { "no" } else { "two" }
        ),
    }
}

/// Mangled name of the function that holds `instruction`.
pub fn name(instruction: usize) -> &'static str {
    let functions = functions();
    let behind = functions.partition_point(|function| function.start <= instruction);
    &functions[behind - 1].name
}
