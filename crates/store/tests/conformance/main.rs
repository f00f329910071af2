//! One suite over the traits, run against every store.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod addresses;
mod conversations;
mod data;
mod factors;
mod gate;
mod groups;
mod keys;
mod links;
mod messages;
mod meter;
mod operators;
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
    people(&fresh).await;
    chats(&fresh).await;
    programs(&fresh).await;
}

/// Who there is, and how they come in.
async fn people<F: Future<Output = Fixture>>(fresh: &impl Fn() -> F) {
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
        factors {
            one_time_codes_come_back_as_they_were_put
            a_step_is_taken_once_and_none_before_it
            a_recovery_code_is_taken_once
            passkeys_come_back_as_they_were_put
            a_credential_is_one_account_s_and_there_are_so_many
            a_counter_that_does_not_go_on_is_refused
            the_last_way_in_stays
            another_s_passkey_is_not_found
            nobody_has_no_factors
            factors_are_cleared_together_and_go_with_their_user
        }
        addresses {
            an_address_is_verified_at_its_time_or_not_at_all
            an_address_changes_once_and_from_the_one_it_was
            an_address_does_not_change_after_the_password_has
            a_password_changes_from_the_one_it_was_and_ends_the_other_sessions
            an_unverified_address_is_verified_in_its_place
            a_password_is_reset_once_and_ends_all_sessions
            a_link_makes_an_account_once
        }
        gate {
            moves_come_back_newest_first
            a_pin_is_kept_until_it_is_taken_away
            an_invitation_is_taken_once
        }
        links {
            a_link_finds_its_user_and_nobody_else
            a_user_comes_with_their_link_or_not_at_all
            links_are_few_and_go_with_their_user
            the_last_way_in_stays
            nobody_removes_another_s_link
        }
    }
}

/// What they have, and what is done with it.
async fn chats<F: Future<Output = Fixture>>(fresh: &impl Fn() -> F) {
    run! { fresh:
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
            what_was_cut_goes_on_in_its_place
            any_text_comes_back_to_the_byte
            another_conversation_s_messages_are_not_found
        }
        data {
            an_archive_comes_back_as_it_was_put
            an_archive_is_added_once_and_whole
            what_is_no_tree_of_questions_and_answers_is_refused
            archives_have_the_capacities_of_conversations
            nobody_s_archives_are_another_s
            a_search_goes_from_the_newest_to_the_end
            a_title_is_found_at_the_newest_message
            large_texts_are_searched_in_small_parts
            nobody_finds_another_s_texts
            settings_come_back_as_they_were_put
            what_expired_is_deleted_and_nothing_else
        }
        owners {
            another_owner_s_rows_are_not_found
            a_stranger_s_conversations_are_as_if_there_were_none
            capacity_is_each_owner_s_own
            progress_of_many_owners_is_saved_together
        }
        groups {
            groups_come_back_as_they_were_put
            changes_of_a_group_touch_only_what_they_name
            names_of_groups_are_no_other_group_s
            everybody_is_in_the_group_of_everybody
            groups_give_together_what_each_gives
            a_group_that_is_gone_gives_nothing
            answers_count_for_a_day_and_come_back_by_the_hour
            an_answer_that_was_not_begun_is_given_back
            deleting_gives_no_answers_back
        }
        operators {
            a_search_finds_names_and_addresses_however_they_are_written
            a_user_comes_with_their_groups_or_not_at_all
            a_search_is_paged
            cards_say_groups_and_when_somebody_was_seen
            a_user_is_changed_whole_or_not_at_all
            an_operator_s_change_keeps_the_last_administrator
            whoever_is_disabled_is_signed_out
            the_audit_log_is_paged_with_names
            sessions_and_bytes_are_counted
        }
        vault {
            a_rotation_wraps_everything_under_a_new_generation
            people_come_and_chats_go_on_while_keys_are_rotated
            one_rotation_at_a_time
        }
        together {
            a_dropped_call_is_done_whole_or_not_at_all
            many_writers_at_once_meet_no_error
            a_user_s_write_does_not_wait_for_all_of_the_strangers
            closed_is_closed
        }
    }
}

/// What programs ask with, and what they pay.
async fn programs<F: Future<Output = Fixture>>(fresh: &impl Fn() -> F) {
    run! { fresh:
        keys {
            keys_come_back_as_they_were_put
            changes_of_a_key_touch_only_what_they_name
            there_are_so_many_keys_and_none_twice
            lists_of_a_key_hold_whole_names
            a_key_is_good_until_it_expires_or_its_user_is_disabled
            a_revoked_key_is_remembered_until_it_would_expire
            keys_of_a_deleted_user_are_remembered
            use_of_keys_never_goes_back
            another_s_key_is_not_found
        }
        meter {
            credit_comes_and_goes_and_is_noted
            what_is_held_is_not_taken_back
            credit_is_listed_in_pages
            what_is_held_is_an_upper_bound
            what_was_granted_is_taken_first
            a_hold_ends_once
            a_key_is_used_for_what_it_may_cost
            a_revoked_key_s_request_is_settled
            what_costs_nothing_is_noted_too
            rows_come_back_as_they_were_put
            rows_are_paged_from_the_newest
            sums_are_by_hour_or_day_where_one_is
            sums_are_over_all_rows
            users_who_used_the_most_come_first
            what_was_used_since_a_time_is_counted_by_the_quarter
            old_rows_go_and_their_sums_stay
            an_answer_ends_with_its_usage_or_not_at_all
            usage_outlives_its_user_and_is_nobody_s
            nobody_has_no_balance
            many_at_once_never_overdraw
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
