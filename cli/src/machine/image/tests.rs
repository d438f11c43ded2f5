use super::*;

const MEMORY: Range<u64> = 0x4020_0000..0x7e00_0000;

fn refusal(bytes: &[u8]) -> String {
    parse(bytes, &MEMORY).unwrap_err().to_string()
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn image_with(text_offset: u64, size: u64, flags: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    put(&mut bytes, 8, &text_offset.to_le_bytes());
    put(&mut bytes, 16, &size.to_le_bytes());
    put(&mut bytes, 24, &flags.to_le_bytes());
    put(&mut bytes, 56, b"ARM\x64");
    bytes
}

#[test]
fn an_image_goes_where_it_wants_to_be() {
    assert_eq!(
        parse(&image_with(0x8_0000, 0x10_0000, 0xa), &MEMORY).unwrap(),
        Kernel {
            entry: 0x4028_0000,
            end: 0x4038_0000,
            flat: Some(0x4028_0000)
        }
    );
    let old = parse(&image_with(0, 0, 0), &MEMORY).unwrap();
    assert_eq!(old.end, 0x4020_1000);
}

#[test]
fn a_bad_image_is_refused_with_the_place() {
    assert!(refusal(&image_with(0, 4096, 1)).contains("big-endian"));
    assert!(refusal(&image_with(0x20_0000, 4096, 0)).contains("text_offset, at byte 8"));
    assert!(refusal(&image_with(0, 4095, 0)).contains("image_size, at byte 16"));
    assert!(refusal(&image_with(0, 1 << 40, 0)).contains("give it more"));
    assert!(refusal(&image_with(0, u64::MAX, 0)).contains("give it more"));
    assert!(refusal(&image_with(0, 4096, 0)[..60]).contains("cut off at byte 60"));
}

#[test]
fn what_is_no_kernel_is_named() {
    assert!(refusal(b"").contains("empty"));
    assert!(refusal(&[0; 4096]).contains("neither"));
    assert!(refusal(b"\x1f\x8b\x08rest").contains("gzip -dc"));
    assert!(refusal(b"MZ\0\0zimg").contains("zboot"));
    assert!(refusal(b"MZ and so on").contains("EFI program"));
}

/// An ELF file with one segment of 16 bytes of code at 0x4020_0000, linked at another address.
fn elf_file() -> Vec<u8> {
    let mut bytes = vec![0; 136];
    put(&mut bytes, 0, b"\x7fELF\x02\x01\x01");
    put(&mut bytes, 16, &[2, 0, 183, 0, 1]); // ET_EXEC, EM_AARCH64, version
    put(&mut bytes, 24, &0xffff_0000_u64.to_le_bytes()); // entry
    put(&mut bytes, 32, &64_u64.to_le_bytes()); // program headers
    put(&mut bytes, 52, &[64, 0, 56, 0, 1, 0, 64]); // sizes and number
    put(&mut bytes, 64, &[1, 0, 0, 0, 5]); // PT_LOAD, R+X
    let segment = [120, 0xffff_0000, 0x4020_0000, 16, 32_u64];
    for (index, field) in segment.iter().enumerate() {
        put(&mut bytes, 72 + 8 * index, &field.to_le_bytes());
    }
    bytes
}

fn elf_with(at: usize, field: &[u8]) -> String {
    let mut bytes = elf_file();
    put(&mut bytes, at, field);
    refusal(&bytes)
}

#[test]
fn an_elf_file_is_entered_at_its_physical_address() {
    assert_eq!(
        parse(&elf_file(), &MEMORY).unwrap(),
        Kernel {
            entry: 0x4020_0000,
            end: 0x4020_0020,
            flat: None
        }
    );
}

#[test]
fn a_bad_elf_file_is_refused_with_the_place() {
    assert!(elf_with(4, &[1]).contains("64 bits"));
    assert!(elf_with(5, &[2]).contains("little-endian"));
    assert!(elf_with(18, &[62]).contains("machine 62"));
    assert!(elf_with(16, &[3]).contains("type 3"));
    assert!(elf_with(32, &(1_u64 << 40).to_le_bytes()).contains("program headers"));
    assert!(elf_with(56, &[0]).contains("no ELF program header"));
    assert!(elf_with(24, &[0; 8]).contains("entry, 0x0"));
    assert!(elf_with(24, &[2]).contains("multiple of 4"));
    assert!(elf_with(68, &[4]).contains("as code"));
    assert!(elf_with(72, &u64::MAX.to_le_bytes()).contains("program header 0"));
    assert!(elf_with(88, &0x4010_0000_u64.to_le_bytes()).contains("0x40100000"));
    assert!(elf_with(88, &u64::MAX.to_le_bytes()).contains("program header 0"));
    assert!(elf_with(96, &64_u64.to_le_bytes()).contains("for 0x20 in memory"));
    assert!(refusal(&elf_file()[..130]).contains("cut off"));
    assert!(refusal(&elf_file()[..20]).contains("64 bits"));
}

#[test]
fn segments_do_not_overlap() {
    let mut bytes = elf_file();
    put(&mut bytes, 32, &136_u64.to_le_bytes());
    put(&mut bytes, 56, &[2]);
    let segment = bytes[64..120].to_vec();
    bytes.extend([segment.clone(), segment].concat());
    assert!(refusal(&bytes).contains("0 and 1 want the same memory"));
}

proptest::proptest! {
    #[test]
    fn damage_is_never_a_panic(at in 0_usize..136, value: u8, length in 0_usize..=136) {
        let mut bytes = elf_file();
        bytes[at] = value;
        let _ = parse(&bytes[..length], &MEMORY);
        let mut bytes = image_with(0, 4096, 0xa);
        bytes[at % 64] = value;
        let _ = parse(&bytes[..length], &MEMORY);
        let mut bytes = cpio("init", b"data");
        let at = at % bytes.len();
        bytes[at] = value;
        let length = length.min(bytes.len());
        let _ = archives(&bytes[..length]);
    }
}

fn entry(name: &str, data: &[u8]) -> Vec<u8> {
    let mut fields = [0; 13];
    fields[6] = data.len();
    fields[11] = name.len() + 1;
    let mut bytes = b"070701".to_vec();
    for field in fields {
        bytes.extend(format!("{field:08x}").bytes());
    }
    bytes.extend(name.bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn cpio(name: &str, data: &[u8]) -> Vec<u8> {
    [entry(name, data), entry("TRAILER!!!", b"")].concat()
}

#[test]
fn archives_may_follow_each_other() {
    let mut bytes = cpio("kernel/firmware/acpi/hest.aml", b"table");
    archives(&bytes).unwrap();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend(cpio("init", b""));
    archives(&bytes).unwrap();
    bytes.extend(b"\x1f\x8bcompressed");
    archives(&bytes).unwrap();
}

#[test]
fn a_bad_archive_is_refused_with_the_place() {
    let refusal = |bytes: &[u8]| archives(bytes).unwrap_err().to_string();
    assert!(refusal(b"").contains("empty"));
    assert!(refusal(&[0; 512]).contains("empty"));
    assert!(refusal(b"<html>").contains("at byte 0x0"));
    let bytes = cpio("init", &[1; 100]);
    assert!(refusal(&bytes[..150]).contains("byte 0x0 is cut off"));
    // Without its end.
    assert!(refusal(&entry("init", b"")).contains("cut off"));
    let mut bytes = bytes;
    bytes[60] = b'z';
    assert!(refusal(&bytes).contains("no number"));
    let mut bytes = cpio("init", b"");
    bytes.extend(b"junk");
    assert!(refusal(&bytes).contains("neither"));
}
