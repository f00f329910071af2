use serde::{Deserialize, Serialize};

/// How far the door to new accounts stands open, the widest first. Existing users notice none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Whoever asks gets an account, as far as the budget goes; then a place in the waiting list. So at all levels.
    Open,
    /// A proof of work comes first.
    Challenge,
    /// And an address that was shown to be theirs. Only where the server sends letters; passed over elsewhere.
    EmailFirst,
    /// Everyone waits their turn; the list is called up as fast as the budget allows.
    WaitingList,
    /// Only who was invited gets an account; others get a place, and nobody is called up.
    InviteOnly,
    /// Nobody gets an account; places are still given, and kept.
    Suspended,
}

impl Level {
    /// All, the widest first.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Challenge, Self::EmailFirst, Self::WaitingList, Self::InviteOnly, Self::Suspended];

    /// The next stricter level; itself if there is none.
    pub(crate) fn up(self, has_mail: bool) -> Self {
        match self {
            Self::Open => Self::Challenge,
            Self::Challenge if has_mail => Self::EmailFirst,
            Self::Challenge | Self::EmailFirst => Self::WaitingList,
            Self::WaitingList => Self::InviteOnly,
            Self::InviteOnly | Self::Suspended => Self::Suspended,
        }
    }

    /// The next wider level; itself if there is none.
    pub(crate) fn down(self, has_mail: bool) -> Self {
        match self {
            Self::Open | Self::Challenge => Self::Open,
            Self::WaitingList if has_mail => Self::EmailFirst,
            Self::EmailFirst | Self::WaitingList => Self::Challenge,
            Self::InviteOnly => Self::WaitingList,
            Self::Suspended => Self::InviteOnly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_and_down_are_one_walk() {
        for has_mail in [false, true] {
            let mut level = Level::Open;
            let mut steps = 0;
            while level.up(has_mail) != level {
                let next = level.up(has_mail);
                assert!(next > level && next.down(has_mail) == level);
                assert!(has_mail || next != Level::EmailFirst);
                level = next;
                steps += 1;
            }
            assert_eq!((level, steps), (Level::Suspended, if has_mail { 5 } else { 4 }));
        }
        assert!(Level::ALL.is_sorted());
    }
}
