use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use defence::registration::PlaceId;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreIdTokenClaims,
    CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreTokenResponse,
    CoreUserInfoClaims,
};
use openidconnect::{
    AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EndUserEmail, EndUserUsername, LocalizedClaim, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge,
    PkceCodeVerifier, RequestTokenError, Scope, StandardErrorResponse, TokenResponse as _,
};
use url::Url;

use super::provider::{Known, chain};
use super::{Journey, Reason, Refusal};
use crate::app::App;

/// Signatures that only the provider can make. `none` and those with a shared secret are not among them.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Longest that a provider may call somebody (`OpenID` Connect Core, section 2).
const SUBJECT_BYTES_MAX: usize = 255;

/// Whom a provider vouches for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Who {
    /// What it will always call them.
    pub(super) subject: String,
    /// Their address, and whether it says that it is theirs.
    pub(super) email: Option<(String, bool)>,
    /// What else it calls them, the best first.
    pub(super) names: Vec<String>,
}

/// Where to send the browser, and what it is to keep.
pub(crate) async fn begin(
    app: &App,
    known: &Arc<Known>,
    next: String,
    link: Option<[u8; 16]>,
    place: Option<PlaceId>,
) -> Result<(Url, Journey), Refusal> {
    let secret = || URL_SAFE_NO_PAD.encode(app.random_bytes::<32>());
    let journey = Journey {
        provider: known.settings.id.clone(),
        state: secret(),
        nonce: secret(),
        verifier: secret(),
        next,
        link,
        place: place.map(|place| place.0),
    };
    let now = app.clock.monotonic();
    in_turn(app, known, move |known| {
        let (metadata, _) = known.metadata(now, None)?;
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(journey.verifier.clone()));
        let client = CoreClient::from_provider_metadata(
            CoreProviderMetadata::clone(&metadata),
            ClientId::new(known.settings.client_id.clone()),
            None,
        );
        let (state, nonce) = (CsrfToken::new(journey.state.clone()), Nonce::new(journey.nonce.clone()));
        let (url, ..) = client
            .set_redirect_uri(known.callback.clone())
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .add_scope(Scope::new("profile".to_owned()))
            .add_scope(Scope::new("email".to_owned()))
            .set_pkce_challenge(challenge)
            .url();
        // The browser is sent where the provider says, but to no file and no script.
        let allowed = url.scheme() == "https" || (known.settings.private && url.scheme() == "http");
        if allowed {
            Ok((url, journey))
        } else {
            Err(Reason::from("its authorization endpoint is not at https"))
        }
    })
    .await
}

/// Whom the provider vouches for, by the code that the browser brought back.
pub(crate) async fn finish(
    app: &App,
    known: &Arc<Known>,
    journey: Journey,
    code: String,
    answered_by: Option<String>,
) -> Result<Who, Refusal> {
    let (now, unix_ms) = (app.clock.monotonic(), app.clock.unix_ms());
    in_turn(app, known, move |known| {
        let (metadata, asked_at) = known.metadata(now, None)?;
        if answered_by.is_some_and(|issuer| issuer != metadata.issuer().as_str()) {
            return Err(Reason::from("another issuer answered"));
        }
        let tokens = exchange(known, &metadata, code, journey.verifier)?;
        let id_token = tokens.id_token().ok_or_else(|| Reason::from("it gave no id_token"))?;
        let nonce = Nonce::new(journey.nonce);
        let verifier = verifier(known, &metadata, unix_ms);
        let claims = match id_token.claims(&verifier, &nonce) {
            // A key that was not there when it was asked: it may be new.
            Err(ClaimsVerificationError::SignatureVerification(_)) if asked_at < now => {
                let (metadata, _) = known.metadata(now, Some(asked_at))?;
                let verifier = self::verifier(known, &metadata, unix_ms);
                check_token(&tokens, id_token, &verifier, &nonce)?
            }
            _ => check_token(&tokens, id_token, &verifier, &nonce)?,
        };
        who(known, &metadata, &tokens, claims)
    })
    .await
}

/// Runs `work`, which asks a provider and so blocks, when it has its turn. If as many wait as may, it is refused.
async fn in_turn<T: Send + 'static>(
    app: &App,
    known: &Arc<Known>,
    work: impl FnOnce(&Known) -> Result<T, Reason> + Send + 'static,
) -> Result<T, Refusal> {
    let id = known.settings.id.clone();
    let Some(turn) = known.turns.take().await else {
        tracing::warn!(provider = id, "a login by a provider was refused, as too many wait for it");
        return Err(Refusal::Failed);
    };
    let known = Arc::clone(known);
    let done = app.blocking(move || {
        // Given back when the work is done, even if whoever asked for it has gone.
        let _turn = turn;
        work(&known)
    });
    // Logged here and not on that thread, so that it stands with the request that it belongs to.
    let reason = match done.await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(reason)) => reason,
        Err(_) => Reason::from("the thread that asked it panicked"),
    };
    tracing::warn!(provider = id, reason = &*reason, "a login by a provider failed");
    Err(Refusal::Failed)
}

/// Gives the code for tokens.
fn exchange(
    known: &Known,
    metadata: &CoreProviderMetadata,
    code: String,
    verifier: String,
) -> Result<CoreTokenResponse, Reason> {
    let secret = known.settings.client_secret.clone().map(ClientSecret::new);
    let client_id = ClientId::new(known.settings.client_id.clone());
    let client = CoreClient::from_provider_metadata(metadata.clone(), client_id, secret)
        .set_redirect_uri(known.callback.clone())
        .set_auth_type(auth_type(metadata));
    let request = client
        .exchange_code(AuthorizationCode::new(code))
        .map_err(|_| Reason::from("it has no token endpoint"))?
        .set_pkce_verifier(PkceCodeVerifier::new(verifier));
    request.request(&|request| known.client.ask(request)).map_err(|error| match error {
        RequestTokenError::ServerResponse(response) => refused_code(&response),
        RequestTokenError::Request(error) => {
            Reason::from(format!("its token endpoint could not be asked: {}", chain(&error)))
        }
        _ => Reason::from("what its token endpoint answered could not be read"),
    })
}

fn refused_code<T: openidconnect::ErrorResponseType + 'static>(
    response: &StandardErrorResponse<T>,
) -> Reason {
    // A word of RFC 6749, or one that the provider made up.
    let word: String = format!("{:?}", response.error()).chars().take(50).collect();
    Reason::from(format!("its token endpoint refused the code: {word}"))
}

/// How the client says who it is: with the method that every provider must know, unless this one says otherwise.
fn auth_type(metadata: &CoreProviderMetadata) -> AuthType {
    let methods = metadata.token_endpoint_auth_methods_supported();
    let only_in_body = methods.is_some_and(|methods| {
        !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
            && methods.contains(&CoreClientAuthMethod::ClientSecretPost)
    });
    if only_in_body { AuthType::RequestBody } else { AuthType::BasicAuth }
}

fn verifier(known: &Known, metadata: &CoreProviderMetadata, unix_ms: i64) -> CoreIdTokenVerifier<'static> {
    let now = UNIX_EPOCH + Duration::from_millis(unix_ms.unsigned_abs());
    let client_id = ClientId::new(known.settings.client_id.clone());
    CoreIdTokenVerifier::new_public_client(client_id, metadata.issuer().clone(), metadata.jwks().clone())
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || now.into())
}

/// Checks the signature, issuer, audience, time and nonce, and that the access token belongs to it.
fn check_token<'a>(
    tokens: &CoreTokenResponse,
    id_token: &'a CoreIdToken,
    verifier: &CoreIdTokenVerifier<'_>,
    nonce: &Nonce,
) -> Result<&'a CoreIdTokenClaims, Reason> {
    let claims = id_token.claims(verifier, nonce).map_err(|error| {
        let reason = match error {
            ClaimsVerificationError::Expired(_) => "its id_token has expired",
            ClaimsVerificationError::InvalidAudience(_) => "its id_token is for somebody else",
            ClaimsVerificationError::InvalidIssuer(_) => "its id_token is of another issuer",
            ClaimsVerificationError::InvalidNonce(_) => "its id_token answers another request",
            ClaimsVerificationError::SignatureVerification(_) => "the signature of its id_token is not good",
            _ => "its id_token is not good",
        };
        Reason::from(reason)
    })?;
    if let Some(expected) = claims.access_token_hash() {
        let hash = id_token.signing_alg().ok().zip(id_token.signing_key(verifier).ok()).and_then(
            |(algorithm, key)| AccessTokenHash::from_token(tokens.access_token(), algorithm, key).ok(),
        );
        if hash.as_ref() != Some(expected) {
            return Err(Reason::from("its access token does not belong to its id_token"));
        }
    }
    Ok(claims)
}

/// What is to be known of somebody. What the `id_token` does not say, the userinfo endpoint may.
fn who(
    known: &Known,
    metadata: &CoreProviderMetadata,
    tokens: &CoreTokenResponse,
    claims: &CoreIdTokenClaims,
) -> Result<Who, Reason> {
    let subject = claims.subject().to_string();
    if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX {
        return Err(Reason::from("what it calls them is empty or too long"));
    }
    let mut who = Who {
        subject,
        email: email(claims.email(), claims.email_verified()),
        names: names(claims.preferred_username(), claims.name()),
    };
    if (who.email.is_none() || who.names.is_empty()) && metadata.userinfo_endpoint().is_some() {
        let more = user_info(known, metadata, tokens, claims)?;
        who.email = who.email.or_else(|| email(more.email(), more.email_verified()));
        who.names.extend(names(more.preferred_username(), more.name()));
    }
    let local = who.email.as_ref().map(|(email, _)| email.clone());
    who.names.extend(local);
    Ok(who)
}

fn email(email: Option<&EndUserEmail>, verified: Option<bool>) -> Option<(String, bool)> {
    email.map(|email| (email.to_string(), verified == Some(true)))
}

fn names(
    username: Option<&EndUserUsername>,
    name: Option<&LocalizedClaim<openidconnect::EndUserName>>,
) -> Vec<String> {
    let name = name.and_then(|name| name.iter().next()).map(|(_, name)| name.to_string());
    username.map(|username| username.to_string()).into_iter().chain(name).collect()
}

fn user_info(
    known: &Known,
    metadata: &CoreProviderMetadata,
    tokens: &CoreTokenResponse,
    claims: &CoreIdTokenClaims,
) -> Result<CoreUserInfoClaims, Reason> {
    let client_id = ClientId::new(known.settings.client_id.clone());
    let client = CoreClient::from_provider_metadata(metadata.clone(), client_id, None);
    let request = client
        .user_info(tokens.access_token().clone(), Some(claims.subject().clone()))
        .map_err(|_| Reason::from("it has no userinfo endpoint"))?;
    request
        .request(&|request| known.client.ask(request))
        .map_err(|_| Reason::from("its userinfo endpoint did not answer as it must"))
}
