//! What tokens cost. All whole numbers: a price of so many units per million tokens is a whole number of
//! thousand-millionths a token.

use store::Nanos;

/// What requests cost, by model, class of caller and time of day. The first rule that fits counts; what none fits costs
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// What the money is called, such as `USD`.
    pub currency: String,
    /// In their order.
    pub rules: Vec<Price>,
}

impl Default for Prices {
    /// Nothing costs anything.
    fn default() -> Self {
        Self { currency: "USD".to_owned(), rules: Vec::new() }
    }
}

/// A price, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// The model's name; `None` for all.
    pub model: Option<String>,
    /// The class of caller, `key` or `session`; `None` for all.
    pub class: Option<String>,
    /// When, in UTC; `None` for always.
    pub hours: Option<Hours>,
    /// What tokens cost.
    pub rate: Rate,
}

/// A part of each day, by the minutes since midnight, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// The first minute of it.
    pub from: u16,
    /// The minute that it ends before; midnight lies between if it is less than `from`.
    pub until: u16,
}

/// What one token costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// One of the prompt that the prefix cache had.
    pub hit: Nanos,
    /// One of the prompt that it had not.
    pub miss: Nanos,
    /// One that was generated.
    pub output: Nanos,
}

/// What a request took, or may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) hit: u64,
    pub(crate) miss: u64,
    /// Reasoning included.
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
}

impl From<dialogue::Usage> for Tokens {
    fn from(usage: dialogue::Usage) -> Self {
        let hit = usage.cached_tokens.min(usage.prompt_tokens);
        Self {
            hit: hit as u64,
            miss: (usage.prompt_tokens - hit) as u64,
            output: usage.completion_tokens as u64,
            reasoning: usage.reasoning_tokens as u64,
        }
    }
}

const MINUTES_OF_DAY: i64 = 24 * 60;

impl Hours {
    fn contain(self, minute: u16) -> bool {
        if self.from <= self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

impl Rate {
    /// What so many tokens cost.
    pub(crate) fn cost(&self, tokens: Tokens) -> Nanos {
        let read =
            self.hit.saturating_times(tokens.hit).saturating_add(self.miss.saturating_times(tokens.miss));
        read.saturating_add(self.output.saturating_times(tokens.output))
    }

    /// Whether it costs nothing.
    pub(crate) fn is_free(&self) -> bool {
        *self == Self::default()
    }

    /// The dearer of each.
    fn max(self, other: Self) -> Self {
        Self {
            hit: self.hit.max(other.hit),
            miss: self.miss.max(other.miss),
            output: self.output.max(other.output),
        }
    }
}

impl Prices {
    /// Whether nothing costs anything.
    pub(crate) fn are_free(&self) -> bool {
        self.rules.iter().all(|rule| rule.rate.is_free())
    }

    /// The rate for a model and a class at a time, in Unix milliseconds.
    pub(crate) fn rate(&self, model: &str, class: &str, at_ms: i64) -> Rate {
        let minute = at_ms.div_euclid(60_000).rem_euclid(MINUTES_OF_DAY);
        self.at_minute(model, class, u16::try_from(minute).unwrap_or_default())
    }

    /// The dearest of the rates that a request may have, whenever it ends, with what is not in the prefix cache and
    /// what is at the dearer price of both.
    pub(crate) fn dearest(&self, model: &str, class: &str) -> Rate {
        let hours = self.rules.iter().filter_map(|rule| rule.hours);
        // A rate changes only where some hours begin or end.
        let changes = hours.flat_map(|hours| [hours.from, hours.until]).chain([0]);
        let dearest = changes.fold(Rate::default(), |most, minute| {
            most.max(self.at_minute(model, class, minute % MINUTES_OF_DAY as u16))
        });
        let read = dearest.hit.max(dearest.miss);
        Rate { hit: read, miss: read, ..dearest }
    }

    fn at_minute(&self, model: &str, class: &str, minute: u16) -> Rate {
        let fits = |rule: &&Price| {
            rule.model.as_deref().is_none_or(|name| name == model)
                && rule.class.as_deref().is_none_or(|name| name == class)
                && rule.hours.is_none_or(|hours| hours.contain(minute))
        };
        self.rules.iter().find(fits).map_or(Rate::default(), |rule| rule.rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(hit: i64, miss: i64, output: i64) -> Rate {
        Rate { hit: Nanos(hit), miss: Nanos(miss), output: Nanos(output) }
    }

    fn price(model: Option<&str>, class: Option<&str>, hours: Option<(u16, u16)>, rate: Rate) -> Price {
        Price {
            model: model.map(str::to_owned),
            class: class.map(str::to_owned),
            hours: hours.map(|(from, until)| Hours { from, until }),
            rate,
        }
    }

    /// R1's prices of 2025 by day, half of them from 16:30 to 0:30; sessions free.
    fn prices() -> Prices {
        let night = Some((16 * 60 + 30, 30));
        Prices {
            currency: "USD".to_owned(),
            rules: vec![
                price(None, Some("session"), None, Rate::default()),
                price(Some("r1"), None, night, rate(70, 275, 1095)),
                price(Some("r1"), None, None, rate(140, 550, 2190)),
                price(None, None, None, rate(1, 2, 3)),
            ],
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let check = |model: &str, class: &str, minute: i64, expected: Rate| {
            let day_ms = 20_000 * 86_400_000;
            let found = prices().rate(model, class, day_ms + minute * 60_000 + 59_999);
            assert_eq!(found, expected, "{model} {class} {minute}");
        };
        let (day, night) = (rate(140, 550, 2190), rate(70, 275, 1095));
        for (minute, expected) in
            [(0, night), (29, night), (30, day), (16 * 60 + 29, day), (16 * 60 + 30, night), (1439, night)]
        {
            check("r1", "key", minute, expected);
        }
        check("r1", "session", 600, Rate::default());
        check("r1-small", "key", 600, rate(1, 2, 3));
        assert_eq!(Prices::default().rate("r1", "key", 0), Rate::default());
        assert_eq!(prices().rate("r1", "key", -1), night, "a clock before 1970");
    }

    #[test]
    fn a_million_tokens_cost_what_the_list_says() {
        let million = Tokens { hit: 1_000_000, ..Tokens::default() };
        assert_eq!(rate(140, 550, 2190).cost(million).to_string(), "0.14");
        let tokens = Tokens { hit: 64, miss: 36, output: 7, reasoning: 5 };
        assert_eq!(rate(140, 550, 2190).cost(tokens), Nanos(64 * 140 + 36 * 550 + 7 * 2190));
        let most = Tokens { hit: u64::MAX, miss: u64::MAX, output: u64::MAX, reasoning: 0 };
        assert_eq!(rate(i64::MAX, i64::MAX, i64::MAX).cost(most), Nanos(i64::MAX));
        assert!(Rate::default().is_free() && !rate(0, 0, 1).is_free());
    }

    #[test]
    fn usage_of_a_model_is_split_into_hits_and_misses() {
        let usage = dialogue::Usage {
            prompt_tokens: 10,
            cached_tokens: 4,
            completion_tokens: 3,
            reasoning_tokens: 1,
        };
        assert_eq!(Tokens::from(usage), Tokens { hit: 4, miss: 6, output: 3, reasoning: 1 });
        let odd = dialogue::Usage { cached_tokens: 40, ..usage };
        assert_eq!(Tokens::from(odd), Tokens { hit: 10, miss: 0, output: 3, reasoning: 1 });
    }

    fn any_price() -> impl Strategy<Value = Price> {
        let name = |names: [&'static str; 3]| prop::sample::select(names.to_vec());
        let rate = (0..5000_i64, 0..5000_i64, 0..5000_i64).prop_map(|(a, b, c)| rate(a, b, c));
        let hours = prop::option::of((0..1440_u16, 0..1440_u16));
        (name(["", "a", "b"]), name(["", "key", "session"]), hours, rate).prop_map(
            |(model, class, hours, rate)| {
                price(
                    Some(model).filter(|name| !name.is_empty()),
                    Some(class).filter(|name| !name.is_empty()),
                    hours,
                    rate,
                )
            },
        )
    }

    proptest! {
        #[test]
        fn no_request_costs_more_than_its_bound(
            rules in prop::collection::vec(any_price(), 0..6),
            minute in 0..1440_i64,
            (hit, miss, output) in (0..100_000_u64, 0..100_000_u64, 0..100_000_u64),
        ) {
            let prices = Prices { currency: String::new(), rules };
            let taken = Tokens { hit, miss, output, reasoning: 0 };
            let bound = Tokens { hit: 0, miss: hit + miss, output, reasoning: 0 };
            for class in ["key", "session"] {
                let cost = prices.rate("a", class, minute * 60_000).cost(taken);
                prop_assert!(cost <= prices.dearest("a", class).cost(bound));
            }
        }
    }
}
