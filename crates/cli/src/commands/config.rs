use std::io::Write as _;

use clap::Subcommand;

use crate::config::{self, Certificate, Config, FileArgument, Sources};
use crate::home::Context;
use crate::pull::text::printable;

/// Looks after the configuration file.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: FileArgument,

    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Says what `cachalot up` would go by, or everything that is wrong with it.
    Check,
    /// Explains a setting such as mail.server, a section such as mail, or all: what it is and what is in force. All of
    /// it makes a file to begin with.
    Explain { key: Option<String> },
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let sources = arguments.file.sources(context)?;
    let text = match &arguments.order {
        Order::Check => summary(&sources, &config::load(context, &sources)?),
        Order::Explain { key } => {
            let (text, mistakes) = config::explain(&sources, key.as_deref()).map_err(anyhow::Error::msg)?;
            if !mistakes.is_empty() {
                eprintln!("{}", printable(&mistakes.to_string()));
            }
            text
        }
    };
    let mut stdout = std::io::stdout().lock();
    Ok(write!(stdout, "{}", printable(&text)).and_then(|()| stdout.flush())?)
}

/// What is in force, for people.
fn summary(sources: &Sources, config: &Config) -> String {
    let settings = &config.settings;
    let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let tls = match &config.certificate {
        None => "none".to_owned(),
        Some(Certificate::Files(_)) => "with a certificate from files".to_owned(),
        Some(Certificate::Acme(acme)) => {
            format!("with certificates for {} from {}", acme.domains.join(", "), acme.directory)
        }
    };
    let proxies = settings.proxy.iter().flat_map(|proxy| &proxy.trusted).map(ToString::to_string);
    let mail = settings.mail.iter().map(|mail| format!("{}:{}", mail.server, mail.port));
    let providers = settings.providers.iter().map(|provider| provider.name.clone());
    let url = settings.public_url.as_ref().map_or("the addresses it listens on", url::Url::as_str);
    let origin = match &sources.file {
        Some(file) => format!("{} is in order", file.path.display()),
        None => "there is no configuration file; what there is besides is in order".to_owned(),
    };
    let mut text = format!(
        "{origin}\n  listens on: {}\n  reached as: {url}\n  TLS: {tls}\n  proxies: {}\n  letters by: {}\n  sign-in by: \
         {}\n  sign-up: {}\n",
        list(config.listen.iter().map(ToString::to_string).collect()),
        list(proxies.collect()),
        list(mail.collect()),
        list(std::iter::once("password".to_owned()).chain(providers).collect()),
        if settings.sign_up { "open" } else { "closed" },
    );
    for warning in &config.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}
