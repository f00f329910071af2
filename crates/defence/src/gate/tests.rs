use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A gate and its clock.
struct Run {
    gate: Gate,
    now: Duration,
}

impl Run {
    fn new(has_mail: bool) -> Self {
        let settings = GateSettings { has_mail, ..GateSettings::default() };
        Self { gate: Gate::new(settings, Duration::ZERO), now: Duration::ZERO }
    }

    fn moment(&self) -> Moment {
        Moment { monotonic: self.now, unix_ms: 1_000_000 + self.now.as_millis() as i64 }
    }

    /// The same every second; the moves as (seconds since the start, level).
    fn seconds(&mut self, seconds: u32, signals: Signals) -> Vec<(u64, Level)> {
        let mut moves = Vec::new();
        for _ in 0..seconds {
            self.now += SECOND;
            if let Some(moved) = self.gate.tick(&signals, self.moment()) {
                assert!(!moved.reasons.is_empty() && moved.to == self.gate.level());
                moves.push((self.now.as_secs(), moved.to));
            }
        }
        moves
    }
}

fn attempts(attempted: u32) -> Signals {
    Signals { attempted, ..Signals::default() }
}

#[test]
fn calm_moves_nothing() {
    let mut run = Run::new(true);
    assert_eq!(run.seconds(3600, attempts(1)), []);
    assert!((run.gate.forecast_per_minute() - 60.0).abs() < 2.0);
    assert_eq!((run.gate.onset_ms(), run.gate.reopens_in()), (None, Duration::ZERO));
}

#[test]
fn a_crowd_leads_to_the_waiting_list_and_back() {
    for (has_mail, levels) in [
        (false, vec![Level::Challenge, Level::WaitingList, Level::Challenge, Level::Open]),
        (
            true,
            vec![
                Level::Challenge,
                Level::EmailFirst,
                Level::WaitingList,
                Level::EmailFirst,
                Level::Challenge,
                Level::Open,
            ],
        ),
    ] {
        let mut run = Run::new(has_mail);
        assert_eq!(run.seconds(100, attempts(0)), []);
        let harmed = Signals { queue_delay: Duration::from_secs(9), ..attempts(500) };
        let mut moves = run.seconds(300, attempts(500));
        assert!(moves[0].0 <= 101);
        moves.extend(run.seconds(300, harmed));
        let ended = run.now.as_secs();
        moves.extend(run.seconds(300, attempts(0)));
        assert_eq!(moves.iter().map(|(_, level)| *level).collect::<Vec<_>>(), levels);
        assert!(moves.last().unwrap().0 - ended <= 120, "{moves:?}");
        assert_eq!(run.gate.onset_ms(), Some(1_000_000 + 100_000));
    }
}

#[test]
fn ill_will_closes_it_step_by_step() {
    let hostile = Signals {
        challenges_failed: 50,
        challenges_passed: 10,
        prefix_concentration: 0.9,
        queue_delay: Duration::from_secs(2),
        ..attempts(100)
    };
    let mut run = Run::new(true);
    run.seconds(100, attempts(0));
    let moves = run.seconds(200, hostile);
    let levels: Vec<_> = moves.iter().map(|(_, level)| *level).collect();
    assert_eq!(levels, Level::ALL[1..]);
    assert_eq!(moves.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [101, 104, 109, 119, 139]);
    let last = run.gate.moves().next_back().unwrap().clone();
    assert!(last.reasons.iter().any(Reason::is_malice) && last.reasons.iter().any(Reason::is_harm));
    for reason in &last.reasons {
        assert!(reason.to_string().contains("limit"), "{reason}");
    }
    let moves = run.seconds(200, attempts(0));
    assert_eq!(moves.len(), 5);
    assert_eq!(moves[4].1, Level::Open);
    assert!(moves[4].0 <= 300 + 120, "{moves:?}");
    assert!(moves.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 10));
}

#[test]
fn without_harm_two_kinds_of_ill_will_close_it_to_strangers_only() {
    let mut run = Run::new(false);
    let one = Signals { prefix_concentration: 0.9, ..attempts(100) };
    run.seconds(100, one);
    assert_eq!(run.gate.level(), Level::WaitingList);
    run.seconds(100, Signals { logins_failed: 90, logins_passed: 10, ..one });
    assert_eq!(run.gate.level(), Level::InviteOnly);
}

#[test]
fn few_providers_say_something_only_beside_another_sign() {
    let of_few = Signals { asn_concentration: Some(1.0), ..attempts(100) };
    let harmed = Signals { queue_delay: Duration::from_secs(9), ..of_few };
    let failing = Signals { challenges_failed: 90, challenges_passed: 10, ..of_few };
    let of_prefixes = Signals { prefix_concentration: 0.9, ..of_few };
    let many = Signals { asn_concentration: Some(0.9), ..failing };
    for (signals, expected, is_told) in [
        // A link that goes viral where there is one provider, on a server that can't take so many.
        (of_few, Level::WaitingList, false),
        (harmed, Level::WaitingList, false),
        // The prefixes are the system's.
        (of_prefixes, Level::WaitingList, true),
        (failing, Level::InviteOnly, true),
        (many, Level::WaitingList, false),
    ] {
        let mut run = Run::new(false);
        run.seconds(100, signals);
        assert_eq!(run.gate.level(), expected, "{signals:?}");
        let mut reasons = run.gate.moves().flat_map(|moved| &moved.reasons);
        let told = reasons.any(|reason| matches!(reason, Reason::AsnConcentration(_)));
        assert_eq!(told, is_told, "{signals:?}");
    }
    // Where sign-ups are many and the budget is large, it moves nothing either, even while passwords are tried.
    let settings = GateSettings { accounts_per_minute: 6000, ..GateSettings::default() };
    let mut run = Run { gate: Gate::new(settings, Duration::ZERO), now: Duration::ZERO };
    let usual = Signals { asn_concentration: Some(1.0), logins_failed: 90, ..attempts(20) };
    assert_eq!(run.seconds(600, usual), []);
}

#[test]
fn what_has_nothing_to_do_with_registrations_moves_nothing() {
    let mut run = Run::new(false);
    let stuffing = Signals {
        logins_failed: 1000,
        queue_delay: Duration::from_secs(3),
        established_refused: 100,
        established_answered: 100,
        ..attempts(0)
    };
    assert_eq!(run.seconds(300, stuffing), []);
    let costly = Signals { cost_per_account: 9.0, ..attempts(0) };
    assert_eq!(run.seconds(300, costly), [(301, Level::Challenge)]);
}

#[test]
fn around_a_threshold_it_does_not_flap() {
    let mut run = Run::new(false);
    // 45 and 30 attempts in fifteen seconds: above what leads to the list, and above what holds it.
    let mut moves = Vec::new();
    for _ in 0..60 {
        moves.extend(run.seconds(15, attempts(3)));
        moves.extend(run.seconds(15, attempts(2)));
    }
    assert!(moves.len() <= 2, "{moves:?}");
}

#[test]
fn pulses_are_one_incident() {
    let mut run = Run::new(false);
    let mut moves = Vec::new();
    for _ in 0..20 {
        moves.extend(run.seconds(10, attempts(100)));
        moves.extend(run.seconds(40, attempts(0)));
    }
    // Up, down after the first, up, and there it stays.
    assert!(moves.len() <= 8, "{moves:?}");
    assert!(run.gate.onset_ms().unwrap() <= 1_000_000);
    let ended = run.now.as_secs();
    moves = run.seconds(200, attempts(0));
    assert_eq!(moves.last().unwrap().1, Level::Open);
    assert!(moves.last().unwrap().0 - ended <= 120);
}

#[test]
fn an_operator_pins_it() {
    let mut run = Run::new(false);
    assert_eq!(run.gate.pin(Level::EmailFirst, run.moment()), Err(NoMail));
    let moved = run.gate.pin(Level::InviteOnly, run.moment()).unwrap().unwrap();
    assert_eq!((moved.to, &moved.reasons[..]), (Level::InviteOnly, &[Reason::Pinned][..]));
    assert_eq!(run.gate.pin(Level::InviteOnly, run.moment()), Ok(None));
    assert_eq!(run.seconds(300, attempts(500)), []);
    assert_eq!(run.seconds(300, attempts(0)), []);
    assert!(run.gate.is_pinned());
    run.gate.unpin(run.moment());
    let moves = run.seconds(300, attempts(0));
    assert_eq!(moves.last().unwrap().1, Level::Open);
    assert_eq!(run.gate.onset_ms(), None, "an operator is no incident");
}

#[test]
fn an_onset_is_remembered_for_a_day() {
    let mut run = Run::new(false);
    run.seconds(100, attempts(0));
    run.seconds(20, attempts(50));
    run.seconds(600, attempts(0));
    assert_eq!(run.gate.level(), Level::Open);
    assert_eq!(run.gate.onset_ms(), Some(1_000_000 + 100_000));
    run.seconds(20, attempts(50));
    assert_eq!(run.gate.onset_ms(), Some(1_000_000 + 100_000), "the second has the first's");
    run.seconds(600, attempts(0));
    run.now += Duration::from_hours(24);
    run.seconds(1, attempts(0));
    assert_eq!(run.gate.onset_ms(), None);
}

#[test]
fn time_that_stands_or_goes_back_is_no_harm() {
    let mut run = Run::new(false);
    run.seconds(10, attempts(100));
    let level = run.gate.level();
    let back = Moment { monotonic: Duration::ZERO, unix_ms: 0 };
    for _ in 0..100 {
        run.gate.tick(&attempts(0), back);
    }
    assert!(run.gate.level() >= level);
}
