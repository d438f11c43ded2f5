use std::sync::Mutex;

use super::*;

#[derive(Debug)]
struct Ram(Mutex<Vec<u8>>);

impl BlockDevice for Ram {
    fn sectors(&self) -> u64 {
        (self.0.lock().unwrap().len() / SECTOR) as u64
    }

    fn read(&self, sector: u64, into: &mut [u8]) -> Result<()> {
        let start = sector as usize * SECTOR;
        into.copy_from_slice(&self.0.lock().unwrap()[start..start + into.len()]);
        Ok(())
    }

    fn write(&self, sector: u64, bytes: &[u8]) -> Result<()> {
        let start = sector as usize * SECTOR;
        self.0.lock().unwrap()[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn disks_have_names_and_bytes_at_any_position() {
    let content: Vec<u8> = (0..20 * SECTOR).map(|index| (index % 251) as u8).collect();
    let ram = Arc::new(Ram(Mutex::new(content.clone())));
    add(Arc::clone(&ram) as Arc<dyn BlockDevice>);
    let disk = disks().pop().unwrap();
    assert_eq!(disk.name(), "vda");
    assert_eq!(find(disk.number()).unwrap().name(), "vda");
    let flags = OpenFlags::READ_WRITE;
    let open = device::open(FileType::BlockDevice, disk.number(), flags).unwrap();
    let mut buffer = vec![0; 9000];
    let read = open.read(700, &mut Sink::Kernel(&mut buffer), flags);
    assert_eq!(read, Ok(9000));
    assert_eq!(buffer, content[700..9700]);
    let mut end = [0; 100];
    let read = |position, buffer: &mut [u8]| open.read(position, &mut Sink::Kernel(buffer), flags);
    assert_eq!(read(content.len() as u64 - 10, &mut end), Ok(10));
    assert_eq!(read(content.len() as u64, &mut end), Ok(0));
    assert_eq!(read(u64::MAX, &mut end), Ok(0));
    let write = |position, bytes: &[u8]| open.write(position, &mut Source::Kernel(bytes), flags);
    assert_eq!(write(1000, &[7; 5000]), Ok(5000));
    assert_eq!(write(content.len() as u64 - 3, &[8; 10]), Ok(3));
    assert_eq!(write(content.len() as u64, &[8; 10]), Err(Errno::ENOSPC));
    let mut expected = content;
    expected[1000..6000].fill(7);
    let end = expected.len();
    expected[end - 3..].fill(8);
    assert_eq!(*ram.0.lock().unwrap(), expected);
}
