//! An authenticator in software: it makes passkeys and signs with them, as a browser and a security key together do,
//! and lies where it is told to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::UserId;

/// What the browser and the authenticator say, instead of what is true.
#[derive(Debug, Clone)]
pub(crate) struct Says {
    /// The page's origin.
    pub(crate) origin: String,
    /// In place of the one that was asked for.
    pub(crate) domain: Option<&'static str>,
    /// In place of the one that was asked for.
    pub(crate) challenge: Option<String>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) cross_origin: bool,
    pub(crate) present: bool,
    pub(crate) verified: bool,
    /// An output of the authenticator for `hmac-secret`.
    pub(crate) derives_secrets: bool,
}

impl Says {
    /// The truth, on a page of this origin.
    pub(crate) fn truly(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            domain: None,
            challenge: None,
            kind: None,
            cross_origin: false,
            present: true,
            verified: true,
            derives_secrets: false,
        }
    }
}

/// One passkey and what holds it.
#[derive(Debug, Clone)]
pub(crate) struct Authenticator {
    pub(crate) key: SigningKey,
    pub(crate) credential_id: Vec<u8>,
    /// Whom it is for; known when it was made.
    pub(crate) user: Vec<u8>,
    /// How often it has signed; 0 for ever if it does not count.
    pub(crate) count: u32,
    pub(crate) counts: bool,
    /// Flags of the standard: 8 if there can be copies, 16 more if there is one.
    pub(crate) backup: u8,
}

impl Authenticator {
    /// Each seed is another one.
    pub(crate) fn new(seed: u8) -> Self {
        Self {
            key: SigningKey::from_slice(&[seed; 32]).unwrap(),
            credential_id: vec![seed; 32],
            user: Vec::new(),
            count: 0,
            counts: true,
            backup: 0,
        }
    }

    /// A passkey as `navigator.credentials.create()` gives it.
    pub(crate) fn make(&mut self, options: &Value, says: &Says) -> Value {
        self.user = decode(options["user"]["id"].as_str().unwrap());
        let domain = says.domain.unwrap_or_else(|| options["rp"]["id"].as_str().unwrap());
        let mut data = self.data(domain, says, 0x40 | if says.derives_secrets { 0x80 } else { 0 });
        data.extend_from_slice(&[0; 16]);
        data.extend_from_slice(&u16::try_from(self.credential_id.len()).unwrap().to_be_bytes());
        data.extend_from_slice(&self.credential_id);
        data.extend_from_slice(&self.public_key());
        if says.derives_secrets {
            data.extend_from_slice(b"\xa1\x6bhmac-secret\xf5");
        }
        // CBOR: a map of three, whose last value is bytes with a length of one byte.
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend_from_slice(&data);
        let client_data = Self::client_data("webauthn.create", options, says);
        json!({
            "id": encode(&self.credential_id),
            "rawId": encode(&self.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {"credProps": {"rk": true}},
            "response": {
                "clientDataJSON": encode(&client_data),
                "attestationObject": encode(&object),
                "authenticatorData": encode(&data),
                "publicKeyAlgorithm": -7,
                "transports": ["internal", "hybrid"],
            },
        })
    }

    /// An answer as `navigator.credentials.get()` gives it.
    pub(crate) fn sign(&mut self, options: &Value, says: &Says) -> Value {
        if self.counts {
            self.count += 1;
        }
        let domain = says.domain.unwrap_or_else(|| options["rpId"].as_str().unwrap());
        let data = self.data(domain, says, 0);
        let client_data = Self::client_data("webauthn.get", options, says);
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let signature: Signature = self.key.sign(&signed);
        json!({
            "id": encode(&self.credential_id),
            "rawId": encode(&self.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encode(&client_data),
                "authenticatorData": encode(&data),
                "signature": encode(signature.to_der().as_bytes()),
                "userHandle": encode(&self.user),
            },
        })
    }

    /// The same passkey in the hands of somebody who says that they are another user.
    pub(crate) fn of(mut self, user: UserId) -> Self {
        self.user = <[u8; 16]>::from(user).to_vec();
        self
    }

    fn data(&self, domain: &str, says: &Says, flags: u8) -> Vec<u8> {
        let mut data = Sha256::digest(domain.as_bytes()).to_vec();
        data.push(flags | u8::from(says.present) | u8::from(says.verified) << 2 | self.backup);
        data.extend_from_slice(&self.count.to_be_bytes());
        data
    }

    /// As authenticators write it (RFC 9053): an elliptic curve key, for ES256, on P-256.
    fn public_key(&self) -> Vec<u8> {
        let point = self.key.verifying_key().to_encoded_point(false);
        let head = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20";
        [&head[..], point.x().unwrap(), b"\x22\x58\x20", point.y().unwrap()].concat()
    }

    fn client_data(kind: &str, options: &Value, says: &Says) -> Vec<u8> {
        let challenge = says.challenge.as_deref().unwrap_or_else(|| options["challenge"].as_str().unwrap());
        let data = json!({
            "type": says.kind.unwrap_or(kind),
            "challenge": challenge,
            "origin": says.origin,
            "crossOrigin": says.cross_origin,
        });
        serde_json::to_vec(&data).unwrap()
    }
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}
