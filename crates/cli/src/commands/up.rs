use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base::Rng;
use dialogue::{DialogueConfig, Hub, HubConfig};
use server::{Parts, Server, Settings};
use store::{SqliteStore, UserStore as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::cookie_key;
use crate::home::Context;
use crate::loading::{LibrarySource, Loader, resolve_or_pull};
use crate::master_keys::{self, master_keys};
use crate::pull::text::printable;

/// How long work that is left behind may go on at the end.
const LEFT_BEHIND_MAX: Duration = Duration::from_secs(1);

/// Serves the web app and the API.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen. Only loopback, as there is no TLS yet.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: String,

    /// The model for those who choose none: a name (see `cachalot list`) or a path to a GGUF file [default: the
    /// catalogue's default model].
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Threads of each model [default: one per core].
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZeroUsize>,

    /// Most models in memory; the one whose last use is longest ago makes room.
    #[arg(long, value_name = "COUNT", default_value = "2")]
    loaded_max: NonZeroUsize,

    /// Whether strangers may make accounts; where not, `cachalot user add` makes them.
    #[arg(long, value_enum, value_name = "STATE", default_value = "open")]
    sign_up: SignUp,

    /// How long answers may go on after SIGTERM or Ctrl-C before they are cut.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain_seconds: u32,

    /// Open the web app in the browser.
    #[arg(long)]
    open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SignUp {
    Open,
    Closed,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let address = loopback(&arguments.listen)?;
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    block_on(runtime, serve(context, arguments, address))
}

/// Runs to the end. A model that doesn't stop, or a pull that can't be interrupted, does not hold the program up.
fn block_on<T>(runtime: tokio::runtime::Runtime, work: impl Future<Output = T>) -> T {
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT_BEHIND_MAX);
    done
}

async fn serve(context: &Context, arguments: &Arguments, address: SocketAddr) -> anyhow::Result<()> {
    // First, so that a port in use is known before anything is pulled or loaded.
    let listener = listen(address).await?;
    let model = tokio::task::block_in_place(|| resolve_or_pull(context, arguments.model.as_deref()))?;
    let database = context.home.join("cachalot.db");
    std::fs::create_dir_all(&context.home)
        .with_context(|| format!("{} can't be made", context.home.display()))?;
    let keys = master_keys(&context.home)?;
    let store = SqliteStore::open(&database, keys, Arc::clone(&context.clock), random()?);
    let store = store.await.with_context(|| format!("{} can't be opened", database.display()))?;
    let cookie_key = cookie_key::read_or_make(&context.home.join("cookie.key"), &mut random()?)?;
    let setup_token = match store.users_count().await? {
        0 => Some(hex(random()?)),
        _ => None,
    };

    let loader = Loader::new(context, arguments.threads, DialogueConfig::default());
    let default_model = model.name.clone();
    let source = LibrarySource::new(&context.home, loader, model)?;
    let loaded_max = arguments.loaded_max.get();
    let hub = Hub::new(Box::new(source), HubConfig { default_model: default_model.clone(), loaded_max });
    // A model that can't be loaded is better known now than at the first question.
    hub.get(&default_model).await?;

    let drain_timeout = Duration::from_secs(u64::from(arguments.drain_seconds));
    let sign_up = arguments.sign_up == SignUp::Open;
    let settings = Settings { drain_timeout, sign_up, ..Settings::default() };
    let parts = Parts {
        settings,
        hub: hub.clone(),
        store: Arc::new(store),
        clock: Arc::clone(&context.clock),
        rng: random()?,
        cookie_key,
        setup_token: setup_token.clone(),
    };
    let url = format!("http://{}/", listener.local_addr()?);
    let shutdown = stop_on_signals(hub)?;
    announce(&url, &default_model, setup_token.as_deref(), arguments.open);
    Server::new(parts).serve(listener, shutdown).await?;
    Ok(())
}

/// The address, if it is one that only this machine reaches.
fn loopback(listen: &str) -> anyhow::Result<SocketAddr> {
    let allowed = "allowed are an address and a port, such as 127.0.0.1:8080";
    let addresses = listen.to_socket_addrs().with_context(|| format!("--listen is {listen:?}; {allowed}"))?;
    let addresses: Vec<SocketAddr> = addresses.collect();
    if let Some(outside) = addresses.iter().find(|address| !address.ip().is_loopback()) {
        bail!(
            "--listen {listen} ({outside}) can be reached from other machines, and without TLS, which comes with \
             a later version, whoever is on the way reads every password and conversation: only loopback is allowed (127.0.0.1:PORT or [::1]:PORT). To use it from elsewhere, forward the port, as with \
             ssh -L 8080:127.0.0.1:8080 HOST"
        );
    }
    addresses.first().copied().with_context(|| format!("--listen {listen} is no address; {allowed}"))
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use: is another cachalot running? Choose another port with --listen {}:PORT",
            address.ip()
        ),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{address} may not be listened on by this user; ports from 1024 on usually may")
        }
        _ => anyhow::Error::new(error).context(format!("{address} can't be listened on")),
    })
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

/// Says where it serves and, where there is no user yet, how to become the first. The token stands behind `#`, which
/// browsers don't send and servers don't log.
fn announce(url: &str, model: &str, setup_token: Option<&str>, open: bool) {
    let setup = setup_token.map(|token| format!("{url}setup#{token}"));
    let mut stdout = std::io::stdout().lock();
    // Whoever started it may not be listening any more.
    let _ = writeln!(stdout, "Cachalot serves {} at {url}", printable(model))
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

/// Logs to standard error; `CACHALOT_LOG` chooses what, `warn` if it isn't set.
fn log_to_stderr() {
    let filter = std::env::var("CACHALOT_LOG").unwrap_or_else(|_| "warn".to_owned());
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(filter);
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A logger that is set already stays.
    let _ = logger.with_ansi(std::io::stderr().is_terminal()).try_init();
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

    #[test]
    fn only_loopback_is_listened_on() {
        assert_eq!(loopback("127.0.0.1:8080").unwrap(), SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert!(loopback("[::1]:0").unwrap().ip().is_loopback());
        for outside in ["0.0.0.0:8080", "192.168.1.2:80", "[::]:8080", "[2001:db8::1]:80"] {
            let error = loopback(outside).unwrap_err().to_string();
            assert!(error.contains("can be reached from other machines"), "{error}");
        }
        for nonsense in ["8080", "127.0.0.1", "127.0.0.1:99999", ""] {
            let error = loopback(nonsense).unwrap_err().to_string();
            assert!(error.contains("allowed are an address and a port"), "{error}");
        }
    }
}
