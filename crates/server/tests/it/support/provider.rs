//! An `OpenID` provider, honest unless told otherwise.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey as RsaSigningKey;
use rsa::signature::SignatureEncoding as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use server::{Provider, Settings};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{Client, PUBLIC_URL, Reply, Setup};

pub(crate) const CLIENT_SECRET: &str = "the secret between the chat and acme";

/// What is wrong with the provider's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Wrong {
    #[default]
    Nothing,
    Nonce,
    Audience,
    /// Ours and another.
    TwoAudiences,
    Issuer,
    Expired,
    /// Signed by a key that is not published.
    Key,
    Unsigned,
    /// Signed with the secret, of which not only the provider knows.
    SharedSecret,
    /// The secret's place is taken by the public key.
    PublicKeyAsSecret,
    NoIdToken,
    /// The access token is another.
    AccessToken,
    NoSubject,
    LongSubject,
    NotJson,
    TooLarge,
    /// They said no.
    Denied,
    ServerError,
}

impl Wrong {
    /// Everything that is wrong with tokens.
    pub(crate) const TOKENS: [Self; 15] = [
        Self::Nonce,
        Self::Audience,
        Self::TwoAudiences,
        Self::Issuer,
        Self::Expired,
        Self::Key,
        Self::Unsigned,
        Self::SharedSecret,
        Self::PublicKeyAsSecret,
        Self::NoIdToken,
        Self::AccessToken,
        Self::NoSubject,
        Self::LongSubject,
        Self::NotJson,
        Self::TooLarge,
    ];
}

/// What it does and whom it vouches for.
pub(crate) struct Behaviour {
    pub(crate) wrong: Wrong,
    pub(crate) subject: String,
    /// The other claims.
    pub(crate) claims: Value,
    /// Whether those are at the userinfo endpoint instead of in the token.
    pub(crate) userinfo: bool,
    key: SigningKey,
    key_name: String,
    /// Signs instead, by RS256, where there is one.
    pub(crate) rsa: Option<RsaPrivateKey>,
    grants: HashMap<String, Grant>,
    /// Requests by path.
    pub(crate) asked: HashMap<String, usize>,
    /// Codes and tokens that it gave.
    pub(crate) secrets: Vec<String>,
}

struct Grant {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

#[derive(Clone)]
pub(crate) struct Acme {
    pub(crate) address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn rsa_key() -> RsaPrivateKey {
    RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap()
}

impl Acme {
    pub(crate) async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behaviour = Behaviour {
            wrong: Wrong::Nothing,
            subject: "1001".to_owned(),
            claims: json!({
                "email": "ada@acme.example", "email_verified": true, "preferred_username": "ada", "name": "Ada Lovelace",
            }),
            userinfo: false,
            key: key(7),
            key_name: "first".to_owned(),
            rsa: None,
            grants: HashMap::new(),
            asked: HashMap::new(),
            secrets: Vec::new(),
        };
        let acme =
            Self { address: listener.local_addr().unwrap(), behaviour: Arc::new(Mutex::new(behaviour)) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/keys", get(keys))
            .route("/userinfo", get(userinfo))
            .with_state(acme.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        acme
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap()
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.lock().asked.get(path).copied().unwrap_or(0)
    }

    /// Signs with another key from now on.
    pub(crate) fn rotate(&self) {
        let mut behaviour = self.lock();
        behaviour.key = key(8);
        "second".clone_into(&mut behaviour.key_name);
    }

    /// Signs by RS256 from now on, as most providers do.
    pub(crate) fn sign_by_rsa(&self) {
        self.lock().rsa = Some(rsa_key());
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As a server knows it.
    pub(crate) fn provider(&self) -> Provider {
        Provider {
            id: "acme".to_owned(),
            name: "Acme Corp.".to_owned(),
            issuer: Url::parse(&self.issuer()).unwrap(),
            client_id: "cachalot".to_owned(),
            client_secret: Some(CLIENT_SECRET.to_owned()),
            creates_accounts: true,
            email_domains: Vec::new(),
            private: true,
        }
    }

    /// A server that knows it.
    pub(crate) fn setup(&self, change: impl FnOnce(&mut Settings)) -> Setup {
        Setup::with(|settings| {
            settings.public_url = Some(Url::parse(PUBLIC_URL).unwrap());
            settings.providers = vec![self.provider()];
            change(settings);
        })
    }

    /// Where the provider sends a browser that was sent to it: path and query of ours.
    pub(crate) async fn visit(&self, sent: &Reply) -> String {
        assert_eq!(sent.status, 303, "{}", sent.text());
        let location = sent.header("location");
        let path = location.strip_prefix(&self.issuer()).unwrap_or_else(|| panic!("sent to {location}"));
        let reply = Client::new(self.address).get(path).await;
        assert_eq!(reply.status, 303, "{}", reply.text());
        let back = reply.header("location").strip_prefix(PUBLIC_URL).expect("a page of ours");
        back.to_owned()
    }

    fn count(&self, path: &str) {
        *self.lock().asked.entry(path.to_owned()).or_default() += 1;
    }
}

async fn discovery(State(acme): State<Acme>) -> axum::Json<Value> {
    acme.count("discovery");
    let issuer = acme.issuer();
    axum::Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        // What it says of itself must not widen what is believed.
        "id_token_signing_alg_values_supported": ["ES256", "RS256", "HS256", "none"],
    }))
}

async fn authorize(State(acme): State<Acme>, Query(asked): Query<HashMap<String, String>>) -> Redirect {
    let value = |name: &str| asked.get(name).unwrap_or_else(|| panic!("{name} in {asked:?}")).clone();
    assert_eq!((value("response_type"), value("client_id")), ("code".to_owned(), "cachalot".to_owned()));
    assert_eq!(value("code_challenge_method"), "S256");
    assert!(value("scope").split(' ').any(|scope| scope == "openid"));
    let redirect_uri = value("redirect_uri");
    let mut back = Url::parse(&redirect_uri).unwrap();
    back.query_pairs_mut().append_pair("state", &value("state"));
    let mut behaviour = acme.lock();
    match behaviour.wrong {
        Wrong::Denied => drop(back.query_pairs_mut().append_pair("error", "access_denied")),
        Wrong::ServerError => drop(back.query_pairs_mut().append_pair("error", "server_error")),
        _ => {
            let code = format!("code-{}-of-acme", behaviour.secrets.len());
            behaviour.secrets.push(code.clone());
            let grant = Grant { nonce: value("nonce"), challenge: value("code_challenge"), redirect_uri };
            behaviour.grants.insert(code.clone(), grant);
            back.query_pairs_mut().append_pair("code", &code);
        }
    }
    Redirect::to(back.as_str())
}

async fn token(State(acme): State<Acme>, headers: HeaderMap, body: String) -> Response {
    acme.count("token");
    let asked: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes())
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let issuer = acme.issuer();
    let mut behaviour = acme.lock();
    let secret: String = url::form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect();
    let expected = format!("Basic {}", STANDARD.encode(format!("cachalot:{secret}")));
    if headers.get(header::AUTHORIZATION).is_none_or(|given| given.to_str().unwrap() != expected) {
        return (StatusCode::UNAUTHORIZED, axum::Json(json!({"error": "invalid_client"}))).into_response();
    }
    // Good once.
    let grant = asked.get("code").and_then(|code| behaviour.grants.remove(code));
    let refused = || (StatusCode::BAD_REQUEST, axum::Json(json!({"error": "invalid_grant"}))).into_response();
    let Some(grant) = grant else { return refused() };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&asked["code_verifier"]));
    if asked["grant_type"] != "authorization_code"
        || asked["redirect_uri"] != grant.redirect_uri
        || challenge != grant.challenge
    {
        return refused();
    }
    let access_token = format!("token-{}-of-acme", behaviour.secrets.len());
    behaviour.secrets.push(access_token.clone());
    match behaviour.wrong {
        Wrong::NotJson => return "<html>".into_response(),
        Wrong::TooLarge => return vec![b' '; (1 << 20) + 1].into_response(),
        _ => {}
    }
    let mut answer = json!({"access_token": access_token, "token_type": "Bearer", "expires_in": 60});
    if behaviour.wrong != Wrong::NoIdToken {
        answer["id_token"] = json!(id_token(&behaviour, &issuer, &grant, &access_token));
    }
    axum::Json(answer).into_response()
}

fn id_token(behaviour: &Behaviour, issuer: &str, grant: &Grant, access_token: &str) -> String {
    let wrong = behaviour.wrong;
    let or = |is: Wrong, wrong_value: Value, value: Value| if wrong == is { wrong_value } else { value };
    let half = |token: &str| json!(URL_SAFE_NO_PAD.encode(&Sha256::digest(token)[..16]));
    let audience = or(Wrong::TwoAudiences, json!(["cachalot", "another"]), json!("cachalot"));
    let subject = or(Wrong::NoSubject, json!(""), json!(behaviour.subject));
    let mut claims = json!({
        "iss": or(Wrong::Issuer, json!("https://other.example"), json!(issuer)),
        "aud": or(Wrong::Audience, json!("another"), audience),
        "sub": or(Wrong::LongSubject, json!("a".repeat(256)), subject),
        "iat": 0,
        // The clocks of the servers that it is for begin at 0.
        "exp": or(Wrong::Expired, json!(0), json!(3600)),
        "nonce": or(Wrong::Nonce, json!("another"), json!(grant.nonce)),
        "at_hash": or(Wrong::AccessToken, half("another"), half(access_token)),
    });
    if !behaviour.userinfo {
        let more = behaviour.claims.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
    }
    let algorithm = match wrong {
        Wrong::Unsigned => "none",
        Wrong::SharedSecret | Wrong::PublicKeyAsSecret => "HS256",
        _ if behaviour.rsa.is_some() => "RS256",
        _ => "ES256",
    };
    let key_name = if algorithm == "RS256" { "rsa" } else { &behaviour.key_name };
    let head = json!({"alg": algorithm, "kid": key_name, "typ": "JWT"});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap());
    let signed = format!("{}.{}", part(&head), part(&claims));
    let mac = |secret: &[u8]| {
        let mac = <Hmac<Sha256>>::new_from_slice(secret).unwrap().chain_update(&signed);
        mac.finalize().into_bytes().to_vec()
    };
    let sign = |key: &SigningKey| {
        let signature: Signature = key.sign(signed.as_bytes());
        signature.to_bytes().to_vec()
    };
    let sign_rsa = |key: &RsaPrivateKey| {
        RsaSigningKey::<rsa::sha2::Sha256>::new(key.clone()).sign(signed.as_bytes()).to_vec()
    };
    let signature = match wrong {
        Wrong::Unsigned => Vec::new(),
        Wrong::SharedSecret => mac(CLIENT_SECRET.as_bytes()),
        Wrong::PublicKeyAsSecret => mac(behaviour.key.verifying_key().to_encoded_point(false).as_bytes()),
        Wrong::Key if behaviour.rsa.is_some() => sign_rsa(&rsa_key()),
        Wrong::Key => sign(&key(99)),
        _ => behaviour.rsa.as_ref().map_or_else(|| sign(&behaviour.key), sign_rsa),
    };
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn keys(State(acme): State<Acme>) -> axum::Json<Value> {
    acme.count("keys");
    let behaviour = acme.lock();
    let point = behaviour.key.verifying_key().to_encoded_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let mut keys = vec![json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": behaviour.key_name, "x": x, "y": y,
    })];
    if let Some(rsa) = &behaviour.rsa {
        let [n, e] = [rsa.n(), rsa.e()].map(|number| URL_SAFE_NO_PAD.encode(number.to_bytes_be()));
        keys.push(json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": n, "e": e}));
    }
    axum::Json(json!({ "keys": keys }))
}

async fn userinfo(State(acme): State<Acme>, headers: HeaderMap) -> Response {
    acme.count("userinfo");
    let behaviour = acme.lock();
    let given = headers.get(header::AUTHORIZATION).map_or("", |given| given.to_str().unwrap());
    let known =
        given.strip_prefix("Bearer ").is_some_and(|token| behaviour.secrets.iter().any(|it| it == token));
    if !known {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut claims = behaviour.claims.clone();
    claims["sub"] = json!(behaviour.subject);
    axum::Json(claims).into_response()
}
