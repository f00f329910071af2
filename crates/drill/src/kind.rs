//! The kinds of attack.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A kind of attack, or the crowd that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Requests of pages and of the API from all addresses, eight to a connection.
    HttpFlood,
    /// Sign-ups that rotate over thousands of prefixes and solve whatever challenge they are given.
    RegistrationFlood,
    /// Logins with wrong passwords, for names that exist and names that don't.
    CredentialStuffing,
    /// Connections whose request's head never ends.
    Slowloris,
    /// Connections that ask for much and read a byte at a time.
    SlowRead,
    /// HTTP/2 streams that are reset as soon as they are opened (CVE-2023-44487).
    RapidReset,
    /// HTTP/2 header blocks that never end (CVE-2024-27316 and its like).
    Continuation,
    /// Streams of answers that are opened by the dozen and held.
    SseHoarding,
    /// Accounts made in the attack that ask with prompts as long as they can be.
    ExpensivePrompts,
    /// Accounts made long before that begin to attack with the others.
    Sleepers,
    /// Sign-ups in bursts of a second in four, below what the server can serve.
    Pulses,
    /// No attack: a link went viral, and honest people come in multiples of the usual number.
    Viral,
}

/// What an attack takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Requests that cost little each.
    Requests,
    /// Hashes of passwords.
    Hashes,
    /// Connections and descriptors.
    Connections,
    /// Steps of the engine.
    Chats,
    /// People.
    Nothing,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::HttpFlood,
        Self::RegistrationFlood,
        Self::CredentialStuffing,
        Self::Slowloris,
        Self::SlowRead,
        Self::RapidReset,
        Self::Continuation,
        Self::SseHoarding,
        Self::ExpensivePrompts,
        Self::Sleepers,
        Self::Pulses,
        Self::Viral,
    ];

    /// The main mix: all attacks at once. The pulses, which hide below the others, and the crowd, which is the control,
    /// are run by themselves.
    pub fn main_mix() -> Vec<Self> {
        Self::ALL.into_iter().filter(|kind| !matches!(kind, Self::Pulses | Self::Viral)).collect()
    }

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::HttpFlood => "http-flood",
            Self::RegistrationFlood => "registration-flood",
            Self::CredentialStuffing => "credential-stuffing",
            Self::Slowloris => "slowloris",
            Self::SlowRead => "slow-read",
            Self::RapidReset => "rapid-reset",
            Self::Continuation => "continuation",
            Self::SseHoarding => "sse-hoarding",
            Self::ExpensivePrompts => "expensive-prompts",
            Self::Sleepers => "sleepers",
            Self::Pulses => "pulses",
            Self::Viral => "viral",
        }
    }

    /// What it takes away, whose capacity its strength is a multiple of.
    pub fn resource(self) -> Resource {
        match self {
            Self::HttpFlood | Self::RapidReset => Resource::Requests,
            Self::RegistrationFlood | Self::CredentialStuffing | Self::Pulses => Resource::Hashes,
            Self::Slowloris | Self::SlowRead | Self::SseHoarding | Self::Continuation => {
                Resource::Connections
            }
            Self::ExpensivePrompts | Self::Sleepers => Resource::Chats,
            Self::Viral => Resource::Nothing,
        }
    }

    /// Whether it takes a server that speaks HTTP/2 in the clear.
    pub fn needs_http2(self) -> bool {
        matches!(self, Self::RapidReset | Self::Continuation)
    }

    /// Its place in [`Kind::ALL`].
    pub(crate) fn index(self) -> usize {
        Self::ALL.iter().position(|kind| *kind == self).unwrap_or_default()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// No kind of attack has this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("allowed are {}, got {given:?}", Kind::ALL.map(Kind::name).join(", "))]
pub struct UnknownKind {
    given: String,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(given: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == given);
        found.ok_or_else(|| UnknownKind { given: given.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind.name().parse(), kind.index()), (Ok(kind), place));
        }
        let refused = "ddos".parse::<Kind>().unwrap_err().to_string();
        assert!(refused.contains("http-flood, ") && refused.ends_with("got \"ddos\""), "{refused}");
    }

    #[test]
    fn the_main_mix_takes_every_resource() {
        let mix = Kind::main_mix();
        for resource in [Resource::Requests, Resource::Hashes, Resource::Connections, Resource::Chats] {
            assert!(mix.iter().any(|kind| kind.resource() == resource), "{resource:?}");
        }
    }
}
