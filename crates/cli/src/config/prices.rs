//! What requests cost and what new users are given.

use server::{Hours, Price, Prices, Rate};
use store::Nanos;

use super::Checker;
use super::table::PRICES;

/// Most prices: more are a mistake of whatever wrote them.
const PRICES_MAX: usize = 200;
/// Thousand-millionths of the currency's unit, a million of which make a whole number a token.
const MILLION: i64 = 1_000_000;
/// Most units that a million tokens may cost, and that may be given.
const UNITS_MAX: i64 = 1_000_000;

impl Checker<'_> {
    pub(super) fn prices(&mut self) -> Prices {
        let raw = self.raw;
        let places = raw.begins(PRICES);
        if let Some(place) = places.get(PRICES_MAX) {
            self.mistakes
                .add(place, format!("there may be at most {PRICES_MAX} [[price]], got {}", places.len()));
        }
        let mut rules = Vec::new();
        for (number, place) in places.iter().enumerate().take(PRICES_MAX) {
            let name = |key: &str| format!("{PRICES}.{number}.{key}");
            for key in ["hit", "miss", "output"] {
                self.missing(&name(key), place, "in each [[price]]");
            }
            let any = |key| raw.text(&name(key)).filter(|text| *text != "*").map(str::to_owned);
            let rate = Rate {
                hit: self.a_token(&name("hit")),
                miss: self.a_token(&name("miss")),
                output: self.a_token(&name("output")),
            };
            let hours = self.hours(&name("hours"));
            rules.push(Price { model: any("model"), class: any("class"), hours, rate });
        }
        let currency = raw.text("credit.currency").unwrap_or_default();
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let allowed = "must be three capital letters such as USD";
            self.mistake("credit.currency", &format!("{allowed}, got {currency:?}"));
        }
        Prices { currency: currency.to_owned(), rules }
    }

    pub(super) fn sign_up_credit(&mut self) -> Nanos {
        let given = self.raw.text("credit.sign_up").unwrap_or_default();
        self.amount("credit.sign_up", given, "").unwrap_or_default()
    }

    /// What one token costs, of the price of a million.
    fn a_token(&mut self, name: &str) -> Nanos {
        let Some(given) = self.raw.text(name) else { return Nanos::ZERO };
        let allowed = " with at most three digits after the point";
        let Some(million) = self.amount(name, given, allowed) else { return Nanos::ZERO };
        if million.0 % MILLION != 0 {
            self.mistake(
                name,
                &format!("must be an amount in decimal such as \"0.55\",{allowed}, got {given:?}"),
            );
        }
        Nanos(million.0 / MILLION)
    }

    fn amount(&mut self, name: &str, given: &str, more: &str) -> Option<Nanos> {
        let amount = given.parse::<Nanos>().ok();
        let most = Nanos::units(UNITS_MAX).unwrap_or_default();
        let amount = amount.filter(|amount| (Nanos::ZERO..=most).contains(amount));
        if amount.is_none() {
            let comma = if more.is_empty() { "" } else { "," };
            let allowed =
                format!("must be an amount in decimal such as \"0.55\"{comma}{more}, from 0 to {UNITS_MAX}");
            self.mistake(name, &format!("{allowed}, got {given:?}"));
        }
        amount
    }

    fn hours(&mut self, name: &str) -> Option<Hours> {
        let given = self.raw.text(name)?;
        let hours = given.split_once('-').and_then(|(from, until)| {
            let hours = Hours { from: minute(from.trim())?, until: minute(until.trim())? };
            (hours.from != hours.until).then_some(hours)
        });
        if hours.is_none() {
            let allowed = "must be two times of the day in UTC such as \"16:30-00:30\", not the same";
            self.mistake(name, &format!("{allowed}, got {given:?}"));
        }
        hours
    }
}

/// The minute of the day.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, most: u16| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten().filter(|number| *number <= most)
    };
    Some(number(hours, 23)? * 60 + number(minutes, 59)?)
}
