use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base::Rng;
use dialogue::{DialogueConfig, Hub, HubConfig};
use server::{Parts, Server, Settings, Tls};
use store::{SqliteStore, UserStore as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use url::Url;

use crate::admin::control::{self, SocketFile};
use crate::config::{self, Certificate, Config, FileArgument};
use crate::cookie_key;
use crate::home::Context;
use crate::listening::listen;
use crate::loading::{LibrarySource, Loader, pack_cache, resolve_or_pull};
use crate::master_keys::{self, master_keys};
use crate::pull::text::printable;
use crate::telemetry::Telemetry;

/// How long work that is left behind may go on at the end.
const LEFT_BEHIND_MAX: Duration = Duration::from_secs(1);

/// Serves the web app and the API. What is not given here is as the configuration says (`cachalot config explain`).
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: FileArgument,

    /// Where to listen; may be given more than once. Beyond loopback it takes TLS or a declared proxy [default:
    /// 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<String>,

    /// The model for those who choose none: a name (see `cachalot list`) or a path to a GGUF file [default: the
    /// catalogue's default model].
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Threads of each model [default: one per core].
    #[arg(long, value_name = "COUNT")]
    threads: Option<String>,

    /// Most models in memory; the one whose last use is longest ago makes room [default: 2].
    #[arg(long, value_name = "COUNT")]
    loaded_max: Option<String>,

    /// Keep no packed weights on disk, and use none: every start packs the model's weights anew.
    #[arg(long)]
    no_pack_cache: bool,

    /// Whether strangers may make accounts; where not, `cachalot user add` makes them [default: open].
    #[arg(long, value_enum, value_name = "STATE")]
    sign_up: Option<SignUp>,

    /// How long answers may go on after SIGTERM or Ctrl-C before they are cut [default: 10].
    #[arg(long, value_name = "SECONDS")]
    drain_seconds: Option<String>,

    /// Open the web app in the browser.
    #[arg(long)]
    open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SignUp {
    Open,
    Closed,
}

impl Arguments {
    /// What is given here, as settings.
    fn settings(&self) -> Vec<(&'static str, &'static str, String)> {
        let listen = Some(self.listen.join(",")).filter(|listen| !listen.is_empty());
        let sign_up = self.sign_up.map(|state| (state == SignUp::Open).to_string());
        let given = [
            ("listen", "--listen", listen),
            ("model", "--model", self.model.clone()),
            ("threads", "--threads", self.threads.clone()),
            ("loaded_max", "--loaded-max", self.loaded_max.clone()),
            ("pack_cache_gib", "--no-pack-cache", self.no_pack_cache.then(|| "0".to_owned())),
            ("sign_up.open", "--sign-up", sign_up),
            ("drain_seconds", "--drain-seconds", self.drain_seconds.clone()),
        ];
        given.into_iter().filter_map(|(name, argument, value)| Some((name, argument, value?))).collect()
    }
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let mut sources = arguments.file.sources(context)?;
    sources.arguments = arguments.settings();
    let config = config::load(context, &sources)?;
    let telemetry = Telemetry::start(&config.log_filter, config.log_json, config.collector.as_ref())?;
    for warning in &config.warnings {
        eprintln!("warning: {}", printable(warning));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = block_on(runtime, serve(context, config, arguments.open));
    telemetry.end();
    done
}

/// Runs to the end. A model that doesn't stop, or a pull that can't be interrupted, does not hold the program up.
fn block_on<T>(runtime: tokio::runtime::Runtime, work: impl Future<Output = T>) -> T {
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT_BEHIND_MAX);
    done
}

async fn serve(context: &Context, config: Config, open: bool) -> anyhow::Result<()> {
    server::raise_descriptors_limit();
    // First, so that a port in use is known before anything is pulled or loaded.
    let listeners = listen(&config.listen)?;
    let tls = match config.certificate {
        Some(Certificate::Files(tls)) => Some(*tls),
        Some(Certificate::Acme(acme)) => Some(Tls::acme(&acme)?),
        None => None,
    };
    let model = tokio::task::block_in_place(|| resolve_or_pull(context, config.model.as_deref()))?;
    let database = context.home.join("cachalot.db");
    crate::home::make(&context.home).with_context(|| format!("{} can't be made", context.home.display()))?;
    let keys = master_keys(&context.home)?;
    let store = SqliteStore::open(&database, keys, Arc::clone(&context.clock), random()?);
    let store = store.await.with_context(|| format!("{} can't be opened", database.display()))?;
    // Ours to the end, and with it the database's lock: nobody else makes a control socket before ours is gone.
    let store = Arc::new(store);
    let cookie_key = cookie_key::read_or_make(&context.home.join("cookie.key"), &mut random()?)?;
    let setup_token = match store.users_count().await? {
        0 => Some(hex(random()?)),
        _ => None,
    };

    // Where anybody may come, many may come at once.
    let kv_claimed = config.settings.public_url.is_some();
    let sizes = DialogueConfig { kv_claimed, ..DialogueConfig::default() };
    let loader = Loader::new(context, config.threads, sizes)
        .rounding(config.precision)
        .keeping(config.kv_format)
        .packs(pack_cache(context, config.pack_cache_gib));
    let default_model = model.name.clone();
    let source = LibrarySource::new(&context.home, loader, model)?;
    let loaded_max = config.loaded_max.get();
    let hub = Hub::new(Box::new(source), HubConfig { default_model: default_model.clone(), loaded_max });
    // A model that can't be loaded is better known now than at the first question.
    hub.get(&default_model).await?;

    let addresses = Addresses::new(config.settings.public_url.as_ref(), &listeners)?;
    let parts = Parts {
        settings: Settings { scratch_folder: Some(context.home.clone()), ..config.settings },
        hub: hub.clone(),
        store: Arc::<SqliteStore>::clone(&store),
        clock: Arc::clone(&context.clock),
        rng: random()?,
        cookie_key,
        setup_token: setup_token.clone(),
    };
    let shutdown = stop_on_signals(hub)?;
    let (server, _socket) = with_control(Server::new(parts), &context.home)?;
    announce(&addresses, &default_model, setup_token.as_deref(), open);
    server.serve(listeners, tls, shutdown).await?;
    Ok(())
}

/// The server with a control socket, and the socket's file.
fn with_control(server: Server, home: &Path) -> anyhow::Result<(Server, Option<SocketFile>)> {
    match control::listen(home)? {
        Some((listener, file)) => Ok((server.with_control(listener), Some(file))),
        None => {
            eprintln!(
                "(the path of {} is too long for a control socket: `cachalot user` and its like work only while the \
                 server is stopped)",
                home.display()
            );
            Ok((server, None))
        }
    }
}

/// Ready at the first SIGTERM or Ctrl-C. The second cuts the answers that are still in flight, the third ends the
/// program.
fn stop_on_signals(hub: Hub) -> anyhow::Result<impl Future<Output = ()>> {
    let mut signals = Signals::new().context("signals can't be listened to")?;
    let (first, stopped) = oneshot::channel();
    tokio::spawn(async move {
        signals.next().await;
        eprintln!("stopping: answers in flight may end first; again to cut them");
        // A server that is gone has stopped.
        let _ = first.send(());
        signals.next().await;
        eprintln!("cutting the answers in flight");
        hub.shutdown(Duration::ZERO);
        signals.next().await;
        std::process::exit(1);
    });
    Ok(async {
        let _ = stopped.await;
    })
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Where it is to be found.
struct Addresses {
    /// What users open.
    url: String,
    /// Where it listens, if that is something else.
    listening: Option<String>,
}

impl Addresses {
    fn new(public_url: Option<&Url>, listeners: &[TcpListener]) -> anyhow::Result<Self> {
        let local: Vec<_> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        let shown = local.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (url, others) = match (public_url, local.first()) {
            (Some(url), _) => (url.to_string(), true),
            (None, Some(first)) => (format!("http://{first}/"), local.len() > 1),
            (None, None) => bail!("there is nowhere to listen"),
        };
        Ok(Self { url, listening: others.then_some(shown) })
    }
}

/// Says where it serves and, where there is no user yet, how to become the first. The token stands behind `#`, which
/// browsers don't send and servers don't log.
fn announce(addresses: &Addresses, model: &str, setup_token: Option<&str>, open: bool) {
    let url = &addresses.url;
    let setup = setup_token.map(|token| format!("{url}setup#{token}"));
    let mut stdout = std::io::stdout().lock();
    // Whoever started it may not be listening any more.
    let _ = writeln!(stdout, "Cachalot serves {} at {url}", printable(model))
        .and_then(|()| match &addresses.listening {
            Some(listening) => writeln!(stdout, "It listens on {listening}"),
            None => Ok(()),
        })
        .and_then(|()| match &setup {
            Some(setup) => {
                writeln!(stdout, "There is no account yet. Make the administrator's here, once:\n{setup}")
            }
            None => Ok(()),
        })
        .and_then(|()| stdout.flush());
    if open && let Err(error) = open_browser(setup.as_deref().unwrap_or(url)) {
        eprintln!("(no browser could be opened: {error})");
    }
}

fn open_browser(url: &str) -> std::io::Result<()> {
    let (program, arguments): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(url)
        .env_remove(master_keys::VARIABLE)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut browser = command.spawn()?;
    // Waited for by a thread of its own, so that it doesn't stay a zombie.
    std::thread::spawn(move || browser.wait());
    Ok(())
}

/// 128 random bits as text.
fn hex(mut rng: Rng) -> String {
    format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
}

fn random() -> anyhow::Result<Rng> {
    Rng::from_os().context("the operating system has no randomness to give")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_never_ends_does_not_hold_the_program_up() {
        let (never, hold) = std::sync::mpsc::channel::<()>();
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            block_on(runtime, async move {
                drop(tokio::task::spawn_blocking(move || hold.recv()));
            });
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(60)).expect("it ends");
        drop(never);
    }

    #[tokio::test]
    async fn users_are_shown_what_they_can_open() {
        let check = async |public: Option<&str>, listen: &[&str], url: &str, listening: Option<&str>| {
            let listeners: Vec<_> = listen.iter().map(|address| address.parse().unwrap()).collect();
            let listeners = crate::listening::listen(&listeners).unwrap();
            let port = listeners[0].local_addr().unwrap().port().to_string();
            let public = public.map(|url| url.parse().unwrap());
            let found = Addresses::new(public.as_ref(), &listeners).unwrap();
            assert_eq!(found.url, url.replace("PORT", &port));
            assert_eq!(found.listening, listening.map(|text| text.replace("PORT", &port)));
        };
        check(None, &["127.0.0.1:0"], "http://127.0.0.1:PORT/", None).await;
        check(None, &["[::1]:0"], "http://[::1]:PORT/", None).await;
        check(
            Some("https://chat.example.org"),
            &["0.0.0.0:0"],
            "https://chat.example.org/",
            Some("0.0.0.0:PORT"),
        )
        .await;
    }
}
