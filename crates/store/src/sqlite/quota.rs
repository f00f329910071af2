use super::SqliteStore;
use super::users::find as find_user;
use crate::{AnswerTaken, QuotaStore, StoreFuture, UserId};

const HOUR_MS: i64 = 3_600_000;

/// For so many hours after its own an hour's answers count.
const HOURS: i64 = 24;

impl QuotaStore for SqliteStore {
    fn take_answer(&self, user: UserId, per_day: Option<u64>) -> StoreFuture<'_, AnswerTaken> {
        Box::pin(async move {
            let mut transaction = self.write_lightly().await?;
            find_user(&mut transaction, user).await?;
            let hour = self.now_ms().div_euclid(HOUR_MS);
            sqlx::query("DELETE FROM answers_asked WHERE user_id = ? AND hour < ?")
                .bind(user.to_string())
                .bind(hour - HOURS)
                .execute(&mut *transaction)
                .await?;
            if let Some(per_day) = per_day {
                let asked: Vec<(i64, i64)> =
                    sqlx::query_as("SELECT hour, answers FROM answers_asked WHERE user_id = ? ORDER BY hour")
                        .bind(user.to_string())
                        .fetch_all(&mut *transaction)
                        .await?;
                if let Some(used_up) = used_up(&asked, per_day) {
                    return Ok(used_up);
                }
            }
            sqlx::query(
                "INSERT INTO answers_asked (user_id, hour, answers) VALUES (?, ?, 1)
                 ON CONFLICT DO UPDATE SET answers = answers + 1",
            )
            .bind(user.to_string())
            .bind(hour)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(AnswerTaken::Taken { hour })
        })
    }

    fn give_back_answer(&self, user: UserId, hour: i64) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write_lightly().await?;
            sqlx::query(
                "UPDATE answers_asked SET answers = answers - 1 WHERE user_id = ? AND hour = ? AND answers > 0",
            )
            .bind(user.to_string())
            .bind(hour)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(())
        })
    }
}

/// Whether `asked`, answers by the hour, the oldest first, leave no room for one more.
fn used_up(asked: &[(i64, i64)], per_day: u64) -> Option<AnswerTaken> {
    let total: u64 = asked.iter().map(|(_, answers)| answers.unsigned_abs()).sum();
    let mut too_many = (total + 1).checked_sub(per_day).filter(|too_many| *too_many > 0)?;
    for (hour, answers) in asked {
        too_many = too_many.saturating_sub(answers.unsigned_abs());
        if too_many == 0 {
            return Some(AnswerTaken::UsedUp { free_ms: Some((hour + HOURS + 1) * HOUR_MS) });
        }
    }
    // None may ever be asked for.
    Some(AnswerTaken::UsedUp { free_ms: None })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use base::{ManualClock, Rng};

    use super::*;
    use crate::{NewUser, UserRole, UserStore as _};

    #[test]
    fn room_comes_back_with_the_hour_that_makes_it() {
        let check = |asked: &[(i64, i64)], per_day, expected: Option<Option<i64>>| {
            let expected = expected
                .map(|hour| AnswerTaken::UsedUp { free_ms: hour.map(|hour: i64| (hour + 25) * HOUR_MS) });
            assert_eq!(used_up(asked, per_day), expected, "{asked:?} of {per_day}");
        };
        check(&[], 1, None);
        check(&[], 0, Some(None));
        check(&[(5, 2)], 3, None);
        check(&[(5, 2)], 2, Some(Some(5)));
        check(&[(5, 2), (7, 3)], 5, Some(Some(5)));
        // The limit was lowered: two old answers are not enough.
        check(&[(5, 2), (7, 3)], 3, Some(Some(7)));
        check(&[(5, 0), (7, 3)], 3, Some(Some(7)));
        check(&[(5, 2), (7, 3)], 0, Some(None));
    }

    #[tokio::test]
    async fn asking_for_ever_keeps_a_day_of_rows() {
        let clock = Arc::new(ManualClock::new());
        let store = SqliteStore::in_memory(clock.clone(), Rng::from_seed(1)).await.unwrap();
        let first = NewUser {
            name: "Ahab".to_owned(),
            email: None,
            role: UserRole::Admin,
            password_hash: None,
            first: true,
        };
        let user = store.add_user(first).await.unwrap().id;
        for _ in 0..100 {
            clock.advance(Duration::from_mins(31));
            store.take_answer(user, None).await.unwrap();
        }
        let rows: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM answers_asked").fetch_one(&store.readers).await.unwrap();
        assert_eq!(rows, HOURS + 1);
    }
}
