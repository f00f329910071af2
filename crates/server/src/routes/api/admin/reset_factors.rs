use axum::Json;
use axum::extract::State;

use super::OfUser;
use super::views::UserCardView;
use crate::accounts::Operator;
use crate::app::App;
use crate::error::ApiError;

/// One-time codes, recovery codes and passkeys of somebody who has lost them are
/// gone. The password and accounts elsewhere stay; the answer says which ways in are left, which may be none.
#[utoipa::path(
    delete,
    path = "/api/admin/users/{id}/factors",
    operation_id = "admin_reset_factors",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 200, body = UserCardView)),
)]
pub(crate) async fn handle(
    State(app): State<App>,
    operator: Operator,
    OfUser(id): OfUser,
) -> Result<Json<UserCardView>, ApiError> {
    operator.may_look_after(&app.store.user(id).await?)?;
    operator.must_be_another(id)?;
    let worker = App::clone(&app);
    app.detached(async move {
        worker.store.clear_factors(id).await?;
        worker.audit_by(&operator, "factors_cleared", Some(id)).await;
        Ok(())
    })
    .await?;
    Ok(Json(app.store.user_card(id).await?.into()))
}
