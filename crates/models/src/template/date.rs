//! `strftime_now` for templates: dates in UTC, from a clock that is an argument.

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment in the proleptic Gregorian calendar, UTC.
struct Moment {
    year: i64,
    /// 1 to 12.
    month: usize,
    /// 1 to 31.
    day: i64,
    /// 1 to 366.
    day_of_year: i64,
    /// 0 is Monday.
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
    microsecond: i64,
}

impl Moment {
    fn at(unix_ms: i64) -> Self {
        let days = unix_ms.div_euclid(86_400_000);
        let ms = unix_ms.rem_euclid(86_400_000);
        let (year, month, day) = civil(days);
        let (first, ..) = (days_since_epoch(year), ());
        Self {
            year,
            month,
            day,
            day_of_year: days - first + 1,
            weekday: (days + 3).rem_euclid(7) as usize,
            hour: ms / 3_600_000,
            minute: ms / 60_000 % 60,
            second: ms / 1000 % 60,
            microsecond: ms % 1000 * 1000,
        }
    }
}

/// Year, month and day of a day number (0 is 1970-01-01), counting in cycles of 400 years that begin on 1 March.
fn civil(days: i64) -> (i64, usize, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as usize, day)
}

/// Day number of 1 January of a year.
fn days_since_epoch(year: i64) -> i64 {
    let before = year - 1;
    365 * (year - 1970) + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 477
}

/// Writes the moment by a format of C's `strftime`, as Python does in its default locale. Directives it does not
/// know stay as they are.
pub(super) fn strftime(format: &str, unix_ms: i64) -> String {
    let now = Moment::at(unix_ms);
    let mut out = String::with_capacity(format.len() + 16);
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut directive = rest.next();
        let bare = directive == Some('-');
        if bare {
            directive = rest.next();
        }
        match directive {
            Some(letter) => directive_text(&now, letter, bare, &mut out),
            None => out.push_str(if bare { "%-" } else { "%" }),
        }
    }
    out
}

fn directive_text(now: &Moment, letter: char, bare: bool, out: &mut String) {
    let hour12 = (now.hour + 11) % 12 + 1;
    let number = |value: i64, width: usize| {
        if bare { value.to_string() } else { format!("{value:0width$}") }
    };
    let text = match letter {
        'Y' => now.year.to_string(),
        'y' => number(now.year.rem_euclid(100), 2),
        'm' => number(now.month as i64, 2),
        'd' => number(now.day, 2),
        'e' => format!("{:2}", now.day),
        'j' => number(now.day_of_year, 3),
        'H' => number(now.hour, 2),
        'I' => number(hour12, 2),
        'M' => number(now.minute, 2),
        'S' => number(now.second, 2),
        'f' => format!("{:06}", now.microsecond),
        'p' => if now.hour < 12 { "AM" } else { "PM" }.to_owned(),
        'A' => DAYS[now.weekday].to_owned(),
        'a' => DAYS[now.weekday][..3].to_owned(),
        'B' => MONTHS[now.month - 1].to_owned(),
        'b' | 'h' => MONTHS[now.month - 1][..3].to_owned(),
        'F' => strftime_part(now, "Ymd", '-'),
        'T' => strftime_part(now, "HMS", ':'),
        'Z' => "UTC".to_owned(),
        'z' => "+0000".to_owned(),
        'n' => "\n".to_owned(),
        't' => "\t".to_owned(),
        '%' => "%".to_owned(),
        other => format!("%{}{other}", if bare { "-" } else { "" }),
    };
    out.push_str(&text);
}

fn strftime_part(now: &Moment, letters: &str, between: char) -> String {
    let mut out = String::new();
    for (index, letter) in letters.chars().enumerate() {
        if index > 0 {
            out.push(between);
        }
        directive_text(now, letter, false, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unix_ms: i64, format: &str, expected: &str) {
        assert_eq!(strftime(format, unix_ms), expected);
    }

    #[test]
    fn known_moments() {
        check(0, "%Y-%m-%d %H:%M:%S %A %j", "1970-01-01 00:00:00 Thursday 001");
        check(951_782_400_000, "%d %b %Y, %a, day %-j", "29 Feb 2000, Tue, day 60");
        check(1_737_936_000_123, "%B %-d, %Y %I:%M %p %f", "January 27, 2025 12:00 AM 123000");
        check(1_735_689_599_000, "%F %T %j %y", "2024-12-31 23:59:59 366 24");
        check(-1, "%F %T", "1969-12-31 23:59:59");
        check(0, "100% %q %- %", "100% %q %- %");
    }

    #[test]
    fn extreme_moments_are_written_without_overflow() {
        for unix_ms in [i64::MIN, i64::MAX] {
            assert!(!strftime("%c %Y %j %A", unix_ms).is_empty());
        }
    }
}
