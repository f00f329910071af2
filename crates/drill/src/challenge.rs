//! Proof of work in the form of ALTCHA: find the number whose digits, after the salt, have the SHA-256 that is asked
//! for. Attackers solve it natively on all the cores that they have; that is why it is no more than a fee.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What a browser computes in a second: one hash at a time, through an asynchronous interface. Honest newcomers are
/// made to wait as long as it would take theirs.
const BROWSER_HASHES_PER_SECOND: f64 = 50_000.0;
/// Numbers that a thread takes at once.
const STRIDE: u64 = 4096;

/// What a server asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Challenge {
    algorithm: String,
    /// In hexadecimal.
    #[serde(rename = "challenge")]
    hash: String,
    salt: String,
    signature: String,
    /// The number is at most this.
    #[serde(alias = "maxNumber", alias = "maxnumber")]
    max_number: u64,
}

#[derive(Serialize)]
struct Solution<'a> {
    algorithm: &'a str,
    challenge: &'a str,
    number: u64,
    salt: &'a str,
    signature: &'a str,
}

impl Challenge {
    /// The challenge that is somewhere in an answer, as an object of its own.
    pub(crate) fn find(body: &Value) -> Option<Self> {
        let object = body.as_object()?;
        if object.get("challenge").is_some_and(Value::is_string) {
            return serde_json::from_value(body.clone()).ok();
        }
        object.values().find_map(Self::find)
    }

    /// The number, found by so many threads; nothing if there is none, or `stop` was set first.
    pub(crate) fn solve(&self, threads: usize, stop: &AtomicBool) -> Option<u64> {
        if !self.algorithm.eq_ignore_ascii_case("SHA-256") {
            return None;
        }
        let wanted = unhex(&self.hash)?;
        let (next, found) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let search = || {
            let salted = Sha256::new_with_prefix(self.salt.as_bytes());
            while !stop.load(Ordering::Relaxed) && found.load(Ordering::Relaxed) == u64::MAX {
                let first = next.fetch_add(STRIDE, Ordering::Relaxed);
                if first > self.max_number {
                    return;
                }
                let last = first.saturating_add(STRIDE - 1).min(self.max_number);
                if let Some(number) = (first..=last).find(|number| is_hash(&salted, *number, &wanted)) {
                    found.store(number, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(search)));
            search();
        });
        Some(found.into_inner()).filter(|number| *number != u64::MAX)
    }

    /// The solution as it is sent back.
    pub(crate) fn solution(&self, number: u64) -> String {
        let Self { algorithm, hash: challenge, salt, signature, .. } = self;
        let solution = Solution { algorithm, challenge, number, salt, signature };
        // It has no maps, the only thing that JSON might not hold.
        BASE64_STANDARD.encode(serde_json::to_vec(&solution).unwrap_or_default())
    }

    /// How long a browser would have taken to find this number.
    pub(crate) fn browser_time(number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / BROWSER_HASHES_PER_SECOND)
    }
}

fn is_hash(salted: &Sha256, number: u64, wanted: &[u8; 32]) -> bool {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    salted.clone().chain_update(&digits[at..]).finalize().as_slice() == wanted
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn challenge(number: u64) -> Value {
        let hash = Sha256::digest(format!("salt?x=1{number}"));
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"algorithm": "SHA-256", "challenge": hash, "salt": "salt?x=1", "signature": "s", "maxnumber": 50_000})
    }

    #[test]
    fn numbers_are_found_by_any_number_of_threads() {
        for number in [0, 7, 4095, 4096, 50_000] {
            for threads in [1, 3] {
                let found = Challenge::find(&json!({"error": {"challenge": challenge(number)}})).unwrap();
                assert_eq!(found.solve(threads, &AtomicBool::new(false)), Some(number));
                let text = BASE64_STANDARD.decode(found.solution(number)).unwrap();
                let sent: Value = serde_json::from_slice(&text).unwrap();
                assert_eq!((&sent["number"], &sent["signature"]), (&json!(number), &json!("s")));
            }
        }
    }

    #[test]
    fn what_has_no_solution_ends() {
        let none = Challenge::find(&challenge(50_001)).unwrap();
        assert_eq!(none.solve(2, &AtomicBool::new(false)), None);
        let stopped = Challenge::find(&challenge(50_000)).unwrap();
        assert_eq!(stopped.solve(2, &AtomicBool::new(true)), None);
        for body in [json!(null), json!({"error": {"code": "challenge"}}), json!([1])] {
            assert_eq!(Challenge::find(&body), None);
        }
    }
}
