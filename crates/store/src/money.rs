use std::fmt;
use std::str::FromStr;

/// An amount of money, in 1e-9 of the currency's unit (a nano-dollar, say). A price of `P` units per million tokens is
/// `1000 * P` of these a token, so that whole numbers are enough for prices with three decimals and there is nothing
/// to round. The largest amount is some nine thousand million units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);

/// A text that is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an amount: digits are, with at most nine more after a point, as in 12.50")]
pub struct ParseNanosError;

const PER_UNIT: i64 = 1_000_000_000;
const DECIMALS: usize = 9;

impl Nanos {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many whole units; `None` if that is more than can be said.
    pub fn units(units: i64) -> Option<Self> {
        units.checked_mul(PER_UNIT).map(Self)
    }

    /// Both together; `None` if that is more than can be said.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// What is left without the other; `None` if that is more than can be said.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Both together, or the most that can be said.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left without the other, or the most that can be said.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// So many times as much, or the most that can be said.
    #[must_use]
    pub fn saturating_times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Nanos {
    /// In units, exactly: with two decimals, or as many more as there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, amount) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (units, rest) = (amount / PER_UNIT.unsigned_abs(), amount % PER_UNIT.unsigned_abs());
        let decimals = format!("{rest:09}");
        let shown = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{units}.{}", &decimals[..shown])
    }
}

impl FromStr for Nanos {
    type Err = ParseNanosError;

    /// From units in decimal, as people write them.
    fn from_str(text: &str) -> Result<Self, ParseNanosError> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (units, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(units) || !all_digits(decimals) || decimals.len() > DECIMALS {
            return Err(ParseNanosError);
        }
        let units: i64 = units.parse().map_err(|_| ParseNanosError)?;
        let rest: i64 = format!("{decimals:0<9}").parse().map_err(|_| ParseNanosError)?;
        let amount = units.checked_mul(PER_UNIT).and_then(|units| units.checked_add(rest));
        amount.map(|amount| Self(sign * amount)).ok_or(ParseNanosError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_in_units_and_read_again() {
        for (nanos, text) in [
            (0, "0.00"),
            (1, "0.000000001"),
            (-1, "-0.000000001"),
            (550_000_000, "0.55"),
            (2_190_000_000, "2.19"),
            (-12_500_000_000, "-12.50"),
            (1_234_567_800_000, "1234.5678"),
            (i64::MAX, "9223372036.854775807"),
        ] {
            assert_eq!(Nanos(nanos).to_string(), text);
            assert_eq!(text.parse(), Ok(Nanos(nanos)), "{text}");
        }
        assert_eq!("7".parse(), Ok(Nanos(7_000_000_000)));
        assert_eq!(Nanos(i64::MIN).to_string(), "-9223372036.854775808");
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "+1",
            "1e3",
            "1,5",
            " 1",
            "1 ",
            "--1",
            "1.0000000000",
            "9223372037",
            "٣",
        ] {
            assert_eq!(text.parse::<Nanos>(), Err(ParseNanosError), "{text:?}");
        }
    }

    #[test]
    fn a_price_per_million_tokens_is_a_whole_number_a_token() {
        let per_million: Nanos = "0.55".parse().unwrap();
        let a_token = Nanos(per_million.0 / 1_000_000);
        assert_eq!(a_token, Nanos(550));
        assert_eq!(a_token.saturating_times(1_000_000), per_million);
        assert_eq!(Nanos(2).saturating_times(u64::MAX), Nanos(i64::MAX));
    }
}
