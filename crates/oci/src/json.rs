//! JSON exactly as Go's `encoding/json` prints it.
//!
//! A document is named by the digest of its bytes, and Go programs decode and re-encode the documents that they store
//! under the old digest. So what is written here has to be what `json.Marshal` would write: no spaces, fields in
//! struct order, map keys sorted by their bytes, `<`, `>`, `&`, U+2028 and U+2029 escaped inside strings, short escapes
//! for `\b \f \n \r \t` (Go 1.22 and later) and `\u00xx` for the other control characters.
//! U+007F and everything beyond ASCII stays as it is.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::Formatter;

/// Serialises `value` as Go's `json.Marshal` does.
///
/// Struct fields come in the order of their declaration; use [`std::collections::BTreeMap`] for Go's maps.
///
/// # Errors
/// When the value has no JSON form, such as a map with keys that are no strings.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(512);
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut out,
        GoFormatter,
    ))?;
    Ok(out)
}

/// [`to_vec`], as text.
///
/// # Errors
/// As [`to_vec`].
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    to_vec(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Parses one JSON value and nothing after it; unknown fields are ignored as the target type says.
///
/// Unlike Go, key names have to match exactly, and duplicate keys and broken UTF-8 are refused.
///
/// # Errors
/// When the bytes are not JSON, or not JSON of that shape; the error names line and column.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// The [`Formatter`] behind [`to_vec`], for use with a serialiser of one's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        let mut start = 0;
        let mut at = 0;
        while at < bytes.len() {
            let (escape, len): (&[u8], usize) = match &bytes[at..] {
                [b'<', ..] => (b"\\u003c", 1),
                [b'>', ..] => (b"\\u003e", 1),
                [b'&', ..] => (b"\\u0026", 1),
                // U+2028 and U+2029 in UTF-8.
                [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
                [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
                _ => {
                    at += 1;
                    continue;
                }
            };
            writer.write_all(&bytes[start..at])?;
            writer.write_all(escape)?;
            at += len;
            start = at;
        }
        writer.write_all(&bytes[start..])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Printed by Go 1.26: `json.Marshal("…")`.
    #[test]
    fn strings_as_go_prints_them() {
        for (value, expected) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("<b>&", r#""\u003cb\u003e\u0026""#),
            (
                "a\u{2028}b\u{2029}c\u{2027}\u{202a}",
                "\"a\\u2028b\\u2029c\u{2027}\u{202a}\"",
            ),
            ("\"\\/", r#""\"\\/""#),
            ("\n\r\t\u{8}\u{c}", r#""\n\r\t\b\f""#),
            (
                "\0\u{1}\u{b}\u{1b}\u{1f}",
                r#""\u0000\u0001\u000b\u001b\u001f""#,
            ),
            ("\u{7f}\u{80}é\u{feff}😀", "\"\u{7f}\u{80}é\u{feff}😀\""),
        ] {
            assert_eq!(to_string(value).unwrap(), expected);
        }
    }

    #[test]
    fn keys_are_sorted_and_escaped_too() {
        let map = BTreeMap::from([("b", "1"), ("a&", "2"), ("B", "3"), ("é", "4")]);
        assert_eq!(
            to_string(&map).unwrap(),
            r#"{"B":"3","a\u0026":"2","b":"1","é":"4"}"#
        );
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert!(from_slice::<serde_json::Value>(b"{} x").is_err());
        assert!(from_slice::<serde_json::Value>(b" {}\n").is_ok());
    }
}
