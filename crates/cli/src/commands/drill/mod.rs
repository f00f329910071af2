//! `cachalot drill`: the attack drill, against a server of its own or one on this machine that is the operator's.

mod server;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base::Rng;
use drill::{Admin, Choices, Cores, DrillError, Kind, Plan, Report, Site, Target};
use tokio::signal::unix::{SignalKind, signal};

use self::server::{Own, Started};
use crate::config::table::{self, SETTINGS};
use crate::home::Context;
use crate::pull::text::printable;

/// Holds the password of `--admin`, where it shall not be typed.
const PASSWORD: &str = "CACHALOT_DRILL_PASSWORD";
/// Settings of this section that are true or false are defences that can be switched off.
const DEFENCES: &str = "defence";

/// Attacks a server on this machine while people use it, and reports what became of the people. Without --url it starts
/// a server of its own, in a temporary home that is removed afterwards.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The main mix of attacks in less than 45 s.
    #[arg(long)]
    quick: bool,

    /// Print one object: with --quick the figures that count, otherwise all that was measured.
    #[arg(long)]
    json: bool,

    /// Also write the report as a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Also write all that was measured, as one JSON object.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    /// Decides who comes when, from where, and says what [default: a new one].
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// A kind of attack, which then runs without the others; may be given more than once [default: the main mix].
    #[arg(long, value_name = "KIND", long_help = kinds_help())]
    attack: Vec<Kind>,

    /// What is sent, as a multiple of what the server can serve [default: 10].
    #[arg(long, value_name = "TIMES")]
    strength: Option<f64>,

    /// How long the attack lasts; the calm before it is as long [default: 60, with --quick 11].
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,

    /// Addresses that the attackers have [default: 1000000].
    #[arg(long, value_name = "COUNT")]
    addresses: Option<u32>,

    /// Switch a defence of the drill's own server off, to see what it is good for; may be given more than once.
    #[arg(long, value_name = "DEFENCE", conflicts_with = "url")]
    ablate: Vec<String>,

    /// What to start: cachalot, or plain, a small server without any defence, to compare with.
    #[arg(long, value_enum, default_value = "cachalot", conflicts_with = "url")]
    target: Kinds,

    /// The model of the drill's own server [default: the catalogue's default model].
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    model: Option<String>,

    /// A server of yours on this machine, such as `http://127.0.0.1:8080`, instead of one that is started.
    #[arg(long, value_name = "URL", requires = "admin")]
    url: Option<String>,

    /// With --url: an administrator's name there, who makes the accounts of the drill and deletes them again. The
    /// password is asked for, or taken from `$CACHALOT_DRILL_PASSWORD`.
    #[arg(long, value_name = "NAME", requires = "url")]
    admin: Option<String>,

    /// With --url: what to call the server [default: the host of --url, by which callers count as programs of this
    /// machine].
    #[arg(long, value_name = "HOST", requires = "url")]
    host: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kinds {
    Cachalot,
    Plain,
}

fn kinds_help() -> String {
    let names = Kind::ALL.map(Kind::name).join(", ");
    format!("A kind of attack, which then runs without the others; may be given more than once: {names}")
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let cores = Cores::halved().context("which cores there are is not known")?;
    let seed = arguments.seed.map_or_else(new_seed, Ok)?;
    let plan = Plan::new(Choices {
        quick: arguments.quick,
        seed,
        strength: arguments.strength,
        attack_seconds: arguments.duration,
        attacks: arguments.attack.clone(),
        addresses: arguments.addresses,
        server_cores: cores.server.len(),
    })?;
    // All that can be refused is refused before anything is started or asked.
    let yours = arguments.url.as_deref().map(|url| yours(url, &arguments)).transpose()?;
    let off = defences_off(&arguments.ablate)?;
    if arguments.target == Kinds::Plain && !off.is_empty() {
        bail!("--target plain has no defences to switch off");
    }
    drill::raise_descriptors(drill::descriptors_needed(&plan, server::CONNECTIONS_MAX))?;
    for file in arguments.html.iter().chain(&arguments.save) {
        // What can't be written is better known now than after the drill.
        std::fs::write(file, "").with_context(|| format!("{} can't be written", file.display()))?;
    }
    // What is begun from here on is people's and attackers'; the server is started on other cores.
    drill::pin(&cores.load).context("the drill can't choose its cores")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.load.len().max(2))
        .enable_all()
        .build()?;
    let stop = { runtime.block_on(async { signals() })? };
    let (site, own) = match yours {
        Some(target) => (site_of_yours(context, target, cores), None),
        None => {
            let (site, own) = start(context, &arguments, plan.calm, &off, cores)?;
            (site, Some(own))
        }
    };
    let report = runtime.block_on(attack(context, plan, site, stop));
    // Ended here, so that nothing is left however the drill ended.
    let log = own.map(Own::end).filter(|log| !log.is_empty());
    match (&report, log) {
        (Ok(_) | Err(DrillError::Interrupted), _) | (_, None) => {}
        (Err(_), Some(log)) => eprintln!("The server's log ended with:\n{log}"),
    }
    print(&report?, &arguments)
}

fn new_seed() -> anyhow::Result<u64> {
    let mut rng = Rng::from_os().context("the operating system has no randomness to give")?;
    // Short enough to be typed.
    Ok(rng.next_u64() >> 40)
}

fn yours(url: &str, arguments: &Arguments) -> anyhow::Result<Target> {
    let name = arguments.admin.clone().unwrap_or_default();
    // Before the password is asked for.
    Target::of_url(url, Admin::Setup(String::new()))?;
    let password = match std::env::var(PASSWORD) {
        Ok(password) => password,
        Err(_) => rpassword::prompt_password(format!("Password for {}: ", printable(&name)))?,
    };
    let target = Target::of_url(url, Admin::Login { name, password })?;
    Ok(match &arguments.host {
        Some(host) => target.called(host),
        None => target,
    })
}

/// The names of settings that switch these defences off.
fn defences_off(names: &[String]) -> anyhow::Result<Vec<String>> {
    let flags = SETTINGS.iter().filter(|it| it.section == DEFENCES && it.kind == table::Kind::Flag);
    let known: Vec<_> = flags.map(|setting| setting.key).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        bail!("--ablate: the defences that can be switched off are: {known}; got {unknown:?}");
    }
    Ok(names.iter().map(|name| table::full_name(DEFENCES, name)).collect())
}

fn site_of_yours(context: &Context, target: Target, cores: Cores) -> Site {
    Site {
        target,
        about: "A server of the operator's".to_owned(),
        settings: BTreeMap::new(),
        connections_max: server::CONNECTIONS_MAX,
        cores,
        clock: Arc::clone(&context.clock),
    }
}

fn start(
    context: &Context,
    arguments: &Arguments,
    calm: Duration,
    off: &[String],
    cores: Cores,
) -> anyhow::Result<(Site, Own)> {
    let Started { own, address, token, about, settings } = match arguments.target {
        Kinds::Cachalot => server::cachalot(context, arguments.model.as_deref(), calm, off, &cores.server)?,
        Kinds::Plain => server::plain(&cores.server)?,
    };
    let target = Target::new(address, Admin::Setup(token))?;
    let target = target.called(server::HOST).with_process(own.id()).with_folder(own.folder());
    let connections_max = server::CONNECTIONS_MAX;
    let site = Site { target, about, settings, connections_max, cores, clock: Arc::clone(&context.clock) };
    Ok((site, own))
}

/// Ready when somebody wants the drill to end.
fn signals() -> anyhow::Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("signals can't be listened to");
    let (mut interrupt, mut terminate, mut hangup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

async fn attack(
    context: &Context,
    plan: Plan,
    site: Site,
    stop: impl Future<Output = ()>,
) -> Result<Report, DrillError> {
    let clock = Arc::clone(&context.clock);
    let began = clock.monotonic();
    let progress = |line: &str| eprintln!("{:>6.1} s  {line}", (clock.monotonic() - began).as_secs_f64());
    progress(&format!("seed {}", plan.seed));
    drill::run(plan, site, stop, &progress).await
}

fn print(report: &Report, arguments: &Arguments) -> anyhow::Result<()> {
    let write = |file: &Path, text: String| {
        std::fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))
    };
    if let Some(file) = &arguments.html {
        write(file, report.to_html())?;
    }
    if let Some(file) = &arguments.save {
        write(file, report.to_json() + "\n")?;
    }
    let mut stdout = std::io::stdout().lock();
    if !arguments.json {
        // What a server said may be in it.
        write!(stdout, "{}", printable(&report.to_table()))?;
        return Ok(());
    }
    if arguments.quick {
        for (name, why) in &report.unmeasured {
            eprintln!("{name} is null: {}", printable(why));
        }
        writeln!(stdout, "{}", report.summary_json())?;
    } else {
        writeln!(stdout, "{}", report.to_json())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn refusal(given: &[&str]) -> String {
        let given = std::iter::once(&"drill").chain(given);
        Line::try_parse_from(given).unwrap_err().to_string()
    }

    #[test]
    fn arguments_that_mean_nothing_are_refused() {
        for (given, expected) in [
            (&["--attack", "ddos"][..], "allowed are http-flood, registration-flood"),
            (&["--url", "http://127.0.0.1:1"], "--admin"),
            (&["--admin", "a"], "--url"),
            (&["--url", "http://127.0.0.1:1", "--admin", "a", "--model", "m"], "cannot be used with"),
            (&["--url", "http://127.0.0.1:1", "--admin", "a", "--ablate", "gate"], "cannot be used with"),
            (&["--strength", "much"], "invalid float"),
        ] {
            let refused = refusal(given);
            assert!(refused.contains(expected), "{given:?}: {refused}");
        }
    }

    #[test]
    fn only_defences_that_there_are_are_switched_off() {
        assert_eq!(defences_off(&[]).unwrap(), Vec::<String>::new());
        let refused = defences_off(&["walls".to_owned()]).unwrap_err().to_string();
        assert!(refused.ends_with("got \"walls\""), "{refused}");
        for setting in SETTINGS.iter().filter(|it| it.section == DEFENCES && it.kind == table::Kind::Flag) {
            assert_eq!(defences_off(&[setting.key.to_owned()]).unwrap(), [setting.name()]);
        }
    }

    #[test]
    fn other_machines_are_refused_before_anything_is_asked() {
        let line = Line::parse_from(["drill", "--url", "http://192.0.2.1", "--admin", "a"]);
        let refused = yours("http://192.0.2.1", &line.arguments).unwrap_err().to_string();
        assert!(refused.contains("servers on this machine only"), "{refused}");
    }
}
