//! The HTTP server: OpenAI's and DeepSeek's chat API, the web app and its API, health and metrics.
//!
//! [`Server::serve`] runs an accept loop of its own over hyper, with a deadline for everything that a client can be
//! slow at and a cap on everything that a client can have many of. One endpoint is one file under `routes/`. Beyond
//! loopback it listens only with TLS ([`Tls`]) or behind declared proxies ([`Proxy`]), and it answers only requests
//! that name it as users know it.

mod accounts;
mod acme;
mod answers;
mod app;
mod body;
mod bulwark;
mod connections;
mod data;
mod desk;
mod error;
mod forwarded;
mod gate;
mod generation;
mod layers;
mod letters;
mod meter;
mod metrics;
mod oidc;
mod routes;
mod serve;
mod settings;
mod sse;
mod tls;
mod webapp;

pub use accounts::{Allowance, PasswordCost};
pub use acme::Acme;
pub use connections::{ConnectionLimits, PrefixCaps, raise_descriptors_limit};
#[cfg(feature = "fuzzing")]
pub use data::read_whole;
pub use defence::{Caps, CapsByClass, LoginLimits, Trust};
pub use desk::{Desk, DeskParts};
pub use forwarded::{ForwardedHeader, Proxy};
pub use gate::{Systems, SystemsError};
pub use meter::{Hours, Price, Prices, Rate};
pub use routes::openapi::document as openapi_document;
pub use routes::{Audience, admin_endpoints, api_paths, program_endpoints};
pub use serve::{Parts, ServeError, Server};
pub use settings::{Defence, Mail, MailSecurity, Provider, Registration, Settings};
pub use tls::{CertificateFiles, Tls, TlsError};
