/// A moment on the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UtcTime {
    /// Of the common era; 0 is the year before its first.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl UtcTime {
    /// The moment of a clock's Unix milliseconds.
    pub fn from_unix_ms(unix_ms: i64) -> Self {
        let second = unix_ms.div_euclid(1000).rem_euclid(86_400);
        // Days are counted in cycles of 400 years that begin on 1 March: the odd day is the last of a year.
        let shifted = unix_ms.div_euclid(86_400_000) + 719_468;
        let cycle = shifted.div_euclid(146_097);
        let day = shifted.rem_euclid(146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, passed) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Self {
            year: cycle * 400 + year + passed,
            month: month as u8,
            day: day as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        // As `date -u -d @SECONDS` says.
        for (seconds, expected) in [
            (0, (1970, 1, 1, 0, 0, 0)),
            (-1, (1969, 12, 31, 23, 59, 59)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (951_868_799, (2000, 2, 29, 23, 59, 59)),
            (951_868_800, (2000, 3, 1, 0, 0, 0)),
            (1_795_544_706, (2026, 11, 24, 18, 25, 6)),
            (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
            (4_107_542_399, (2100, 2, 28, 23, 59, 59)),
        ] {
            let UtcTime { year, month, day, hour, minute, second } =
                UtcTime::from_unix_ms(seconds * 1000 + 999);
            assert_eq!((year, month, day, hour, minute, second), expected, "{seconds}");
        }
        // No clock is too wrong.
        UtcTime::from_unix_ms(i64::MIN);
        UtcTime::from_unix_ms(i64::MAX);
    }
}
