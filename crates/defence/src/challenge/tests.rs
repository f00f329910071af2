use proptest::prelude::*;

use super::*;
use base::Rng;

const NOW_MS: i64 = 1_800_000_000_000;
const EASY: Difficulty = Difficulty { iterations: 10, digits: 1 };

struct Run {
    challenges: Challenges,
    rng: Rng,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_seed(seed);
        Self { challenges: Challenges::new(&mut rng), rng }
    }

    fn issue(&mut self) -> Challenge {
        self.challenges.issue(EASY, (home(), "sign up"), LIFETIME, NOW_MS, &mut self.rng)
    }

    fn claim(&mut self, answer: &str) -> Result<bool, ChallengeError> {
        self.claim_at(answer, home(), "sign up", NOW_MS + 1000)
    }

    fn claim_at(
        &mut self,
        answer: &str,
        prefix: Prefix,
        action: &'static str,
        now_ms: i64,
    ) -> Result<bool, ChallengeError> {
        self.challenges.claim(answer, (prefix, action), now_ms).map(|claim| claim.is_right())
    }
}

fn home() -> Prefix {
    Prefix::wide("192.0.2.7".parse().unwrap())
}

fn encode(value: &serde_json::Value) -> String {
    STANDARD.encode(value.to_string())
}

fn decode(answer: &str) -> serde_json::Value {
    serde_json::from_slice(&STANDARD.decode(answer).unwrap()).unwrap()
}

#[test]
fn an_answer_is_good_once_there_and_in_its_time() {
    let mut run = Run::new(1);
    let challenge = run.issue();
    let answer = solve(&challenge).unwrap();
    let elsewhere = Prefix::wide("198.51.100.7".parse().unwrap());
    assert_eq!(run.claim_at(&answer, elsewhere, "sign up", NOW_MS), Err(ChallengeError::Elsewhere));
    assert_eq!(run.claim_at(&answer, home(), "sign in", NOW_MS), Err(ChallengeError::Elsewhere));
    let late_ms = NOW_MS + 301_000;
    assert_eq!(run.claim_at(&answer, home(), "sign up", late_ms), Err(ChallengeError::Expired));
    assert_eq!(Run::new(2).claim(&answer), Err(ChallengeError::Forged));
    assert_eq!(run.claim_at(&answer, home(), "sign up", NOW_MS + 300_000), Ok(true));
    assert_eq!(run.claim(&answer), Err(ChallengeError::Used));
    assert!(ChallengeError::Used.is_failure() && !ChallengeError::Expired.is_failure());
}

#[test]
fn an_answer_that_is_looked_at_is_as_good_as_before() {
    let mut run = Run::new(1);
    let answer = solve(&run.issue()).unwrap();
    let peek = |run: &Run, action, now_ms| {
        run.challenges.peek(&answer, (home(), action), now_ms).map(|claim| claim.is_right())
    };
    let first = run.challenges.peek(&answer, (home(), "sign up"), NOW_MS).unwrap();
    let again = run.challenges.peek(&answer, (home(), "sign up"), NOW_MS).unwrap();
    assert_eq!(first.id(), again.id());
    assert_eq!(peek(&run, "sign up", NOW_MS), Ok(true));
    assert_eq!(peek(&run, "sign in", NOW_MS), Err(ChallengeError::Elsewhere));
    assert_eq!(peek(&run, "sign up", NOW_MS + 301_000), Err(ChallengeError::Expired));
    assert_eq!(run.claim(&answer), Ok(true));
    assert_eq!(peek(&run, "sign up", NOW_MS), Err(ChallengeError::Used));
}

#[test]
fn a_wrong_answer_uses_the_challenge_up() {
    let mut run = Run::new(1);
    let right = decode(&solve(&run.issue()).unwrap());
    let mut wrong = right.clone();
    let counter = right["solution"]["counter"].as_u64().unwrap();
    wrong["solution"]["counter"] = (counter + 1).into();
    // Of sixteen counters one is right by chance; this one isn't.
    assert_eq!(run.claim(&encode(&wrong)), Ok(false));
    assert_eq!(run.claim(&encode(&right)), Err(ChallengeError::Used));
}

#[test]
fn nothing_in_it_can_be_changed() {
    let mut run = Run::new(1);
    let right = decode(&solve(&run.issue()).unwrap());
    for (field, value) in [
        ("algorithm", "SHA-256".into()),
        ("cost", 1.into()),
        ("data", serde_json::json!({ "action": "sign up" })),
        ("expiresAt", 1_900_000_000.into()),
        ("keyLength", 1.into()),
        ("keyPrefix", "".into()),
        ("nonce", "00".repeat(16).into()),
        ("salt", "00".repeat(16).into()),
    ] {
        let mut changed = right.clone();
        changed["challenge"]["parameters"][field] = value;
        assert_eq!(run.claim(&encode(&changed)), Err(ChallengeError::Forged), "{field}");
    }
    for (field, value) in [("signature", "00".into()), ("parameters", 1.into())] {
        let mut changed = right.clone();
        changed["challenge"][field] = value;
        assert_eq!(run.claim(&encode(&changed)), Err(ChallengeError::Malformed), "{field}");
    }
    let long = "A".repeat(5000);
    assert_eq!(run.claim(&long), Err(ChallengeError::TooLong { allowed: 2048, given: 5000 }));
    assert_eq!(run.claim(&encode(&right)), Ok(true));
}

/// Challenges and answers that the protocol's own JavaScript made (`golden/altcha/make.mjs`).
#[test]
fn the_widget_and_we_agree() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../../../golden/altcha/solved.json")).unwrap();
    let cases = golden.as_array().unwrap();
    assert!(cases.len() >= 4);
    for case in cases {
        let challenge: Challenge = serde_json::from_value(case["challenge"].clone()).unwrap();
        // Its signature, which is of the same text under the same key.
        let mut key = [0; 64];
        let secret = case["secret"].as_str().unwrap().as_bytes();
        key[..secret.len()].copy_from_slice(secret);
        let mac = Hmac::<Sha256>::new(&key.into());
        let json = serde_json::to_vec(&challenge.parameters).unwrap();
        let signature = to_hex(&mac.chain_update(json).finalize().into_bytes());
        assert_eq!(signature, challenge.signature);
        // Its answer, which is the first that is right.
        let answer = decode(&solve(&challenge).unwrap());
        assert_eq!(answer["solution"]["counter"], case["solution"]["counter"]);
        let payload = serde_json::json!({ "challenge": case["challenge"], "solution": case["solution"] });
        let mut challenges = Challenges { mac: Hmac::<Sha256>::new(&key.into()), answered: Answered::new(9) };
        // Everything is in order but the scope, which is under a key that the JavaScript doesn't derive.
        let claimed = challenges.claim(&encode(&payload), (home(), "sign up"), NOW_MS);
        assert_eq!(claimed.unwrap_err(), ChallengeError::Elsewhere);
    }
}

#[test]
fn the_stricter_the_level_the_more_work() {
    let work = Level::ALL.map(|level| {
        let Difficulty { iterations, digits } = Difficulty::at(level);
        16_u64.pow(digits.into()) * u64::from(iterations)
    });
    assert!(work.is_sorted() && work[0] < work[5], "{work:?}");
}

proptest! {
    #[test]
    fn no_text_is_an_answer_by_chance(text in "\\PC{0,200}") {
        let claimed = Run::new(1).claim(&text);
        prop_assert!(matches!(claimed, Err(ChallengeError::Malformed)), "{:?}", claimed);
    }
}
