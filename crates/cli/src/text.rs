//! Texts for people: sizes, and names that may hold anything.

use sociable_soci::outcome::Origin;
use std::fmt::Write as _;

use bstr::ByteSlice as _;
use bytesize::ByteSize;

/// A size as people write it: `4194304`, `4MiB`, `10MB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|_| "expected a number of bytes, such as 4194304, 4MiB or 10MB".to_owned())?;
    // The formats hold signed numbers.
    i64::try_from(size.as_u64()).map_err(|_| "that is more than any file can have".to_owned())?;
    Ok(size.as_u64())
}

/// A size as people read it: `1.2 GB`.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().si().to_string()
}

/// A share of a whole: `3.2 %`.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

/// `1 layer`, `2 layers`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

/// Text that comes from outside, without control characters that a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A file's name, on one line, whatever its bytes are.
pub(crate) fn name(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (start, end, c) in bytes.char_indices() {
        if c == char::REPLACEMENT_CHARACTER && &bytes[start..end] != "\u{fffd}".as_bytes() {
            for byte in &bytes[start..end] {
                let _ = write!(out, "\\x{byte:02x}");
            }
        } else if c.is_control() || c == '\\' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Where a zTOC came from, to be put behind what it is.
pub(crate) fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Layer => "",
        Origin::Cache => ", from the cache",
        Origin::Index => ", from the index that was there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("4194304"), Ok(4 << 20));
        assert_eq!(parse_size("4MiB"), Ok(4 << 20));
        assert_eq!(parse_size("10MB"), Ok(10_000_000));
        assert_eq!(parse_size("0"), Ok(0));
        for bad in ["", "-1", "many", "4 elephants", "18446744073709551615"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_stay_on_their_line() {
        assert_eq!(name(b"a b"), "a b");
        assert_eq!(name("é\u{fffd}".as_bytes()), "é\u{fffd}");
        assert_eq!(name(b"a\n\x1b[31m\xff\\"), "a\\n\\u{1b}[31m\\xff\\\\");
        assert_eq!(printable("a\x1b[2J"), "a\\u{1b}[2J");
    }
}
