use std::path::PathBuf;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such row, or it is another user's or another conversation's: the two look alike.
    #[error("no such {what}")]
    NotFound {
        /// `conversation`, `message`, `user`, `session`, `passkey`, `one-time codes`, `group`, `key`, `hold` and the like.
        what: &'static str,
    },
    /// Another user or group has this already.
    #[error("this {what} is taken")]
    Taken {
        /// `name`, `email address`, `group name` or `login`.
        what: &'static str,
    },
    /// The row is in a state in which this can't be done.
    #[error("{0}")]
    Conflict(&'static str),
    /// A capacity would be exceeded.
    #[error("too many {what}: {allowed} allowed, {given} with this one")]
    Full {
        /// What there would be too many of, in the plural.
        what: &'static str,
        /// The capacity.
        allowed: u64,
        /// What it would become.
        given: u64,
    },
    /// Only one of these goes on at a time.
    #[error("a {what} is going on: try again when it has ended")]
    Running {
        /// `backup` or `rotation of keys`.
        what: &'static str,
    },
    /// There is no room left for a file.
    #[error("{}: there is no room left on the disk", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// A file that was to be restored is no good.
    #[error("{} can't be restored: {reason}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has this database open.
    #[error("{} is in use by another process: only one server may have it open", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file, its directory or its lock can't be made or read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Texts in the database are sealed and the master key is gone.
    #[error(
        "the master key {} is missing, and what users wrote can't be read without it: put it back from a backup",
        path.display()
    )]
    KeyMissing {
        /// The master key's file, or what it was given as.
        path: PathBuf,
    },
    /// The master key's file has a mode wider than 0600.
    #[error(
        "the master key {} has mode {mode:04o}, which is wider than 0600: chmod 600 it, and think of who may have \
         read it",
        path.display()
    )]
    KeyExposed {
        /// The master key's file, or what it was given as.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The master key is something else than keys.
    #[error("the master key {} can't be used: {reason}", path.display())]
    KeyUnusable {
        /// The master key's file, or what it was given as.
        path: PathBuf,
        /// What is wrong with it, without a part of it.
        reason: String,
    },
    /// The master key is not the one that the users' keys were wrapped with.
    #[error(
        "the master key {} is not the one that this database was written with (generation {generation}): put the \
         right one back from a backup",
        path.display()
    )]
    KeyWrong {
        /// The master key's file, or what it was given as.
        path: PathBuf,
        /// The generation that is missing or different.
        generation: u32,
    },
    /// The schema is newer than this program, or was changed by other hands.
    #[error("the database's schema can't be brought to this program's: {0}")]
    Schema(String),
    /// The database had no connection or lock to give in time.
    #[error("the database is busy: {0}")]
    Busy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row holds a value that this program never writes.
    #[error("the database is damaged: {column} holds {value:?}")]
    Damaged {
        /// `table.column`.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// Any other failure of the database.
    #[error("the database failed: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        /// Primary result codes `SQLITE_BUSY` and `SQLITE_LOCKED`; extended codes carry them in the low byte.
        const BUSY: [i64; 2] = [5, 6];
        let busy = match &error {
            sqlx::Error::PoolTimedOut => true,
            sqlx::Error::Database(database) => database
                .code()
                .and_then(|code| code.parse::<i64>().ok())
                .is_some_and(|code| BUSY.contains(&(code & 0xff))),
            _ => false,
        };
        if busy { Self::Busy(Box::new(error)) } else { Self::Database(Box::new(error)) }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            sqlx::migrate::MigrateError::VersionMissing(version) => Self::Schema(format!(
                "it has step {version}, which this program does not know; use the program that wrote it, or a newer one"
            )),
            other => Self::Schema(other.to_string()),
        }
    }
}
