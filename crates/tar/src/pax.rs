//! PAX extended headers: records that say what a header block cannot.
//!
//! The payload of a header of type `x` or `g` is a sequence of records `LENGTH KEY=VALUE\n`, where
//! `LENGTH` is the decimal length of the whole record. A key is not empty and has no `=` and no
//! NUL (Go lets a NUL pass in the value of every key but [the four that are text](TEXT_KEYS)).
//! Nothing has to be UTF-8. A later record replaces an earlier one of the same key.
//!
//! | key                                     | overrides                                      |
//! |-----------------------------------------|------------------------------------------------|
//! | `path`, `linkpath`, `uname`, `gname`    | that text                                      |
//! | `uid`, `gid`, `size`                    | that number, decimal                           |
//! | `mtime`                                 | seconds, a point, and a fraction of any length |
//! | `atime`, `ctime`                        | nothing that is reported; must be well-formed  |
//! | `GNU.sparse.*`                          | see [`header`](crate::header)                  |
//! | `SCHILY.xattr.NAME`                     | nothing: the extended attribute `NAME`         |
//!
//! A record with an empty value overrides nothing, but is reported like all others.

use std::collections::BTreeMap;

use bstr::{BStr, BString, ByteSlice};

use crate::error::TarErrorKind;
use crate::numeric::parse_decimal;

/// The records of one extended header, by key.
pub type Records = BTreeMap<BString, BString>;

/// Keys whose value is text, and must not have a NUL in it.
pub const TEXT_KEYS: [&[u8]; 4] = [b"path", b"linkpath", b"uname", b"gname"];
/// What the key of an extended attribute begins with.
pub const XATTR: &str = "SCHILY.xattr.";

const SPARSE_OFFSET: &[u8] = b"GNU.sparse.offset";
const SPARSE_NUMBYTES: &[u8] = b"GNU.sparse.numbytes";
/// The map of a sparse file, format 0.1 (0.0 is turned into it).
pub(crate) const SPARSE_MAP: &str = "GNU.sparse.map";

/// A point in time: seconds since 1970, rounded down, and nanoseconds into that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub secs: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

/// Nanoseconds of a second.
pub(crate) const SECOND: u32 = 1_000_000_000;

impl Time {
    /// A time without a fraction of a second.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self { secs, nanos: 0 }
    }

    /// Reads the value of a PAX time record. Digits beyond the ninth are cut off.
    #[must_use]
    pub fn parse_pax(value: &[u8]) -> Option<Self> {
        let (whole, fraction) = value.split_once_str(".").unwrap_or((value, b""));
        let secs = parse_decimal(whole)?;
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = fraction
            .iter()
            .copied()
            .chain(std::iter::repeat(b'0'))
            .take(9);
        let nanos = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        // The sign is the text's, not the number's: there is "-0.5".
        Some(if whole.starts_with(b"-") && nanos > 0 {
            Self {
                secs: secs.wrapping_sub(1),
                nanos: SECOND - nanos,
            }
        } else {
            Self { secs, nanos }
        })
    }

    /// Writes the value of a PAX time record.
    #[must_use]
    pub fn to_pax(self) -> String {
        let Self { secs, nanos } = self;
        let text = match (secs < 0, nanos) {
            (_, 0) => return secs.to_string(),
            (false, _) => format!("{secs}.{nanos:09}"),
            (true, _) => format!("-{}.{:09}", !secs, SECOND - nanos),
        };
        text.trim_end_matches('0').to_owned()
    }
}

/// Reads the payload of an extended header.
///
/// The records of a sparse map of format 0.0 are joined to one of format 0.1, as Go does.
///
/// # Errors
///
/// [`TarErrorKind::PaxRecord`] if the payload is anything but records, to its last byte.
pub fn parse(mut payload: &[u8]) -> Result<Records, TarErrorKind> {
    let mut records = Records::new();
    let mut sparse: Vec<&[u8]> = Vec::new();
    while !payload.is_empty() {
        let (record, rest) = split_record(payload).ok_or(TarErrorKind::PaxRecord)?;
        payload = rest;
        let (key, value) = record;
        if key == SPARSE_OFFSET || key == SPARSE_NUMBYTES {
            let expected = if sparse.len().is_multiple_of(2) {
                SPARSE_OFFSET
            } else {
                SPARSE_NUMBYTES
            };
            if key != expected || value.contains(&b',') {
                return Err(TarErrorKind::PaxRecord);
            }
            sparse.push(value);
        } else {
            records.insert(key.into(), value.into());
        }
    }
    if !sparse.is_empty() {
        records.insert(SPARSE_MAP.into(), sparse.join(&b',').into());
    }
    Ok(records)
}

type Record<'a> = (&'a [u8], &'a [u8]);

/// Takes the first record off a payload.
fn split_record(payload: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (length, _) = payload.split_once_str(" ")?;
    let record = parse_decimal(length).and_then(|n| payload.get(..usize::try_from(n).ok()?))?;
    // The shortest record that can be is "5 a=\n".
    if record.len() < 5 {
        return None;
    }
    let (newline, content) = record.get(length.len() + 1..)?.split_last()?;
    let (key, value) = content.split_once_str("=")?;
    let text = if TEXT_KEYS.contains(&key) { value } else { key };
    (*newline == b'\n' && !key.is_empty() && !text.contains(&0))
        .then_some(((key, value), &payload[record.len()..]))
}

/// Whether a record with this key and value can be read back.
#[must_use]
pub fn is_valid_record(key: &[u8], value: &[u8]) -> bool {
    let text = if TEXT_KEYS.contains(&key) { value } else { key };
    !key.is_empty() && !key.contains(&b'=') && !text.contains(&0)
}

/// Appends a record to a payload.
pub fn write_record(payload: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let content = key.len() + value.len() + 3;
    let mut length = content + decimal_digits(content);
    length = content + decimal_digits(length);
    payload.extend_from_slice(format!("{length} ").as_bytes());
    payload.extend_from_slice(key);
    payload.push(b'=');
    payload.extend_from_slice(value);
    payload.push(b'\n');
}

fn decimal_digits(value: usize) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// A record's value, if it is there and not empty.
pub(crate) fn non_empty<'a>(records: &'a Records, key: &str) -> Option<&'a BStr> {
    let value = records.get(BStr::new(key))?;
    (!value.is_empty()).then_some(value.as_bstr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(secs: i64, nanos: u32) -> Time {
        Time { secs, nanos }
    }

    #[test]
    fn times() {
        let cases: &[(&str, Option<Time>)] = &[
            ("1350244992", Some(time(1_350_244_992, 0))),
            ("1350244992.", Some(time(1_350_244_992, 0))),
            ("1350244992.3", Some(time(1_350_244_992, 300_000_000))),
            ("1.0000000019", Some(time(1, 1))),
            ("1.00000000001", Some(time(1, 0))),
            ("+1.5", Some(time(1, 500_000_000))),
            ("-1", Some(time(-1, 0))),
            ("-1.0", Some(time(-1, 0))),
            ("-1.5", Some(time(-2, 500_000_000))),
            ("-0.5", Some(time(-1, 500_000_000))),
            ("0.5", Some(time(0, 500_000_000))),
            (".5", None),
            ("-.5", None),
            ("", None),
            ("1.x", None),
            ("1.123456789x", None),
            ("1.2.3", None),
            ("1.-2", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Time::parse_pax(text.as_bytes()), *expected, "{text:?}");
        }
        for value in [
            time(0, 1),
            time(-1, 1),
            time(-1, 999_999_999),
            time(i64::MIN, 5),
            time(i64::MAX, 120),
        ] {
            assert_eq!(Time::parse_pax(value.to_pax().as_bytes()), Some(value));
        }
        assert_eq!(time(-1, 500_000_000).to_pax(), "-0.5");
    }

    #[test]
    fn records() {
        let read = |payload: &[u8]| {
            let records = parse(payload).ok()?;
            Some(
                records
                    .into_iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>()
                    .join(";"),
            )
        };
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"", Some("")),
            (b"6 k=1\n", Some("k=1")),
            (b"6 k=1\n6 k=2\n", Some("k=2")),
            (b"6 k==\n", Some("k==")),
            (b"5 k=\n", Some("k=")),
            (b"+6 k=\n", Some("k=")),
            (b"006 a=\n", None),
            (b"007 a=\n", Some("a=")),
            (b"9 k=1 2\n\n", Some("k=1 2\n")),
            (b"5 =v\n", None),
            (b"5 ab\n", None),
            (b"4 =\n", None),
            (b"6 k=12", None),
            (b"7 k=1\n", None),
            (b"6  k=\n", Some(" k=")),
            (b"6 k=1\n\0", None),
            (b"6 \0=1\n", None),
            (b"6 k=\0\n", Some("k=\0")),
            (b"9 path=\0\n", None),
            (b"-6 k=1\n", None),
            (b"x", None),
            (b"99999999999999999999 k=1\n", None),
            (
                b"23 GNU.sparse.offset=1\n25 GNU.sparse.numbytes=2\n",
                Some("GNU.sparse.map=1,2"),
            ),
            (b"25 GNU.sparse.numbytes=2\n", None),
            (b"25 GNU.sparse.offset=1,2\n", None),
        ];
        for (payload, expected) in cases {
            assert_eq!(
                read(payload).as_deref(),
                *expected,
                "{:?}",
                payload.as_bstr()
            );
        }
    }

    #[test]
    fn a_records_length_counts_its_own_digits() {
        for length in (0..30).chain(80..110).chain(980..1010).chain(9980..10010) {
            let mut payload = Vec::new();
            let value = vec![b'v'; length];
            write_record(&mut payload, b"key", &value);
            let records = parse(&payload).expect("one record");
            assert_eq!(
                records.get(BStr::new("key")),
                Some(&BString::from(value)),
                "{length}"
            );
        }
    }
}
