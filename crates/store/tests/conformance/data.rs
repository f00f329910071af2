//! What a user has as a whole: archives, searches, and what is deleted with time.

use std::time::Duration;

use store::{
    Archive, ArchiveOutcome, Conversation, ConversationId, Hit, Limits, Message, MessageId, NewArchive,
    ParentChoice, Role, Search, Status, StoreError, Timing, Usage, UserId, UserSettings, Words,
};

use crate::support::{Fixture, ROOMY};

/// A conversation with two answers to its question, one with everything that an answer can have.
fn archive(number: u8) -> Archive {
    let conversation_id = ConversationId::from([number; 16]);
    let id = |message: u8| {
        let mut bytes = [number; 16];
        bytes[15] = message;
        MessageId::from(bytes)
    };
    let message = |message: u8, parent: Option<u8>, content: &str| Message {
        id: id(message),
        conversation_id,
        parent_id: parent.map(id),
        role: if message.is_multiple_of(2) { Role::Assistant } else { Role::User },
        status: Status::Complete,
        content: content.to_owned(),
        reasoning: None,
        reasoning_ms: None,
        error: None,
        model: None,
        created_ms: 1000 + i64::from(message),
        usage: None,
        timing: None,
    };
    let failed = Message {
        status: Status::Failed,
        reasoning: Some("hm 🐋".to_owned()),
        reasoning_ms: Some(7),
        error: Some("it sank".to_owned()),
        model: Some("second".to_owned()),
        usage: Some(Usage { prompt_tokens: 1, completion_tokens: 2, reasoning_tokens: 1 }),
        timing: Some(Timing { queued_ms: 3, ttft_ms: Some(4), total_ms: 5 }),
        ..message(2, Some(1), "两公里")
    };
    Archive {
        conversation: Conversation {
            id: conversation_id,
            title: format!("Depth {number}"),
            model: "first".to_owned(),
            system: Some("Be brief.".to_owned()),
            created_ms: 1000,
            updated_ms: 2000,
        },
        messages: vec![message(1, None, "How deep?"), failed, message(4, Some(1), "Two kilometres.")],
    }
}

async fn add(fixture: &Fixture, owner: UserId, archive: Archive) -> Result<ArchiveOutcome, StoreError> {
    fixture.store.add_archive(owner, NewArchive { archive, conversations_max: 1000, limits: ROOMY }).await
}

pub(crate) async fn an_archive_comes_back_as_it_was_put(fixture: &Fixture) {
    let put = archive(1);
    assert_eq!(add(fixture, fixture.owner, put.clone()).await.unwrap(), ArchiveOutcome::Added);
    assert_eq!(fixture.store.archive(fixture.owner, put.conversation.id).await.unwrap(), put);
    assert_eq!(fixture.store.messages(fixture.owner, put.conversation.id).await.unwrap(), put.messages);
    // One goes on with it like with any other.
    let turn = fixture.turn(&put.conversation, ParentChoice::Newest, "really?").await;
    assert_eq!(turn.user.parent_id, Some(put.messages[2].id));
    // All of the owner's are listed, the last changed first.
    let older = Archive {
        conversation: Conversation { updated_ms: -1, ..archive(2).conversation },
        messages: vec![],
    };
    add(fixture, fixture.owner, older.clone()).await.unwrap();
    let ids = fixture.store.conversation_ids(fixture.owner).await.unwrap();
    assert_eq!(ids, [put.conversation.id, older.conversation.id]);
}

pub(crate) async fn an_archive_is_added_once_and_whole(fixture: &Fixture) {
    let put = archive(1);
    add(fixture, fixture.owner, put.clone()).await.unwrap();
    let other = Archive { messages: Vec::new(), ..put.clone() };
    assert_eq!(add(fixture, fixture.owner, other).await.unwrap(), ArchiveOutcome::AlreadyThere);
    assert_eq!(fixture.store.archive(fixture.owner, put.conversation.id).await.unwrap(), put);

    // A message's id that is taken, at the end: nothing of it stays.
    let mut clash = archive(2);
    clash.messages[2].id = put.messages[2].id;
    let id = clash.conversation.id;
    assert!(matches!(add(fixture, fixture.owner, clash).await, Err(StoreError::Conflict(_))));
    assert!(matches!(fixture.store.archive(fixture.owner, id).await, Err(StoreError::NotFound { .. })));
    assert_eq!(add(fixture, fixture.owner, archive(2)).await.unwrap(), ArchiveOutcome::Added);
}

pub(crate) async fn what_is_no_tree_of_questions_and_answers_is_refused(fixture: &Fixture) {
    let change = |change: fn(&mut Vec<Message>)| {
        let mut archive = archive(1);
        change(&mut archive.messages);
        archive
    };
    for wrong in [
        change(|messages| messages.swap(0, 1)),
        change(|messages| messages[0].parent_id = Some(MessageId::from([9; 16]))),
        change(|messages| messages[1].parent_id = None),
        change(|messages| messages[1].parent_id = Some(messages[1].id)),
        change(|messages| messages[2].parent_id = Some(messages[1].id)),
        change(|messages| messages[1].role = Role::User),
        change(|messages| messages[0].role = Role::System),
        change(|messages| messages[1].status = Status::Generating),
        change(|messages| messages[1].conversation_id = ConversationId::from([9; 16])),
        change(|messages| messages[2].id = messages[1].id),
    ] {
        let given = format!("{wrong:?}");
        assert!(matches!(add(fixture, fixture.owner, wrong).await, Err(StoreError::Conflict(_))), "{given}");
    }
    assert!(fixture.store.conversation_ids(fixture.owner).await.unwrap().is_empty());
}

pub(crate) async fn archives_have_the_capacities_of_conversations(fixture: &Fixture) {
    let add = async |conversations_max, messages_max, bytes_max| {
        let limits = Limits { messages_max, bytes_max };
        let new = NewArchive { archive: archive(1), conversations_max, limits };
        fixture.store.add_archive(fixture.owner, new).await
    };
    let bytes =
        "How deep?".len() + "hm 🐋".len() + "it sank".len() + "两公里".len() + "Two kilometres.".len();
    let bytes = bytes as u64;
    assert!(matches!(add(9, 2, bytes).await, Err(StoreError::Full { allowed: 2, given: 3, .. })));
    let full = add(9, 3, bytes - 1).await;
    assert!(matches!(full, Err(StoreError::Full { given, .. }) if given == bytes), "{full:?}");
    assert!(matches!(add(0, 3, bytes).await, Err(StoreError::Full { what: "conversations", .. })));
    assert_eq!(add(1, 3, bytes).await.unwrap(), ArchiveOutcome::Added);
    assert_eq!(add(1, 3, bytes).await.unwrap(), ArchiveOutcome::AlreadyThere, "it needs no room");
}

pub(crate) async fn nobody_s_archives_are_another_s(fixture: &Fixture) {
    add(fixture, fixture.owner, archive(1)).await.unwrap();
    let pip = fixture.user("Pip").await.id;
    assert!(fixture.store.conversation_ids(pip).await.unwrap().is_empty());
    // With an id that is another's, which no honest caller has.
    assert!(matches!(add(fixture, pip, archive(1)).await, Err(StoreError::Conflict(_))));
    let nobody = UserId::from([9; 16]);
    assert!(matches!(add(fixture, nobody, archive(2)).await, Err(StoreError::NotFound { what: "user" })));
    assert!(fixture.store.conversation_ids(nobody).await.unwrap().is_empty());
}

/// Every part of a search, and how many messages were looked at.
async fn parts(fixture: &Fixture, owner: UserId, query: &str) -> (Vec<Vec<Hit>>, u64) {
    let words = Words::new(query).unwrap();
    let (mut parts, mut scanned, mut place) = (Vec::new(), 0, None);
    loop {
        let page = fixture.store.search(owner, Search { words: words.clone(), place }).await.unwrap();
        parts.push(page.hits);
        scanned += page.scanned;
        place = page.next;
        if place.is_none() {
            return (parts, scanned);
        }
    }
}

async fn search(fixture: &Fixture, owner: UserId, query: &str) -> Vec<Hit> {
    parts(fixture, owner, query).await.0.concat()
}

pub(crate) async fn a_search_goes_from_the_newest_to_the_end(fixture: &Fixture) {
    let mut conversations = Vec::new();
    for number in 0..5 {
        fixture.clock.advance(Duration::from_millis(1));
        conversations.push(fixture.conversation().await);
        for turn in 0..70 {
            let question = format!("krill {number}.{turn} 抹香鲸");
            fixture.finished_turn(&conversations[number], ParentChoice::Newest, &question).await;
        }
    }
    // The first is gone on with, and so is the newest.
    fixture.clock.advance(Duration::from_millis(1));
    fixture.finished_turn(&conversations[0], ParentChoice::Newest, "Krill, at last 抹香鲸").await;

    let (parts, scanned) = parts(fixture, fixture.owner, "抹香鲸 KRILL").await;
    assert_eq!(scanned, 5 * 140 + 2);
    assert!(parts.len() > 1);
    let found: Vec<_> =
        parts.concat().into_iter().map(|hit| (hit.conversation_id, hit.snippet.text)).collect();
    let mut expected = vec![(conversations[0].id, "Krill, at last 抹香鲸".to_owned())];
    for number in [0, 4, 3, 2, 1] {
        let of = |turn| (conversations[number].id, format!("krill {number}.{turn} 抹香鲸"));
        expected.extend((0..70).rev().map(of));
    }
    // Titles are made from first questions, so each conversation is found by its title too.
    let (by_title, by_text): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, text)| text.starts_with("about"));
    assert_eq!(by_text, expected);
    let titled: Vec<_> = by_title.into_iter().map(|(conversation, _)| conversation).collect();
    assert_eq!(titled, [0, 4, 3, 2, 1].map(|number: usize| conversations[number].id));
    assert!(search(fixture, fixture.owner, "krill octopus").await.is_empty());
}

pub(crate) async fn a_title_is_found_at_the_newest_message(fixture: &Fixture) {
    add(fixture, fixture.owner, archive(1)).await.unwrap();
    let hits = search(fixture, fixture.owner, "depth").await;
    assert_eq!(hits.len(), 1);
    let newest = archive(1).messages.pop().unwrap();
    assert_eq!((hits[0].message_id, hits[0].role), (newest.id, Role::Assistant));
    assert_eq!((hits[0].title.as_str(), hits[0].snippet.text.as_str()), ("Depth 1", "Depth 1"));
    assert_eq!(hits[0].snippet.marks, [(0, 5)]);
    let hits = search(fixture, fixture.owner, "公里").await;
    assert_eq!((hits.len(), hits[0].created_ms, hits[0].snippet.marks.as_slice()), (1, 1002, &[(1, 2)][..]));
    // Thoughts, instructions and errors are not what one searches for.
    for query in ["hm", "brief", "sank"] {
        assert!(search(fixture, fixture.owner, query).await.is_empty(), "{query}");
    }
}

pub(crate) async fn large_texts_are_searched_in_small_parts(fixture: &Fixture) {
    let conversation = fixture.conversation().await;
    for number in 0..6 {
        let text = format!("{} number{number}", "whale ".repeat(50_000));
        fixture.finished_turn(&conversation, ParentChoice::Newest, &text).await;
    }
    let (parts, scanned) = parts(fixture, fixture.owner, "number3").await;
    assert_eq!((parts.concat().len(), scanned), (1, 12));
    assert!(parts.len() > 2, "{}", parts.len());
}

pub(crate) async fn nobody_finds_another_s_texts(fixture: &Fixture) {
    add(fixture, fixture.owner, archive(1)).await.unwrap();
    let pip = fixture.user("Pip").await.id;
    let own = Archive { conversation: archive(2).conversation, messages: archive(2).messages };
    add(fixture, pip, own).await.unwrap();
    for (owner, conversations) in [(fixture.owner, vec![1]), (pip, vec![2]), (UserId::from([9; 16]), vec![])]
    {
        let hits = search(fixture, owner, "deep").await;
        let found: Vec<_> = hits.iter().map(|hit| hit.conversation_id).collect();
        let expected: Vec<_> =
            conversations.iter().map(|&number| ConversationId::from([number; 16])).collect();
        assert_eq!(found, expected);
    }
    // Another's place in a search is a place in one's own.
    let words = Words::new("deep").unwrap();
    for _ in 0..150 {
        let conversation = fixture.conversation().await;
        fixture.finished_turn(&conversation, ParentChoice::Root, "x").await;
    }
    let first =
        fixture.store.search(fixture.owner, Search { words: words.clone(), place: None }).await.unwrap();
    assert!(first.next.is_some());
    let page = fixture.store.search(pip, Search { words, place: first.next }).await.unwrap();
    assert!(page.hits.iter().all(|hit| hit.conversation_id == ConversationId::from([2; 16])));
}

pub(crate) async fn settings_come_back_as_they_were_put(fixture: &Fixture) {
    let pip = fixture.user("Pip").await.id;
    assert_eq!(fixture.store.user_settings(pip).await.unwrap(), UserSettings { retention_days: None });
    for retention_days in [Some(1), Some(3650), None] {
        let settings = UserSettings { retention_days };
        fixture.store.set_user_settings(pip, settings).await.unwrap();
        assert_eq!(fixture.store.user_settings(pip).await.unwrap(), settings);
    }
    assert_eq!(fixture.store.user_settings(fixture.owner).await.unwrap(), UserSettings::default());
    let nobody = UserId::from([9; 16]);
    let settings = UserSettings { retention_days: Some(1) };
    let gone = |error| matches!(error, StoreError::NotFound { what: "user" });
    assert!(gone(fixture.store.user_settings(nobody).await.unwrap_err()));
    assert!(gone(fixture.store.set_user_settings(nobody, settings).await.unwrap_err()));
}

async fn sweep(fixture: &Fixture, now_days: i64, days_max: Option<u32>) -> u64 {
    let mut deleted = 0;
    loop {
        match fixture.store.delete_expired(now_days * 86_400_000, days_max).await.unwrap() {
            0 => return deleted,
            more => deleted += more,
        }
    }
}

pub(crate) async fn what_expired_is_deleted_and_nothing_else(fixture: &Fixture) {
    let pip = fixture.user("Pip").await.id;
    for owner in [fixture.owner, pip] {
        for number in 0..30 {
            let mut put = archive(number + if owner == pip { 100 } else { 1 });
            put.conversation.updated_ms = i64::from(number) * 86_400_000;
            add(fixture, owner, put).await.unwrap();
        }
    }
    let left = async |owner| fixture.store.conversation_ids(owner).await.unwrap().len();
    assert_eq!(sweep(fixture, 5000, None).await, 0, "nobody asked for it");
    fixture.store.set_user_settings(pip, UserSettings { retention_days: Some(20) }).await.unwrap();
    // Those of days 0 to 4 are older than 20 days on day 25; that of day 5 is just that old.
    assert_eq!(sweep(fixture, 25, None).await, 5);
    assert_eq!((left(fixture.owner).await, left(pip).await), (30, 25));
    assert_eq!(sweep(fixture, 25, Some(22)).await, 3, "the server's, where it is shorter");
    assert_eq!((left(fixture.owner).await, left(pip).await), (27, 25));

    // One in which an answer is being written is left, however old.
    let kept = fixture.store.conversation_ids(pip).await.unwrap()[24];
    let conversation = fixture.store.conversation(pip, kept).await.unwrap();
    let theirs = Fixture { store: fixture.store.clone(), clock: fixture.clock.clone(), owner: pip };
    let writing = theirs.turn(&conversation, ParentChoice::Newest, "still there?").await.assistant.id;
    assert_eq!(sweep(fixture, 5000, Some(1)).await, 51);
    assert_eq!((left(fixture.owner).await, left(pip).await), (0, 1));
    theirs.finish(writing, "yes").await;
    assert_eq!(sweep(fixture, 5000, Some(1)).await, 1);
}
