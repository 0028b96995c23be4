//! Sizes as people write and read them.

use bytesize::ByteSize;

/// A size as people write it: `4194304`, `4MiB`, `10MB`.
///
/// # Errors
/// What was expected.
pub fn parse(text: &str) -> Result<u64, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|_| "expected a number of bytes, such as 4194304, 4MiB or 10MB".to_owned())?;
    // The formats hold signed numbers.
    i64::try_from(size.as_u64()).map_err(|_| "that is more than any file can have".to_owned())?;
    Ok(size.as_u64())
}

/// A size as people read it: `1.2 GB`.
#[must_use]
pub fn show(bytes: u64) -> String {
    ByteSize::b(bytes).display().si().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse("4194304"), Ok(4 << 20));
        assert_eq!(parse("4MiB"), Ok(4 << 20));
        assert_eq!(parse("10MB"), Ok(10_000_000));
        assert_eq!(parse("0"), Ok(0));
        for bad in ["", "-1", "many", "4 elephants", "18446744073709551615"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
