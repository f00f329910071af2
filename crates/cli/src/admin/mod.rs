//! Commands of whoever has the machine: they ask the server over its control socket where one runs, and the same
//! endpoints over the database itself where none does.

pub(crate) mod control;
pub(crate) mod find;
pub(crate) mod output;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use base::Rng;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use server::{Desk, DeskParts, Settings};
use store::{SqliteStore, StoreError, StoreHealth as _};
use tokio::net::UnixStream;

use crate::config::{self, FileArgument};
use crate::cookie_key;
use crate::home::Context;
use crate::master_keys::master_keys;
use crate::pull::text::printable;

/// What comes back, piece by piece.
pub(crate) type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

/// The operators' API, wherever it is answered.
pub(crate) enum Admin {
    /// By the server that runs.
    Server(PathBuf),
    /// Here.
    Desk { desk: Box<Desk>, store: Arc<SqliteStore> },
}

/// Runs a command to its end. A reader of its output that goes away ends it quietly.
pub(crate) fn run(
    context: &Context,
    work: impl AsyncFnOnce(&Admin) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let admin = Admin::open(context).await?;
        let done = work(&admin).await;
        admin.close().await?;
        match done {
            Err(error) if reader_left(&error) => Ok(()),
            done => done,
        }
    })
}

fn reader_left(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// What a server would have: passwords cost as much as it makes them. Accounts can be looked after in any case.
fn settings(context: &Context) -> Settings {
    let configured = FileArgument::of_environment()
        .sources(context)
        .and_then(|sources| config::load(context, &sources).map_err(anyhow::Error::from));
    configured.map(|config| config.settings).unwrap_or_else(|error| {
        eprintln!("warning: the configuration is not used: {}", printable(&format!("{error:#}")));
        Settings::default()
    })
}

impl Admin {
    async fn open(context: &Context) -> anyhow::Result<Self> {
        let socket = control::path(&context.home);
        match UnixStream::connect(&socket).await {
            Ok(_) => Ok(Self::Server(socket)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                bail!("{} may not be opened by this user; the one who runs the server may", socket.display())
            }
            // None, one that a server left behind when it was killed, or a path that no socket can have.
            Err(_) => Self::open_desk(context).await,
        }
    }

    async fn open_desk(context: &Context) -> anyhow::Result<Self> {
        let database = context.home.join("cachalot.db");
        if !database.exists() {
            bail!("{} is not there: no server has been started with this home yet", database.display());
        }
        let keys = master_keys(&context.home)?;
        let store = SqliteStore::open(&database, keys, Arc::clone(&context.clock), random()?).await;
        let store = store.map_err(|error| match error {
            StoreError::InUse { .. } => anyhow::anyhow!(
                "{} is in use by a process that does not answer on its control socket: a server that is starting or \
                 stopping; try again in a moment",
                database.display()
            ),
            error => anyhow::Error::new(error).context(format!("{} can't be opened", database.display())),
        })?;
        let store = Arc::new(store);
        let parts = DeskParts {
            settings: settings(context),
            store: Arc::<SqliteStore>::clone(&store),
            clock: Arc::clone(&context.clock),
            rng: random()?,
            cookie_key: cookie_key::read_or_make(&context.home.join("cookie.key"), &mut random()?)?,
        };
        Ok(Self::Desk { desk: Box::new(Desk::new(parts)), store })
    }

    async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Server(_) => Ok(()),
            Self::Desk { store, .. } => Ok(store.close().await?),
        }
    }

    /// What an endpoint answers, as JSON.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let bytes = self.open_answer(method, path, body).await?.collect().await?.to_bytes();
        let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(text).context("the answer is not what this program understands")
    }

    /// What an endpoint answers, to be read as it comes.
    ///
    /// # Errors
    /// When nobody answers, and what is said for a refusal.
    pub(crate) async fn open_answer(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Body> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let answer = match self {
            Self::Server(socket) => send(socket, request.body(Full::from(text))?).await?,
            Self::Desk { desk, .. } => desk
                .ask(request.body(text)?)
                .await
                .map(|body| body.map_err(anyhow::Error::new).boxed_unsync()),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let bytes = answer.into_body().collect().await?.to_bytes();
        let said: Option<Value> = serde_json::from_slice(&bytes).ok();
        match said.as_ref().and_then(|said| said["error"]["message"].as_str()) {
            Some(message) => bail!("{message}"),
            None => bail!("the server answers {status}"),
        }
    }
}

async fn send(socket: &Path, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Body>> {
    let gone = || format!("the server does not answer on {}", socket.display());
    let stream = UnixStream::connect(socket).await.with_context(gone)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(gone)?;
    // What goes wrong on it shows in the answer.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.with_context(gone)?;
    Ok(answer.map(|body| body.map_err(anyhow::Error::new).boxed_unsync()))
}

fn random() -> anyhow::Result<Rng> {
    Rng::from_os().context("the operating system has no randomness to give")
}
