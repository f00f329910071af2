//! What stands between a flood and the users.

use std::time::Duration;

use server::{Caps, CapsByClass, ConnectionLimits, Defence, LoginLimits, PrefixCaps, Systems, Trust};

use super::Checker;

/// No cap.
const ALL: PrefixCaps = PrefixCaps { narrow: u32::MAX, middle: u32::MAX, wide: u32::MAX };

impl Checker<'_> {
    pub(super) fn defence(&self) -> Defence {
        let raw = self.raw;
        let number = |name: &str| raw.number(&format!("defence.{name}"));
        let flag = |name: &str| raw.flag(&format!("defence.{name}"));
        let count = |name: &str| u32::try_from(number(name)).unwrap_or(u32::MAX);
        let seconds = |name: &str| Duration::from_secs(number(name));
        let defaults = Defence::default();
        let [unknown, guest, ..] = defaults.caps.0;
        let new = Caps {
            context_tokens: Some(number("new_context_tokens_max")),
            output_tokens: Some(number("new_output_tokens_max")),
            thinking_tokens: Some(number("new_thinking_tokens_max")),
            in_flight: Some(count("new_requests_max")),
            streams: Some(count("new_streams_max")),
            cost: Some(number("new_cost_max")),
        };
        let (in_flight, streams) = (Some(count("user_requests_max")), Some(count("user_streams_max")));
        Defence {
            request_slots: flag("request_slots"),
            request_rates: flag("request_rates"),
            engine_shares: flag("engine_shares"),
            logins: flag("logins"),
            hash_shares: flag("hash_shares"),
            write_lanes: flag("write_lanes"),
            prices: flag("prices"),
            brownout: flag("brownout"),
            trust: Trust {
                age_min: seconds("trust_age_seconds"),
                sleeper_window: seconds("sleeper_window_seconds"),
                sleeper_age: seconds("sleeper_age_seconds"),
            },
            requests_max: count("requests_max"),
            strangers_per_second: count("strangers_per_second"),
            delay_max: Duration::from_millis(number("delay_ms_max")),
            login_limits: self.login_limits(),
            caps: CapsByClass([unknown, guest, new, Caps { in_flight, streams, ..Caps::default() }]),
        }
    }

    /// From how many failed logins on something happens.
    fn login_limits(&self) -> LoginLimits {
        let number = |name: &str| self.raw.number(&format!("logins.{name}"));
        LoginLimits {
            pair: number("failures_per_account_and_address"),
            account: number("failures_per_account"),
            device: number("failures_per_device"),
            narrow: number("failures_per_address"),
            wide: number("failures_per_network"),
            accounts_per_prefix: number("accounts_per_address"),
            stuffing_failures: number("stuffing_failures"),
            stuffing_share: number("stuffing_percent"),
        }
    }

    /// The table of autonomous systems, which is read here.
    pub(super) fn systems(&mut self) -> Option<Systems> {
        let name = "defence.asn_file";
        let Some(given) = self.raw.text(name) else {
            self.useless("registration.accounts_per_asn", name, "");
            return None;
        };
        match Systems::open(&self.raw.place(name).path(given)) {
            Ok(systems) => Some(systems),
            Err(error) => {
                self.mistake(name, &format!("can't be used: {error}"));
                None
            }
        }
    }

    /// Limits of connections, or those that are left without the defence.
    pub(super) fn defended(&self, limits: ConnectionLimits) -> ConnectionLimits {
        if self.raw.flag("defence.connections") {
            return limits;
        }
        ConnectionLimits {
            open: ALL,
            new: ALL,
            new_strangers_max: u32::MAX,
            per_user_max: u32::MAX,
            reserved_percent: 0,
            ..limits
        }
    }
}
