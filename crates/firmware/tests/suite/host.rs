//! Dump.
#[test]
fn dump() {
    for table in firmware::host::tables(3) {
        std::fs::write(format!("/tmp/fwh/our_{}", table.name), table.bytes).unwrap();
    }
}
