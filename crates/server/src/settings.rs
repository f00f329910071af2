use std::path::PathBuf;
use std::time::Duration;

use defence::{Caps, CapsByClass, LoginLimits, Trust};
use store::{Limits, Nanos};
use url::Url;

use crate::accounts::{Allowance, PasswordCost};
use crate::connections::ConnectionLimits;
use crate::forwarded::Proxy;
use crate::gate::Systems;
use crate::meter::Prices;

/// Sizes and times of a server. Everything that a stranger can grow has its bound here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections open at once. For more, those of strangers without a request are closed; if there are none, they wait
    /// in the listener's queue. Never more than there are file descriptors for.
    pub connections_max: usize,
    /// What one connection may do, and how many there may be from where.
    pub connections: ConnectionLimits,
    /// Longest time for a request's head to come in, from its first byte.
    pub head_timeout: Duration,
    /// Largest head of a request, in bytes, at least 8192.
    pub head_bytes_max: usize,
    /// Longest time for a request's body to come in; of a large one, for each MiB.
    pub body_timeout: Duration,
    /// Largest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// Bytes of all bodies held at once, at least `body_bytes_max`.
    pub bodies_bytes_max: usize,
    /// Longest time for which a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// Pause after which a waiting stream gets a comment, so that nobody on the way believes it dead.
    pub keep_alive: Duration,
    /// Longest time in the queue before a request is given up.
    pub start_timeout: Duration,
    /// At shutdown: how long answers may go on before they are cut.
    pub drain_timeout: Duration,
    /// At shutdown: how long the last events may then take to reach disks and clients. A model that has not cut its
    /// answers after half of it, being in the middle of a long step, is not waited for.
    pub cut_timeout: Duration,
    /// How often the text of answers being written goes to disk.
    pub progress_interval: Duration,
    /// Conversations' answers being written at once.
    pub answers_max: usize,
    /// Largest message, in bytes.
    pub message_bytes_max: usize,
    /// Longest title, in characters.
    pub title_chars_max: usize,
    /// Largest instructions of a conversation, in bytes.
    pub system_bytes_max: usize,
    /// Most conversations in one page of the list.
    pub page_max: u32,
    /// Conversations kept of each user.
    pub conversations_max: u64,
    /// What one conversation may hold.
    pub conversation: Limits,
    /// Whether strangers may make accounts. The first administrator is made in any case.
    pub sign_up: bool,
    /// How many, and what happens when more ask.
    pub registration: Registration,
    /// What stands between a flood and the users.
    pub defence: Defence,
    /// How long somebody stays signed in.
    pub session_lifetime: Duration,
    /// Devices on which one user is signed in at once; the one seen longest ago makes room.
    pub sessions_max: u64,
    /// What a password's hash costs.
    pub password_cost: PasswordCost,
    /// Wrong codes, after a right password, for one user from anywhere.
    pub attempts_at_second_factor: Allowance,
    /// Failed logins with passkeys, codes and providers, sign-ups, and ways begun to providers, from one network.
    pub attempts_by_network: Allowance,
    /// The address under which users reach the server, such as `https://chat.example.org`; what stands in the links of
    /// letters, what passkeys belong to, and where an organisation's login comes back to.
    pub public_url: Option<Url>,
    /// Names under which it is asked besides that of `public_url`: those that its certificates are ordered for.
    pub domains: Vec<String>,
    /// Proxies that ask for others.
    pub proxy: Option<Proxy>,
    /// How letters are sent; without it there are none, and no addresses are verified.
    pub mail: Option<Mail>,
    /// Letters that wait to be sent at once.
    pub letters_max: usize,
    /// Letters to one address.
    pub letters_by_address: Allowance,
    /// Letters asked for from one network.
    pub letters_by_network: Allowance,
    /// After how long a letter that was not taken is tried again; twice at most.
    pub letter_pause: Duration,
    /// Organisations whose members sign in with the account they have there.
    pub providers: Vec<Provider>,
    /// Largest file to import, in bytes.
    pub import_bytes_max: usize,
    /// Where files to import stand, without a name, until they have been read; the system's folder if none is given.
    /// What users wrote is in them, unsealed, so it should be on the disk where the database is, and not in memory.
    pub scratch_folder: Option<PathBuf>,
    /// Days after which conversations are deleted that nobody went on with, whatever their owners chose.
    pub retention_days_max: Option<u32>,
    /// Keys of each user.
    pub keys_max: u64,
    /// What requests cost.
    pub prices: Prices,
    /// What new users are given to spend.
    pub sign_up_credit: Nanos,
    /// Days for which the rows of usage are kept; their sums stay.
    pub usage_days_max: u32,
}

impl Settings {
    /// Whether users reach the server by `https`, here or at a proxy.
    pub(crate) fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

/// How many accounts strangers may make. What operators make is not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Whether the gate moves by itself. Without it the budget holds all the same, and a level can be pinned.
    pub gate: bool,
    /// How often it is looked whether a second has passed, which is when the gate is told what happened in it.
    pub tick_interval: Duration,
    /// New accounts in any minute.
    pub accounts_per_minute: u32,
    /// New accounts in any ten minutes from an IPv4 address or a /64 of IPv6.
    pub accounts_per_address: u32,
    /// New accounts in any ten minutes from a /24 of IPv4 or a /48 of IPv6.
    pub accounts_per_network: u32,
    /// New accounts in any ten minutes from one autonomous system, with `systems`.
    pub accounts_per_asn: u32,
    /// Which autonomous system an address is in; without it nobody is counted by it.
    pub systems: Option<Systems>,
    /// Places in the waiting list, some 200 bytes each.
    pub places_max: usize,
    /// Places that a /24 or a /48 may hold.
    pub places_per_network_max: u32,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            gate: true,
            tick_interval: Duration::from_secs(1),
            accounts_per_minute: 60,
            accounts_per_address: 5,
            accounts_per_network: 30,
            accounts_per_asn: 300,
            systems: None,
            places_max: 1 << 16,
            places_per_network_max: 256,
        }
    }
}

/// What stands between a flood and the server's users. Each part can be switched off, to see what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defence {
    /// Room for requests by class, and as much of it as the server keeps up with.
    pub request_slots: bool,
    /// So many requests of strangers a second, and a look at who comes first while there are many.
    pub request_rates: bool,
    /// Places at models by class, and their order in the queue.
    pub engine_shares: bool,
    /// Challenges and delays for those who try passwords.
    pub logins: bool,
    /// Turns at hashing passwords by class.
    pub hash_shares: bool,
    /// Turns at writing to the database by class.
    pub write_lanes: bool,
    /// Caps by class on what is asked of models and on what each user has under way.
    pub prices: bool,
    /// Shorter answers under load.
    pub brownout: bool,
    /// When an account is trusted.
    pub trust: Trust,
    /// Requests at once whose response has not begun; and as many more that wait for a model.
    pub requests_max: u32,
    /// Requests in a second of callers who have shown no account, for each of their errands: to sign in, to sign up, and
    /// all else.
    pub strangers_per_second: u32,
    /// How long a task may wait for a core before fewer requests are let in.
    pub delay_max: Duration,
    /// From how many failed logins on something happens.
    pub login_limits: LoginLimits,
    /// What somebody of a class may ask for.
    pub caps: CapsByClass,
}

impl Default for Defence {
    fn default() -> Self {
        let new = Caps {
            context_tokens: Some(32 << 10),
            output_tokens: Some(8 << 10),
            thinking_tokens: Some(8 << 10),
            in_flight: Some(4),
            streams: Some(16),
            cost: Some(512 << 10),
        };
        let established = Caps { in_flight: Some(128), streams: Some(256), ..Caps::default() };
        let [unknown, guest, ..] = CapsByClass::default().0;
        Self {
            request_slots: true,
            request_rates: true,
            engine_shares: true,
            logins: true,
            hash_shares: true,
            write_lanes: true,
            prices: true,
            brownout: true,
            trust: Trust::default(),
            requests_max: 1024,
            strangers_per_second: 500,
            delay_max: Duration::from_millis(100),
            login_limits: LoginLimits::default(),
            caps: CapsByClass([unknown, guest, new, established]),
        }
    }
}

/// A server that takes letters.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its name.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the way to it is secured.
    pub security: MailSecurity,
    /// A file with authorities, in PEM, that may vouch for it besides those of the operating system.
    pub server_ca: Option<PathBuf>,
    /// Name and password, where it wants them.
    pub login: Option<(String, String)>,
    /// From whom letters come, such as `Cachalot <chat@example.org>`.
    pub from: String,
}

impl std::fmt::Debug for Mail {
    /// Without the password: what is printed may end in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("server", &self.server).field("port", &self.port).finish_non_exhaustive()
    }
}

/// How the way to a mail server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte (port 465).
    Tls,
    /// TLS after `STARTTLS`, or no letter (port 587).
    StartTls,
    /// None: for a server on this machine.
    None,
}

/// An `OpenID` provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Provider {
    /// A word of lower-case letters, digits and `-` that stands in addresses and rows.
    pub id: String,
    /// What the button says.
    pub name: String,
    /// Where its discovery document is, without `/.well-known/openid-configuration`.
    pub issuer: Url,
    /// What it knows us as.
    pub client_id: String,
    /// The secret between us; none for a public client.
    pub client_secret: Option<String>,
    /// Whether somebody unknown gets an account.
    pub creates_accounts: bool,
    /// Domains of verified email addresses that may sign in; all if empty.
    pub email_domains: Vec<String>,
    /// Whether it may be at a private address and without TLS.
    pub private: bool,
}

impl std::fmt::Debug for Provider {
    /// Without the secret: what is printed may end in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("id", &self.id)
            .field("issuer", &self.issuer.as_str())
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            connections: ConnectionLimits::default(),
            head_timeout: Duration::from_secs(15),
            head_bytes_max: 32 << 10,
            body_timeout: Duration::from_secs(30),
            body_bytes_max: 8 << 20,
            bodies_bytes_max: 128 << 20,
            write_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            start_timeout: Duration::from_mins(10),
            drain_timeout: Duration::from_secs(20),
            cut_timeout: Duration::from_secs(5),
            progress_interval: Duration::from_millis(500),
            answers_max: 256,
            message_bytes_max: 1 << 20,
            title_chars_max: 200,
            system_bytes_max: 64 << 10,
            page_max: 100,
            conversations_max: 100_000,
            conversation: Limits { messages_max: 4000, bytes_max: 32 << 20 },
            sign_up: true,
            registration: Registration::default(),
            defence: Defence::default(),
            session_lifetime: Duration::from_hours(30 * 24),
            sessions_max: 20,
            password_cost: PasswordCost::default(),
            attempts_at_second_factor: Allowance { burst: 10, interval: Duration::from_mins(3) },
            attempts_by_network: Allowance { burst: 60, interval: Duration::from_secs(10) },
            public_url: None,
            domains: Vec::new(),
            proxy: None,
            mail: None,
            letters_max: 256,
            letters_by_address: Allowance { burst: 3, interval: Duration::from_mins(10) },
            letters_by_network: Allowance { burst: 20, interval: Duration::from_mins(1) },
            letter_pause: Duration::from_secs(30),
            providers: Vec::new(),
            import_bytes_max: 64 << 20,
            scratch_folder: None,
            retention_days_max: None,
            keys_max: 50,
            prices: Prices::default(),
            sign_up_credit: Nanos::ZERO,
            usage_days_max: 400,
        }
    }
}
