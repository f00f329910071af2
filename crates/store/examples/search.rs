//! How long a search through 10,000 messages takes: `cargo run --release --package cachalot-store --example search`.
//!
//! 500 conversations of 20 messages of some 600 characters, a third of them Chinese, in a database in a temporary
//! folder; what is searched for occurs nowhere, so that all of it is opened and compared. Prints the median of several
//! rounds, the first of which, that warms the caches, does not count.

use std::sync::Arc;
use std::time::Duration;

use base::{Clock as _, Rng, SystemClock};
use store::{
    Archive, ArchiveStore as _, Conversation, Limits, MasterKeys, Message, NewArchive, NewUser, Role, Search,
    SearchStore as _, SqliteStore, Status, StoreError, UserId, UserRole, UserStore as _, Words,
};

const CONVERSATIONS: usize = 500;
const MESSAGES: usize = 20;
const CHARS: usize = 600;
const ROUNDS: usize = 15;

const ENGLISH: [&str; 12] =
    ["whale", "squid", "depth", "pressure", "Krill", "ocean", "the", "of", "dives", "for", "an", "hour,"];
const CHINESE: [&str; 8] = ["抹香鲸", "深海", "大王乌贼", "压力", "下潜", "的", "是", "一小时，"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let keys = MasterKeys::in_file(folder.path().join("master.key"));
    let clock = Arc::new(SystemClock::new());
    let store =
        SqliteStore::open(&folder.path().join("chats.db"), keys, clock.clone(), Rng::from_os()?).await?;
    let new = NewUser {
        name: "Ahab".to_owned(),
        email: None,
        role: UserRole::Admin,
        password_hash: None,
        first: true,
    };
    let owner = store.add_user(new).await?.id;
    let mut rng = Rng::from_seed(1);
    for number in 0..CONVERSATIONS {
        let limits = Limits { messages_max: 1 << 20, bytes_max: 1 << 30 };
        let new = NewArchive { archive: archive(number, &mut rng), conversations_max: 1 << 20, limits };
        store.add_archive(owner, new).await?;
    }
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let began = clock.monotonic();
        let scanned = search(&store, owner).await?;
        if round > 0 {
            times.push(clock.monotonic() - began);
        }
        assert_eq!(scanned, (CONVERSATIONS * MESSAGES) as u64);
    }
    times.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{} messages of {CHARS} characters: median {:.0} ms, fastest {:.0} ms, slowest {:.0} ms of {ROUNDS} rounds",
        CONVERSATIONS * MESSAGES,
        milliseconds(times[ROUNDS / 2]),
        milliseconds(times[0]),
        milliseconds(times[ROUNDS - 1]),
    );
    Ok(())
}

/// Looks through everything, as the server does; how many messages that were.
async fn search(store: &SqliteStore, owner: UserId) -> Result<u64, StoreError> {
    let Some(words) = Words::new("plesiosaur 蛇颈龙") else { return Ok(0) };
    let (mut scanned, mut place) = (0, None);
    loop {
        let page = store.search(owner, Search { words: words.clone(), place }).await?;
        scanned += page.scanned;
        place = page.next;
        if place.is_none() {
            return Ok(scanned);
        }
    }
}

fn archive(number: usize, rng: &mut Rng) -> Archive {
    let mut id = || {
        let mut bytes = [0; 16];
        rng.fill(&mut bytes);
        bytes
    };
    let conversation_id = id().into();
    let ids: Vec<_> = (0..MESSAGES).map(|_| id().into()).collect();
    let messages = (0..MESSAGES).map(|at| Message {
        id: ids[at],
        conversation_id,
        parent_id: at.checked_sub(1).map(|above| ids[above]),
        role: if at % 2 == 0 { Role::User } else { Role::Assistant },
        status: Status::Complete,
        content: text(number.is_multiple_of(3), rng),
        reasoning: None,
        reasoning_ms: None,
        error: None,
        model: None,
        created_ms: at as i64,
        usage: None,
        timing: None,
    });
    let messages = messages.collect();
    let conversation = Conversation {
        id: conversation_id,
        title: format!("Conversation {number}"),
        model: "model".to_owned(),
        system: None,
        created_ms: number as i64,
        updated_ms: number as i64,
    };
    Archive { conversation, messages }
}

fn text(chinese: bool, rng: &mut Rng) -> String {
    let mut text = String::new();
    let mut chars = 0;
    while chars < CHARS {
        let word =
            if chinese { CHINESE[rng.below(CHINESE.len())] } else { ENGLISH[rng.below(ENGLISH.len())] };
        text.push_str(word);
        chars += word.chars().count();
        if !chinese {
            text.push(' ');
            chars += 1;
        }
    }
    text
}
