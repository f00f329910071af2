//! `GET /healthz`: the process is up.

pub(crate) async fn handle() -> &'static str {
    "ok\n"
}
