use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use base::{Clock, Rng};

/// A text that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 32 lower-case hexadecimal digits in groups of 8-4-4-4-12 are")]
pub struct ParseIdError;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }

        impl From<$name> for [u8; 16] {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id_type! {
    /// Id of a conversation; its text form is that of a UUID.
    ConversationId
}

id_type! {
    /// Id of a message; its text form is that of a UUID.
    MessageId
}

id_type! {
    /// Id of a user; its text form is that of a UUID.
    UserId
}

id_type! {
    /// Id of a session; its text form is that of a UUID. It is no secret: it can be guessed.
    SessionId
}

id_type! {
    /// Id of a passkey; its text form is that of a UUID.
    PasskeyId
}

id_type! {
    /// Id of a group; its text form is that of a UUID.
    GroupId
}

impl GroupId {
    /// The group that everybody is in.
    pub const EVERYONE: Self = Self([0; 16]);
}

id_type! {
    /// Id of a link between a user and their account at a provider; its text form is that of a UUID.
    LinkId
}

id_type! {
    /// Id of a key with which programs ask; its text form is that of a UUID. It is no secret.
    KeyId
}

id_type! {
    /// Id of what is held for a request; its text form is that of a UUID.
    HoldId
}

id_type! {
    /// Id of a row of usage; its text form is that of a UUID.
    UsageId
}

id_type! {
    /// Id of credit that a user got or lost; its text form is that of a UUID.
    CreditId
}

/// Where the dashes stand in the text form.
const DASHES: [usize; 4] = [8, 13, 18, 23];
const TEXT_LEN: usize = 36;

fn write_hex(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

fn parse_hex(text: &str) -> Result<[u8; 16], ParseIdError> {
    let text = text.as_bytes();
    if text.len() != TEXT_LEN || DASHES.iter().any(|&dash| text[dash] != b'-') {
        return Err(ParseIdError);
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(ParseIdError),
    };
    let mut digits =
        text.iter().enumerate().filter(|(index, _)| !DASHES.contains(index)).map(|(_, byte)| *byte);
    let mut bytes = [0_u8; 16];
    for byte in &mut bytes {
        let (Some(high), Some(low)) = (digits.next(), digits.next()) else { return Err(ParseIdError) };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Ok(bytes)
}

/// Makes ids in the form of UUID version 7 (RFC 9562): 48 bits of Unix milliseconds, a 12-bit counter that starts at
/// a random value each millisecond, 62 random bits. Each id of a maker is greater than the one before, also when the
/// clock stands or goes back.
#[derive(Debug)]
pub struct IdMaker {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    last_ms: u64,
    counter: u16,
}

const COUNTER_MAX: u16 = 0xfff;

impl IdMaker {
    /// A maker that draws from `rng`.
    pub fn new(clock: Arc<dyn Clock>, rng: Rng) -> Self {
        Self { clock, state: Mutex::new(State { rng, last_ms: 0, counter: COUNTER_MAX }) }
    }

    /// The clock that the ids' times come from.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The next id.
    pub fn next<Id: From<[u8; 16]>>(&self) -> Id {
        let now_ms = u64::try_from(self.clock.unix_ms()).unwrap_or(0);
        // The state is written in one go below, so a poisoned lock still holds a good one.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms > state.last_ms || state.counter == COUNTER_MAX {
            state.last_ms = now_ms.max(state.last_ms + 1);
            // The upper half is left for the ids that follow in the same millisecond.
            state.counter = (state.rng.next_u64() & 0x7ff) as u16;
        } else {
            state.counter += 1;
        }
        let random = state.rng.next_u64() >> 2;
        let high = state.last_ms << 16 | 0x7000 | u64::from(state.counter);
        let low = 0b10 << 62 | random;
        let mut bytes = [0_u8; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        Id::from(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base::ManualClock;

    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_stands_and_carry_its_time() {
        let clock = Arc::new(ManualClock::new());
        clock.advance(Duration::from_millis(0x0123_4567_89ab));
        let maker = IdMaker::new(clock.clone(), Rng::from_seed(1));
        let ids: Vec<MessageId> = (0..10_000).map(|_| maker.next()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids[0].to_string().starts_with("01234567-89ab-7"), "{}", ids[0]);
        let variants = ids.iter().map(|id| id.to_string().as_bytes()[19]);
        assert!(variants.into_iter().all(|variant| b"89ab".contains(&variant)));
    }

    #[test]
    fn text_form_round_trips_and_nothing_else_parses() {
        let maker = IdMaker::new(Arc::new(ManualClock::new()), Rng::from_seed(2));
        let id: ConversationId = maker.next();
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "x",
            "01234567-89ab-7000-8000-00000000000",
            "01234567-89ab-7000-8000-00000000000g",
            "01234567-89AB-7000-8000-000000000000",
            "01234567x89ab-7000-8000-000000000000",
            "01234567-89ab-7000-8000-0000000000000",
            "é1234567-89ab-7000-8000-0000000000",
        ] {
            assert_eq!(text.parse::<ConversationId>(), Err(ParseIdError), "{text}");
        }
    }
}
