//! All settings there are. Reading, `config check` and `config explain` go by this table; what is not in it is no
//! setting.

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text that is not empty and fits on a line.
    Text,
    /// Texts.
    List,
    /// `true` or `false`.
    Flag,
    /// A whole number within these bounds.
    Whole(u64, u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The section that it stands in; empty for those before the first one.
    pub(crate) section: &'static str,
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    /// In TOML: what is in force if nothing else is said, or an example where nothing is.
    pub(crate) value: Preset,
    /// What it is, in whole sentences.
    pub(crate) about: &'static str,
    /// Whether nobody may see what it is set to.
    pub(crate) secret: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preset {
    Default(&'static str),
    Example(&'static str),
}

/// Sections of which there can be several: providers and prices.
pub(crate) const PROVIDERS: &str = "oidc";
pub(crate) const PRICES: &str = "price";
pub(crate) const REPEATED: [&str; 2] = [PROVIDERS, PRICES];

/// Whether there can be several of a section.
pub(crate) fn is_repeated(section: &str) -> bool {
    REPEATED.contains(&section)
}

impl Setting {
    /// `section.key`
    pub(crate) fn name(&self) -> String {
        full_name(self.section, self.key)
    }

    /// The variable of the environment that sets it.
    pub(crate) fn variable(&self) -> String {
        variable(&self.name())
    }
}

pub(crate) fn full_name(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// `CACHALOT_<SECTION>_<KEY>`
pub(crate) fn variable(name: &str) -> String {
    format!("CACHALOT_{}", name.replace(['.', '-'], "_").to_uppercase())
}

/// The setting of this full name.
pub(crate) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name() == name)
}

const fn set(
    section: &'static str,
    key: &'static str,
    kind: Kind,
    value: Preset,
    about: &'static str,
) -> Setting {
    Setting { section, key, kind, value, about, secret: false }
}

const fn secret(section: &'static str, key: &'static str, about: &'static str) -> Setting {
    Setting { section, key, kind: Text, value: Example("\"(secret)\""), about, secret: true }
}

use crate::loading::PACK_CACHE_GIB_MAX;
use Kind::{Flag, List, OneOf, Text, Whole};
use Preset::{Default, Example};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY: u64 = 86_400;

/// In the order in which they are explained; those of a section stand together.
pub(crate) const SETTINGS: &[Setting] = &[
    set(
        "",
        "listen",
        List,
        Default("[\"127.0.0.1:8080\"]"),
        "Addresses and ports to listen on. [::]:PORT takes IPv4 too, unless 0.0.0.0:PORT is listed beside \
         it. Beyond loopback it takes [tls] or proxy.trusted.",
    ),
    set(
        "",
        "public_url",
        Text,
        Example("\"https://chat.example.org\""),
        "How users reach the server: what stands in links, what browsers must ask for, and whether cookies \
         are for https only. With tls.acme it is https:// and the first domain if not given.",
    ),
    set(
        "",
        "model",
        Text,
        Example("\"smollm2-135m\""),
        "The model for those who choose none: a name of `cachalot list` or a path to a GGUF file. The \
         catalogue's default if not given.",
    ),
    set("", "threads", Whole(1, 4096), Example("8"), "Threads of each model; one per core if not given."),
    set(
        "",
        "rounding",
        OneOf(&["8-bit", "mixed", "16-bit"]),
        Default("\"mixed\""),
        "What the inputs of matrix products are rounded to. 8-bit reads prompts fastest, as other engines do, and small \
         models then say other things at times; mixed keeps 16 bits where numbers lie far apart, which is a fifth of \
         that loss; 16-bit gives the answers of exact arithmetic, and takes up to half as long again for prompts.",
    ),
    set(
        "",
        "kv_cache",
        OneOf(&["auto", "f16", "q8"]),
        Default("\"auto\""),
        "How the keys and values of texts are kept: q8 takes little more than half the memory of f16, so that nearly \
         twice as much text fits, and moves answers a tenth as far as 8-bit rounding does. Where the CPU multiplies \
         bytes in hardware (AVX-512 VNNI, AVX-VNNI), long texts are read and continued faster with it, and auto is \
         q8; elsewhere auto is f16.",
    ),
    set(
        "",
        "pack_cache_gib",
        Whole(0, PACK_CACHE_GIB_MAX),
        Default("20"),
        "Most GiB of packed weights that are kept on disk, in packs of the home directory, so that only a model's \
         first start packs them and processes share their memory; the pack whose last use is longest ago makes \
         room. 0 keeps and uses none.",
    ),
    set(
        "",
        "loaded_max",
        Whole(1, 1000),
        Default("2"),
        "Most models in memory; the one whose last use is longest ago makes room.",
    ),
    set(
        "",
        "drain_seconds",
        Whole(0, DAY),
        Default("10"),
        "How long answers may go on after SIGTERM or Ctrl-C before they are cut.",
    ),
    set("sign_up", "open", Flag, Default("true"), "Whether strangers may make accounts."),
    set(
        "registration",
        "gate",
        Flag,
        Default("true"),
        "Whether the door to new accounts closes by itself, step by step, while more ask than the budget allows or \
         ill will shows, and opens again by itself. Without it the budget holds all the same; `cachalot gate pin` \
         holds a level in either case.",
    ),
    set(
        "registration",
        "accounts_per_minute",
        Whole(1, 100_000),
        Default("60"),
        "The budget: new accounts that strangers may make in any minute, at every level of the gate. Who comes when \
         it is spent gets a place in a waiting list.",
    ),
    set(
        "registration",
        "accounts_per_address",
        Whole(1, 100_000),
        Default("5"),
        "New accounts in any ten minutes from one IPv4 address or one /64 of IPv6; twice as many from a /56.",
    ),
    set(
        "registration",
        "accounts_per_network",
        Whole(1, 100_000),
        Default("30"),
        "New accounts in any ten minutes from a /24 of IPv4 or a /48 of IPv6.",
    ),
    set(
        "registration",
        "accounts_per_asn",
        Whole(1, 1_000_000),
        Default("300"),
        "With defence.asn_file: new accounts in any ten minutes from one autonomous system, whatever networks it has. \
         300 is half of what 60 a minute are; where one provider serves nearly everybody, more is right.",
    ),
    set(
        "registration",
        "places_max",
        Whole(1, 1 << 24),
        Default("65536"),
        "Places in the waiting list, which is in memory; some 200 bytes each.",
    ),
    set(
        "registration",
        "places_per_network_max",
        Whole(1, 1 << 24),
        Default("256"),
        "Places in the waiting list that a /24 of IPv4 or a /48 of IPv6 may hold.",
    ),
    set(
        "defence",
        "connections",
        Flag,
        Default("true"),
        "Whether connections are bounded by where they come from, and some are kept for users ([connections]). \
         Like the other defences that are true or false here it is on but for trying what it is good for \
         (`cachalot drill --ablate`).",
    ),
    set(
        "defence",
        "gate",
        Flag,
        Default("true"),
        "Whether the door to new accounts may close by itself (registration.gate).",
    ),
    set(
        "defence",
        "request_slots",
        Flag,
        Default("true"),
        "Whether requests are let in by how far their callers are trusted, and no more of them than the server \
         keeps up with. Others get 503 with Retry-After, before their body is read.",
    ),
    set(
        "defence",
        "request_rates",
        Flag,
        Default("true"),
        "Whether strangers have so many requests in a second, and users are let in first, by the first bytes of their \
         connections, while very many come.",
    ),
    set(
        "defence",
        "engine_shares",
        Flag,
        Default("true"),
        "Whether a part of each model's places is kept for those who are trusted, who come first in its queue \
         too.",
    ),
    set(
        "defence",
        "logins",
        Flag,
        Default("true"),
        "Whether who tries passwords has to solve a challenge and then to wait. Nobody is held up for what others \
         do on a device that they have signed in with before, or by passkey.",
    ),
    set(
        "defence",
        "hash_shares",
        Flag,
        Default("true"),
        "Whether passwords of those who are known are hashed first.",
    ),
    set(
        "defence",
        "write_lanes",
        Flag,
        Default("true"),
        "Whether writes to the database wait in a lane for each class, and of those who are trusted less one at a time \
         stands before users.",
    ),
    set(
        "defence",
        "prices",
        Flag,
        Default("true"),
        "Whether what a user asks of models at once, and what new users may ask for, has the bounds below.",
    ),
    set(
        "defence",
        "brownout",
        Flag,
        Default("true"),
        "Whether answers get shorter while much is asked of a model: those of guests first, then of new users. \
         The response says so (x-cachalot-reduced).",
    ),
    set(
        "defence",
        "asn_file",
        Text,
        Example("\"/var/lib/cachalot/GeoLite2-ASN.mmdb\""),
        "File in MaxMind's format that says which autonomous system (a provider's network) an address is in. With it \
         the gate also looks at how many attempts come from few of them, which counts beside another sign of ill \
         will, and registration.accounts_per_asn holds. It is read once, when the server starts.",
    ),
    set(
        "defence",
        "trust_age_seconds",
        Whole(0, 3650 * DAY),
        Default("3600"),
        "Accounts younger than this are new at all times.",
    ),
    set(
        "defence",
        "sleeper_window_seconds",
        Whole(0, 3650 * DAY),
        Default("86400"),
        "While an incident lasts, accounts that were made since so long before its onset are new too: some may \
         have been made for it.",
    ),
    set(
        "defence",
        "sleeper_age_seconds",
        Whole(0, 3650 * DAY),
        Default("259200"),
        "After so long even those are trusted.",
    ),
    set(
        "defence",
        "requests_max",
        Whole(16, MIB),
        Default("1024"),
        "Requests at once whose response has not begun, and as many more that wait for a model. One network or \
         user may have half of them.",
    ),
    set(
        "defence",
        "strangers_per_second",
        Whole(1, MIB),
        Default("500"),
        "Requests in a second of callers who have shown no account, all together: so many to sign in, so many to sign \
         up, and so many others.",
    ),
    set(
        "defence",
        "delay_ms_max",
        Whole(1, 60_000),
        Default("100"),
        "How long a task may wait for a core before fewer requests are let in, in milliseconds.",
    ),
    set(
        "defence",
        "new_context_tokens_max",
        Whole(16, 1 << 40),
        Default("32768"),
        "Tokens of a new user's prompt and answer together.",
    ),
    set(
        "defence",
        "new_output_tokens_max",
        Whole(1, 1 << 40),
        Default("8192"),
        "Tokens of an answer to a new user, without its thought; more are cut down to it.",
    ),
    set(
        "defence",
        "new_thinking_tokens_max",
        Whole(0, 1 << 40),
        Default("8192"),
        "Tokens of its thought; more are cut down to it.",
    ),
    set(
        "defence",
        "new_requests_max",
        Whole(1, MIB),
        Default("4"),
        "Requests for answers that a new user may have under way.",
    ),
    set(
        "defence",
        "new_streams_max",
        Whole(1, MIB),
        Default("16"),
        "Streams of answers in conversations that a new user may have open.",
    ),
    set(
        "defence",
        "new_cost_max",
        Whole(1, 1 << 40),
        Default("524288"),
        "What all answers under way of a new user may cost together: a token of a prompt is one, a token that is \
         generated four.",
    ),
    set(
        "defence",
        "user_requests_max",
        Whole(1, MIB),
        Default("128"),
        "Requests for answers that any other user may have under way.",
    ),
    set(
        "defence",
        "user_streams_max",
        Whole(1, MIB),
        Default("256"),
        "Streams of answers in conversations that any other user may have open.",
    ),
    set(
        "logins",
        "failures_per_account_and_address",
        Whole(1, 1_000_000),
        Default("5"),
        "After so many logins with a wrong password for one account from one address (IPv6: /64) the next one takes a \
         challenge, and after three times as many it has to wait. All of these are numbers of the last five minutes.",
    ),
    set(
        "logins",
        "failures_per_account",
        Whole(1, 1_000_000),
        Default("20"),
        "After so many for one account from everywhere: a challenge, but for devices that its user has signed in with.",
    ),
    set(
        "logins",
        "failures_per_device",
        Whole(1, 1_000_000),
        Default("20"),
        "After so many on a device that its user has signed in with: a delay.",
    ),
    set(
        "logins",
        "failures_per_address",
        Whole(1, 1_000_000),
        Default("30"),
        "After so many from one address (IPv6: /64), for any accounts: a challenge; after four times as many a delay.",
    ),
    set(
        "logins",
        "failures_per_network",
        Whole(1, 1_000_000),
        Default("120"),
        "After so many from a /24 of IPv4, or from a /56 or /48 of IPv6: a challenge.",
    ),
    set(
        "logins",
        "accounts_per_address",
        Whole(1, 1_000_000),
        Default("6"),
        "After logins for so many accounts failed from one address (IPv6: /64): a challenge.",
    ),
    set(
        "logins",
        "stuffing_failures",
        Whole(1, 1_000_000),
        Default("100"),
        "After so many failed logins from everywhere passwords may be tried on a large scale.",
    ),
    set(
        "logins",
        "stuffing_percent",
        Whole(1, 100),
        Default("60"),
        "They are if so large a part of all logins failed, in hundredths: a challenge for everybody, but for devices that \
         are known.",
    ),
    set("sessions", "lifetime_days", Whole(1, 3650), Default("30"), "How long somebody stays signed in."),
    set(
        "sessions",
        "per_user_max",
        Whole(1, 1000),
        Default("20"),
        "Devices on which one user is signed in at once; the one seen longest ago makes room.",
    ),
    set(
        "passwords",
        "memory_kib",
        Whole(7168, 4 * MIB),
        Default("19456"),
        "Memory that the hash of a password takes (Argon2id).",
    ),
    set("passwords", "passes", Whole(1, 100), Default("2"), "Passes of the hash over that memory."),
    set(
        "tls",
        "certificate",
        Text,
        Example("\"/etc/cachalot/chain.pem\""),
        "File with the server's certificate and those that vouch for it, in PEM. Read again when it changes.",
    ),
    set(
        "tls",
        "key",
        Text,
        Example("\"/etc/cachalot/key.pem\""),
        "File with the certificate's private key, in PEM, mode 0600.",
    ),
    set(
        "tls",
        "acme",
        Flag,
        Default("false"),
        "Order certificates from an ACME server such as Let's Encrypt, instead of reading files; with it you \
         agree to that server's terms of service. It comes to see that the domains are ours at port 443 \
         (TLS-ALPN-01).",
    ),
    set(
        "tls",
        "domains",
        List,
        Example("[\"chat.example.org\"]"),
        "With tls.acme: names to order a certificate for.",
    ),
    set(
        "tls",
        "email",
        Text,
        Example("\"admin@example.org\""),
        "With tls.acme: where the ACME server writes about problems.",
    ),
    set(
        "tls",
        "directory",
        Text,
        Default("\"https://acme-v02.api.letsencrypt.org/directory\""),
        "With tls.acme: address of the ACME server's directory.",
    ),
    set(
        "tls",
        "directory_ca",
        Text,
        Example("\"/etc/cachalot/ca.pem\""),
        "With tls.acme: file with the certificate of the authority that vouches for the ACME server, in \
         PEM; the operating system's authorities if not given.",
    ),
    set(
        "proxy",
        "trusted",
        List,
        Example("[\"127.0.0.1/32\", \"::1/128\"]"),
        "Networks of reverse proxies. They are believed for whom they ask; nobody else is.",
    ),
    set(
        "proxy",
        "header",
        OneOf(&["x-forwarded-for", "forwarded"]),
        Default("\"x-forwarded-for\""),
        "The field in which they say it, counted from the right. They must set it or append to it.",
    ),
    set(
        "proxy",
        "protocol",
        Flag,
        Default("false"),
        "Whether they begin each connection with a header of the PROXY protocol (version 1 or 2), as proxies do that \
         pass connections on without reading them. Then they must.",
    ),
    set(
        "mail",
        "server",
        Text,
        Example("\"smtp.example.org\""),
        "Server that takes letters. With it, new accounts want an address, and passwords can be reset.",
    ),
    set(
        "mail",
        "port",
        Whole(1, 65_535),
        Example("465"),
        "Its port: 465 for tls, 587 for starttls and 25 for none if not given.",
    ),
    set(
        "mail",
        "security",
        OneOf(&["tls", "starttls", "none"]),
        Default("\"tls\""),
        "How the way to it is secured; none only for a server on this machine.",
    ),
    set(
        "mail",
        "server_ca",
        Text,
        Example("\"/etc/cachalot/mail-ca.pem\""),
        "File with the certificate of an authority, in PEM, that may vouch for it besides those of the operating \
         system.",
    ),
    set("mail", "username", Text, Example("\"cachalot\""), "Name to sign in with, if it wants one."),
    secret("mail", "password", "Password to sign in with."),
    set(
        "mail",
        "password_file",
        Text,
        Example("\"/etc/cachalot/mail.password\""),
        "File that holds the password instead, mode 0600.",
    ),
    set("mail", "from", Text, Example("\"Cachalot <chat@example.org>\""), "From whom letters come."),
    set(
        "oidc",
        "id",
        Text,
        Example("\"example\""),
        "A word of lower-case letters, digits and - that stands in addresses. It stays what it is: accounts \
         are linked by it.",
    ),
    set("oidc", "name", Text, Example("\"Example Ltd\""), "What the button says; the id if not given."),
    set(
        "oidc",
        "issuer",
        Text,
        Example("\"https://login.example.org\""),
        "The provider's address, as it calls itself.",
    ),
    set(
        "oidc",
        "client_id",
        Text,
        Example("\"cachalot\""),
        "What it knows this server as. The address to come back to is public_url/oidc/ID/callback.",
    ),
    secret("oidc", "client_secret", "The secret between the two; none for a public client."),
    set(
        "oidc",
        "client_secret_file",
        Text,
        Example("\"/etc/cachalot/oidc.secret\""),
        "File that holds the secret instead, mode 0600.",
    ),
    set("oidc", "creates_accounts", Flag, Default("false"), "Whether somebody unknown gets an account."),
    set(
        "oidc",
        "email_domains",
        List,
        Default("[]"),
        "Domains of verified email addresses that may sign in; all if empty.",
    ),
    set(
        "oidc",
        "private",
        Flag,
        Default("false"),
        "Whether the provider may be at a private address and without TLS.",
    ),
    set(
        "keys",
        "per_user_max",
        Whole(1, 10_000),
        Default("50"),
        "API keys of one user, expired ones included.",
    ),
    set(
        "credit",
        "currency",
        Text,
        Default("\"USD\""),
        "What the money is called in which prices, balances and costs are; three capital letters.",
    ),
    set("credit", "sign_up", Text, Default("\"0\""), "What each new user is given to spend, in decimal."),
    set(
        "price",
        "model",
        Text,
        Default("\"*\""),
        "The model that the price is for; * for all. The first [[price]] that fits a request counts; what none fits \
         costs nothing, and without any nobody needs a balance.",
    ),
    set(
        "price",
        "class",
        OneOf(&["*", "key", "session"]),
        Default("\"*\""),
        "For requests with an API key, for those of people who are signed in, or for both.",
    ),
    set(
        "price",
        "hours",
        Text,
        Example("\"16:30-00:30\""),
        "When, in UTC: the time at which a request ends counts. Always if not given.",
    ),
    set(
        "price",
        "hit",
        Text,
        Example("\"0.14\""),
        "Price of a million tokens of prompts that the prefix cache had, in decimal, with at most three digits after the \
         point.",
    ),
    set("price", "miss", Text, Example("\"0.55\""), "The same of a million tokens that it had not."),
    set("price", "output", Text, Example("\"2.19\""), "The same of a million tokens that were generated."),
    set(
        "limits",
        "connections_max",
        Whole(1, MIB),
        Default("4096"),
        "Connections open at once, as far as there are file descriptors (ulimit -n). For more, those of strangers \
         without a request are closed; if there are none, they wait.",
    ),
    set(
        "limits",
        "head_seconds",
        Whole(1, 3600),
        Default("15"),
        "Longest time for a request's head, from its first byte.",
    ),
    set(
        "limits",
        "body_seconds",
        Whole(1, DAY),
        Default("30"),
        "Longest time for a request's body; of a large one, for each MiB.",
    ),
    set(
        "limits",
        "write_seconds",
        Whole(1, 3600),
        Default("30"),
        "Longest time for which a client may take nothing of what is written to it.",
    ),
    set("limits", "start_seconds", Whole(1, DAY), Default("600"), "Longest time in a model's queue."),
    set("limits", "body_bytes_max", Whole(64 * KIB, GIB), Default("8388608"), "Largest body of a request."),
    set(
        "limits",
        "bodies_bytes_max",
        Whole(64 * KIB, 64 * GIB),
        Default("134217728"),
        "Bytes of all bodies held at once, at least body_bytes_max.",
    ),
    set(
        "limits",
        "answers_max",
        Whole(1, 65_536),
        Default("256"),
        "Conversations' answers being written at once.",
    ),
    set("limits", "message_bytes_max", Whole(KIB, GIB), Default("1048576"), "Largest message."),
    set(
        "limits",
        "system_bytes_max",
        Whole(KIB, 16 * MIB),
        Default("65536"),
        "Largest instructions of a conversation.",
    ),
    set(
        "limits",
        "conversations_max",
        Whole(1, 100 * MIB),
        Default("100000"),
        "Conversations kept of each user.",
    ),
    set("limits", "messages_max", Whole(2, MIB), Default("4000"), "Messages of one conversation."),
    set(
        "limits",
        "conversation_bytes_max",
        Whole(64 * KIB, GIB),
        Default("33554432"),
        "Bytes of one conversation's texts.",
    ),
    set(
        "connections",
        "handshake_seconds",
        Whole(1, 3600),
        Default("10"),
        "Longest time for a TLS handshake, and for a header of the PROXY protocol.",
    ),
    set(
        "connections",
        "first_byte_seconds",
        Whole(1, 3600),
        Default("10"),
        "Longest time until the first byte of a connection's first request.",
    ),
    set(
        "connections",
        "idle_seconds",
        Whole(1, DAY),
        Default("75"),
        "Longest time for which a connection is kept open without a request.",
    ),
    set(
        "connections",
        "lifetime_seconds",
        Whole(60, 30 * DAY),
        Default("3600"),
        "Age at which a connection takes no further requests; what is in flight ends first.",
    ),
    set(
        "connections",
        "body_bytes_per_second_min",
        Whole(1, GIB),
        Default("1024"),
        "Slowest that a request's body may come in.",
    ),
    set(
        "connections",
        "body_grace_seconds",
        Whole(1, 3600),
        Default("10"),
        "For how long it may be behind that.",
    ),
    set(
        "connections",
        "streams_max",
        Whole(1, 1000),
        Default("100"),
        "Requests at once on one HTTP/2 connection.",
    ),
    set(
        "connections",
        "resets_max",
        Whole(1, MIB),
        Default("100"),
        "Requests on one HTTP/2 connection that its client may give up at once, and one more each second; the \
         connection is closed for more.",
    ),
    set(
        "connections",
        "per_address_max",
        Whole(1, MIB),
        Default("128"),
        "Connections open at once from one address (IPv6: /64) of callers who have shown no session or key yet; \
         through a declared proxy, their requests.",
    ),
    set("connections", "per_site_max", Whole(1, MIB), Default("256"), "The same from one /56 of IPv6."),
    set(
        "connections",
        "per_network_max",
        Whole(1, MIB),
        Default("512"),
        "The same from one network: /24 of IPv4, /48 of IPv6.",
    ),
    set(
        "connections",
        "new_per_address_max",
        Whole(1, 10 * MIB),
        Default("1000"),
        "New connections in ten seconds from one address (IPv6: /64).",
    ),
    set(
        "connections",
        "new_per_site_max",
        Whole(1, 10 * MIB),
        Default("2000"),
        "The same from one /56 of IPv6.",
    ),
    set(
        "connections",
        "new_per_network_max",
        Whole(1, 10 * MIB),
        Default("4000"),
        "The same from one network: /24 of IPv4, /48 of IPv6.",
    ),
    set(
        "connections",
        "new_strangers_max",
        Whole(1, 100 * MIB),
        Default("10000"),
        "The same from all addresses together from which nobody has shown a session or key in the last day.",
    ),
    set(
        "connections",
        "per_user_max",
        Whole(1, MIB),
        Default("256"),
        "Connections of one user that count as theirs; more count as a stranger's.",
    ),
    set(
        "connections",
        "reserved_percent",
        Whole(0, 90),
        Default("50"),
        "Part of connections_max that is kept for callers who have shown a session or key.",
    ),
    set(
        "data",
        "retention_days_max",
        Whole(1, 36_500),
        Example("365"),
        "Days after which conversations are deleted that nobody went on with, whatever their owners chose; \
         never if not given.",
    ),
    set(
        "data",
        "usage_days_max",
        Whole(1, 36_500),
        Default("400"),
        "Days for which it is kept what each request took; the sums by hour, day and model are kept.",
    ),
    set("data", "import_bytes_max", Whole(MIB, 4 * GIB), Default("67108864"), "Largest file to import."),
    set(
        "log",
        "filter",
        Text,
        Default("\"warn\""),
        "What is logged to standard error, such as info or server=debug,warn. CACHALOT_LOG sets it too.",
    ),
    set(
        "log",
        "format",
        OneOf(&["text", "json"]),
        Default("\"text\""),
        "Lines for people, or one JSON object a line for programs.",
    ),
    set(
        "telemetry",
        "otlp_endpoint",
        Text,
        Example("\"http://127.0.0.1:4318\""),
        "OpenTelemetry collector that is sent a span of each request, by OTLP over HTTP; nothing of prompts or answers.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_and_its_variable_is_there_once_and_sections_stand_together() {
        let mut names: Vec<_> =
            SETTINGS.iter().flat_map(|setting| [setting.name(), setting.variable()]).collect();
        let mut sections: Vec<_> = SETTINGS.iter().map(|setting| setting.section).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        sections.dedup();
        let blocks = sections.len();
        sections.sort_unstable();
        sections.dedup();
        assert_eq!(sections.len(), blocks);
        assert_eq!(setting("mail.password_file").unwrap().variable(), "CACHALOT_MAIL_PASSWORD_FILE");
        assert_eq!(setting("public_url").unwrap().variable(), "CACHALOT_PUBLIC_URL");
    }
}
