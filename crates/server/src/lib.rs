//! The HTTP server: OpenAI's and DeepSeek's chat API, the web app and its API, health and metrics.
//!
//! [`Server::serve`] runs an accept loop of its own over hyper, with a deadline for everything that a client can be
//! slow at and a cap on everything that a client can have many of. One endpoint is one file under `routes/`. Until
//! there is TLS the server listens on loopback only, and answers only requests that name loopback as their
//! host.

mod accept;
mod accounts;
mod answers;
mod app;
mod body;
mod error;
mod layers;
mod letters;
mod metrics;
mod oidc;
mod routes;
mod serve;
mod settings;
mod sse;
mod webapp;

pub use accounts::{Allowance, PasswordCost, hash_password, user_name};
pub use routes::{Audience, api_paths};
pub use serve::{Parts, ServeError, Server};
pub use settings::{Mail, MailSecurity, Provider, Settings};
