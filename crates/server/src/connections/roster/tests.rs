use base::Rng;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

type Book = Roster<u32, &'static str>;

fn limits() -> ConnectionLimits {
    let many = PrefixCaps { narrow: 1000, middle: 1000, wide: 1000 };
    ConnectionLimits {
        open: many,
        new: many,
        eviction_age: SECOND,
        per_user_max: 3,
        ..ConnectionLimits::default()
    }
}

fn book(max: usize, change: impl FnOnce(&mut ConnectionLimits)) -> Book {
    let mut limits = limits();
    change(&mut limits);
    Roster::new(max, limits, &mut Rng::from_seed(1))
}

fn at(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn open(book: &mut Book, address: &str, now: Duration) -> Id {
    let (id, evicted) = book.admit(at(address), Shown::Nothing, "", now).unwrap();
    assert_eq!(evicted, None);
    id
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(at(address), length.parse().unwrap())
}

#[test]
fn each_prefix_has_its_cap() {
    let mut book = book(1000, |limits| limits.open = PrefixCaps { narrow: 2, middle: 3, wide: 4 });
    let refused =
        |book: &mut Book, address: &str| book.admit(at(address), Shown::Nothing, "", SECOND).unwrap_err();
    let first = open(&mut book, "192.0.2.1", SECOND);
    open(&mut book, "::ffff:192.0.2.1", SECOND);
    assert_eq!(refused(&mut book, "192.0.2.1"), Refusal::Open(prefix("192.0.2.1/32")));
    open(&mut book, "192.0.2.2", SECOND);
    open(&mut book, "192.0.2.3", SECOND);
    assert_eq!(refused(&mut book, "192.0.2.4"), Refusal::Open(prefix("192.0.2.0/24")));
    open(&mut book, "192.0.3.1", SECOND);
    book.leave(first);
    book.leave(first);
    open(&mut book, "192.0.2.4", SECOND);

    for host in 1..=2 {
        open(&mut book, &format!("2001:db8:1:1::{host}"), SECOND);
    }
    assert_eq!(refused(&mut book, "2001:db8:1:1::3"), Refusal::Open(prefix("2001:db8:1:1::/64")));
    open(&mut book, "2001:db8:1:2::1", SECOND);
    assert_eq!(refused(&mut book, "2001:db8:1:3::1"), Refusal::Open(prefix("2001:db8:1::/56")));
    open(&mut book, "2001:db8:1:103::1", SECOND);
    assert_eq!(refused(&mut book, "2001:db8:1:203::1"), Refusal::Open(prefix("2001:db8:1::/48")));
}

#[test]
fn new_ones_have_a_rate() {
    let mut book = book(1000, |limits| limits.new = PrefixCaps { narrow: 2, middle: 2, wide: 3 });
    for _ in 0..2 {
        let id = open(&mut book, "192.0.2.1", SECOND);
        book.leave(id);
    }
    let refused = book.admit(at("192.0.2.1"), Shown::Nothing, "", SECOND).unwrap_err();
    assert_eq!(refused, Refusal::New(prefix("192.0.2.1/32")));
    open(&mut book, "192.0.2.2", SECOND);
    let refused = book.admit(at("192.0.2.3"), Shown::Nothing, "", SECOND).unwrap_err();
    assert_eq!(refused, Refusal::New(prefix("192.0.2.0/24")));
    // Who was refused is not counted: it comes in when the window has passed.
    open(&mut book, "192.0.2.1", SECOND + WINDOW * 5 / 4);
}

#[test]
fn a_rush_of_strangers_is_bounded_wherever_they_come_from() {
    let mut book = book(1000, |limits| limits.new_strangers_max = 20);
    let known = open(&mut book, "192.0.2.1", SECOND);
    assert!(book.recognise(known, (1, Class::Established), SECOND));
    for host in 1..20 {
        open(&mut book, &format!("10.{host}.0.1"), SECOND);
    }
    assert_eq!(book.admit(at("10.20.0.1"), Shown::Nothing, "", SECOND).unwrap_err(), Refusal::Rush);
    // Where somebody has shown who they are, more may.
    open(&mut book, "192.0.2.1", SECOND);
    open(&mut book, "10.20.0.1", SECOND + WINDOW * 5 / 4);
}

#[test]
fn who_has_shown_who_they_are_is_no_stranger_any_more() {
    let mut book = book(1000, |limits| limits.open = PrefixCaps { narrow: 1, middle: 1, wide: 1 });
    let mut of_user = |user: u32| {
        let id = open(&mut book, "192.0.2.1", SECOND);
        let counts = book.recognise(id, (user, Class::Established), SECOND);
        assert_eq!(book.recognise(id, (user, Class::Established), SECOND), counts);
        if !counts {
            book.leave(id);
        }
        counts
    };
    // The cap of the prefix does not hold them, but their own does.
    assert_eq!([1, 1, 1, 1, 2].map(&mut of_user), [true, true, true, false, true]);
    assert_eq!((book.entries.len(), book.users(), book.strangers), (4, 4, 0));
}

#[test]
fn a_part_is_kept_for_users_and_a_floor_for_strangers() {
    let mut book = book(40, |limits| limits.per_user_max = 100);
    let strangers: Vec<_> = (0..20).map(|host| open(&mut book, &format!("10.0.0.{host}"), SECOND)).collect();
    for id in &strangers {
        book.busy(*id);
    }
    assert_eq!(book.admit(at("10.0.1.1"), Shown::Nothing, "", SECOND).unwrap_err(), Refusal::Full);
    assert_eq!(book.room(SECOND), Room::Now, "it may be somebody who is known");
    // Who shows who they are makes room for another stranger, and their address is familiar from then on.
    assert!(book.recognise(strangers[0], (7, Class::Established), SECOND));
    open(&mut book, "10.0.1.1", SECOND);
    assert_eq!(book.admit(at("10.0.1.2"), Shown::Nothing, "", SECOND).unwrap_err(), Refusal::Full);
    for _ in 0..19 {
        let id = open(&mut book, "10.0.0.0", SECOND);
        assert!(book.recognise(id, (7, Class::Established), SECOND) || book.users() == 38);
        book.busy(id);
    }
    assert_eq!(book.entries.len(), 40);
    // Users never have them all.
    for id in &strangers[1..] {
        book.recognise(*id, (8, Class::Established), SECOND);
    }
    assert_eq!(book.users(), 38);
}

#[test]
fn the_fullest_prefix_makes_room_first_and_of_it_who_was_idle_longest() {
    let mut book = book(10, |limits| limits.reserved_percent = 0);
    let (_, none) = book.admit(at("192.0.2.1"), Shown::Nothing, "alone", SECOND).unwrap();
    assert_eq!(none, None);
    for (number, handle) in ["busy", "old", "new"].into_iter().enumerate() {
        let now = SECOND * (2 + number as u32);
        let (id, _) = book.admit(at(&format!("198.51.100.{number}")), Shown::Nothing, handle, now).unwrap();
        if handle == "busy" {
            book.busy(id);
        }
    }
    for number in 0..6 {
        let (id, _) =
            book.admit(at(&format!("203.0.113.{number}")), Shown::Nothing, "working", 5 * SECOND).unwrap();
        book.busy(id);
    }
    let mut next = |seconds: u32| book.admit(at("192.0.9.9"), Shown::Nothing, "newcomer", SECOND * seconds);
    assert_eq!(next(5).unwrap().1, Some("old"));
    // One of each now: who was idle longest.
    assert_eq!(next(6).unwrap().1, Some("alone"));
    assert_eq!(next(7).unwrap().1, Some("newcomer"), "two of one prefix");
    assert_eq!(next(7).unwrap().1, Some("newcomer"));
    assert_eq!(
        next(7).unwrap_err(),
        Refusal::Full,
        "who has just come has a second, and no other prefix pays"
    );
    assert_eq!(book.room(7 * SECOND + SECOND / 4), Room::In(SECOND * 3 / 4));
    assert_eq!(book.room(8 * SECOND), Room::Now);
}

#[test]
fn where_all_are_busy_others_wait() {
    let mut book = book(2, |limits| limits.reserved_percent = 0);
    let first = open(&mut book, "192.0.2.1", SECOND);
    let (proxy, _) = book.admit_proxy(at("10.0.0.1"), "proxy", SECOND).unwrap();
    book.busy(first);
    assert_eq!(book.room(99 * SECOND), Room::Later);
    assert_eq!(book.admit_proxy(at("10.0.0.1"), "", SECOND).unwrap_err(), Refusal::Full);
    book.idle(first, 100 * SECOND);
    assert_eq!(book.room(101 * SECOND), Room::Now);
    book.leave(proxy);
    assert_eq!(book.room(100 * SECOND), Room::Now);
}

#[test]
fn what_comes_through_a_proxy_is_counted_where_it_comes_from() {
    let mut book = book(100, |limits| limits.open = PrefixCaps { narrow: 1, middle: 1, wide: 1 });
    let mut through = |address: &str| {
        let (id, _) = book.admit_proxy(at("10.0.0.1"), "", SECOND).unwrap();
        book.place(id, at(address), SECOND).map(|_| ())
    };
    assert_eq!(through("192.0.2.1"), Ok(()));
    assert_eq!(through("198.51.100.1"), Ok(()));
    assert_eq!(through("192.0.2.1"), Err(Refusal::Open(prefix("192.0.2.1/32"))));
}

proptest! {
    #[test]
    fn the_book_is_right_whatever_happens(
        steps in prop::collection::vec((0_u8..7, 0_u32..40, 0_u32..4, 0_u64..700), 1..400),
    ) {
        let mut book: Roster<u32, Id> = Roster::new(12, limits(), &mut Rng::from_seed(2));
        let mut open: Vec<Id> = Vec::new();
        let mut now = Duration::ZERO;
        for (what, which, user, later_ms) in steps {
            now += Duration::from_millis(later_ms);
            let address = IpAddr::from([10, 0, (which % 3) as u8, which as u8]);
            let pick = (!open.is_empty()).then(|| open[which as usize % open.len()]);
            match (what, pick) {
                (0 | 1, _) => {
                    let next = Id(book.next);
                    let admitted = if what == 0 { book.admit(address, Shown::Nothing, next, now) } else { book.admit_proxy(address, next, now) };
                    if let Ok((id, evicted)) = admitted {
                        prop_assert!(evicted.is_none_or(|evicted| open.contains(&evicted)));
                        open.retain(|other| Some(*other) != evicted);
                        open.push(id);
                    }
                }
                (2, Some(id)) => book.busy(id),
                (3, Some(id)) => book.idle(id, now),
                (4, Some(id)) => drop(book.recognise(id, (user, Class::Established), now)),
                (5, Some(id)) => {
                    book.leave(id);
                    open.retain(|other| *other != id);
                }
                (6, Some(id)) if book.entries[&id].standing == Standing::Proxy => {
                    if let Ok(evicted) = book.place(id, address, now) {
                        open.retain(|other| Some(*other) != evicted);
                    }
                }
                _ => {}
            }
            prop_assert!(book.entries.len() <= 12 && book.entries.len() == open.len());
            let strangers = book.entries.values().filter(|entry| entry.standing == Standing::Stranger);
            prop_assert_eq!(strangers.clone().count(), book.strangers);
            let idle = strangers.filter(|entry| entry.idle.is_some()).count();
            prop_assert_eq!(book.idle.by_prefix.values().map(BTreeSet::len).sum::<usize>(), idle);
            prop_assert_eq!(book.idle.order.len(), book.idle.by_prefix.len());
            prop_assert_eq!(book.by_user.values().sum::<u32>() as usize, book.users);
            prop_assert!(book.by_user.values().all(|held| (1..=3).contains(held)) && book.users <= 11);
            prop_assert_eq!(book.by_prefix.0.values().sum::<u32>() as usize, 2 * book.strangers);
            if book.room(now) == Room::Now && book.entries.len() == 12 {
                prop_assert!(book.idle.next().is_some());
            }
        }
        for id in open {
            book.leave(id);
        }
        prop_assert!(book.by_prefix.0.is_empty() && book.by_user.is_empty() && book.idle.order.is_empty());
    }
}
