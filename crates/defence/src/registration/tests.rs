use base::Rng;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn address(number: u32) -> Source {
    IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 | number << 8)).into()
}

fn registrar(has_mail: bool) -> Registrar {
    Registrar::new(RegistrarSettings { has_mail, ..RegistrarSettings::default() }, &mut Rng::from_seed(1))
}

const SOLVED: Proof = Proof { challenge: true, email: false, invitation: false, place: None };

fn place(answer: Answer) -> PlaceId {
    match answer {
        Answer::Wait { place, .. } => place,
        other => panic!("{other:?} instead of a place"),
    }
}

#[test]
fn what_each_level_asks_for() {
    let now = 100 * SECOND;
    let none = Proof::default();
    let read = Proof { email: true, ..SOLVED };
    let invited = Proof { invitation: true, ..none };
    for (level, has_mail, proof, expected) in [
        (Level::Open, false, none, Some(Answer::Make)),
        (Level::Challenge, false, none, Some(Answer::SolveChallenge)),
        (Level::Challenge, false, SOLVED, Some(Answer::Make)),
        (Level::EmailFirst, true, none, Some(Answer::SolveChallenge)),
        (Level::EmailFirst, true, SOLVED, Some(Answer::ShowEmail)),
        (Level::EmailFirst, true, read, Some(Answer::Make)),
        (Level::EmailFirst, false, SOLVED, Some(Answer::Make)),
        (Level::WaitingList, true, none, Some(Answer::SolveChallenge)),
        (Level::WaitingList, true, read, None),
        (Level::WaitingList, true, invited, Some(Answer::Make)),
        (Level::InviteOnly, false, SOLVED, None),
        (Level::InviteOnly, false, invited, Some(Answer::Make)),
        (Level::Suspended, false, none, Some(Answer::SolveChallenge)),
        (Level::Suspended, false, invited, None),
    ] {
        let answer = registrar(has_mail).register(level, address(1), proof, now);
        match expected {
            Some(expected) => assert_eq!(answer, expected, "{level:?} {proof:?}"),
            None => assert!(matches!(answer, Answer::Wait { .. }), "{level:?} {proof:?}: {answer:?}"),
        }
    }
}

#[test]
fn who_waits_is_called_up_and_gets_an_account() {
    let mut registrar = registrar(true);
    let now = 100 * SECOND;
    registrar.tick(Level::WaitingList, now);
    let places: Vec<_> =
        (0..40).map(|n| place(registrar.register(Level::WaitingList, address(n), SOLVED, now))).collect();
    let Some(Answer::Wait { standing: Standing::Waiting { ahead: 39 }, about, ask_again, .. }) =
        registrar.ask(places[39], now)
    else {
        panic!("39 are ahead")
    };
    assert!(about > 30 * SECOND && about < 90 * SECOND && ask_again <= 30 * SECOND, "{about:?}");
    let called = registrar.tick(Level::WaitingList, now + 10 * SECOND);
    assert_eq!(called, places[..called.len()]);
    assert!(!called.is_empty());
    let mut proof = Proof { place: Some(called[0]), ..Proof::default() };
    let now = now + 11 * SECOND;
    assert_eq!(registrar.register(Level::WaitingList, address(0), proof, now), Answer::ShowEmail);
    proof.email = true;
    assert_eq!(registrar.register(Level::WaitingList, address(0), proof, now), Answer::Make);
    // Once only.
    let again = registrar.register(Level::WaitingList, address(0), proof, now);
    assert_eq!(again, Answer::SolveChallenge);
    assert_eq!((registrar.waiting(), registrar.called()), (40 - called.len(), called.len() - 1));
}

#[test]
fn nobody_is_called_up_while_it_is_closed() {
    let mut registrar = registrar(false);
    let id = place(registrar.register(Level::Suspended, address(1), SOLVED, SECOND));
    for second in 2..100 {
        assert!(registrar.tick(Level::Suspended, second * SECOND).is_empty());
        assert!(registrar.tick(Level::InviteOnly, second * SECOND).is_empty());
    }
    assert_eq!(registrar.tick(Level::WaitingList, 101 * SECOND), [id]);
}

#[test]
fn who_was_called_up_waits_while_it_is_suspended() {
    let mut registrar = registrar(false);
    let id = place(registrar.register(Level::WaitingList, address(1), SOLVED, SECOND));
    assert_eq!(registrar.tick(Level::WaitingList, 3 * SECOND), [id]);
    let proof = Proof { place: Some(id), ..Proof::default() };
    let answer = registrar.register(Level::Suspended, address(1), proof, 4 * SECOND);
    assert!(matches!(
        answer,
        Answer::Wait { standing: Standing::CalledUp { .. }, ask_again: ASK_AGAIN_MAX, .. }
    ));
    assert_eq!(registrar.register(Level::InviteOnly, address(1), proof, 5 * SECOND), Answer::Make);
}

#[test]
fn without_a_budget_there_is_a_place_at_every_level() {
    let mut registrar = registrar(false);
    let now = 100 * SECOND;
    let mut made = 0;
    let mut waiting = Vec::new();
    for number in 0..100 {
        match registrar.register(Level::Open, address(number), Proof::default(), now) {
            Answer::Make => made += 1,
            answer => waiting.push(place(answer)),
        }
    }
    assert_eq!((made, waiting.len()), (15, 85));
    // Who is called up goes before newcomers.
    let mut now = now;
    let mut from_list = 0;
    for second in 1..=60 {
        now += SECOND;
        registrar.tick(Level::Open, now);
        for (number, id) in waiting.clone().into_iter().enumerate() {
            let proof = Proof { place: Some(id), ..Proof::default() };
            let from = address(2000 + number as u32);
            if registrar.register(Level::Open, from, proof, now) == Answer::Make {
                waiting.retain(|other| *other != id);
                from_list += 1;
            }
        }
        registrar.register(Level::Open, address(1000 + second), Proof::default(), now);
    }
    assert!(from_list >= 20, "{from_list}");
}

#[test]
fn the_budget_holds_for_those_who_were_called_up_too() {
    let mut registrar = registrar(false);
    let mut now = 100 * SECOND;
    let ids: Vec<_> =
        (0..600).map(|n| place(registrar.register(Level::WaitingList, address(n), SOLVED, now))).collect();
    // Nobody comes for eight minutes, and then all at once.
    for _ in 0..480 {
        now += SECOND;
        registrar.tick(Level::WaitingList, now);
    }
    assert!(registrar.called() > 300);
    let mut made = 0;
    for second in 0..60 {
        for (number, id) in ids.iter().enumerate() {
            let proof = Proof { place: Some(*id), ..Proof::default() };
            let answer = registrar.register(Level::WaitingList, address(number as u32), proof, now);
            made += u32::from(answer == Answer::Make);
            if second == 0 && made == 15 {
                assert!(!matches!(answer, Answer::Refuse { .. }));
            }
        }
        now += SECOND;
    }
    assert!((55..=60).contains(&made), "{made}");
}

#[test]
fn what_made_no_account_is_given_back() {
    let budget = BudgetSettings { per_minute: 4, ..BudgetSettings::default() };
    let mut registrar =
        Registrar::new(RegistrarSettings { budget, ..RegistrarSettings::default() }, &mut Rng::from_seed(1));
    let now = 100 * SECOND;
    assert_eq!(registrar.register(Level::Open, address(1), Proof::default(), now), Answer::Make);
    let id = place(registrar.register(Level::Open, address(2), Proof::default(), now));
    registrar.give_back(None, now);
    assert_eq!(registrar.register(Level::Open, address(3), Proof::default(), now), Answer::Make);
    // Whoever was called up is so again.
    let now = now + 60 * SECOND;
    assert_eq!(registrar.tick(Level::WaitingList, now), [id]);
    let proof = Proof { place: Some(id), ..Proof::default() };
    assert_eq!(registrar.register(Level::WaitingList, address(2), proof, now), Answer::Make);
    registrar.give_back(Some(id), now);
    assert_eq!(registrar.register(Level::WaitingList, address(2), proof, now), Answer::Make);
    assert!(registrar.turn(id).is_none());
}

/// A crowd where there is one provider, whose share is half of what is called up: whoever goes on asking gets an account.
#[test]
fn who_was_called_up_keeps_the_place_while_their_provider_s_share_is_spent() {
    let budget = BudgetSettings { per_minute: 12, per_asn: 60, ..BudgetSettings::default() };
    let settings = RegistrarSettings { budget, ..RegistrarSettings::default() };
    let mut registrar = Registrar::new(settings, &mut Rng::from_seed(1));
    let of = |number| Source { asn: Some(64_500), ..address(number) };
    let mut now = 100 * SECOND;
    let mut waiting: Vec<_> = (0..150)
        .map(|number| (number, place(registrar.register(Level::WaitingList, of(number), SOLVED, now))))
        .collect();
    let mut made = Vec::new();
    for _ in 0..60 * 60 {
        now += SECOND;
        registrar.tick(Level::WaitingList, now);
        waiting.retain(|(number, id)| {
            let proof = Proof { place: Some(*id), ..Proof::default() };
            match registrar.register(Level::WaitingList, of(*number), proof, now) {
                Answer::Make => made.push(now),
                Answer::Wait { .. } => return true,
                other => panic!("{number}, who was called up: {other:?}"),
            }
            false
        });
    }
    assert_eq!((made.len(), waiting.len()), (150, 0));
    let within = |from: Duration| made.iter().filter(|at| **at >= from && **at < from + 600 * SECOND).count();
    assert!(made.iter().all(|at| within(*at) <= 60), "no ten minutes have more than the share");
}
