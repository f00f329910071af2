use std::sync::Arc;

use dialogue::Dialogue;

use crate::accounts::Client;
use crate::answers::check_allowed;
use crate::app::App;
use crate::error::ApiError;
use crate::meter::check_scope;

/// A model for whoever may ask it, loaded if need be: for what is worked out without generating, which is counted to
/// nobody.
pub(crate) async fn lend(app: &App, client: &Client, model: &str) -> Result<Arc<Dialogue>, ApiError> {
    if let Some(key) = client.key() {
        check_scope(key, model)?;
    }
    if let Some(user) = client.user() {
        check_allowed(&app.store.grant(user).await?, model)?;
    }
    Ok(app.hub.get(model).await?)
}
