//! Letters to users: a queue of fixed capacity in memory, and one task that sends what is in it.
//!
//! A letter holds nothing that a stranger wrote, so that nobody can make this server write for them. What fails is
//! logged without the address and without what the mail server said, which may repeat it.

mod language;
mod post;
mod texts;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lettre::Address;
use store::User;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use url::Url;

pub(crate) use language::Language;
use post::Failure;
pub(crate) use post::Post;

use crate::accounts::check_email;
use crate::app::State;
use crate::error::ApiError;
use crate::settings::{Mail, Settings};

/// How often a letter is tried.
const TRIES_MAX: u32 = 3;

/// What a letter is about, with the address of the page that it leads to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Somebody wants an account with this address.
    SignUp { link: String },
    /// Somebody wanted one, and there is one.
    KnownAlready,
    /// Somebody forgot a password.
    Reset { link: String },
    /// Somebody wants this to be the address of their account.
    NewAddress { link: String },
    /// Somebody wanted that, and it is another account's.
    AddressOfAnother,
    /// The address of this account is about to be another.
    AddressChanges,
    /// A key was made with which programs ask in the name of this account.
    KeyMade,
    /// Their account has another way in by now: a passkey.
    PasskeyAdded,
    /// Their account has another way in by now: an account elsewhere.
    ProviderLinked,
}

/// A letter to be written and sent.
struct Letter {
    to: Address,
    language: Language,
    subject: Subject,
    /// Unix milliseconds.
    written_ms: i64,
    /// What no other letter is called.
    name: String,
}

/// Room for a letter, taken before anything is looked up: whether there is room tells nothing about anybody.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A letter on its way, which keeps its place until it has arrived or was given up.
struct Posted {
    /// `None` where an address is nobody's: it waits its turn like any other, so that how full the queue is tells
    /// nothing either.
    letter: Option<Letter>,
    tries: u32,
    _place: Place,
}

/// Letters that wait. Those that nobody takes, as in a program without a server, stay.
pub(crate) struct Letters {
    base: String,
    places: Arc<Semaphore>,
    queue: mpsc::UnboundedSender<Posted>,
    /// Until the task that sends them takes it.
    waiting: Mutex<Option<mpsc::UnboundedReceiver<Posted>>>,
}

impl std::fmt::Debug for Letters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letters").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Letters {
    /// Without a mail server there are none.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        let (_, public_url) = settings.mail.as_ref().zip(settings.public_url.as_ref())?;
        let (queue, waiting) = mpsc::unbounded_channel();
        Some(Self {
            base: base(public_url),
            places: Arc::new(Semaphore::new(settings.letters_max)),
            queue,
            waiting: Mutex::new(Some(waiting)),
        })
    }

    /// The address of a page of ours. What it is about stands behind `#`, which browsers don't send and servers don't
    /// log.
    pub(crate) fn link(&self, page: &str, ticket: &str) -> String {
        format!("{}/{page}#{ticket}", self.base)
    }

    /// Room for one letter.
    pub(crate) fn place(&self) -> Result<Place, ApiError> {
        let full =
            |_| ApiError::busy("too_many_letters", "too many letters wait to be sent; try again later");
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(full)?;
        Ok(Place { _permit: permit })
    }

    /// Sends letters until `closing` says that no more will come, then those that wait, and ends. `None` if another
    /// does so already.
    pub(crate) fn deliver(
        &self,
        post: Post,
        pause: Duration,
        closing: oneshot::Receiver<()>,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(deliver(waiting, post, pause, closing))
    }
}

impl State {
    /// How letters are sent, where they are.
    pub(crate) fn letters(&self) -> Result<&Letters, ApiError> {
        let message = "this server sends no letters, so it takes no addresses; its administrator can set one, and another \
                       password";
        self.letters.as_ref().ok_or_else(|| ApiError::unprocessable("no_mail", message))
    }

    /// Takes a letter to the queue.
    pub(crate) fn post(&self, place: Place, to: Address, language: Language, subject: Subject) {
        let (written_ms, name) = (self.clock.unix_ms(), self.random_name());
        let letter = Letter { to, language, subject, written_ms, name };
        self.enqueue(Posted { letter: Some(letter), tries: 0, _place: place });
    }

    /// Tells somebody what happened to their account, where there are letters and their address is known to be theirs.
    /// That there is no room for it keeps nobody from what they do.
    pub(crate) fn tell(&self, user: &User, language: Language, subject: Subject) {
        let address = user.email.as_ref().filter(|_| user.email_verified_ms.is_some());
        // What the store has may be older than today's rules for addresses.
        let to = address.and_then(|email| email.parse().ok());
        let (Some(letters), Some(to)) = (&self.letters, to) else { return };
        match letters.place() {
            Ok(place) => self.post(place, to, language, subject),
            Err(_) => tracing::error!("a letter about somebody's account found no room in the queue"),
        }
    }

    /// Does as if there were a letter.
    pub(crate) fn post_nothing(&self, place: Place) {
        self.enqueue(Posted { letter: None, tries: 0, _place: place });
    }

    fn enqueue(&self, posted: Posted) {
        if let Some(letters) = &self.letters {
            // Whoever sends them is gone only when the server shuts down.
            let _ = letters.queue.send(posted);
        }
    }
}

/// The address under which our pages are, without a slash at its end.
fn base(public_url: &Url) -> String {
    public_url.as_str().trim_end_matches('/').to_owned()
}

async fn deliver(
    mut waiting: mpsc::UnboundedReceiver<Posted>,
    post: Post,
    pause: Duration,
    mut closing: oneshot::Receiver<()>,
) {
    // Those that are tried again after a pause. They keep their places, so there are never many.
    let mut again = JoinSet::new();
    loop {
        let mut posted = tokio::select! {
            posted = waiting.recv() => match posted {
                Some(posted) => posted,
                None => break,
            },
            Some(Ok(posted)) = again.join_next() => posted,
            _ = &mut closing, if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        let Some(letter) = &posted.letter else { continue };
        let Err(failure) = post.send(letter).await else { continue };
        posted.tries += 1;
        let (Failure::Later(reason) | Failure::Never(reason)) = failure;
        if matches!(failure, Failure::Later(_)) && posted.tries < TRIES_MAX {
            tracing::warn!(reason, tries = posted.tries, "a letter was not taken and will be tried again");
            again.spawn(async move {
                tokio::time::sleep(pause).await;
                posted
            });
        } else {
            tracing::error!(reason, tries = posted.tries, "a letter was given up");
        }
    }
    if !again.is_empty() {
        tracing::warn!(letters = again.len(), "letters that were to be tried again were given up");
    }
}

/// What is needed to send letters; `None` if none are to be sent.
///
/// # Errors
/// What is wrong with the settings, in words for the operator.
pub(crate) fn post_of(settings: &Settings) -> Result<Option<Post>, String> {
    let Some(mail) = &settings.mail else { return Ok(None) };
    let Some(public_url) = &settings.public_url else {
        return Err("letters hold links, so a mail server needs public_url to be set too".to_owned());
    };
    new_post(mail, public_url).map(Some)
}

fn new_post(mail: &Mail, public_url: &Url) -> Result<Post, String> {
    let site = public_url.host_str().ok_or("public_url must name a host")?;
    Post::new(mail, site, &base(public_url))
}

/// An address to which a letter can be sent.
pub(crate) fn check_address(given: Option<&str>) -> Result<Address, ApiError> {
    let wrong = || ApiError::invalid("email", "email must be one address such as name@example.org");
    check_email(given)?.ok_or_else(wrong)?.parse().map_err(|_| wrong())
}
