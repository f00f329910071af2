use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use defence::{Challenge, Prefix};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::Peer;
use crate::app::App;
use crate::body;
use crate::gate::Action;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChallengesAsked)]
pub(crate) struct Asked {
    action: Action,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ChallengeGiven)]
pub(crate) struct Given {
    #[schema(value_type = ChallengeShape)]
    challenge: Challenge,
}

/// A proof of work in the form of ALTCHA's second protocol.
#[derive(ToSchema)]
#[schema(as = Challenge)]
#[expect(dead_code, reason = "the document's: the challenge is of the crate that makes it")]
pub(crate) struct ChallengeShape {
    parameters: ParametersShape,
    /// Hexadecimal, over the parameters.
    signature: String,
}

/// A counter is to be found with which the key that is derived begins with `keyPrefix`.
#[derive(ToSchema)]
#[schema(as = ChallengeParameters, rename_all = "camelCase")]
#[expect(dead_code, reason = "see above")]
struct ParametersShape {
    /// `PBKDF2/SHA-256`; its password is the nonce and the counter as four bytes, the highest first.
    algorithm: String,
    /// Iterations.
    cost: u32,
    /// What the challenge is for.
    data: BTreeMap<String, String>,
    /// Unix seconds.
    expires_at: i64,
    /// Bytes.
    key_length: u32,
    /// Hexadecimal digits, as the nonce and the salt are.
    key_prefix: String,
    nonce: String,
    salt: String,
}

/// A challenge to be solved: good for some minutes, once, for this action and from the network that asked for it.
#[utoipa::path(
    post,
    path = "/api/challenges",
    operation_id = "challenge",
    tag = "account",
    request_body = Asked,
    responses((status = 200, body = Given)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    peer: Peer,
    body::Json(asked, _room): body::Json<Asked>,
) -> Json<Given> {
    let (prefix, now) = (Prefix::wide(peer.ip()), app.moment());
    let Asked { action } = asked;
    if action == Action::SignUp {
        // Whoever comes back with the answer is not counted again.
        app.gatehouse.attempted(peer.ip(), now);
    }
    Json(Given { challenge: app.gatehouse.issue(prefix, action, now) })
}
