use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo, RepoType};

use super::error::PullError;

/// Where Hugging Face files come from and who asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct HfSettings {
    /// `$HF_ENDPOINT`: a mirror; none for huggingface.co.
    pub(crate) endpoint: Option<String>,
    /// `$HF_TOKEN`, or what `hf auth login` left in `$HF_HOME`.
    pub(crate) token: Option<String>,
}

impl HfSettings {
    pub(crate) fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let home_is_known = std::env::var_os("HF_HOME").is_some() || std::env::var_os("HOME").is_some();
        // hf-hub's cache needs a home directory and panics without one.
        let saved = || home_is_known.then(|| Cache::from_env().token()).flatten();
        Self { endpoint: variable("HF_ENDPOINT"), token: variable("HF_TOKEN").or_else(saved) }
    }

    /// The file's URL, and the token if it may be sent there.
    pub(super) fn locate(
        &self,
        repo: &str,
        revision: Option<&str>,
        file: &str,
    ) -> Result<(String, Option<String>), PullError> {
        let failed = |problem: String| PullError::Network { host: "Hugging Face".to_owned(), problem };
        let mut builder = ApiBuilder::from_cache(Cache::new(std::env::temp_dir())).with_token(None);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let api = builder.build().map_err(|error| failed(error.to_string()))?;
        let revision = revision.unwrap_or("main").to_owned();
        let url = api.repo(Repo::with_revision(repo.to_owned(), RepoType::Model, revision)).url(file);
        let token = self.token.clone().filter(|_| may_carry_token(&url));
        Ok((url, token))
    }
}

/// A token goes over TLS, or to this machine.
fn may_carry_token(url: &str) -> bool {
    ["https://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:"]
        .iter()
        .any(|start| url.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::HfSettings;

    fn located(endpoint: Option<&str>) -> (String, Option<String>) {
        let settings = HfSettings { endpoint: endpoint.map(str::to_owned), token: Some("secret".to_owned()) };
        settings.locate("owner/repo", Some("v1.0"), "dir/file.gguf").unwrap()
    }

    #[test]
    fn urls_and_tokens() {
        let url = "https://huggingface.co/owner/repo/resolve/v1.0/dir/file.gguf";
        assert_eq!(located(None), (url.to_owned(), Some("secret".to_owned())));
        let (url, token) = located(Some("http://mirror.example/"));
        assert_eq!(url, "http://mirror.example/owner/repo/resolve/v1.0/dir/file.gguf");
        assert_eq!(token, None, "a token must not travel in the clear");
        assert!(located(Some("http://127.0.0.1:9")).1.is_some());
    }
}
