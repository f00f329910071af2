use std::time::Duration;

/// What happened since the last tick, as counts, and how things stand.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Signals {
    /// People, or programs, that asked for an account for the first time. Who comes again with a solved challenge, a
    /// code or a place is not counted again; who comes without goes through the first step once more, and is.
    pub attempted: u32,
    /// Accounts made.
    pub completed: u32,
    /// Challenges that were solved.
    pub challenges_passed: u32,
    /// Answers to challenges that were wrong, forged, too old or used before.
    pub challenges_failed: u32,
    /// The share of attempts that came from the eight busiest prefixes, 0 to 1
    /// ([`Concentration`](crate::Concentration)).
    pub prefix_concentration: f64,
    /// The same by autonomous system, where a table of them is at hand.
    pub asn_concentration: Option<f64>,
    /// Logins with a right password, code or passkey.
    pub logins_passed: u32,
    /// Logins that failed.
    pub logins_failed: u32,
    /// How long established users' requests wait before they begin, as a high percentile of the last seconds.
    pub queue_delay: Duration,
    /// Requests of established users that were answered.
    pub established_answered: u32,
    /// Requests of established users that were refused for want of capacity.
    pub established_refused: u32,
    /// What an account of less than a day costs, in tokens, as a multiple of what others cost; 0 if not known.
    pub cost_per_account: f64,
}
