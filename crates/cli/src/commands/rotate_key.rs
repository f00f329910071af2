use serde_json::{Value, json};

use crate::admin::output::say;
use crate::admin::{self, Admin};
use crate::home::Context;

/// Makes a new master key and wraps all users' keys with it, also while the server runs. What they wrote stays as it
/// is. Interrupted, it is finished by the next start or by running it again.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(context: &Context, _arguments: &Arguments) -> anyhow::Result<()> {
    admin::run(context, async |admin: &Admin| {
        let done: Value = admin.ask("POST", "/api/admin/rotate-key", Some(&json!({}))).await?;
        let keys = match done["rewrapped"].as_u64().unwrap_or_default() {
            1 => "1 key is".to_owned(),
            count => format!("{count} keys are"),
        };
        say(&format!(
            "{keys} wrapped with the master key of generation {} now; put a copy of it where backups don't go",
            done["generation"]
        ))
    })
}
