use std::sync::Arc;

use super::{context, create};
use crate::error::Errno;
use crate::fs::Descriptors;

#[test]
fn the_lowest_free_number_is_given() {
    let context = context();
    let file = create(&context, b"/file");
    let table = Descriptors::new();
    let add = || table.add(Arc::clone(&file), false);
    assert_eq!([add(), add(), add(), add()], [Ok(0), Ok(1), Ok(2), Ok(3)]);
    table.close(1).unwrap();
    table.close(2).unwrap();
    assert_eq!(table.close(2), Err(Errno::EBADF));
    assert_eq!(table.close(-1), Err(Errno::EBADF));
    assert_eq!(table.add_from(2, Arc::clone(&file), true), Ok(2));
    assert_eq!(table.add_from(10, Arc::clone(&file), false), Ok(10));
    assert_eq!([add(), add()], [Ok(1), Ok(4)]);
    assert_eq!(table.numbers(), [0, 1, 2, 3, 4, 10]);
    assert_eq!(table.get(5).err(), Some(Errno::EBADF));
    assert_eq!(table.is_close_on_exec(2), Ok(true));
    let child = table.duplicate();
    child.close_on_exec();
    assert_eq!(child.numbers(), [0, 1, 3, 4, 10]);
    child.close_range(1, 4, false);
    assert_eq!(child.numbers(), [0, 10]);
    assert_eq!(child.add(Arc::clone(&file), false), Ok(1));
    assert_eq!(table.numbers(), [0, 1, 2, 3, 4, 10]);
    child.close_all();
    table.close_all();
    drop((child, table));
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn limits_hold() {
    let context = context();
    let file = create(&context, b"/file");
    let table = Descriptors::new();
    table.set_limit(3);
    table.replace(2, Arc::clone(&file), false).unwrap();
    table.replace(2, Arc::clone(&file), true).unwrap();
    let add = || table.add(Arc::clone(&file), false);
    assert_eq!([add(), add(), add()], [Ok(0), Ok(1), Err(Errno::EMFILE)]);
    let beyond = table.add_from(3, Arc::clone(&file), false);
    assert_eq!(beyond, Err(Errno::EINVAL));
    let replace = |number| table.replace(number, Arc::clone(&file), false);
    assert_eq!(
        [replace(3), replace(-1)],
        [Err(Errno::EBADF), Err(Errno::EBADF)]
    );
    table.set_limit(0);
    table.close(0).unwrap();
    assert_eq!(add(), Err(Errno::EMFILE));
}
