//! The two ceremonies of Web Authentication (level 3): making a passkey, and signing in with one. The library checks
//! what the standard says; here stands what we ask of it.
//!
//! The user has to be verified by the authenticator (a PIN, a finger, a face), so that a passkey is two factors. Who
//! made the authenticator is not asked. The name of the user is not in the answer, and nothing in the question tells
//! who there is: the authenticator knows whom its passkey is for.
//!
//! The library draws its challenges from the operating system's randomness and reads the machine's clock for its own
//! limit of five minutes; it takes neither as an argument. The ticket around a ceremony's state goes by ours.

use serde_json::{Value, json};
use store::{NewPasskey, Passkey, PasskeyBackup, PasskeyUse, User, UserId};
use webauthn_rp::bin::{Decode as _, Encode as _};
use webauthn_rp::request::auth::{AuthenticationVerificationOptions, DiscoverableCredentialRequestOptions};
use webauthn_rp::request::register::{
    CredProtect, PublicKeyCredentialCreationOptions, RegistrationVerificationOptions, UserHandle16,
};
use webauthn_rp::request::{AsciiDomain, ExtensionInfo, PublicKeyCredentialDescriptor, RpId};
use webauthn_rp::response::auth::error::AuthCeremonyErr;
use webauthn_rp::response::register::error::RegCeremonyErr;
use webauthn_rp::response::register::{DynamicState, StaticState};
use webauthn_rp::response::{AuthTransports, AuthenticatorAttachment, Backup, CredentialId};
use webauthn_rp::{
    AuthenticatedCredential, CredentialErr, DiscoverableAuthentication16,
    DiscoverableAuthenticationServerState, Registration, RegistrationServerState,
};

use super::relying_party::RelyingParty;
use crate::error::ApiError;

/// A ceremony that was begun.
pub(crate) struct Begun {
    /// For the browser.
    pub(crate) options: Value,
    /// For the end of the ceremony, sealed in a ticket until then.
    pub(crate) state: Vec<u8>,
}

/// The answer of an authenticator to a sign-in. Nothing of it is checked yet.
pub(crate) struct Assertion(DiscoverableAuthentication16);

/// Why a sign-in was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The signature is right, but its counter says that it was made by a copy, or by the original of a copy.
    CounterWentBack,
    /// Anything else.
    Wrong,
}

/// Begins making a passkey for a user.
pub(crate) fn begin_registration(
    party: &RelyingParty,
    user: &User,
    known: &[Passkey],
) -> Result<Begun, ApiError> {
    let handle = user_handle(user.id);
    let known = known.iter().filter_map(descriptor).collect();
    let id = rp_id(party)?;
    let mut asked = PublicKeyCredentialCreationOptions::passkey(&id, (&handle).into(), known);
    // Users are verified each time anyway, so that nothing depends on what the authenticator makes of this.
    asked.extensions.cred_protect =
        CredProtect::UserVerificationRequired(ExtensionInfo::AllowDontEnforceValue);
    let (state, client) = asked.start_ceremony().map_err(internal)?;
    let mut options = serde_json::to_value(&client).map_err(internal)?;
    // Put in here, because the library has rules for names that are not ours.
    options["user"]["name"] = json!(user.name);
    options["user"]["displayName"] = json!(user.name);
    options["rp"]["name"] = json!("Cachalot");
    Ok(Begun { options, state: state.encode().map_err(internal)? })
}

/// Ends making a passkey: what is to be kept of it.
///
/// # Errors
/// What is wrong with the authenticator's answer, in words for its owner.
pub(crate) fn finish_registration(
    party: &RelyingParty,
    user: UserId,
    state: &[u8],
    mut credential: Value,
) -> Result<NewPasskey, String> {
    if !credential.is_object() {
        return Err("it is no object".to_owned());
    }
    // Nothing was asked of the browser's extensions, so what it says about them does not matter; but where an
    // authenticator says unasked that it can derive secrets, the library wants to hear it from the browser too.
    for said in [json!({}), json!({"prf": {"enabled": true}})] {
        credential["clientExtensionResults"] = said;
        match register(party, user, state, &credential)? {
            Ok(new) => return Ok(new),
            Err(RegCeremonyErr::Credential(CredentialErr::HmacSecretWithoutPrf)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(CredentialErr::HmacSecretWithoutPrf.to_string())
}

fn register(
    party: &RelyingParty,
    user: UserId,
    state: &[u8],
    credential: &Value,
) -> Result<Result<NewPasskey, RegCeremonyErr>, String> {
    let no_state = |_| "it was not begun here".to_owned();
    let state = RegistrationServerState::<16>::decode(state).map_err(no_state)?;
    let json = serde_json::to_vec(credential).map_err(|error| error.to_string())?;
    let answer = Registration::from_json_relaxed(&json).map_err(|error| error.to_string())?;
    let options = RegistrationVerificationOptions::<&str, &str> {
        allowed_origins: &[&party.origin],
        error_on_unsolicited_extensions: false,
        ..RegistrationVerificationOptions::default()
    };
    let id = rp_id(party).map_err(|error| error.message().to_owned())?;
    let registered = match state.verify(&id, &answer, &options) {
        Ok(registered) => registered,
        Err(error) => return Ok(Err(error)),
    };
    if *registered.user_id() != user_handle(user) {
        return Err("it was begun by another user".to_owned());
    }
    let Ok(public_key) = registered.static_state().encode();
    let Ok(transports) = registered.transports().encode();
    Ok(Ok(NewPasskey {
        credential_id: registered.id().as_ref().to_vec(),
        public_key,
        sign_count: registered.dynamic_state().sign_count,
        backup: kept_backup(registered.dynamic_state().backup),
        transports,
        name: String::new(),
    }))
}

/// Begins a sign-in, of whomever the authenticator has a passkey.
pub(crate) fn begin_login(party: &RelyingParty) -> Result<Begun, ApiError> {
    let id = rp_id(party)?;
    let (state, client) =
        DiscoverableCredentialRequestOptions::passkey(&id).start_ceremony().map_err(internal)?;
    let options = serde_json::to_value(&client).map_err(internal)?;
    Ok(Begun { options, state: state.encode().map_err(internal)? })
}

impl Assertion {
    /// Reads the browser's JSON; `None` if it is not in the form.
    pub(crate) fn read(credential: &Value) -> Option<Self> {
        let json = serde_json::to_vec(credential).ok()?;
        DiscoverableAuthentication16::from_json_relaxed(&json).ok().map(Self)
    }

    /// Which passkey it says it was made with.
    pub(crate) fn credential_id(&self) -> &[u8] {
        self.0.raw_id().into_inner()
    }

    /// Ends a sign-in with the passkey of this credential id: what its signature says.
    pub(crate) fn finish(
        &self,
        party: &RelyingParty,
        state: &[u8],
        passkey: &Passkey,
    ) -> Result<PasskeyUse, Refused> {
        let state = DiscoverableAuthenticationServerState::decode(state).map_err(|_| Refused::Wrong)?;
        let handle = user_handle(passkey.user_id);
        let known = StaticState::decode(&passkey.public_key).map_err(|_| Refused::Wrong)?;
        let last = DynamicState {
            user_verified: true,
            backup: backup(passkey.backup),
            sign_count: passkey.sign_count,
            authenticator_attachment: AuthenticatorAttachment::None,
        };
        let id = CredentialId::decode(passkey.credential_id.as_slice()).map_err(|_| Refused::Wrong)?;
        let mut known = AuthenticatedCredential::new(id, &handle, known, last).map_err(|_| Refused::Wrong)?;
        let options = AuthenticationVerificationOptions::<&str, &str> {
            allowed_origins: &[&party.origin],
            error_on_unsolicited_extensions: false,
            ..AuthenticationVerificationOptions::default()
        };
        let party = rp_id(party).map_err(|_| Refused::Wrong)?;
        state.verify(&party, &self.0, &mut known, &options).map_err(|error| match error {
            AuthCeremonyErr::SignatureCounter => Refused::CounterWentBack,
            _ => Refused::Wrong,
        })?;
        let now = known.dynamic_state();
        Ok(PasskeyUse { sign_count: now.sign_count, backup: kept_backup(now.backup) })
    }
}

fn rp_id(party: &RelyingParty) -> Result<RpId, ApiError> {
    AsciiDomain::try_from(party.domain.clone()).map(RpId::Domain).map_err(internal)
}

fn user_handle(user: UserId) -> UserHandle16 {
    let Ok(handle) = UserHandle16::decode(user.into());
    handle
}

/// How the browser is told of a passkey that there is.
fn descriptor(passkey: &Passkey) -> Option<PublicKeyCredentialDescriptor<Vec<u8>>> {
    Some(PublicKeyCredentialDescriptor {
        id: CredentialId::decode(passkey.credential_id.clone()).ok()?,
        transports: AuthTransports::decode(passkey.transports).ok()?,
    })
}

fn backup(kept: PasskeyBackup) -> Backup {
    match kept {
        PasskeyBackup::Never => Backup::NotEligible,
        PasskeyBackup::Possible => Backup::Eligible,
        PasskeyBackup::Made => Backup::Exists,
    }
}

fn kept_backup(said: Backup) -> PasskeyBackup {
    match said {
        Backup::NotEligible => PasskeyBackup::Never,
        Backup::Eligible => PasskeyBackup::Possible,
        Backup::Exists => PasskeyBackup::Made,
    }
}

fn internal(error: impl std::fmt::Display) -> ApiError {
    ApiError::internal(format!("a ceremony of passkeys: {error}"))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use store::UserRole;

    use super::*;

    fn party() -> RelyingParty {
        RelyingParty { domain: "localhost".to_owned(), origin: "http://localhost".to_owned() }
    }

    fn user() -> User {
        User {
            id: [7; 16].into(),
            name: "Ada Lovelace: a name that no profile of names allows \u{1f433}".to_owned(),
            email: None,
            email_verified_ms: None,
            role: UserRole::User,
            created_ms: 0,
            disabled_ms: None,
            password_hash: None,
            key_generation: 1,
        }
    }

    fn passkey(public_key: Vec<u8>) -> Passkey {
        Passkey {
            id: [1; 16].into(),
            user_id: user().id,
            credential_id: vec![7; 16],
            public_key,
            sign_count: 0,
            backup: PasskeyBackup::Never,
            transports: 0,
            name: String::new(),
            created_ms: 0,
            used_ms: None,
        }
    }

    #[test]
    fn any_name_of_ours_is_asked_for_and_what_can_not_be_read_is_left_out() {
        let unreadable = Passkey { transports: 255, ..passkey(Vec::new()) };
        let begun = begin_registration(&party(), &user(), &[passkey(Vec::new()), unreadable]).unwrap();
        assert_eq!(begun.options["user"]["name"], user().name);
        assert_eq!(begun.options["user"]["displayName"], user().name);
        assert_eq!(begun.options["excludeCredentials"].as_array().unwrap().len(), 1);
        let other = begin_registration(&party(), &user(), &[]).unwrap();
        assert_ne!(begun.options["challenge"], other.options["challenge"]);
    }

    proptest! {
        #[test]
        fn no_bytes_are_an_answer_by_chance(
            object in proptest::collection::vec(any::<u8>(), 0..300),
            client_data in "\\PC{0,200}",
            key in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let credential = json!({
                "id": encode(&[7; 16]),
                "type": "public-key",
                "response": {
                    "clientDataJSON": encode(client_data.as_bytes()),
                    "attestationObject": encode(&object),
                    "authenticatorData": encode(&object),
                    "signature": encode(&object),
                    "userHandle": encode(&[7; 16]),
                },
            });
            let begun = begin_registration(&party(), &user(), &[]).unwrap();
            let made = finish_registration(&party(), user().id, &begun.state, credential.clone());
            prop_assert!(made.is_err());
            let begun = begin_login(&party()).unwrap();
            if let Some(assertion) = Assertion::read(&credential) {
                prop_assert_eq!(assertion.credential_id(), [7; 16]);
                let refused = assertion.finish(&party(), &begun.state, &passkey(key));
                prop_assert_eq!(refused, Err(Refused::Wrong));
            }
            // A state comes from a sealed ticket, and is read as if it did not.
            prop_assert!(finish_registration(&party(), user().id, &object, credential).is_err());
        }
    }
}
