//! Users and groups by what people call them.

use anyhow::{Context as _, bail};
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::Admin;

/// Users of one page of the list.
const PAGE: u32 = 100;

impl Admin {
    /// The user with this name or email address.
    pub(crate) async fn user(&self, login: &str) -> anyhow::Result<Value> {
        let path = format!("/api/admin/users?login={}", encoded(login));
        let mut found: Value = self.ask("GET", &path, None).await?;
        match found["users"].get_mut(0) {
            Some(user) => Ok(user.take()),
            None => bail!("there is no user {login:?}; `cachalot user list` shows all"),
        }
    }

    /// All users whose name or email address holds a text, a page at a time.
    pub(crate) async fn users(
        &self,
        holding: &str,
        mut each: impl AsyncFnMut(Vec<Value>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let path =
                format!("/api/admin/users?limit={PAGE}&q={}&after={}", encoded(holding), encoded(&after));
            let mut page: Value = self.ask("GET", &path, None).await?;
            let users = page["users"].as_array_mut().map(std::mem::take);
            each(users.context("the answer has no users")?).await?;
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return Ok(()),
            }
        }
    }

    /// All groups, by name.
    pub(crate) async fn groups(&self) -> anyhow::Result<Vec<Value>> {
        let mut listed: Value = self.ask("GET", "/api/admin/groups", None).await?;
        listed["groups"].as_array_mut().map(std::mem::take).context("the answer has no groups")
    }

    /// The group with this name.
    pub(crate) async fn group(&self, name: &str) -> anyhow::Result<Value> {
        let key = name.trim().to_lowercase();
        let groups = self.groups().await?.into_iter();
        let mut named = groups.filter(|group| text(group, "name").to_lowercase() == key);
        named.next().with_context(|| format!("there is no group {name:?}; `cachalot group list` shows all"))
    }
}

/// The path of a user or a group that was found, and what comes after it.
pub(crate) fn path_of(kind: &str, found: &Value, rest: &str) -> String {
    format!("/api/admin/{kind}/{}{rest}", text(found, "id"))
}

/// A field that is a text.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}
