use std::fmt;
use std::path::{Path, PathBuf};

/// Where a setting was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of the file, from 1 on.
    File(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
    /// An argument of the command line.
    Argument(&'static str),
    /// Nowhere.
    Default,
}

impl Place {
    /// A path that was given here: in a file it starts from the file's folder.
    pub(crate) fn path(&self, given: &str) -> PathBuf {
        match self {
            Self::File(file, _) => file.parent().unwrap_or(Path::new("")).join(given),
            _ => PathBuf::from(given),
        }
    }

    /// Whether somebody set it.
    pub(crate) fn is_set(&self) -> bool {
        *self != Self::Default
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Argument(name) => f.write_str(name),
            Self::Default => f.write_str("the configuration"),
        }
    }
}

/// Something that keeps the server from starting: where, what was allowed and what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) place: Place,
    pub(crate) text: String,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

impl Mistakes {
    pub(crate) fn add(&mut self, place: &Place, text: impl Into<String>) {
        self.0.push(Mistake { place: place.clone(), text: text.into() });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of the file first, from top to bottom.
    pub(crate) fn sorted(mut self) -> Self {
        self.0.sort_by_key(|mistake| match &mistake.place {
            Place::File(_, line) => (0, *line),
            Place::Variable(_) => (1, 0),
            Place::Argument(_) => (2, 0),
            Place::Default => (3, 0),
        });
        self
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "there is a mistake in the configuration:")?,
            count => write!(f, "there are {count} mistakes in the configuration:")?,
        }
        for Mistake { place, text } in &self.0 {
            write!(f, "\n  {place}: {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
