//! In which lane the writes of a request come to the database: that of its caller's class. However many strangers sign
//! up or are refused at once, a user's message waits for one of their writes.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use defence::Class;
use store::{Lane, in_lane, lane};

use crate::accounts::Standing;
use crate::app::App;

/// Gives each request its lane.
pub(crate) async fn lanes(State(app): State<App>, request: Request, next: Next) -> Response {
    let class = Standing::noted(request.extensions()).class;
    let lane = if app.settings.defence.write_lanes { of_class(class) } else { Lane::First };
    in_lane(lane, next.run(request)).await
}

/// Does work whose writes come in the lane of this class at least.
pub(crate) async fn at_least<F: Future>(class: Class, work: F) -> F::Output {
    in_lane(lane().max(of_class(class)), work).await
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
            let found = in_lane(has, at_least(shows, async { lane() })).await;
            assert_eq!(found, expected, "{has:?} {shows:?}");
        }
        assert_eq!(
            counted([1, 2, 3, 4]).collect::<Vec<_>>(),
            [(Class::Unknown, 1), (Class::Guest, 2), (Class::New, 3), (Class::Established, 4)]
        );
    }
}
