use std::collections::VecDeque;
use std::pin::Pin;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dialogue::{AnswerEvent, Finish, HubError, Timing, Usage};
use serde::Serialize;
use tokio::time::timeout;

use super::{Ended, Running, Step};
use crate::app::App;
use crate::error::ApiError;
use crate::sse;

/// How an API writes a stream. What is put into `out` is sent in order.
pub(crate) trait Form: Send + 'static {
    /// Something happened to the choice of this number. `ended` is what all choices took, with the last event of all.
    fn event(&mut self, choice: usize, event: AnswerEvent, ended: Option<Ended>, out: &mut VecDeque<Bytes>);

    /// After the last event of every choice. What they took is not known when the server cuts them off.
    fn done(&mut self, ended: Option<Ended>, out: &mut VecDeque<Bytes>);

    /// In place of what would have come: it broke off.
    fn error(&mut self, error: &ApiError, out: &mut VecDeque<Bytes>);

    /// What says that it is not forgotten, after each pause.
    fn keep_alive(&self) -> Bytes {
        sse::KEEP_ALIVE
    }
}

/// A response that is sent as it is generated.
pub(crate) fn stream(app: &App, running: Running, form: impl Form) -> Response {
    let cut = running.cut();
    let stream = Stream { app: App::clone(app), running, form, ready: VecDeque::new(), over: false };
    cut.mark(sse::respond(stream))
}

struct Stream<F> {
    app: App,
    running: Running,
    form: F,
    ready: VecDeque<Bytes>,
    over: bool,
}

impl<F: Form> Stream<F> {
    fn take(&mut self, step: Result<Step, ApiError>) {
        match step {
            Ok(Step::Event(choice, event)) => {
                self.form.event(choice, event, self.running.ended(), &mut self.ready);
            }
            Ok(Step::Done) => {
                self.over = true;
                self.form.done(self.running.ended(), &mut self.ready);
            }
            Err(error) => {
                self.over = true;
                self.form.error(&error, &mut self.ready);
                log(error);
            }
        }
    }

    /// The server shuts down, and the model does not say how much it was.
    fn cut(&mut self) {
        self.over = true;
        for choice in self.running.open() {
            let (finish, usage, timing) = (Finish::ShuttingDown, Usage::default(), Timing::default());
            let cut = AnswerEvent::Finished { finish, usage, timing };
            self.form.event(choice, cut, None, &mut self.ready);
        }
        self.form.done(None, &mut self.ready);
    }
}

impl<F: Form> sse::Source for Stream<F> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                biased;
                step = timeout(self.app.settings.keep_alive, self.running.next()) => match step {
                    Ok(step) => self.take(step),
                    Err(_) => self.ready.push_back(self.form.keep_alive()),
                },
                () = self.app.cut_off() => self.cut(),
            }
        }
    }
}

/// A response that is sent when it is whole. Where that takes longer than the pause between signs of life, its head goes
/// out first, with an empty line after each pause, as DeepSeek's API does it: JSON may begin with white space. Whatever
/// is wrong then comes as the body of an error with the status 200.
pub(crate) async fn whole<T: Serialize + 'static>(
    app: &App,
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<Response, ApiError> {
    whole_as(app, work, |error| serde_json::to_vec(&error.body()).unwrap_or_default()).await
}

/// The same for an API whose errors have another form.
pub(crate) async fn whole_as<T: Serialize + 'static>(
    app: &App,
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    write_error: fn(&ApiError) -> Vec<u8>,
) -> Result<Response, ApiError> {
    let cutting = App::clone(app);
    let mut work: Work<T> = Box::pin(async move {
        tokio::select! {
            biased;
            done = work => done,
            () = cutting.cut_off() => Err(HubError::ShuttingDown.into()),
        }
    });
    match timeout(app.settings.keep_alive, &mut work).await {
        Ok(done) => Ok(Json(done?).into_response()),
        Err(_) => Ok(in_lines(Lines { app: App::clone(app), work: Some(work), write_error, first: true })),
    }
}

type Work<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send>>;

struct Lines<T> {
    app: App,
    /// None when it is done.
    work: Option<Work<T>>,
    write_error: fn(&ApiError) -> Vec<u8>,
    /// Whether the first line is due, for the pause that is over.
    first: bool,
}

impl<T: Serialize + 'static> sse::Source for Lines<T> {
    async fn next(&mut self) -> Option<Bytes> {
        const EMPTY_LINE: Bytes = Bytes::from_static(b"\n");
        let work = self.work.as_mut()?;
        if std::mem::take(&mut self.first) {
            return Some(EMPTY_LINE);
        }
        let Ok(done) = timeout(self.app.settings.keep_alive, work).await else { return Some(EMPTY_LINE) };
        self.work = None;
        let body = match done {
            // Our types have no maps with keys that are not strings, the only thing that JSON can't hold.
            Ok(value) => serde_json::to_vec(&value).unwrap_or_default(),
            Err(error) => {
                let body = (self.write_error)(&error);
                log(error);
                body
            }
        };
        Some(body.into())
    }
}

fn in_lines(lines: impl sse::Source) -> Response {
    let mut response = Response::new(Body::from_stream(sse::pieces(lines)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The status is out already; what only the log may have goes there.
fn log(error: ApiError) {
    let code = error.code();
    if let Some(note) = error.into_note() {
        tracing::error!(code, error = note, "a response broke off");
    }
}
