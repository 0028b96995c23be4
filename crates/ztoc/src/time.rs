//! Modification times as a zTOC writes them: RFC 3339 in UTC.

use std::fmt;

/// A point in time: seconds since 1970-01-01T00:00:00Z and nanoseconds into that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds since the epoch, rounded down.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

/// 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;
const DAY: i64 = 86_400;

impl Time {
    /// The text of RFC 3339 in UTC, with as many digits of the second's fraction as are needed.
    /// `None` for a year before 0 or after 9999, which the format cannot express (Go's
    /// `time.Time.MarshalText` fails there, and the reference then writes an empty string).
    #[must_use]
    pub fn to_rfc3339(self) -> Option<String> {
        (FIRST..=LAST)
            .contains(&self.seconds)
            .then(|| self.to_string())
    }

    /// Reads what [`Time::to_rfc3339`] writes; also other zones, as Go's `time.Time.UnmarshalText`.
    #[must_use]
    pub fn parse_rfc3339(text: &[u8]) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            let digits = text.get(range)?;
            digits.iter().try_fold(0i64, |value, digit| {
                digit
                    .is_ascii_digit()
                    .then(|| value * 10 + i64::from(digit - b'0'))
            })
        };
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators
            .iter()
            .any(|&(at, sign)| text.get(at) != Some(&sign))
        {
            return None;
        }
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if hour > 23 || minute > 59 || second > 59 || !(1..=12).contains(&month) {
            return None;
        }
        let days = days_before(year, month) + day - 1;
        if day < 1 || date_of(days) != (year, month, day) {
            return None;
        }
        let mut rest = &text[19..];
        let mut nanos = 0;
        if let [b'.' | b',', fraction @ ..] = rest {
            let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if length == 0 {
                return None;
            }
            let digits = fraction[..length].iter().map(|digit| digit - b'0');
            for digit in digits.chain(std::iter::repeat(0)).take(9) {
                nanos = nanos * 10 + u32::from(digit);
            }
            rest = &fraction[length..];
        }
        let zone = match rest {
            b"Z" => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let digit = |d: &u8| d.is_ascii_digit().then(|| i64::from(d - b'0'));
                let hours = digit(h1)? * 10 + digit(h2)?;
                let minutes = digit(m1)? * 10 + digit(m2)?;
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 60 + minutes) * if *sign == b'+' { 60 } else { -60 }
            }
            _ => return None,
        };
        let seconds = days * DAY + hour * 3600 + minute * 60 + second - zone;
        Some(Self { seconds, nanos })
    }
}

/// RFC 3339 in UTC; years beyond four digits come out longer.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanos != 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// Days from 1970-01-01 to the first of a month (proleptic Gregorian calendar).
fn days_before(year: i64, month: i64) -> i64 {
    // Years are counted from March, so that the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 - 719_468
}

/// Year, month and day of a count of days since 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + i64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_700_000_000, 123_456_789, "2023-11-14T22:13:20.123456789Z"),
            (1_700_000_000, 120_000_000, "2023-11-14T22:13:20.12Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (-1, 999_000_000, "1969-12-31T23:59:59.999Z"),
            (FIRST, 0, "0000-01-01T00:00:00Z"),
            (LAST, 0, "9999-12-31T23:59:59Z"),
        ] {
            let time = Time { seconds, nanos };
            assert_eq!(time.to_rfc3339().as_deref(), Some(text));
            assert_eq!(Time::parse_rfc3339(text.as_bytes()), Some(time));
        }
    }

    #[test]
    fn zones_are_read() {
        let east = Time::parse_rfc3339(b"1970-01-01T01:30:00+01:30");
        assert_eq!(
            east,
            Some(Time {
                seconds: 0,
                nanos: 0
            })
        );
    }

    #[test]
    fn what_is_no_time() {
        for bad in [
            "",
            "1970-01-01",
            "1970-02-30T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
        ] {
            assert_eq!(Time::parse_rfc3339(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(
            Time {
                seconds: LAST + 1,
                nanos: 0
            }
            .to_rfc3339(),
            None
        );
        assert_eq!(
            Time {
                seconds: FIRST - 1,
                nanos: 0
            }
            .to_rfc3339(),
            None
        );
    }

    proptest::proptest! {
        #[test]
        fn every_time_round_trips(seconds in FIRST..=LAST, nanos in 0..1_000_000_000u32) {
            let time = Time { seconds, nanos };
            let text = time.to_rfc3339().unwrap();
            assert_eq!(Time::parse_rfc3339(text.as_bytes()), Some(time));
        }
    }
}
