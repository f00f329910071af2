use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use store::AuditPageRequest;
use utoipa::{IntoParams, ToSchema};

use super::super::page_limit;
use super::views::AuditView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::{ApiError, shortened};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    user: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditPage)]
pub(crate) struct Page {
    entries: Vec<AuditView>,
    next: Option<i64>,
}

/// A page of what happened, the newest first.
#[utoipa::path(
    get,
    path = "/api/admin/audit",
    operation_id = "admin_audit",
    tag = "admin",
    params(Asked),
    responses((status = 200, body = Page)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    _operator: Operator,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, ApiError> {
    let Query(asked) = asked.map_err(|error| {
        let message = format!("the query takes one user, one before and one limit: {}", error.body_text());
        ApiError::invalid("user", message)
    })?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let user = given(asked.user).map(|text| {
        text.parse().map_err(|_| {
            ApiError::invalid("user", format!("user must be the id of one, got {:?}", shortened(&text)))
        })
    });
    let before = given(asked.before).map(|text| {
        text.parse().map_err(|_| {
            let given = shortened(&text);
            ApiError::invalid(
                "before",
                format!("before must be the `next` of an earlier page, got {given:?}"),
            )
        })
    });
    let request = AuditPageRequest {
        user: user.transpose()?,
        before: before.transpose()?,
        limit: page_limit(&app, asked.limit.as_deref())?,
    };
    let page = app.store.audit_page(request).await?;
    Ok(Json(Page { entries: page.entries.into_iter().map(Into::into).collect(), next: page.next }))
}
