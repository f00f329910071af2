//! Devices that somebody signed in with before: a signed cookie that outlives the session. Who has it is held up by
//! nobody's failures but their own.
//!
//! ```text
//! cookie  = base64url(payload || HMAC-SHA256(key, "cachalot device" || payload))
//! payload = user 16 | number of the device 8
//! ```

use axum::http::{HeaderMap, HeaderValue};
use store::UserId;

use super::caller::{cookies, field};
use super::signed::Signer;
use crate::app::State;

const PURPOSE: &[u8] = b"cachalot device";
const PAYLOAD_BYTES: usize = 16 + 8;
/// A year.
const LIFETIME_SECONDS: u64 = 365 * 24 * 60 * 60;

/// A device, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) user: UserId,
    pub(crate) number: u64,
}

/// Signs devices' cookies and checks them.
pub(super) struct DeviceSigner {
    signer: Signer,
    cookie_name: String,
}

impl std::fmt::Debug for DeviceSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceSigner(..)")
    }
}

impl DeviceSigner {
    /// The same key signs sessions, for another purpose.
    pub(super) fn new(key: &[u8; 32], session_cookie: &str) -> Self {
        Self { signer: Signer::new(key, PURPOSE), cookie_name: format!("{session_cookie}-device") }
    }

    fn sign(&self, device: Device) -> String {
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..16].copy_from_slice(&<[u8; 16]>::from(device.user));
        payload[16..].copy_from_slice(&device.number.to_be_bytes());
        self.signer.sign(&payload)
    }

    fn verify(&self, text: &str) -> Option<Device> {
        let payload = self.signer.verify::<PAYLOAD_BYTES>(text)?;
        let (user, number) = payload.split_first_chunk::<16>()?;
        Some(Device { user: UserId::from(*user), number: u64::from_be_bytes(number.try_into().ok()?) })
    }
}

/// The device that a request comes from, if somebody has signed in with it.
pub(crate) fn device_shown(app: &State, headers: &HeaderMap) -> Option<Device> {
    let devices = &app.accounts.devices;
    let mut own = cookies(headers).filter(|(name, _)| *name == devices.cookie_name);
    own.find_map(|(_, text)| devices.verify(text))
}

impl State {
    /// The field that has a browser remember that this user signed in with it; none if it does.
    pub(crate) fn remember_device(&self, user: UserId, headers: &HeaderMap) -> Option<HeaderValue> {
        if device_shown(self, headers).is_some_and(|device| device.user == user) {
            return None;
        }
        let devices = &self.accounts.devices;
        let value = devices.sign(Device { user, number: u64::from_be_bytes(self.random_bytes()) });
        Some(field(self, &devices.cookie_name, &format!("{value}; Max-Age={LIFETIME_SECONDS}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::TokenKey;
    use super::*;

    #[test]
    fn a_device_is_what_was_signed_and_no_session() {
        let signer = DeviceSigner::new(&[1; 32], "cachalot-010203");
        let device = Device { user: UserId::from([9; 16]), number: 0x0102_0304_0506_0708 };
        let text = signer.sign(device);
        assert_eq!(signer.verify(&text), Some(device));
        assert_eq!(DeviceSigner::new(&[2; 32], "").verify(&text), None);
        assert_eq!(TokenKey::new(&[1; 32]).verify(&text), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(signer.verify(&String::from_utf8(changed).unwrap()), None, "character {at}");
        }
    }
}
