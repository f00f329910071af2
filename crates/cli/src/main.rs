//! The `cachalot` program: reads the command line and hands over to one file per command.

mod admin;
mod commands;
mod config;
mod cookie_key;
mod home;
mod listening;
mod loading;
mod master_keys;
mod pull;
mod telemetry;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use base::SystemClock;
use clap::{Parser, Subcommand};

use crate::commands::{
    backup, balance, bench, chat, gate, group, key, list, restore, rm, rotate_key, session, show, up, usage,
    user,
};
use crate::home::Context;
use crate::pull::text::printable;

/// A DeepSeek of one's own: pull reasoning and chat models, talk to them in a terminal, over HTTP or in a browser.
#[derive(Debug, Parser)]
#[command(name = "cachalot", version, about, propagate_version = true)]
struct Arguments {
    /// Where models and conversations are kept [default: the XDG data directory].
    #[arg(long, global = true, env = "CACHALOT_HOME", value_name = "DIR")]
    home: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Chat(Box<chat::Arguments>),
    Up(Box<up::Arguments>),
    Pull(commands::pull::Arguments),
    List(list::Arguments),
    Show(show::Arguments),
    Rm(rm::Arguments),
    Bench(bench::Arguments),
    User(user::Arguments),
    Group(group::Arguments),
    Gate(gate::Arguments),
    Session(session::Arguments),
    Key(key::Arguments),
    Balance(balance::Arguments),
    Usage(usage::Arguments),
    Backup(backup::Arguments),
    RotateKey(rotate_key::Arguments),
    Config(commands::config::Arguments),
    Restore(restore::Arguments),
    #[cfg(target_os = "linux")]
    Drill(Box<commands::drill::Arguments>),
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let context = Context::new(arguments.home, Arc::new(SystemClock::new()))?;
    match arguments.command {
        Command::Chat(arguments) => chat::run(&context, *arguments),
        Command::Up(arguments) => up::run(&context, *arguments),
        Command::Pull(arguments) => commands::pull::run(&context, arguments),
        Command::List(arguments) => list::run(&context, &arguments),
        Command::Show(arguments) => show::run(&context, &arguments),
        Command::Rm(arguments) => rm::run(&context, &arguments),
        Command::Bench(arguments) => bench::run(&context, &arguments),
        Command::User(arguments) => user::run(&context, arguments),
        Command::Group(arguments) => group::run(&context, arguments),
        Command::Gate(arguments) => gate::run(&context, arguments),
        Command::Session(arguments) => session::run(&context, arguments),
        Command::Key(arguments) => key::run(&context, arguments),
        Command::Balance(arguments) => balance::run(&context, arguments),
        Command::Usage(arguments) => usage::run(&context, arguments),
        Command::Backup(arguments) => backup::run(&context, &arguments),
        Command::RotateKey(arguments) => rotate_key::run(&context, &arguments),
        Command::Config(arguments) => commands::config::run(&context, &arguments),
        Command::Restore(arguments) => restore::run(&context, &arguments),
        #[cfg(target_os = "linux")]
        Command::Drill(arguments) => commands::drill::run(&context, *arguments),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A file may have had a hand in the text.
            eprintln!("error: {}", printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}
