//! One suite over the traits, run against every store.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod conversations;
mod messages;
mod owners;
mod sessions;
mod support;
mod together;
mod users;
mod vault;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use base::{ManualClock, Rng};
use store::{MasterKeys, SqliteStore};
use support::Fixture;

/// Runs each function over a fixture of its own.
macro_rules! run {
    ($fresh:ident: $($module:ident { $($function:ident)+ })+) => {
        $($($module::$function(&$fresh().await).await;)+)+
    };
}

/// Everything that a store must do. Each part gets a store of its own.
async fn suite<F: Future<Output = Fixture>>(fresh: impl Fn() -> F) {
    run! { fresh:
        users {
            the_first_user_is_an_administrator_and_said_to_be
            users_come_back_as_they_were_put
            names_and_addresses_are_nobody_else_s
            a_login_finds_its_user_however_it_is_written
            the_list_of_users_is_paged_by_name
            fields_of_a_user_change_alone
            a_user_who_is_not_there_is_not_found
            the_last_administrator_stays
            deletion_takes_everything_of_a_user
            entries_of_the_audit_come_back_newest_first
        }
        sessions {
            sessions_come_back_as_they_were_put
            what_strangers_send_is_cut
            the_session_seen_longest_ago_makes_room
            sessions_expire
            seen_times_never_go_back
            a_revoked_session_is_remembered_until_it_would_expire
            all_sessions_but_one_are_revoked
            nobody_ends_another_s_session
            the_disabled_are_signed_out_and_stay_out
            those_of_a_deleted_user_are_remembered
        }
        conversations {
            conversations_come_back_as_they_were_put
            changes_touch_only_what_they_name
            the_list_is_paged_and_the_last_written_comes_first
            capacities_hold
            deletion_takes_the_whole_tree
        }
        messages {
            a_turn_is_two_messages_and_a_title
            parents_are_checked
            branches_are_paths
            another_answer_is_a_sibling
            progress_and_end_of_an_answer
            any_text_comes_back_to_the_byte
            another_conversation_s_messages_are_not_found
        }
        owners {
            another_owner_s_rows_are_not_found
            a_stranger_s_conversations_are_as_if_there_were_none
            capacity_is_each_owner_s_own
            progress_of_many_owners_is_saved_together
        }
        vault {
            a_rotation_wraps_everything_under_a_new_generation
            people_come_and_chats_go_on_while_keys_are_rotated
            one_rotation_at_a_time
        }
        together {
            a_dropped_call_is_done_whole_or_not_at_all
            many_writers_at_once_meet_no_error
            closed_is_closed
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    suite(|| {
        count.set(count.get() + 1);
        open_file(folder.path(), count.get())
    })
    .await;
}

async fn open_file(folder: &Path, number: usize) -> Fixture {
    let clock = Arc::new(ManualClock::new());
    let path = folder.join(format!("{number}.db"));
    let keys = MasterKeys::in_file(folder.join(format!("{number}.key")));
    let store = SqliteStore::open(&path, keys, clock.clone(), Rng::from_seed(3)).await.unwrap();
    Fixture::new(Arc::new(store), clock).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_in_memory() {
    suite(async || {
        let clock = Arc::new(ManualClock::new());
        let store = SqliteStore::in_memory(clock.clone(), Rng::from_seed(3)).await.unwrap();
        Fixture::new(Arc::new(store), clock).await
    })
    .await;
}

/// What holds of a store that has no users yet.
#[tokio::test]
async fn nobody_comes_before_the_first_user() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new());
    let keys = MasterKeys::in_file(folder.path().join("master.key"));
    let path = folder.path().join("chats.db");
    let in_file = SqliteStore::open(&path, keys, clock.clone(), Rng::from_seed(3)).await.unwrap();
    let in_memory = SqliteStore::in_memory(clock, Rng::from_seed(3)).await.unwrap();
    for store in [in_file, in_memory] {
        users::nobody_comes_before_the_first_user(&store).await;
    }
}
