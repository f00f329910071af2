use base::SystemClock;

use super::*;
use crate::{
    ConversationChange, ConversationStore as _, Limits, MessageStore as _, NewConversation, NewTurn, NewUser,
    PageRequest, ParentChoice, QuotaStore as _, UserRole, UserStore as _,
};

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    let keys = MasterKeys::in_file(path.with_file_name("master.key"));
    SqliteStore::open(path, keys, Arc::new(SystemClock::new()), Rng::from_os().unwrap()).await
}

const NEW: NewUser =
    NewUser { name: String::new(), email: None, role: UserRole::Admin, password_hash: None, first: true };

async fn first_user(store: &SqliteStore) -> UserId {
    store.add_user(NewUser { name: "Ahab".to_owned(), ..NEW }).await.unwrap().id
}

const SYNCHRONOUS: &str = "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous";

async fn pragma(pool: &SqlitePool, question: &'static str) -> String {
    let row: (String,) = sqlx::query_as(question).fetch_one(pool).await.unwrap();
    row.0
}

#[tokio::test]
async fn every_connection_has_the_settings_that_keep_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("chats.db")).await.unwrap();
    for pool in [&store.writer, &store.readers] {
        assert_eq!(pragma(pool, "SELECT journal_mode FROM pragma_journal_mode").await, "wal");
        assert_eq!(pragma(pool, SYNCHRONOUS).await, "2");
        assert_eq!(pragma(pool, "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys").await, "1");
        assert_eq!(pragma(pool, "SELECT CAST(secure_delete AS TEXT) FROM pragma_secure_delete").await, "1");
    }
    let refused = sqlx::query("DELETE FROM messages").execute(&store.readers).await;
    assert!(refused.is_err(), "a reader must not write");
}

#[tokio::test]
async fn what_is_acknowledged_waits_for_the_disk_whatever_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("chats.db")).await.unwrap();
    let log = store.log.clone().unwrap();
    let user = first_user(&store).await;
    let before = log.waits();
    store.take_answer(user, None).await.unwrap();
    assert_eq!(log.waits(), before, "a count");
    let new = NewConversation { model: "m".to_owned() };
    let conversation_id = store.add_conversation(user, new, 9).await.unwrap().id;
    let turn = NewTurn {
        conversation_id,
        parent: ParentChoice::Root,
        content: "how deep?".to_owned(),
        model: "m".to_owned(),
        title_if_none: "how deep?".to_owned(),
        limits: Limits { messages_max: 9, bytes_max: 99 },
    };
    store.add_turn(user, turn).await.unwrap();
    assert_eq!(log.waits(), before, "a conversation, and a question whose answer can begin");
    store.on_disk().await.unwrap();
    assert_eq!(log.waits(), before + 1, "it can be acknowledged");
    let change = ConversationChange { title: Some("Whales".to_owned()), ..ConversationChange::default() };
    store.change_conversation(user, conversation_id, change).await.unwrap();
    assert_eq!(log.waits(), before + 2, "a change");
    // What is done by itself doesn't go through the log's waits.
    let transaction = begin(&store.writer).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(pragma(&store.writer, SYNCHRONOUS).await, "2");
}

/// A database as the first release left it, with more conversations and messages than are sealed at once.
async fn write_first_schema(path: &Path, conversations: i64) {
    let options = options().filename(path).journal_mode(SqliteJournalMode::Wal);
    let early = pool(1, options.pragma("secure_delete", "OFF")).await.unwrap();
    let first = MIGRATIONS.iter().next().unwrap().version;
    MIGRATIONS.run_to(first, &early).await.unwrap();
    for statement in [
        "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
         INSERT INTO conversations
         SELECT n, format('00000000-0000-7000-8000-%012x', n), 'Whales' || n, 'm', 'Be brief.', 1, n FROM counted",
        "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
         INSERT INTO messages (number, id, conversation_id, role, status, content, reasoning, error, created_ms)
         SELECT n, format('00000000-0000-7000-9000-%012x', n), format('00000000-0000-7000-8000-%012x', n),
            'assistant', 'failed', 'How deep?' || n || printf('%.*c', n * 20, 'w'), 'Hmmmmm' || n, 'It sank.', 3
         FROM counted",
    ] {
        sqlx::query(statement).bind(conversations).execute(&early).await.unwrap();
    }
    // Rows that grow and move leave copies of themselves behind, without secure_delete above for certain.
    sqlx::query("UPDATE messages SET content = content || content WHERE number % 3 = 0")
        .execute(&early)
        .await
        .unwrap();
    early.close().await;
}

/// Texts of [`write_first_schema`].
const PLAIN: [&str; 5] = ["Whales", "Be brief.", "How deep?", "Hmmmmm", "It sank."];

fn assert_nothing_is_plain(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for text in PLAIN {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "{text:?} in {}", path.display());
        }
    }
}

async fn assert_texts_are_there(store: &SqliteStore, owner: UserId, conversations: i64) {
    for number in [1, conversations] {
        let id = format!("00000000-0000-7000-8000-{number:012x}").parse().unwrap();
        let conversation = store.conversation(owner, id).await.unwrap();
        assert_eq!(conversation.title, format!("Whales{number}"));
        assert_eq!(conversation.system.as_deref(), Some("Be brief."));
        let message = store.messages(owner, id).await.unwrap().remove(0);
        assert!(message.content.starts_with(&format!("How deep?{number}w")), "{}", message.content);
        assert_eq!(message.reasoning, Some(format!("Hmmmmm{number}")));
        assert_eq!(message.error.as_deref(), Some("It sank."));
    }
    let page = store.conversations(owner, PageRequest { limit: 1000, before: None }).await.unwrap();
    assert_eq!(page.conversations.len() as i64, conversations);
}

#[tokio::test]
async fn every_step_of_the_schema_applies_on_the_one_before_and_keeps_its_rows() {
    // Steps are applied one at a time, as releases did; rows written at the first are there after the last.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    write_first_schema(&path, 3).await;
    let early = pool(1, options().filename(&path).journal_mode(SqliteJournalMode::Wal)).await.unwrap();
    for step in MIGRATIONS.iter().skip(1) {
        MIGRATIONS.run_to(step.version, &early).await.unwrap();
    }
    early.close().await;

    let store = open(&path).await.unwrap();
    let owner = first_user(&store).await;
    assert_texts_are_there(&store, owner, 3).await;
    store.check_integrity().await.unwrap();
}

#[tokio::test]
async fn texts_of_the_first_release_are_sealed_and_wait_for_the_first_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    write_first_schema(&path, 250).await;
    let store = open(&path).await.unwrap();
    assert_nothing_is_plain(folder.path());
    let chores: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM chores").fetch_one(&store.readers).await.unwrap();
    assert_eq!(chores, 0);

    // Nobody's yet, also after another start.
    drop(store);
    let store = open(&path).await.unwrap();
    let owner = first_user(&store).await;
    assert_texts_are_there(&store, owner, 250).await;
    drop(store);
    let store = open(&path).await.unwrap();
    assert_texts_are_there(&store, owner, 250).await;
    store.check_integrity().await.unwrap();
    let second = NewUser { first: false, name: "Pip".to_owned(), ..NEW };
    let second = store.add_user(second).await.unwrap().id;
    let page = store.conversations(second, PageRequest { limit: 10, before: None }).await.unwrap();
    assert_eq!(page.conversations, []);
    assert_nothing_is_plain(folder.path());
}

#[tokio::test]
async fn sealing_goes_on_where_it_was_interrupted() {
    // Before the first, among the conversations, among the messages, and when only the traces are left.
    for batches in [0, 1, 4, 5, 8] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chats.db");
        write_first_schema(&path, 250).await;
        let writer = pool(1, options().filename(&path).journal_mode(SqliteJournalMode::Wal)).await.unwrap();
        upgrade::seal_some_texts(&writer, path.with_file_name("master.key"), batches).await.unwrap();
        writer.close().await;

        // The key that it was begun with is as precious as one that users have.
        let master = folder.path().join("master.key");
        let aside = folder.path().join("aside.key");
        std::fs::rename(&master, &aside).unwrap();
        assert!(matches!(open(&path).await, Err(StoreError::KeyMissing { .. })), "after {batches}");
        assert!(!master.exists());
        std::fs::rename(&aside, &master).unwrap();

        let store = open(&path).await.unwrap();
        assert_nothing_is_plain(folder.path());
        let owner = first_user(&store).await;
        assert_texts_are_there(&store, owner, 250).await;
    }
}

#[tokio::test]
async fn a_backup_of_an_earlier_program_is_restored_and_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let (backup, path) = (folder.path().join("backup.db"), folder.path().join("chats.db"));
    write_first_schema(&backup, 250).await;
    let keys = MasterKeys::in_file(folder.path().join("master.key"));
    let restore = Restore::prepare(&path, &backup, &keys).await.unwrap();
    let contents = restore.contents();
    assert_eq!((contents.users, contents.conversations, contents.messages), (0, 250, 250));
    assert_eq!(restore.carry_out("x").await.unwrap(), None);
    std::fs::remove_file(backup).unwrap();
    let store = open(&path).await.unwrap();
    assert_nothing_is_plain(folder.path());
    let owner = first_user(&store).await;
    assert_texts_are_there(&store, owner, 250).await;
}

#[tokio::test]
async fn lists_and_look_ups_walk_an_index() {
    let store = SqliteStore::in_memory(Arc::new(SystemClock::new()), Rng::from_seed(1)).await.unwrap();
    for (query, expected) in [
        (conversations::LIST, "SEARCH conversations USING INDEX conversations_of_owner (owner=? AND "),
        (
            "SELECT COUNT(*) FROM conversations WHERE owner = ?",
            "SEARCH conversations USING COVERING INDEX conversations_of_owner (owner=?)",
        ),
        (users::LIST, "SEARCH users USING INDEX sqlite_autoindex_users_2 (name_key>?)"),
        (sessions::LIST, "SEARCH sessions USING INDEX sessions_of_user (user_id=?)"),
        (sessions::REVOKED, "SEARCH revoked_sessions USING INDEX revoked_sessions_by_time (revoked_ms>?)"),
        (sessions::REVOKE_ELDEST, "SEARCH sessions USING COVERING INDEX sessions_of_user (user_id=?)"),
        (passkeys::LIST, "SEARCH passkeys USING INDEX passkeys_of_user (user_id=?)"),
        (
            passkeys::BY_CREDENTIAL,
            "SEARCH passkeys USING INDEX sqlite_autoindex_passkeys_2 (credential_id=?)",
        ),
        (audit::OF_USER, "SEARCH audit USING INDEX audit_of_user (user_id=?)"),
        (operators::SEARCH, "SEARCH users USING INDEX sqlite_autoindex_users_2 (name_key>?)"),
        (operators::LIVE_SESSIONS, "SEARCH sessions USING COVERING INDEX sessions_by_expiry (expires_ms>?)"),
        (operators::AUDIT_OF_USER, "SEARCH audit USING INDEX audit_of_user (user_id=? AND "),
        (operators::AUDIT_OF_ALL, "SEARCH audit USING INTEGER PRIMARY KEY"),
        (groups::GRANTED, "SEARCH user_groups USING INDEX sqlite_autoindex_user_groups_1 (id=?)"),
        (links::LIST, "SEARCH links USING INDEX links_of_user (user_id=?)"),
        (links::OWNER, "SEARCH links USING INDEX sqlite_autoindex_links_2 (issuer=? AND subject=?)"),
        (users::ADMINISTRATORS, "SCAN users USING INDEX users_who_administer"),
        (archives::IDS, "SEARCH conversations USING COVERING INDEX conversations_of_owner (owner=?)"),
        (search::SCAN, "SEARCH conversations USING INDEX conversations_of_owner (owner=? AND "),
        (search::SCAN, "SEARCH messages USING INDEX messages_of_conversation (conversation_id=?"),
        (
            retention::EXPIRED,
            "SEARCH conversations USING COVERING INDEX conversations_of_owner (owner=? AND updated_ms<?)",
        ),
        (api_keys::LIST, "SEARCH api_keys USING INDEX api_keys_of_user (user_id=?)"),
        (api_keys::COUNT, "SEARCH api_keys USING COVERING INDEX api_keys_of_user (user_id=?)"),
        (api_keys::GOOD, "SEARCH api_keys USING INDEX sqlite_autoindex_api_keys_1 (id=?)"),
        (api_keys::REVOKED, "SEARCH revoked_keys USING INDEX revoked_keys_by_time (revoked_ms>?)"),
        (meter::BALANCE, "SEARCH holds USING COVERING INDEX holds_of_user (user_id=?)"),
        (meter::LEFT_OF_KEY, "SEARCH holds USING COVERING INDEX holds_of_key (key_id=?)"),
        (meter::CREDITS, "SEARCH credits USING INDEX credits_of_user (user_id=? AND number<?)"),
        (usage::PAGE_OF_ALL, "SEARCH usage USING INDEX usage_by_time (at_ms>? AND at_ms<?)"),
        (usage::PAGE_OF_USER, "SEARCH usage USING INDEX usage_of_user (user_id=? AND at_ms>? AND at_ms<?)"),
        (usage::PAGE_OF_KEY, "SEARCH usage USING INDEX usage_of_key (key_id=? AND at_ms>? AND at_ms<?)"),
        (usage::SINCE_OF_ALL, "SEARCH usage_of_all USING PRIMARY KEY (quarter>?)"),
        (usage::SINCE_OF_USER, "SEARCH usage_of_users USING PRIMARY KEY (user_id=? AND quarter>?)"),
        (usage::SINCE_OF_KEY, "SEARCH usage_of_users USING PRIMARY KEY (user_id=? AND quarter>?)"),
        (usage::FORGET, "SEARCH usage USING COVERING INDEX usage_of_user (user_id=?)"),
        (usage::PRUNE, "SEARCH usage USING COVERING INDEX usage_by_time (at_ms<?)"),
        (addresses::SIGN_UP_USED, "SEARCH used_sign_ups USING PRIMARY KEY (address=?)"),
        (
            addresses::FORGET_SIGN_UPS,
            "SEARCH used_sign_ups USING INDEX used_sign_ups_by_expiry (expires_ms<?)",
        ),
        (gate::MOVES, "SCAN gate_moves"),
        (
            gate::FORGET_INVITATIONS,
            "SEARCH used_invitations USING COVERING INDEX used_invitations_by_expiry (expires_ms<?)",
        ),
        (rotation::OLD_USERS, "SEARCH users USING INDEX users_by_key_generation (key_generation<?)"),
    ] {
        let plan = plan(&store, query).await;
        assert!(plan.iter().any(|step| step.starts_with(expected)), "{query}\n{plan:?}");
        assert!(
            !plan.iter().any(|step| step.contains("TEMP B-TREE")),
            "nothing is sorted: {query}\n{plan:?}"
        );
    }
}

/// What is summed is sorted; what is walked for it is what was asked for.
#[tokio::test]
async fn sums_of_usage_walk_only_their_time() {
    let store = SqliteStore::in_memory(Arc::new(SystemClock::new()), Rng::from_seed(1)).await.unwrap();
    for (query, expected) in [
        (usage::SUMS_OF_ALL, "SEARCH usage_of_all USING PRIMARY KEY (quarter>? AND quarter<?)"),
        (
            usage::SUMS_OF_USER,
            "SEARCH usage_of_users USING PRIMARY KEY (user_id=? AND quarter>? AND quarter<?)",
        ),
        (
            usage::SUMS_OF_KEY,
            "SEARCH usage_of_users USING PRIMARY KEY (user_id=? AND quarter>? AND quarter<?)",
        ),
    ] {
        let plan = plan(&store, query).await;
        assert!(plan.iter().any(|step| step == expected), "{query}\n{plan:?}");
    }
}

async fn plan(store: &SqliteStore, query: &'static str) -> Vec<String> {
    let explain: &'static str = format!("EXPLAIN QUERY PLAN {query}").leak();
    let steps: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(explain).fetch_all(&store.readers).await.unwrap();
    steps.into_iter().map(|step| step.3).collect()
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    let store = open(&path).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'the future', 0, TRUE, x'00', 0)")
        .execute(&store.writer)
        .await
        .unwrap();
    store.close().await.unwrap();
    drop(store);
    let error = open(&path).await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema(text) if text.contains("9999")), "{error}");
}

#[tokio::test]
async fn text_that_is_no_database_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.db");
    std::fs::write(
        &path,
        "this is not a database, but it is longer than a header of one hundred bytes".repeat(20),
    )
    .unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Database(_)), "{error}");
}
