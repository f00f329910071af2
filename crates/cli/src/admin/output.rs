//! What commands print: lines and columns for people, JSON for machines.

use std::io::{self, Write as _};

use serde_json::Value;

use crate::pull::text::printable;

/// Prints a line. Names in it may be anybody's.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{}", one_line(line))?;
    Ok(())
}

/// Prints a value for machines.
pub(crate) fn say_json(value: &Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Prints rows in columns that are as wide as their widest cell and at least as wide as `widths` say.
pub(crate) fn say_rows<const N: usize>(widths: [usize; N], rows: &[[String; N]]) -> anyhow::Result<()> {
    io::stdout().lock().write_all(columns(widths, rows).as_bytes())?;
    Ok(())
}

fn columns<const N: usize>(widths: [usize; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell))).collect();
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(|column| widths[column].max(widest(column))).collect();
    rows.iter().fold(String::new(), |mut text, row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join(" ").trim_end());
        text.push('\n');
        text
    })
}

/// A cell with a line break in it would pass for two.
fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// A text or, where there is none, a dash.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// `1 user`, `2 users`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

/// A time as `2026-11-24 18:25`, in UTC.
pub(crate) fn time(unix_ms: i64) -> String {
    let minutes = unix_ms.div_euclid(60_000);
    let (days, minute) = (minutes.div_euclid(24 * 60), minutes.rem_euclid(24 * 60));
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

/// Year, month and day of a number of days after 1970-01-01, by Howard Hinnant's `civil_from_days`.
fn date(days: i64) -> (i64, i64, i64) {
    // Years begin in March, eras of 400 years in a year that 400 divides.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hold_whatever_is_in_them() {
        let rows = [
            ["Ahab".to_owned(), "admin".to_owned(), String::new()],
            ["a\u{1b}[2J\nb".to_owned(), "user".to_owned(), "x".to_owned()],
        ];
        let expected = "Ahab          admin\na\\u{1b}[2J\\nb user  x\n";
        assert_eq!(columns([4, 4, 0], &rows), expected);
        assert_eq!(columns([6, 0], &[["a".to_owned(), "b".to_owned()]]), "a      b\n");
        assert_eq!(columns([6], &[]), "");
    }

    #[test]
    fn one_is_no_plural() {
        let texts = [0, 1, 2].map(|count| counted(count, "key"));
        assert_eq!(texts, ["0 keys", "1 key", "2 keys"]);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix_ms, expected) in [
            (0, "1970-01-01 00:00"),
            (-1, "1969-12-31 23:59"),
            (951_782_399_999, "2000-02-28 23:59"),
            (951_782_400_000, "2000-02-29 00:00"),
            (1_795_544_700_000, "2026-11-24 18:25"),
            (4_107_542_400_000, "2100-03-01 00:00"),
        ] {
            assert_eq!(time(unix_ms), expected);
        }
    }
}
