//! What a request will cost, before it is let in, and what each class may ask for.
//!
//! Costs are in tokens as the engine works them off: one of the prompt that must be read is one; one that is written
//! takes a step of its own and is several. Detached generations count like others: they hold their place in
//! [`InFlight`] until they end, whoever still listens.

use std::collections::HashMap;
use std::hash::Hash;

use crate::class::Class;

/// What a request asks for, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Request {
    /// Of the prompt.
    pub prompt_tokens: u64,
    /// Of these, in the cache of prefixes.
    pub cached_tokens: u64,
    /// Most of the answer, without its thinking.
    pub output_tokens_max: u64,
    /// Most of its thinking.
    pub thinking_tokens_max: u64,
}

/// What a token of each kind costs, where one of the prompt costs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// One that is written.
    pub output: u64,
    /// One that is thought.
    pub thinking: u64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { output: 4, thinking: 4 }
    }
}

impl Request {
    /// The most that it can cost: the prompt that isn't cached, and its output and thinking by weight.
    pub fn cost(&self, weights: Weights) -> u64 {
        let prompt = self.prompt_tokens.saturating_sub(self.cached_tokens);
        let output = self.output_tokens_max.saturating_mul(weights.output);
        prompt
            .saturating_add(output)
            .saturating_add(self.thinking_tokens_max.saturating_mul(weights.thinking))
    }
}

/// What somebody of a class may ask for. Tokens; `None` is no cap but the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// Prompt, output and thinking together.
    pub context_tokens: Option<u64>,
    /// Of an answer. More is cut down to it.
    pub output_tokens: Option<u64>,
    /// Of thinking. More is cut down to it.
    pub thinking_tokens: Option<u64>,
    /// Requests under way.
    pub in_flight: Option<u32>,
    /// Streams that are listened to.
    pub streams: Option<u32>,
    /// Cost of all requests under way together.
    pub cost: Option<u64>,
}

/// Caps by class, the least class first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapsByClass(pub [Caps; 4]);

impl Default for CapsByClass {
    /// None for established users but their groups' limits and a bound on what hangs about.
    fn default() -> Self {
        let caps = |context, output, thinking, in_flight, streams, cost| Caps {
            context_tokens: Some(context),
            output_tokens: Some(output),
            thinking_tokens: Some(thinking),
            in_flight: Some(in_flight),
            streams: Some(streams),
            cost: Some(cost),
        };
        let unknown = caps(4 << 10, 512, 0, 1, 2, 8 << 10);
        let guest = caps(8 << 10, 1 << 10, 1 << 10, 1, 2, 16 << 10);
        let new = caps(32 << 10, 4 << 10, 8 << 10, 2, 4, 128 << 10);
        let established = Caps { in_flight: Some(16), streams: Some(64), ..Caps::default() };
        Self([unknown, guest, new, established])
    }
}

impl CapsByClass {
    /// Those of a class.
    pub fn of(&self, class: Class) -> &Caps {
        &self.0[class.index()]
    }
}

/// A request is too large, or there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {given} tokens; allowed: {allowed}")]
    Context {
        /// Most tokens of a prompt.
        allowed: u64,
        /// Those of this one.
        given: u64,
    },
    /// Too many requests of a user are under way.
    #[error("{given} requests are under way; allowed: {allowed}")]
    InFlight {
        /// Most at once.
        allowed: u32,
        /// With this one.
        given: u32,
    },
    /// Too many streams of a user are listened to.
    #[error("{given} streams are open; allowed: {allowed}")]
    Streams {
        /// Most at once.
        allowed: u32,
        /// With this one.
        given: u32,
    },
    /// A user's requests together cost too much.
    #[error("the requests under way may cost {given} tokens; allowed: {allowed}")]
    Cost {
        /// Most together.
        allowed: u64,
        /// With this one.
        given: u64,
    },
    /// Too many users have requests under way.
    #[error("requests of {allowed} users are under way, which is the most")]
    Users {
        /// Most users.
        allowed: usize,
    },
}

impl Caps {
    /// The request as it is let in: its thinking and output cut down to the caps and to what the context leaves them,
    /// the thinking first.
    ///
    /// # Errors
    /// [`TooMuch::Context`], if the prompt leaves no token to an answer.
    pub fn fit(&self, request: Request) -> Result<Request, TooMuch> {
        let mut fits = request;
        let cap = |tokens: u64, cap: Option<u64>| cap.map_or(tokens, |cap| tokens.min(cap));
        fits.output_tokens_max = cap(fits.output_tokens_max, self.output_tokens);
        fits.thinking_tokens_max = cap(fits.thinking_tokens_max, self.thinking_tokens);
        let Some(context) = self.context_tokens else { return Ok(fits) };
        if fits.prompt_tokens >= context {
            let allowed = context.saturating_sub(1);
            return Err(TooMuch::Context { allowed, given: fits.prompt_tokens });
        }
        let left = context - fits.prompt_tokens;
        fits.output_tokens_max = fits.output_tokens_max.min(left);
        fits.thinking_tokens_max = fits.thinking_tokens_max.min(left - fits.output_tokens_max);
        Ok(fits)
    }
}

/// What users have under way. Only who has something has an entry, and there are at most so many.
#[derive(Debug)]
pub struct InFlight<U> {
    users_max: usize,
    users: HashMap<U, OfUser>,
}

#[derive(Debug, Default)]
struct OfUser {
    requests: u32,
    streams: u32,
    cost: u64,
}

/// A request that was let in. It goes back by [`InFlight::end`] when its work has ended or was cancelled.
#[derive(Debug)]
#[must_use = "a request that is dropped counts for ever: end it"]
pub struct Running<U> {
    user: U,
    cost: u64,
}

/// A stream that is listened to. It goes back by [`InFlight::close`].
#[derive(Debug)]
#[must_use = "a stream that is dropped counts for ever: close it"]
pub struct Listening<U> {
    user: U,
}

impl<U: Eq + Hash + Clone> InFlight<U> {
    /// Nothing is under way.
    pub fn new(users_max: usize) -> Self {
        Self { users_max, users: HashMap::new() }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// [`TooMuch`], if the user has too much under way already.
    pub fn begin(&mut self, user: U, cost: u64, caps: &Caps) -> Result<Running<U>, TooMuch> {
        let has = self.entry(&user)?;
        let given = has.requests + 1;
        if let Some(allowed) = caps.in_flight.filter(|allowed| given > *allowed) {
            return Err(TooMuch::InFlight { allowed, given });
        }
        let sum = has.cost.saturating_add(cost);
        if let Some(allowed) = caps.cost.filter(|allowed| sum > *allowed) {
            return Err(TooMuch::Cost { allowed, given: sum });
        }
        let entry = self.users.entry(user.clone()).or_default();
        entry.requests = given;
        entry.cost = sum;
        Ok(Running { user, cost })
    }

    /// A request has ended.
    pub fn end(&mut self, running: Running<U>) {
        self.change(&running.user, |has| {
            has.requests -= 1;
            has.cost = has.cost.saturating_sub(running.cost);
        });
    }

    /// Somebody listens to a stream.
    ///
    /// # Errors
    /// [`TooMuch`], if the user has too many open.
    pub fn open(&mut self, user: U, caps: &Caps) -> Result<Listening<U>, TooMuch> {
        let given = self.entry(&user)?.streams + 1;
        if let Some(allowed) = caps.streams.filter(|allowed| given > *allowed) {
            return Err(TooMuch::Streams { allowed, given });
        }
        self.users.entry(user.clone()).or_default().streams = given;
        Ok(Listening { user })
    }

    /// A stream is listened to no more.
    pub fn close(&mut self, listening: Listening<U>) {
        self.change(&listening.user, |has| has.streams -= 1);
    }

    /// Users who have something under way.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    fn entry(&self, user: &U) -> Result<OfUser, TooMuch> {
        match self.users.get(user) {
            Some(has) => Ok(OfUser { ..*has }),
            None if self.users.len() < self.users_max => Ok(OfUser::default()),
            None => Err(TooMuch::Users { allowed: self.users_max }),
        }
    }

    fn change(&mut self, user: &U, change: impl FnOnce(&mut OfUser)) {
        let Some(has) = self.users.get_mut(user) else { return };
        change(has);
        if has.requests == 0 && has.streams == 0 {
            self.users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_request_costs() {
        let request = Request {
            prompt_tokens: 1000,
            cached_tokens: 900,
            output_tokens_max: 50,
            thinking_tokens_max: 25,
        };
        assert_eq!(request.cost(Weights::default()), 100 + 200 + 100);
        let absurd = Request { output_tokens_max: u64::MAX, cached_tokens: u64::MAX, ..request };
        assert_eq!(absurd.cost(Weights::default()), u64::MAX);
    }

    #[test]
    fn what_a_class_may_ask_for() {
        let caps = CapsByClass::default();
        let asked = Request {
            prompt_tokens: 3000,
            cached_tokens: 0,
            output_tokens_max: 9000,
            thinking_tokens_max: 90_000,
        };
        let fits =
            |class| caps.of(class).fit(asked).map(|fits| (fits.output_tokens_max, fits.thinking_tokens_max));
        assert_eq!(fits(Class::Unknown), Ok((512, 0)));
        assert_eq!(fits(Class::Guest), Ok((1024, 1024)));
        assert_eq!(fits(Class::New), Ok((4096, 8192)));
        assert_eq!(fits(Class::Established), Ok((9000, 90_000)));
        let long = Request { prompt_tokens: 4096, ..asked };
        let refused = caps.of(Class::Unknown).fit(long).unwrap_err();
        assert_eq!(refused.to_string(), "the prompt has 4096 tokens; allowed: 4095");
        let tight = Request { prompt_tokens: 8 * 1024 - 10, ..asked };
        let fits = caps.of(Class::Guest).fit(tight).unwrap();
        assert_eq!((fits.output_tokens_max, fits.thinking_tokens_max), (10, 0));
    }

    #[test]
    fn what_users_have_under_way() {
        let mut in_flight = InFlight::new(2);
        let caps = Caps { in_flight: Some(2), streams: Some(1), cost: Some(100), ..Caps::default() };
        let first = in_flight.begin("a", 60, &caps).unwrap();
        let refused = in_flight.begin("a", 41, &caps).unwrap_err();
        assert_eq!(refused, TooMuch::Cost { allowed: 100, given: 101 });
        let second = in_flight.begin("a", 40, &caps).unwrap();
        let refused = in_flight.begin("a", 0, &caps).unwrap_err();
        assert_eq!(refused, TooMuch::InFlight { allowed: 2, given: 3 });
        let stream = in_flight.open("b", &caps).unwrap();
        assert_eq!(in_flight.open("b", &caps).unwrap_err(), TooMuch::Streams { allowed: 1, given: 2 });
        assert_eq!(in_flight.open("c", &caps).unwrap_err(), TooMuch::Users { allowed: 2 });
        in_flight.close(stream);
        in_flight.end(first);
        assert_eq!(in_flight.users(), 1);
        in_flight.end(second);
        assert_eq!(in_flight.users(), 0);
    }

    proptest! {
        #[test]
        fn what_is_let_in_is_within_the_caps(
            prompt in 0_u64..50_000, output: u64, thinking: u64, which in 0_usize..4,
        ) {
            let caps = CapsByClass::default().0[which];
            let asked = Request {
                prompt_tokens: prompt,
                cached_tokens: 0,
                output_tokens_max: output,
                thinking_tokens_max: thinking,
            };
            if let Ok(fits) = caps.fit(asked) {
                prop_assert!(fits.output_tokens_max <= output.min(caps.output_tokens.unwrap_or(u64::MAX)));
                prop_assert!(fits.thinking_tokens_max <= thinking.min(caps.thinking_tokens.unwrap_or(u64::MAX)));
                if let Some(context) = caps.context_tokens {
                    prop_assert!(prompt + fits.output_tokens_max + fits.thinking_tokens_max <= context);
                }
            }
        }
    }
}
