//! Numbers: octal and base-256 in header fields, decimal in PAX records and sparse maps.
//!
//! **Octal** is what every dialect has: digits, with any number of spaces and NULs before and after
//! them; what follows a NUL that stands between digits is ignored; nothing at all is zero.
//! **Base-256** has the top bit of the field's first byte set. The rest is a big-endian number in
//! two's complement, whose sign is the bit after that. It must fit 64 bits.
//! **Decimal** may have a sign, plus as well as minus, and nothing else around its digits.

use crate::header::until_nul;

/// Reads an octal field.
#[must_use]
pub fn parse_octal(field: &[u8]) -> Option<i64> {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !is_filler(byte)) else {
        return Some(0);
    };
    let end = field
        .iter()
        .rposition(|byte| !is_filler(byte))
        .map_or(start, |last| last + 1);
    let digits = until_nul(&field[start..end]);
    let value = digits.iter().try_fold(0u64, |value, &byte| {
        let digit = matches!(byte, b'0'..=b'7').then(|| u64::from(byte - b'0'))?;
        value.checked_mul(8).map(|value| value | digit)
    });
    value.map(u64::cast_signed)
}

/// Reads a field that is octal or base-256.
#[must_use]
pub fn parse_numeric(field: &[u8]) -> Option<i64> {
    let Some((&first, rest)) = field.split_first() else {
        return Some(0);
    };
    if first & 0x80 == 0 {
        return parse_octal(field);
    }
    // A negative number -n is stored as the bits of n-1, inverted. `magnitude` is the number or n-1.
    let invert = if first & 0x40 == 0 { 0 } else { 0xff };
    let magnitude = rest
        .iter()
        .try_fold(u64::from((first ^ invert) & 0x7f), |value, &byte| {
            (value >> 56 == 0).then(|| value << 8 | u64::from(byte ^ invert))
        })?;
    let magnitude = i64::try_from(magnitude).ok()?;
    Some(if invert == 0 { magnitude } else { !magnitude })
}

/// Reads a decimal number with an optional sign.
#[must_use]
pub fn parse_decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether a number can be written in octal into a field of that many bytes, one of them a NUL.
#[must_use]
pub fn fits_octal(value: u64, field_len: usize) -> bool {
    let bits = (field_len - 1) * 3;
    bits >= 64 || value >> bits == 0
}

/// Writes a number in octal, with leading zeros and a NUL at the end. Digits that do not
/// [fit](fits_octal) are lost.
pub fn write_octal(field: &mut [u8], mut value: u64) {
    let Some((end, digits)) = field.split_last_mut() else {
        return;
    };
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal() {
        let cases: &[(&[u8], Option<i64>)] = &[
            (b"", Some(0)),
            (b"\0\0\0 \0", Some(0)),
            (b"0000644\0", Some(0o644)),
            (b"  644 \0\0", Some(0o644)),
            (b"\0\x00644\0 ", Some(0o644)),
            (b"7777777\x007", Some(0o7_777_777)),
            (b"12\x00garbage", Some(0o12)),
            (b"12 34\0", None),
            (b"648\0", None),
            (b"-1\0", None),
            (b"+1\0", None),
            (b"0x1\0", None),
            (b"777777777777", Some(0o777_777_777_777)),
        ];
        for (field, expected) in cases {
            assert_eq!(parse_octal(field), *expected, "{field:?}");
            assert_eq!(parse_numeric(field), *expected, "{field:?}");
        }
    }

    #[test]
    fn base_256() {
        let cases: &[(&[u8], Option<i64>)] = &[
            (b"\x80", Some(0)),
            (b"\x80\0\0\0\0\0\0\x07", Some(7)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xc0", Some(-64)),
            (b"\xbf", Some(63)),
            (
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xfe\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, expected) in cases {
            assert_eq!(parse_numeric(field), *expected, "{field:?}");
        }
    }

    #[test]
    fn decimal() {
        for (text, expected) in [
            ("0", Some(0)),
            ("+17", Some(17)),
            ("-17", Some(-17)),
            ("-0", Some(0)),
            ("0017", Some(17)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("+", None),
            ("--1", None),
            (" 1", None),
            ("1 ", None),
            ("1_0", None),
            ("0x1", None),
        ] {
            assert_eq!(parse_decimal(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(parse_decimal(b"\xff"), None);
    }

    #[test]
    fn octal_is_written_as_it_is_read() {
        for value in [0, 1, 7, 8, 0o644, 0o7_777_777] {
            let mut field = [b'!'; 8];
            assert!(fits_octal(value, 8));
            write_octal(&mut field, value);
            assert_eq!(field[7], 0);
            assert_eq!(parse_octal(&field), Some(value.cast_signed()));
        }
        assert!(!fits_octal(0o10_000_000, 8));
        assert!(fits_octal(u64::MAX, 30));
    }
}
