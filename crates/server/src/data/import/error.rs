use axum::http::StatusCode;

use crate::error::ApiError;

/// Why a file is not imported. Nothing of it was added.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImportError {
    /// It is not what it says it is, or was damaged.
    #[error("the file can't be read: {0}")]
    Malformed(String),
    /// It is whole, but nothing that can be imported.
    #[error("{0}")]
    Unsupported(String),
    /// It would take more room than it may.
    #[error("{0}")]
    TooLarge(String),
    /// A conversation in it contradicts itself.
    #[error("conversation {number} of the file ({title:?}) is broken: {why}")]
    Broken {
        /// From one on.
        number: usize,
        /// Its title, shortened.
        title: String,
        /// What is wrong.
        why: String,
    },
    /// Our disk's fault.
    #[error("the file could not be read back: {0}")]
    Io(std::io::Error),
    /// Whoever takes the conversations said so.
    #[error("{}", .0.message())]
    Stopped(ApiError),
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        let message = error.to_string();
        match error {
            ImportError::Malformed(_) => Self::new(StatusCode::BAD_REQUEST, "invalid_format", message),
            ImportError::Unsupported(_) => Self::unprocessable("unsupported_file", message),
            ImportError::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "unpacks_too_large", message)
            }
            ImportError::Broken { .. } => Self::unprocessable("broken_conversation", message),
            ImportError::Io(_) => Self::internal(message),
            ImportError::Stopped(error) => error,
        }
    }
}
