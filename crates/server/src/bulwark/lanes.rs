//! In which lane the writes of a request come to the database: that of its caller's class, where callers take turns.
//! However many strangers sign up or are refused at once, a user's message waits for one of their writes, and for one of
//! each other user.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use defence::Class;
use store::{Lane, Place, in_place, place};

use crate::accounts::Standing;
use crate::app::App;

/// Gives each request its lane.
pub(crate) async fn lanes(State(app): State<App>, request: Request, next: Next) -> Response {
    let standing = Standing::noted(request.extensions());
    let place = if app.settings.defence.write_lanes { of(standing) } else { Place::default() };
    in_place(place, next.run(request)).await
}

/// Does work whose writes come in the lane of this class at least.
pub(crate) async fn at_least<F: Future>(class: Class, work: F) -> F::Output {
    let place = place();
    in_place(Place { lane: place.lane.max(of_class(class)), ..place }, work).await
}

fn of(standing: Standing) -> Place {
    // Two of one hash share their turns, no more. Users' ids are the server's choice.
    let mut caller = DefaultHasher::new();
    standing.who.hash(&mut caller);
    Place { lane: of_class(standing.class), caller: caller.finish() }
}

fn of_class(class: Class) -> Lane {
    match class {
        Class::Unknown => Lane::Fourth,
        Class::Guest => Lane::Third,
        Class::New => Lane::Second,
        Class::Established => Lane::First,
    }
}

/// Classes with their lanes' places in what the store counts.
pub(super) fn counted(writes: [u64; 4]) -> impl Iterator<Item = (Class, u64)> {
    Class::ALL.into_iter().map(move |class| {
        let lane = of_class(class);
        let count = Lane::ALL.iter().zip(writes).find(|(other, _)| **other == lane);
        (class, count.map_or(0, |(_, count)| count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_trusted_more_comes_in_a_better_lane() {
        let mut lanes: Vec<_> = Class::ALL.into_iter().map(of_class).collect();
        assert_eq!(lanes, Lane::ALL);
        lanes.sort_unstable();
        assert_eq!(lanes, Lane::ALL);
        // Nobody gets into a worse one by showing something.
        for (has, shows, expected) in [
            (Lane::Fourth, Class::New, Lane::Second),
            (Lane::First, Class::New, Lane::First),
            (Lane::Third, Class::Unknown, Lane::Third),
        ] {
            let found = in_place(Place { lane: has, caller: 7 }, at_least(shows, async { place() })).await;
            assert_eq!(found, Place { lane: expected, caller: 7 }, "{has:?} {shows:?}");
        }
        assert_eq!(
            counted([1, 2, 3, 4]).collect::<Vec<_>>(),
            [(Class::Unknown, 1), (Class::Guest, 2), (Class::New, 3), (Class::Established, 4)]
        );
    }
}
