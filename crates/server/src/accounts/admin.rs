use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use store::{UserId, UserRole};

use super::Caller;
use crate::app::App;
use crate::error::ApiError;

/// An administrator, as the store says at this moment: the cookie may be older than the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admin {
    /// Whom the audit log names.
    pub(crate) user: Option<UserId>,
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let user = caller.account(app).await?;
        if user.role != UserRole::Admin {
            let message = "this is for administrators";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "not_allowed", message));
        }
        Ok(Self { user: Some(user.id) })
    }
}
