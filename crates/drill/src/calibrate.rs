//! What the server can serve when nobody attacks it: the measure of an attack's strength.

use std::time::Duration;

use serde::Serialize;

use crate::http::Connection;
use crate::people::{World, hold_chat};
use crate::schedule::Phase;

/// How long requests are asked for.
const REQUESTS_FOR: Duration = Duration::from_millis(700);
/// How long chats are begun.
const CHATS_FOR: Duration = Duration::from_millis(1500);
/// Users who ask at once.
const TOGETHER: usize = 8;

/// What was measured, and what was declared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    /// Small requests of established users, from eight connections.
    pub requests_per_second: f64,
    /// Hashes of passwords, with all that an account takes.
    pub hashes_per_second: f64,
    /// Chats of established users, eight at once.
    pub chats_per_second: f64,
    /// Connections at once, as the server's settings say.
    pub connections: u64,
}

impl Capacity {
    /// For the line of progress.
    pub(crate) fn in_words(&self) -> String {
        let Self { requests_per_second, hashes_per_second, chats_per_second, connections } = self;
        format!(
            "{requests_per_second:.0} requests/s, {hashes_per_second:.0} password hashes/s, {chats_per_second:.1} \
             chats/s, {connections} connections"
        )
    }
}

/// Asks as fast as answers come.
pub(crate) async fn calibrate(world: &World, connections: u64) -> Capacity {
    let requests_per_second = requests(world).await;
    let chats_per_second = chats(world).await;
    Capacity {
        requests_per_second,
        hashes_per_second: world.accounts.made_per_second,
        chats_per_second,
        connections,
    }
}

async fn requests(world: &World) -> f64 {
    let until = world.timer.now() + REQUESTS_FOR;
    let ask = |place: usize| {
        let world = world.clone();
        async move {
            let user = &world.accounts.established[place % world.accounts.established.len()];
            let mut answered = 0_u64;
            let Ok(mut connection) = Connection::open(&world.target, user.address).await else {
                return answered;
            };
            while world.timer.now() < until {
                match connection.ask("GET", "/api/session", &user.pass, None).await {
                    Ok(answer) if answer.status == 200 => answered += 1,
                    _ => break,
                }
            }
            answered
        }
    };
    let tasks: Vec<_> = (0..TOGETHER).map(|place| tokio::spawn(ask(place))).collect();
    let mut answered = 0;
    for task in tasks {
        answered += task.await.unwrap_or_default();
    }
    // At least one a second, so that a strength is a multiple of something.
    (answered as f64 / REQUESTS_FOR.as_secs_f64()).max(1.0)
}

async fn chats(world: &World) -> f64 {
    let began = world.timer.now();
    let talk = |place: usize| {
        let world = world.clone();
        async move {
            // Those with keys, whose answers are as long as was asked for.
            let user = world.accounts.established.len().saturating_sub(1 + place);
            let mut held = 0_u64;
            while world.timer.now() < began + CHATS_FOR {
                let question = (place as u64) << 52 | held << 44;
                hold_chat(&world, user, question, Phase::Calm, world.timer.now()).await;
                held += 1;
            }
            held
        }
    };
    let tasks: Vec<_> = (0..TOGETHER).map(|place| tokio::spawn(talk(place))).collect();
    let mut held = 0;
    for task in tasks {
        held += task.await.unwrap_or_default();
    }
    (held as f64 / (world.timer.now() - began).as_secs_f64()).max(0.1)
}
