//! Texts for people: sizes, and names that may hold anything.

use sociable_soci::outcome::Origin;
use std::fmt::Write as _;

use bstr::ByteSlice as _;

pub(crate) use sociable_policy::size::{parse as parse_size, show as size};

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
    count_of(number, one, &format!("{one}s"))
}

/// As [`count`], of what has another plural.
pub(crate) fn count_of(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
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
    fn names_stay_on_their_line() {
        assert_eq!(name(b"a b"), "a b");
        assert_eq!(name("é\u{fffd}".as_bytes()), "é\u{fffd}");
        assert_eq!(name(b"a\n\x1b[31m\xff\\"), "a\\n\\u{1b}[31m\\xff\\\\");
        assert_eq!(printable("a\x1b[2J"), "a\\u{1b}[2J");
    }
}
