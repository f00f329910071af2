//! Follows one answer, and says what may come next.

use std::collections::VecDeque;
use std::sync::Arc;

use base::TokenId;
use engine::{Allowed, Steering, TokenMask};

use super::bans::Ban;
use super::grammar::{Grammar, Next};
use super::plan::{Body, Plan, Planner};
use super::sentence;
use crate::answer::Part;
use crate::follow::{Follower, Piece, Said};
use crate::split::{CLOSING, OPENING, Place, Start};

/// Most tokens behind the budget of the reasoning in which the end of a sentence is waited for.
const SENTENCE_TOKENS_MAX: usize = 64;
/// Bytes of the reasoning that are kept, to see where sentences end.
const TAIL_BYTES: usize = 16;

/// Steers one answer by a [`Plan`].
pub(crate) struct Steer {
    planner: Arc<Planner>,
    plan: Arc<Plan>,
    follower: Follower,
    /// Tokens that come next, whatever the model thinks.
    forced: VecDeque<TokenId>,
    /// Tokens of reasoning so far.
    reasoning_tokens: usize,
    /// The end of the reasoning so far.
    tail: String,
    /// What the content or the calls must be from here on.
    grammar: Option<Grammar>,
    /// The line ends between closing tag and content are forced, or came.
    led: bool,
    /// A spelled opening tag has begun.
    tag_begun: bool,
}

impl std::fmt::Debug for Steer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steer").field("follower", &self.follower).finish_non_exhaustive()
    }
}

impl Steer {
    /// Steers an answer that begins at `start`.
    pub(crate) fn new(planner: Arc<Planner>, plan: Arc<Plan>, start: Start) -> Self {
        // Calls are looked for where they begin a grammar, and where they may not begin.
        let calls =
            planner.markup.clone().filter(|_| matches!(plan.body, Body::Calls { .. } | Body::NoCalls));
        let follower = Follower::new(Arc::clone(&planner.tokenizer), start, planner.tags, calls);
        Self {
            grammar: of_content(&plan),
            planner,
            plan,
            follower,
            forced: VecDeque::new(),
            reasoning_tokens: 0,
            tail: String::new(),
            led: false,
            tag_begun: false,
        }
    }

    fn force(&mut self, tokens: &[TokenId]) -> bool {
        self.forced.extend(tokens);
        !tokens.is_empty()
    }

    /// Whether the reasoning is to be ended here.
    fn is_spent(&self) -> bool {
        let Some(budget) = self.plan.reasoning_tokens_max else { return false };
        let Some(over) = self.reasoning_tokens.checked_sub(budget) else { return false };
        over >= (budget / 5).min(SENTENCE_TOKENS_MAX) || sentence::ends(&self.tail)
    }

    fn reasoning(&mut self, mask: &mut TokenMask) -> Allowed {
        if self.is_spent() {
            let planner = Arc::clone(&self.planner);
            if !self.tail.ends_with('\n') {
                self.force(&planner.line_end);
            }
            if self.force(&planner.closing) {
                return Allowed::Forced(self.forced[0]);
            }
        }
        if self.grammar.is_none() {
            return Allowed::All;
        }
        // The form is kept in the content, so there must be content.
        mask.fill();
        for &end in self.planner.tokenizer.end_tokens() {
            mask.forbid(end);
        }
        if self.planner.tags.is_none() {
            let held = self.follower.held_tag();
            let straddles = |bytes: &[u8]| {
                let text = [held.as_bytes(), bytes].concat();
                let end = find(&text, CLOSING.as_bytes()).map(|place| place + CLOSING.len());
                end.is_some_and(|end| text[end..].iter().any(|byte| !matches!(byte, b'\n' | b'\r')))
            };
            for &id in &*self.planner.bans.list(&self.planner.tokenizer, Ban::Closes, held, straddles) {
                mask.forbid(id);
            }
        }
        Allowed::Masked
    }

    /// Where calls may begin, or may not.
    fn free(&self, mask: &mut TokenMask) -> Allowed {
        let Some(markup) = &self.planner.markup else { return Allowed::All };
        let no_calls = matches!(self.plan.body, Body::NoCalls);
        mask.fill();
        let mut masked = false;
        if let Some(id) = markup.begin_token().filter(|_| no_calls) {
            mask.forbid(id);
            masked = true;
        }
        if let Some(held) = self.follower.held() {
            let ban = if no_calls { Ban::Begins } else { Ban::Straddles };
            let banned =
                |bytes: &[u8]| self.follower.begin_in(bytes).is_some_and(|end| no_calls || end < bytes.len());
            let key = format!("{:?}{held}", self.follower.place());
            for &id in &*self.planner.bans.list(&self.planner.tokenizer, ban, &key, banned) {
                mask.forbid(id);
                masked = true;
            }
        }
        if masked { Allowed::Masked } else { Allowed::All }
    }

    /// What the grammar allows.
    fn constrained(&mut self, mask: &mut TokenMask) -> Result<Allowed, String> {
        let undecided = self.follower.place() == Place::Undecided;
        if self.tag_begun
            && let Some(token) = self.opening_token()
        {
            return Ok(Allowed::Forced(token));
        }
        let Some(grammar) = &mut self.grammar else { return Ok(Allowed::All) };
        let next = grammar.next()?;
        match next {
            Next::Only(token) if !undecided => return Ok(Allowed::Forced(token)),
            Next::Only(token) => mask.allow(token),
            Next::Among(set) => {
                for (word, allowed) in mask.words_mut().iter_mut().zip(set.as_slice()) {
                    *word = *allowed;
                }
            }
            Next::End => {
                let end = self.planner.end.ok_or("the model has no token that ends an answer")?;
                return Ok(Allowed::Forced(end));
            }
        }
        if undecided {
            // Or the model begins to think.
            let opening = self.planner.tags.map(|tags| tags.opening).or_else(|| self.opening_token());
            if let Some(opening) = opening {
                mask.allow(opening);
            }
        }
        Ok(Allowed::Masked)
    }

    /// The token that a spelled opening tag goes on with; nothing if something else came.
    fn opening_token(&self) -> Option<TokenId> {
        let rest = OPENING.strip_prefix(self.follower.held_tag().trim_start())?;
        self.planner.tokenizer.encode_text(rest).ok()?.first().copied()
    }

    fn follow(&mut self, token: TokenId) -> (Place, bool) {
        let (before, own) = self.follower.push(token);
        for Said { pieces, .. } in [before, own] {
            for piece in pieces {
                if let Piece::Text(Part::Reasoning, text) = piece {
                    self.tail.push_str(&text);
                }
            }
        }
        let cut = self.tail.ceil_char_boundary(self.tail.len().saturating_sub(TAIL_BYTES));
        self.tail.drain(..cut);
        (self.follower.place(), self.follower.in_calls())
    }
}

impl Steering for Steer {
    fn allowed(&mut self, mask: &mut TokenMask) -> Result<Allowed, String> {
        if let Some(&token) = self.forced.front() {
            return Ok(Allowed::Forced(token));
        }
        match self.follower.place() {
            Place::Reasoning => Ok(self.reasoning(mask)),
            Place::ContentBegins if !self.led && self.grammar.is_some() => {
                self.led = true;
                let planner = Arc::clone(&self.planner);
                if self.force(&planner.lead) {
                    return Ok(Allowed::Forced(self.forced[0]));
                }
                self.constrained(mask)
            }
            _ if self.grammar.is_some() => self.constrained(mask),
            _ if matches!(self.plan.body, Body::Free) => Ok(Allowed::All),
            _ => Ok(self.free(mask)),
        }
    }

    fn took(&mut self, token: TokenId) -> Result<(), String> {
        let forced = self.forced.pop_front();
        if self.planner.tokenizer.is_end(token) {
            return Ok(());
        }
        let before = self.follower.place();
        let (place, in_calls) = self.follow(token);
        self.tag_begun &= place == Place::Undecided;
        if place == Place::Reasoning {
            self.reasoning_tokens += 1;
            if before == Place::Undecided {
                // White space before the tag was taken for content.
                self.grammar = of_content(&self.plan);
            }
            return Ok(());
        }
        if before == Place::Reasoning {
            // A spelled tag may have its line ends in the same token.
            self.led = self.planner.tokenizer.token_bytes(token).ends_with(b"\n");
            return Ok(());
        }
        match (&mut self.grammar, &self.plan.body) {
            _ if forced.is_some() => Ok(()),
            (Some(grammar), _) => {
                if place == Place::Undecided && !grammar.admits(token) {
                    self.tag_begun = true;
                    return Ok(());
                }
                grammar.take(token)
            }
            (None, Body::Calls { behind_text, behind_token }) if in_calls => {
                let begun_by_token =
                    self.planner.markup.as_ref().and_then(|markup| markup.begin_token()) == Some(token);
                let calls = if begun_by_token { behind_token } else { behind_text };
                self.grammar = Some(calls.fork());
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }
}

/// The grammar that the content begins with.
fn of_content(plan: &Plan) -> Option<Grammar> {
    match &plan.body {
        Body::Of(grammar) => Some(grammar.fork()),
        Body::Free | Body::NoCalls | Body::Calls { .. } => None,
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}
