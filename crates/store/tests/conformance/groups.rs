//! Groups, what they give, and how many answers were asked for.

use std::time::Duration;

use store::{
    AnswerTaken, Grant, Group, GroupChange, GroupId, GroupLimits, NewGroup, ParentChoice, StoreError,
    UserChange, UserId,
};

use crate::support::Fixture;

const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MS: i64 = 3_600_000;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn limits(answers_at_once: u32, messages_per_day: u32) -> GroupLimits {
    GroupLimits {
        answers_at_once: Some(answers_at_once),
        messages_per_day: Some(messages_per_day),
        output_tokens_max: None,
    }
}

fn missing(error: StoreError) -> bool {
    matches!(error, StoreError::NotFound { what: "group" })
}

fn conflict(error: StoreError) -> bool {
    matches!(error, StoreError::Conflict(_))
}

impl Fixture {
    async fn group(&self, name: &str, models: Option<Vec<String>>, limits: GroupLimits) -> Group {
        self.store.add_group(NewGroup { name: name.to_owned(), models, limits }).await.unwrap()
    }

    async fn put_into(&self, user: UserId, groups: &[GroupId]) {
        let change = UserChange { groups: Some(groups.to_vec()), ..UserChange::default() };
        self.store.change_user(user, change).await.unwrap();
    }

    async fn take(&self, user: UserId, per_day: Option<u64>) -> AnswerTaken {
        self.store.take_answer(user, per_day).await.unwrap()
    }
}

pub(crate) async fn groups_come_back_as_they_were_put(fixture: &Fixture) {
    let made = fixture.group("Harpooners", Some(names(&["b", "a", "b"])), limits(2, 9)).await;
    let expected = Group {
        id: made.id,
        name: "Harpooners".to_owned(),
        models: Some(names(&["a", "b"])),
        limits: limits(2, 9),
        members: 0,
    };
    assert_eq!(made, expected);
    assert_eq!(fixture.store.group(made.id).await.unwrap(), made);
    let bare = fixture.group("boys", Some(names(&[])), GroupLimits::default()).await;
    assert_eq!(bare.models, Some(names(&[])));
    let all = fixture.store.groups().await.unwrap();
    assert_eq!(
        all.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(),
        ["boys", "everyone", "Harpooners"]
    );
    assert_eq!((&all[0], &all[2]), (&bare, &made));
    let nobody = GroupId::from([7; 16]);
    assert!(missing(fixture.store.group(nobody).await.unwrap_err()));
    assert!(missing(fixture.store.delete_group(nobody).await.unwrap_err()));
    assert!(missing(fixture.store.change_group(nobody, GroupChange::default()).await.unwrap_err()));
}

pub(crate) async fn changes_of_a_group_touch_only_what_they_name(fixture: &Fixture) {
    let other = fixture.group("other", Some(names(&["a"])), limits(1, 1)).await;
    let made = fixture.group("mates", Some(names(&["a"])), limits(2, 9)).await;
    let change = async |change| fixture.store.change_group(made.id, change).await.unwrap();
    let mut expected = made.clone();
    assert_eq!(change(GroupChange::default()).await, expected);
    expected.name = "Mates".to_owned();
    assert_eq!(
        change(GroupChange { name: Some("Mates".to_owned()), ..GroupChange::default() }).await,
        expected
    );
    expected.models = None;
    assert_eq!(change(GroupChange { models: Some(None), ..GroupChange::default() }).await, expected);
    expected.models = Some(names(&["c"]));
    assert_eq!(
        change(GroupChange { models: Some(Some(names(&["c"]))), ..GroupChange::default() }).await,
        expected
    );
    expected.limits = GroupLimits::default();
    let unlimited = GroupChange { limits: Some(GroupLimits::default()), ..GroupChange::default() };
    assert_eq!(change(unlimited).await, expected);
    assert_eq!(fixture.store.group(made.id).await.unwrap(), expected);
    assert_eq!(fixture.store.group(other.id).await.unwrap(), other);
}

pub(crate) async fn names_of_groups_are_no_other_group_s(fixture: &Fixture) {
    let made = fixture.group("Mates", None, GroupLimits::default()).await;
    let taken = |error: StoreError| matches!(error, StoreError::Taken { what: "group name" });
    for name in ["mates", "MATES", "Everyone"] {
        let new = NewGroup { name: name.to_owned(), ..NewGroup::default() };
        assert!(taken(fixture.store.add_group(new).await.unwrap_err()), "{name}");
    }
    let change = GroupChange { name: Some("EVERYONE".to_owned()), ..GroupChange::default() };
    assert!(taken(fixture.store.change_group(made.id, change).await.unwrap_err()));
    assert_eq!(fixture.store.groups().await.unwrap().len(), 2);
}

pub(crate) async fn everybody_is_in_the_group_of_everybody(fixture: &Fixture) {
    let everyone = fixture.store.group(GroupId::EVERYONE).await.unwrap();
    let expected = Group {
        id: GroupId::EVERYONE,
        name: "everyone".to_owned(),
        models: None,
        limits: GroupLimits::default(),
        members: 1,
    };
    assert_eq!(everyone, expected);
    let pip = fixture.user("Pip").await.id;
    // Being put into it is nothing new.
    fixture.put_into(pip, &[GroupId::EVERYONE]).await;
    assert_eq!(fixture.store.group(GroupId::EVERYONE).await.unwrap().members, 2);
    assert_eq!(fixture.store.user_card(pip).await.unwrap().groups, []);

    assert!(conflict(fixture.store.delete_group(GroupId::EVERYONE).await.unwrap_err()));
    let rename = GroupChange { name: Some("crew".to_owned()), ..GroupChange::default() };
    assert!(conflict(fixture.store.change_group(GroupId::EVERYONE, rename).await.unwrap_err()));
    // What it gives may change, and its own name is no change.
    let change = GroupChange {
        name: Some("everyone".to_owned()),
        models: Some(Some(names(&["a"]))),
        limits: Some(limits(1, 5)),
    };
    fixture.store.change_group(GroupId::EVERYONE, change).await.unwrap();
    let grant = Grant { models: Some(names(&["a"])), limits: limits(1, 5) };
    for user in [pip, fixture.owner, UserId::from([7; 16])] {
        assert_eq!(fixture.store.grant(user).await.unwrap(), grant);
    }
}

pub(crate) async fn groups_give_together_what_each_gives(fixture: &Fixture) {
    let pip = fixture.user("Pip").await.id;
    let free = Grant { models: None, limits: GroupLimits::default() };
    assert_eq!(fixture.store.grant(pip).await.unwrap(), free);
    let change = GroupChange {
        models: Some(Some(names(&["a"]))),
        limits: Some(limits(1, 5)),
        ..GroupChange::default()
    };
    fixture.store.change_group(GroupId::EVERYONE, change).await.unwrap();
    let one = fixture.group("one", Some(names(&["b"])), limits(3, 2)).await.id;
    let two = fixture
        .group("two", Some(names(&["c"])), GroupLimits { answers_at_once: Some(2), ..limits(0, 9) })
        .await
        .id;
    fixture.put_into(pip, &[one, two, one]).await;
    let grant = Grant { models: Some(names(&["a", "b", "c"])), limits: limits(3, 9) };
    assert_eq!(fixture.store.grant(pip).await.unwrap(), grant);
    assert_eq!(fixture.store.group(one).await.unwrap().members, 1);
    fixture.put_into(pip, &[two]).await;
    let grant = Grant { models: Some(names(&["a", "c"])), limits: limits(2, 9) };
    assert_eq!(fixture.store.grant(pip).await.unwrap(), grant);
    // Nobody else has it.
    let grant = Grant { models: Some(names(&["a"])), limits: limits(1, 5) };
    assert_eq!(fixture.store.grant(fixture.owner).await.unwrap(), grant);
}

pub(crate) async fn a_group_that_is_gone_gives_nothing(fixture: &Fixture) {
    let pip = fixture.user("Pip").await.id;
    let change = GroupChange { models: Some(Some(names(&[]))), ..GroupChange::default() };
    fixture.store.change_group(GroupId::EVERYONE, change).await.unwrap();
    let mates = fixture.group("mates", Some(names(&["b"])), GroupLimits::default()).await.id;
    fixture.put_into(pip, &[mates]).await;
    assert!(fixture.store.grant(pip).await.unwrap().allows("b"));
    fixture.store.delete_group(mates).await.unwrap();
    assert!(!fixture.store.grant(pip).await.unwrap().allows("b"));
    assert_eq!(fixture.store.user_card(pip).await.unwrap().groups, []);
    // A user who is gone is no member.
    let mates = fixture.group("mates", None, GroupLimits::default()).await.id;
    fixture.put_into(pip, &[mates]).await;
    fixture.store.delete_user(pip).await.unwrap();
    assert_eq!(fixture.store.group(mates).await.unwrap().members, 0);
}

pub(crate) async fn answers_count_for_a_day_and_come_back_by_the_hour(fixture: &Fixture) {
    let owner = fixture.owner;
    fixture.clock.advance(HOUR * 10);
    assert_eq!(fixture.take(owner, Some(3)).await, AnswerTaken::Taken { hour: 10 });
    fixture.clock.advance(HOUR * 2);
    for _ in 0..2 {
        assert_eq!(fixture.take(owner, Some(3)).await, AnswerTaken::Taken { hour: 12 });
    }
    let used_up = AnswerTaken::UsedUp { free_ms: Some(35 * HOUR_MS) };
    assert_eq!(fixture.take(owner, Some(3)).await, used_up);
    // Refusals count for nothing, another's answers neither, and a higher limit counts at once.
    assert_eq!(fixture.take(owner, Some(3)).await, used_up);
    let pip = fixture.user("Pip").await.id;
    assert_eq!(fixture.take(pip, Some(1)).await, AnswerTaken::Taken { hour: 12 });
    assert_eq!(fixture.take(owner, Some(4)).await, AnswerTaken::Taken { hour: 12 });
    assert_eq!(fixture.take(owner, Some(0)).await, AnswerTaken::UsedUp { free_ms: None });
    fixture.clock.advance(HOUR * 23 - Duration::from_millis(1));
    assert_eq!(fixture.take(owner, Some(4)).await, used_up);
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.take(owner, Some(4)).await, AnswerTaken::Taken { hour: 35 });
    assert_eq!(fixture.take(owner, Some(4)).await, AnswerTaken::UsedUp { free_ms: Some(37 * HOUR_MS) });
    // Those asked for while there was no limit count when there is one.
    assert_eq!(fixture.take(pip, None).await, AnswerTaken::Taken { hour: 35 });
    assert!(matches!(fixture.take(pip, Some(2)).await, AnswerTaken::UsedUp { .. }));
    let nobody = fixture.store.take_answer(UserId::from([7; 16]), None).await.unwrap_err();
    assert!(matches!(nobody, StoreError::NotFound { what: "user" }), "{nobody}");
}

pub(crate) async fn an_answer_that_was_not_begun_is_given_back(fixture: &Fixture) {
    let owner = fixture.owner;
    let AnswerTaken::Taken { hour } = fixture.take(owner, Some(1)).await else { panic!("there is room") };
    assert!(matches!(fixture.take(owner, Some(1)).await, AnswerTaken::UsedUp { .. }));
    // What was never taken is not given back.
    fixture.store.give_back_answer(owner, hour + 1).await.unwrap();
    fixture.store.give_back_answer(UserId::from([7; 16]), hour).await.unwrap();
    assert!(matches!(fixture.take(owner, Some(1)).await, AnswerTaken::UsedUp { .. }));
    for _ in 0..3 {
        fixture.store.give_back_answer(owner, hour).await.unwrap();
    }
    assert_eq!(fixture.take(owner, Some(1)).await, AnswerTaken::Taken { hour });
    assert!(matches!(fixture.take(owner, Some(1)).await, AnswerTaken::UsedUp { .. }));
}

pub(crate) async fn deleting_gives_no_answers_back(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    fixture.take(fixture.owner, Some(1)).await;
    fixture.finished_turn(&conversation, ParentChoice::Root, "x").await;
    fixture.store.delete_conversation(fixture.owner, conversation.id).await.unwrap();
    assert!(matches!(fixture.take(fixture.owner, Some(1)).await, AnswerTaken::UsedUp { .. }));
}
