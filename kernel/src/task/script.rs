//! Files that name the program to run them: `#! interpreter argument`.

/// How much of a file is looked at.
pub const LINE_LIMIT: usize = 256;

/// The interpreter of a script and its argument, if `start`, the start of a file, is one's.
/// The argument is all of the rest of the line.
pub fn parse(start: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let line = start.strip_prefix(b"#!")?;
    let end = line.iter().position(|byte| *byte == b'\n');
    // A line that was cut may name the wrong program.
    let line = match end {
        Some(end) => &line[..end],
        None if start.len() < LINE_LIMIT => line,
        None => return None,
    };
    let line = line.trim_ascii();
    if line.is_empty() || line.contains(&0) {
        return None;
    }
    let space = line.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    Some(match space {
        None => (line, None),
        Some(space) => (&line[..space], Some(line[space..].trim_ascii_start())),
    })
}

#[cfg(test)]
mod tests {
    use super::{LINE_LIMIT, parse};

    #[test]
    fn a_line_has_one_argument() {
        assert_eq!(parse(b"#!/bin/sh\nls"), Some((&b"/bin/sh"[..], None)));
        assert_eq!(
            parse(b"#! /bin/busybox  sh -e \n"),
            Some((&b"/bin/busybox"[..], Some(&b"sh -e"[..])))
        );
        assert_eq!(parse(b"#!/bin/true"), Some((&b"/bin/true"[..], None)));
    }

    #[test]
    fn what_is_no_script() {
        let mut long = b"#!/".to_vec();
        long.resize(LINE_LIMIT, b'x');
        for start in [
            &b""[..],
            b"#",
            b"#!",
            b"#! \n",
            b"\x7fELF",
            b"#!a\0b\n",
            &long,
        ] {
            assert_eq!(parse(start), None);
        }
    }
}
