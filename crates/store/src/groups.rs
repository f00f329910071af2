//! Groups of users: which models they may use, and how much.

use crate::GroupId;

/// How much something may be used; `None` is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Answers being written at once.
    pub answers_at_once: Option<u32>,
    /// Answers asked for within 24 hours.
    pub messages_per_day: Option<u32>,
    /// Tokens of one answer.
    pub output_tokens_max: Option<u32>,
}

/// Some users and what they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// As it was written; no two names look alike when folded.
    pub name: String,
    /// Names of the models that its members may use, in their order; `None` for all.
    pub models: Option<Vec<String>>,
    /// How much each of its members may.
    pub limits: GroupLimits,
    /// How many users are in it.
    pub members: u64,
}

/// What a new group starts with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// Names of models; `None` for all.
    pub models: Option<Vec<String>>,
    /// How much each of its members may.
    pub limits: GroupLimits,
}

/// Fields to change; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// The new name.
    pub name: Option<String>,
    /// The new models; `Some(None)` for all.
    pub models: Option<Option<Vec<String>>>,
    /// The new limits, all of them.
    pub limits: Option<GroupLimits>,
}

/// What a user's groups give them together: the models of each, and the most generous of each limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Names of models, in their order; `None` for all.
    pub models: Option<Vec<String>>,
    /// How much they may.
    pub limits: GroupLimits,
}

impl Grant {
    /// What no group gives.
    pub(crate) const NOTHING: Self = Self {
        models: Some(Vec::new()),
        limits: GroupLimits {
            answers_at_once: Some(0),
            messages_per_day: Some(0),
            output_tokens_max: Some(0),
        },
    };

    /// Together with what one more group gives.
    pub(crate) fn with(self, models: Option<Vec<String>>, limits: GroupLimits) -> Self {
        let models = self.models.zip(models).map(|(mut all, more)| {
            all.extend(more);
            all.sort_unstable();
            all.dedup();
            all
        });
        // Without limit is more than any.
        let larger = |one: Option<u32>, other: Option<u32>| one.zip(other).map(|(one, other)| one.max(other));
        let mine = self.limits;
        Self {
            models,
            limits: GroupLimits {
                answers_at_once: larger(mine.answers_at_once, limits.answers_at_once),
                messages_per_day: larger(mine.messages_per_day, limits.messages_per_day),
                output_tokens_max: larger(mine.output_tokens_max, limits.output_tokens_max),
            },
        }
    }

    /// Whether they may use this model.
    pub fn allows(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|name| name == model))
    }
}

/// What became of asking for one more answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerTaken {
    /// It is counted in this Unix hour.
    Taken {
        /// What [`give_back_answer`](crate::QuotaStore::give_back_answer) takes.
        hour: i64,
    },
    /// There were as many as may be.
    UsedUp {
        /// Unix milliseconds from which there is one more; `None` if there never is.
        free_ms: Option<i64>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(answers_at_once: Option<u32>, messages_per_day: Option<u32>) -> GroupLimits {
        GroupLimits { answers_at_once, messages_per_day, output_tokens_max: Some(1) }
    }

    fn models(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn groups_together_give_what_each_gives_and_the_most_of_each_limit() {
        let one = Grant::NOTHING.with(Some(models(&["b", "a"])), limits(Some(2), None));
        assert_eq!(one, Grant { models: Some(models(&["a", "b"])), limits: limits(Some(2), None) });
        let two = one.with(Some(models(&["c", "a"])), limits(Some(1), Some(9)));
        assert_eq!(two, Grant { models: Some(models(&["a", "b", "c"])), limits: limits(Some(2), None) });
        assert!(two.allows("c") && !two.allows("d") && !two.allows(""));
        let all = two.with(None, limits(None, Some(0)));
        assert_eq!(all, Grant { models: None, limits: limits(None, None) });
        assert!(all.allows("d"));
        assert_eq!(all.clone().with(Some(models(&[])), limits(Some(0), Some(0))), all);
    }

    #[test]
    fn no_group_gives_nothing() {
        assert!(!Grant::NOTHING.allows("a"));
        assert_eq!(
            Grant::NOTHING.with(Some(models(&[])), limits(Some(0), Some(0))).limits.messages_per_day,
            Some(0)
        );
    }
}
