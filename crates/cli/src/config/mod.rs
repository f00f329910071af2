//! The configuration: one TOML file, overridden by the environment, overridden by the command line. Raw values become
//! small checked structs in one step, which finds every mistake.

mod defence;
mod edge;
mod explain;
mod mistakes;
mod nearest;
mod prices;
mod read;
mod secret;
mod services;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod value;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use kernels::{KvFormat, Precision};
use server::{Acme, Allowance, ConnectionLimits, PasswordCost, PrefixCaps, Registration, Settings, Tls};
use store::Limits;
use url::Url;

pub(crate) use explain::explain;
pub(crate) use mistakes::Mistakes;
use mistakes::Place;
pub(crate) use read::Sources;
use read::{ConfigFile, Raw, read};

use crate::home::Context;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What `cachalot up` goes by.
#[derive(Debug)]
pub(crate) struct Config {
    /// At least one.
    pub(crate) listen: Vec<SocketAddr>,
    /// The catalogue's default if not given.
    pub(crate) model: Option<String>,
    /// One per core if not given.
    pub(crate) threads: Option<NonZeroUsize>,
    /// Of activations, see [`kernels::Activations`].
    pub(crate) precision: Precision,
    /// Of the KV cache; what is fastest on this CPU if not given.
    pub(crate) kv_format: Option<KvFormat>,
    /// Of packed weights on disk; 0 for none.
    pub(crate) pack_cache_gib: u64,
    pub(crate) loaded_max: NonZeroUsize,
    pub(crate) log_filter: String,
    /// Whether each line that is logged is a JSON object.
    pub(crate) log_json: bool,
    /// Where spans of requests are sent; none if not given.
    pub(crate) collector: Option<Url>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) settings: Settings,
    /// What is allowed, but probably not meant.
    pub(crate) warnings: Vec<String>,
}

/// Where the server's certificate comes from.
#[derive(Debug)]
pub(crate) enum Certificate {
    /// From files, which were read.
    Files(Box<Tls>),
    /// From an ACME server, which is asked when the server runs.
    Acme(Acme),
}

/// Which file to read.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FileArgument {
    /// The configuration file [default: cachalot.toml in the home directory, if it is there].
    #[arg(long, global = true, env = "CACHALOT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl FileArgument {
    /// For commands that don't take it.
    pub(crate) fn of_environment() -> Self {
        Self { config: std::env::var_os("CACHALOT_CONFIG").map(PathBuf::from) }
    }

    /// The file and the environment, to which the command line may add.
    pub(crate) fn sources(&self, context: &Context) -> anyhow::Result<Sources> {
        let given = self.config.as_ref().filter(|path| !path.as_os_str().is_empty());
        let path = given.cloned().unwrap_or_else(|| context.home.join("cachalot.toml"));
        // A name that is no text is none of ours; a value that is none can't be one.
        let environment = std::env::vars_os();
        let environment = environment.filter_map(|(name, value)| {
            let value = value.to_string_lossy().into_owned();
            Some((name.into_string().ok()?, value))
        });
        let file = read_file(path, given.is_some())?;
        Ok(Sources { file, environment: environment.collect(), arguments: Vec::new() })
    }
}

/// The file; none where there is none and none was asked for.
fn read_file(path: PathBuf, asked_for: bool) -> anyhow::Result<Option<ConfigFile>> {
    let failed = |error| anyhow::anyhow!("the configuration file {} can't be read: {error}", path.display());
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound && !asked_for => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        anyhow::bail!("the configuration file {} may have at most {FILE_BYTES_MAX} bytes", path.display());
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(ConfigFile { path, text, mode })),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + String::from_utf8_lossy(&error.as_bytes()[..good]).matches('\n').count();
            anyhow::bail!("{}:{line}: this is no UTF-8", path.display())
        }
    }
}

/// Reads and checks everything.
///
/// # Errors
/// Every mistake there is, as far as it can be known beside the others.
pub(crate) fn load(context: &Context, sources: &Sources) -> Result<Config, Mistakes> {
    let mut mistakes = Mistakes::default();
    let raw = read(sources, &mut mistakes);
    let checker = Checker {
        raw: &raw,
        file_mode: sources.file.as_ref().map(|file| file.mode),
        context,
        mistakes: &mut mistakes,
        warnings: Vec::new(),
    };
    let config = checker.config();
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes.sorted()) }
}

/// Makes a configuration of raw values, and notes what can't be.
struct Checker<'a> {
    raw: &'a Raw,
    /// The permissions of the file, if there is one.
    file_mode: Option<u32>,
    context: &'a Context,
    mistakes: &'a mut Mistakes,
    warnings: Vec<String>,
}

impl Checker<'_> {
    fn config(mut self) -> Config {
        let raw = self.raw;
        let edge = self.edge();
        let log_filter = raw.text("log.filter").unwrap_or_default().to_owned();
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log_filter) {
            self.mistake("log.filter", &format!("must be levels such as warn or server=debug,warn: {error}"));
        }
        let collector = self.collector();
        let mut settings = self.settings();
        settings.registration.systems = self.systems();
        settings.mail = self.mail(edge.public_url.is_some());
        settings.providers = self.providers(edge.public_url.is_some());
        settings.public_url = edge.public_url;
        settings.domains = edge.domains;
        settings.proxy = edge.proxy;
        settings.prices = self.prices();
        settings.sign_up_credit = self.sign_up_credit();
        let count = |name| raw.whole(name).and_then(|number| NonZeroUsize::new(number as usize));
        Config {
            listen: edge.listen,
            model: raw.text("model").map(str::to_owned),
            threads: count("threads"),
            precision: raw.text("rounding").and_then(Precision::by_name).unwrap_or_default(),
            // "auto" is none of them.
            kv_format: raw.text("kv_cache").and_then(KvFormat::by_name),
            pack_cache_gib: raw.number("pack_cache_gib"),
            loaded_max: count("loaded_max").unwrap_or(NonZeroUsize::MIN),
            log_filter,
            log_json: raw.text("log.format") == Some("json"),
            collector,
            certificate: edge.certificate,
            settings,
            warnings: self.warnings,
        }
    }

    /// Sizes and times.
    fn settings(&mut self) -> Settings {
        let number = |name| self.raw.number(name);
        let size = |name| self.raw.number(name) as usize;
        let seconds = |name| Duration::from_secs(self.raw.number(name));
        let settings = Settings {
            connections_max: size("limits.connections_max"),
            connections: self.defended(self.connections()),
            defence: self.defence(),
            head_timeout: seconds("limits.head_seconds"),
            body_timeout: seconds("limits.body_seconds"),
            body_bytes_max: size("limits.body_bytes_max"),
            bodies_bytes_max: size("limits.bodies_bytes_max"),
            write_timeout: seconds("limits.write_seconds"),
            start_timeout: seconds("limits.start_seconds"),
            drain_timeout: seconds("drain_seconds"),
            answers_max: size("limits.answers_max"),
            message_bytes_max: size("limits.message_bytes_max"),
            system_bytes_max: size("limits.system_bytes_max"),
            conversations_max: number("limits.conversations_max"),
            conversation: Limits {
                messages_max: number("limits.messages_max"),
                bytes_max: number("limits.conversation_bytes_max"),
            },
            sign_up: self.raw.flag("sign_up.open"),
            registration: Registration {
                gate: self.raw.flag("registration.gate") && self.raw.flag("defence.gate"),
                accounts_per_minute: number("registration.accounts_per_minute") as u32,
                accounts_per_address: number("registration.accounts_per_address") as u32,
                accounts_per_network: number("registration.accounts_per_network") as u32,
                accounts_per_asn: number("registration.accounts_per_asn") as u32,
                places_max: size("registration.places_max"),
                places_per_network_max: number("registration.places_per_network_max") as u32,
                ..Registration::default()
            },
            session_lifetime: Duration::from_hours(24 * number("sessions.lifetime_days")),
            sessions_max: number("sessions.per_user_max"),
            password_cost: PasswordCost {
                memory_kib: number("passwords.memory_kib") as u32,
                passes: number("passwords.passes") as u32,
            },
            import_bytes_max: size("data.import_bytes_max"),
            usage_days_max: number("data.usage_days_max") as u32,
            keys_max: number("keys.per_user_max"),
            retention_days_max: self.raw.whole("data.retention_days_max").map(|days| days as u32),
            ..Settings::default()
        };
        for (name, least) in [
            ("connections.per_site_max", "connections.per_address_max"),
            ("connections.per_network_max", "connections.per_site_max"),
            ("connections.new_per_site_max", "connections.new_per_address_max"),
            ("connections.new_per_network_max", "connections.new_per_site_max"),
            ("logins.failures_per_account", "logins.failures_per_account_and_address"),
            ("logins.failures_per_network", "logins.failures_per_address"),
        ] {
            self.at_least(name, least);
        }
        self.at_least("limits.bodies_bytes_max", "limits.body_bytes_max");
        self.at_least("limits.body_bytes_max", "limits.message_bytes_max");
        self.at_least("limits.conversation_bytes_max", "limits.message_bytes_max");
        settings
    }

    fn connections(&self) -> ConnectionLimits {
        let count = |name: &str| self.raw.number(&format!("connections.{name}")) as u32;
        let seconds = |name| Duration::from_secs(u64::from(count(name)));
        let caps = |narrow, middle, wide| PrefixCaps {
            narrow: count(narrow),
            middle: count(middle),
            wide: count(wide),
        };
        let defaults = ConnectionLimits::default();
        ConnectionLimits {
            handshake_timeout: seconds("handshake_seconds"),
            first_byte_timeout: seconds("first_byte_seconds"),
            idle_timeout: seconds("idle_seconds"),
            lifetime: seconds("lifetime_seconds"),
            body_grace: seconds("body_grace_seconds"),
            body_bytes_per_second_min: count("body_bytes_per_second_min"),
            streams_max: count("streams_max"),
            resets: Allowance { burst: count("resets_max"), ..defaults.resets },
            open: caps("per_address_max", "per_site_max", "per_network_max"),
            new: caps("new_per_address_max", "new_per_site_max", "new_per_network_max"),
            new_strangers_max: count("new_strangers_max"),
            per_user_max: count("per_user_max"),
            reserved_percent: count("reserved_percent"),
            ..defaults
        }
    }

    fn at_least(&mut self, name: &str, least: &str) {
        let (given, allowed) = (self.raw.number(name), self.raw.number(least));
        if given < allowed && !self.raw.is_broken(name) && !self.raw.is_broken(least) {
            let name = if self.raw.is_set(name) { name } else { least };
            self.mistake(
                name,
                &format!("does not fit: there must be room for {least} = {allowed}, got {given}"),
            );
        }
    }

    /// Notes a mistake about a setting where it was set: `text` goes on after the setting's name.
    fn mistake(&mut self, name: &str, text: &str) {
        self.mistakes.add(&self.raw.place(name), format!("{} {text}", spoken(name)));
    }

    /// A setting that does nothing for want of another.
    fn useless(&mut self, name: &str, without: &str, more: &str) {
        if self.raw.place(name).is_set() && !self.raw.is_broken(without) {
            self.mistake(name, &format!("is of no use without {without}{more}"));
        }
    }

    /// A setting that must be there because another is.
    fn missing(&mut self, name: &str, because: &Place, why: &str) {
        if !self.raw.is_set(name) && !self.raw.is_broken(name) {
            self.mistakes.add(because, format!("{} must be set {why}", spoken(name)));
        }
    }
}

/// The name of a setting without the number of its provider.
fn spoken(name: &str) -> String {
    name.split('.')
        .filter(|part| !part.bytes().all(|byte| byte.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join(".")
}
