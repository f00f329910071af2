//! Everybody comes when the schedule says, whatever became of those before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::Rng;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::accounts::{self, Accounts};
use super::chat::hold_chat;
use crate::address;
use crate::challenge::Challenge;
use crate::http::{Answer, Connection, Pass, Trouble};
use crate::plan::Plan;
use crate::record::{End, Got, Login, Recorder, SignUp};
use crate::schedule::{Arrival, Errand, Phase};
use crate::target::Target;
use crate::timer::Timer;

/// Numbers that newcomers' addresses go by.
const NEWCOMERS_FROM: usize = 4000;
/// The status of an answer that asks for proof of work first.
const CHALLENGED: u16 = 428;
/// How long somebody waits who is told to come back and not when.
const COME_BACK: Duration = Duration::from_secs(1);

/// What everybody in a drill shares.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) target: Target,
    pub(crate) plan: Arc<Plan>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) timer: Timer,
    pub(crate) recorder: Recorder,
    /// Visits so far, for addresses where nobody was before.
    pub(crate) visits: Arc<AtomicUsize>,
}

/// Lets everybody come, and returns when the last is there; the visits go on.
pub(crate) async fn receive(
    world: &World,
    phase: Phase,
    began: Duration,
    arrivals: Vec<Arrival>,
    visits: &mut JoinSet<()>,
) {
    for Arrival { at, errand } in arrivals {
        let at = began + at;
        world.timer.sleep_until(at).await;
        visits.spawn(visit(world.clone(), phase, at, errand));
        while visits.try_join_next().is_some() {}
    }
}

async fn visit(world: World, phase: Phase, at: Duration, errand: Errand) {
    match errand {
        Errand::Chat { user, question } => {
            let chat = hold_chat(&world, user, question, phase, at).await;
            world.recorder.note(|records| records.chats.push(chat));
        }
        Errand::Login { user } => {
            let login = log_in(&world, user, phase, at).await;
            world.recorder.note(|records| records.logins.push(login));
        }
        Errand::SignUp { number } => {
            let sign_up = sign_up(&world, number, phase, at).await;
            world.recorder.note(|records| records.sign_ups.push(sign_up));
        }
    }
}

async fn log_in(world: &World, user: usize, phase: Phase, at: Duration) -> Login {
    let user = &world.accounts.returning[user % world.accounts.returning.len()];
    let from = accounts::new_address(world.visits.fetch_add(1, Ordering::Relaxed));
    let body = json!({"login": user.name, "password": user.password});
    let limit = (at + world.plan.targets.newcomer).saturating_sub(world.timer.now());
    let work = ask_to_come_in(world, from, body);
    let end = match timeout(limit, work).await {
        Ok(Ok(answer)) if answer.status == 200 && answer.cookie.is_some() => End::Done,
        Ok(Ok(answer)) => End::of_answer(&answer),
        Ok(Err(trouble)) => End::of_trouble(&trouble),
        Err(_) => End::GaveUp,
    };
    Login { phase, at, waited: world.timer.now().saturating_sub(at), end }
}

/// The answer to a login; to a second one, if the first was that a challenge is to be solved.
async fn ask_to_come_in(
    world: &World,
    from: std::net::Ipv4Addr,
    mut body: serde_json::Value,
) -> Result<Answer, Trouble> {
    loop {
        let answer = log_in_again(world, from, &body).await?;
        let challenge = Challenge::find(&answer.body)
            .filter(|_| answer.status == CHALLENGED && body.get("challenge").is_none());
        let Some(challenge) = challenge else { return Ok(answer) };
        let Some(solution) = challenge.solve_as_browser().await else { return Ok(answer) };
        body["challenge"] = json!(solution);
    }
}

/// As the page does: asks again where nobody answers, for a moment.
async fn log_in_again(
    world: &World,
    from: std::net::Ipv4Addr,
    body: &serde_json::Value,
) -> Result<Answer, Trouble> {
    const TRIES_MAX: u32 = 3;
    let mut tries = 1;
    loop {
        match post(world, from, "/api/login", body).await {
            Err(_) if tries < TRIES_MAX => tries += 1,
            answered => return answered,
        }
        tokio::time::sleep(COME_BACK).await;
    }
}

/// Somebody honest: solves what a browser is given to solve, in a browser's time, comes back when told to, and takes a
/// place in the queue.
async fn sign_up(world: &World, number: u64, phase: Phase, at: Duration) -> SignUp {
    let from = address::of_person(NEWCOMERS_FROM + world.visits.fetch_add(1, Ordering::Relaxed));
    let limit = (at + world.plan.targets.newcomer).saturating_sub(world.timer.now());
    let (mut challenges, mut last) = (0, End::GaveUp);
    let (count, end) = (&mut challenges, &mut last);
    let work = async {
        let mut rng = Rng::from_seed(number);
        let name = format!("{}-newcomer-{number:x}", world.accounts.prefix);
        let mut body = json!({"name": name, "password": accounts::password(&mut rng)});
        loop {
            match post(world, from, "/api/sign-up", &body).await {
                Ok(answer) if answer.status == 201 => return Got::Account,
                Ok(answer) if answer.body["waiting"]["place"].is_string() => return Got::Place,
                Ok(answer) if answer.status == 202 => return Got::Letter,
                Ok(answer) => {
                    *end = End::of_answer(&answer);
                    if let Some(challenge) = Challenge::find(&answer.body) {
                        *count += 1;
                        match challenge.solve_as_browser().await {
                            Some(solution) => body["challenge"] = json!(solution),
                            None => return Got::Nothing(end.clone()),
                        }
                    } else if matches!(answer.status, 429 | 503) {
                        tokio::time::sleep(answer.retry_after.unwrap_or(COME_BACK)).await;
                    } else {
                        return Got::Nothing(end.clone());
                    }
                }
                Err(trouble) => {
                    *end = End::of_trouble(&trouble);
                    tokio::time::sleep(COME_BACK).await;
                }
            }
        }
    };
    let got = timeout(limit, work).await.unwrap_or(Got::Nothing(last));
    SignUp { phase, at, waited: world.timer.now().saturating_sub(at), challenges, got }
}

/// What a stranger is answered who asks over a connection of their own.
async fn post(
    world: &World,
    from: std::net::Ipv4Addr,
    path: &str,
    body: &serde_json::Value,
) -> Result<Answer, Trouble> {
    let mut connection = Connection::open(&world.target, from).await?;
    connection.ask("POST", path, &Pass::None, Some(body)).await
}
