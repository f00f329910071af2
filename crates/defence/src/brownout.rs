use std::time::Duration;

use serde::Serialize;

use crate::class::Class;

/// How much is taken away, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimness {
    /// Nothing.
    Full,
    /// Strangers and guests think half as long.
    Mild,
    /// They don't think, and write half as much; new users think half as long.
    Strong,
    /// New users think a quarter and write half; established users think half as long.
    Severe,
}

/// What an answer may still be, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reduced {
    /// Most of its thinking.
    pub thinking_tokens: u64,
    /// Most of the rest.
    pub output_tokens: u64,
    /// Whether that is less than was asked for, which the response says.
    pub is_reduced: bool,
}

/// Shorter answers instead of none, under load: guests first.
///
/// The load is a number that is 1 at capacity: how long requests wait against how long they may, or tokens under way
/// against those that can be. It dims by one step a second while the load is at a step's mark, and lights up again by
/// one each ten seconds while it is below four fifths of it.
#[derive(Debug, Clone)]
pub struct Brownout {
    dimness: Dimness,
    changed: Duration,
}

/// Loads from which on it is dimmer.
const MARKS: [(Dimness, f64); 3] = [(Dimness::Mild, 0.85), (Dimness::Strong, 1.0), (Dimness::Severe, 1.5)];
const RELEASE: f64 = 0.8;
const DIMS_AFTER: Duration = Duration::from_secs(1);
const LIGHTS_AFTER: Duration = Duration::from_secs(10);
/// What is left of thinking and output, in hundredths, by dimness and class, the least class first.
const LEFT: [[(u64, u64); 4]; 4] = [
    [(100, 100), (100, 100), (100, 100), (100, 100)],
    [(50, 100), (50, 100), (100, 100), (100, 100)],
    [(0, 50), (0, 50), (50, 100), (100, 100)],
    [(0, 25), (0, 25), (25, 50), (50, 100)],
];
/// Fewest tokens that an answer is cut down to.
const OUTPUT_MIN: u64 = 64;

impl Brownout {
    /// At full light.
    pub fn new(now: Duration) -> Self {
        Self { dimness: Dimness::Full, changed: now }
    }

    /// How dim it is.
    pub fn dimness(&self) -> Dimness {
        self.dimness
    }

    /// Takes the load of now; whether it became dimmer or lighter.
    pub fn tick(&mut self, load: f64, now: Duration) -> bool {
        let at = |factor: f64| {
            let reached = MARKS.iter().rev().find(|(_, mark)| load >= mark * factor);
            reached.map_or(Dimness::Full, |(dimness, _)| *dimness)
        };
        let since = now.saturating_sub(self.changed);
        let next = if at(1.0) > self.dimness && since >= DIMS_AFTER {
            step(self.dimness, 1)
        } else if at(RELEASE) < self.dimness && since >= LIGHTS_AFTER {
            step(self.dimness, -1)
        } else {
            return false;
        };
        self.dimness = next;
        self.changed = now;
        true
    }

    /// What a class's answer may be of what it asked for.
    pub fn reduce(&self, class: Class, thinking_tokens: u64, output_tokens: u64) -> Reduced {
        let (thinking, output) = LEFT[self.dimness as usize][class.index()];
        let part = |tokens: u64, hundredths: u64| (u128::from(tokens) * u128::from(hundredths) / 100) as u64;
        let reduced = Reduced {
            thinking_tokens: part(thinking_tokens, thinking),
            output_tokens: part(output_tokens, output).max(OUTPUT_MIN.min(output_tokens)),
            is_reduced: false,
        };
        let is_reduced = (reduced.thinking_tokens, reduced.output_tokens) != (thinking_tokens, output_tokens);
        Reduced { is_reduced, ..reduced }
    }
}

fn step(dimness: Dimness, by: isize) -> Dimness {
    const ALL: [Dimness; 4] = [Dimness::Full, Dimness::Mild, Dimness::Strong, Dimness::Severe];
    let at = (dimness as usize).saturating_add_signed(by);
    ALL.get(at).copied().unwrap_or(dimness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_dims_within_seconds_and_does_not_flicker() {
        let mut brownout = Brownout::new(Duration::ZERO);
        let run = |brownout: &mut Brownout, from: u64, loads: &[f64]| {
            let mut changes = Vec::new();
            for (second, load) in loads.iter().enumerate() {
                if brownout.tick(*load, Duration::from_secs(from + second as u64)) {
                    changes.push((from + second as u64, brownout.dimness()));
                }
            }
            changes
        };
        assert_eq!(run(&mut brownout, 1, &[0.5; 10]), []);
        assert_eq!(
            run(&mut brownout, 11, &[9.0; 10]),
            [(11, Dimness::Mild), (12, Dimness::Strong), (13, Dimness::Severe)]
        );
        // Around a mark nothing changes.
        let around: Vec<f64> = (0..100).map(|second| if second % 2 == 0 { 1.6 } else { 1.3 }).collect();
        assert_eq!(run(&mut brownout, 21, &around), []);
        assert_eq!(
            run(&mut brownout, 121, &[0.0; 40]),
            [(121, Dimness::Strong), (131, Dimness::Mild), (141, Dimness::Full)]
        );
    }

    #[test]
    fn guests_first_and_never_to_nothing() {
        let at = |dimness| Brownout { dimness, changed: Duration::ZERO };
        let reduced = |dimness, class| {
            let reduced = at(dimness).reduce(class, 1000, 800);
            assert_eq!(reduced.is_reduced, (reduced.thinking_tokens, reduced.output_tokens) != (1000, 800));
            (reduced.thinking_tokens, reduced.output_tokens)
        };
        assert_eq!(reduced(Dimness::Full, Class::Unknown), (1000, 800));
        assert_eq!(reduced(Dimness::Mild, Class::Guest), (500, 800));
        assert_eq!(reduced(Dimness::Mild, Class::New), (1000, 800));
        assert_eq!(reduced(Dimness::Strong, Class::Guest), (0, 400));
        assert_eq!(reduced(Dimness::Severe, Class::Established), (500, 800));
        assert_eq!(at(Dimness::Severe).reduce(Class::Guest, 0, 10).output_tokens, 10);
        assert_eq!(at(Dimness::Severe).reduce(Class::Guest, 0, 100).output_tokens, 64);
        for dimness in [Dimness::Full, Dimness::Mild, Dimness::Strong, Dimness::Severe] {
            let of_classes = Class::ALL.map(|class| reduced(dimness, class));
            assert!(of_classes.is_sorted(), "{dimness:?}: {of_classes:?}");
        }
        at(Dimness::Severe).reduce(Class::New, u64::MAX, u64::MAX);
    }
}
