//! Proof of work in the form of ALTCHA's second protocol: find a counter so that PBKDF2 of the nonce and the counter
//! (32 bits, big-endian) begins with the digits that are asked for. Attackers solve it natively on all the cores that
//! they have; that is why it is no more than a fee.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use base::{Clock as _, SystemClock};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::machine;

/// A browser runs the iterations natively too, but asks for each try through an asynchronous interface: it is taken to
/// be half as fast as we are, and honest newcomers are made to wait as long as it would take theirs.
const BROWSER_FACTOR: u32 = 2;
/// Longest key that is derived; those of servers have 32 bytes.
const KEY_BYTES_MAX: usize = 64;

/// What a server asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Challenge {
    /// As it came, to be sent back as it is: it is signed.
    text: Value,
    parameters: Parameters,
    nonce: Vec<u8>,
    salt: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    algorithm: String,
    /// Iterations of each try.
    cost: u32,
    key_length: usize,
    key_prefix: String,
    nonce: String,
    salt: String,
}

impl Challenge {
    /// The challenge that an answer holds beside its error, if it is one that can be solved.
    pub(crate) fn find(body: &Value) -> Option<Self> {
        let text = body.get("challenge")?.clone();
        let parameters: Parameters = serde_json::from_value(text.get("parameters")?.clone()).ok()?;
        let solvable = parameters.algorithm == "PBKDF2/SHA-256"
            && parameters.cost > 0
            && parameters.key_length <= KEY_BYTES_MAX
            && parameters.key_prefix.len() <= 2 * parameters.key_length;
        let (nonce, salt) = (unhex(&parameters.nonce)?, unhex(&parameters.salt)?);
        solvable.then_some(Self { text, parameters, nonce, salt })
    }

    /// The solution as it is sent back, found by so many threads; nothing if there is none, or `stop` was set first.
    pub(crate) fn solve(&self, threads: usize, stop: &AtomicBool) -> Option<String> {
        let (next, found) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let search = || {
            while !stop.load(Ordering::Relaxed) && found.load(Ordering::Relaxed) == u64::MAX {
                let Ok(counter) = u32::try_from(next.fetch_add(1, Ordering::Relaxed)) else { return };
                if self.is_right(counter) {
                    found.store(counter.into(), Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(search);
            }
            search();
        });
        let counter = found.into_inner();
        // It is made of JSON, so that it has one.
        let payload = json!({"challenge": self.text, "solution": {"counter": counter}});
        (counter != u64::MAX).then(|| BASE64_STANDARD.encode(payload.to_string()))
    }

    /// As a browser solves it: on one thread, which leaves the machine to others, and in a browser's time.
    pub(crate) async fn solve_as_browser(self) -> Option<String> {
        let (say, said) = tokio::sync::oneshot::channel();
        let clock = SystemClock::new();
        thread::spawn(move || {
            machine::give_way_a_little();
            // Whoever asked may have given up.
            let _ = say.send((self.solve(1, &AtomicBool::new(false)), machine::own_cpu_time()));
        });
        let (solution, took) = said.await.ok()?;
        // What was waited for a core is no browser's time.
        let of_browser = took.unwrap_or(Duration::ZERO) * BROWSER_FACTOR;
        tokio::time::sleep(of_browser.saturating_sub(clock.monotonic())).await;
        solution
    }

    fn is_right(&self, counter: u32) -> bool {
        let password = [self.nonce.as_slice(), &counter.to_be_bytes()].concat();
        let mut key = [0; KEY_BYTES_MAX];
        let key = &mut key[..self.parameters.key_length];
        pbkdf2::pbkdf2_hmac::<Sha256>(&password, &self.salt, self.parameters.cost, key);
        let digits = key.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let wanted = self.parameters.key_prefix.chars();
        wanted.zip(digits).all(|(wanted, digit)| wanted.to_digit(16) == Some(digit.into()))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(prefix: &str) -> Value {
        json!({"error": {"code": "challenge_required"}, "challenge": {"signature": "5e", "parameters": {
            "algorithm": "PBKDF2/SHA-256", "cost": 10, "data": {"action": "sign_up"}, "expiresAt": 4_000_000_000_u64,
            "keyLength": 32, "keyPrefix": prefix, "nonce": "00ff", "salt": "0102"}}})
    }

    #[test]
    fn solutions_are_right_whoever_finds_them() {
        for (prefix, threads) in [("", 1), ("0", 1), ("00", 3), ("a7", 2)] {
            let body = challenge(prefix);
            let found = Challenge::find(&body).unwrap();
            let text =
                BASE64_STANDARD.decode(found.solve(threads, &AtomicBool::new(false)).unwrap()).unwrap();
            let sent: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(sent["challenge"], body["challenge"], "what is signed is sent back as it is");
            let counter = sent["solution"]["counter"].as_u64().unwrap();
            let mut key = [0; 32];
            let password = [&[0, 0xff][..], &(counter as u32).to_be_bytes()].concat();
            pbkdf2::pbkdf2_hmac::<Sha256>(&password, &[1, 2], 10, &mut key);
            let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(digits.starts_with(prefix), "{digits} {prefix}");
        }
    }

    #[test]
    fn what_can_not_be_solved_is_none_and_stopping_stops() {
        let never = Challenge::find(&challenge(&"0".repeat(64))).unwrap();
        assert_eq!(never.solve(2, &AtomicBool::new(true)), None);
        for body in [json!(null), json!({"error": {"code": "x"}}), json!([1]), challenge(&"0".repeat(65))] {
            assert_eq!(Challenge::find(&body), None);
        }
        let mut other = challenge("0");
        other["challenge"]["parameters"]["algorithm"] = json!("SHA-256");
        assert_eq!(Challenge::find(&other), None);
    }

    #[tokio::test]
    async fn a_browser_finds_it_too() {
        let found = Challenge::find(&challenge("0")).unwrap();
        assert!(found.solve_as_browser().await.is_some());
    }
}
