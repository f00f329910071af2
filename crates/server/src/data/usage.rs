//! Rows of usage as comma-separated values (RFC 4180), page by page.

use std::fmt::Write as _;
use std::io;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use chrono::DateTime;
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use store::{UsageRequest, UsageRow};

use crate::app::App;

/// Rows in memory at once.
const PAGE: u32 = 500;

const HEADS: &str = "time,user,key,endpoint,model,class,hit_tokens,miss_tokens,output_tokens,reasoning_tokens,cost,\
                     currency,queued_ms,ttft_ms,total_ms,outcome\r\n";

enum Next {
    Heads(UsageRequest),
    Page(UsageRequest),
    Nothing,
}

/// A response with all rows that a request is for, the newest first. If the database fails on the way the response breaks
/// off, so that nobody takes a part for the whole.
pub(crate) fn usage_csv(app: &App, request: UsageRequest) -> Response {
    let request = UsageRequest { limit: PAGE, ..request };
    let stream = unfold((App::clone(app), Next::Heads(request)), |(app, next)| async move {
        match next {
            Next::Heads(request) => {
                Some((Ok(Bytes::from_static(HEADS.as_bytes())), (app, Next::Page(request))))
            }
            Next::Page(request) => match app.store.usage(request).await {
                Ok(page) if page.rows.is_empty() => None,
                Ok(page) => {
                    let currency = &app.settings.prices.currency;
                    let text = page.rows.iter().fold(String::new(), |text, row| text + &line(row, currency));
                    let next = match page.next {
                        Some(before) => Next::Page(UsageRequest { before: Some(before), ..request }),
                        None => Next::Nothing,
                    };
                    Some((Ok(Bytes::from(text)), (app, next)))
                }
                Err(error) => {
                    tracing::error!(%error, "rows of usage could not be read");
                    Some((Err(io::Error::other("the rows could not be read")), (app, Next::Nothing)))
                }
            },
            Next::Nothing => None,
        }
    });
    // Compression asks once more after the end.
    let mut response = Response::new(Body::from_stream(stream.fuse()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let disposition = HeaderValue::from_static("attachment; filename=\"cachalot-usage.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn line(row: &UsageRow, currency: &str) -> String {
    let time = DateTime::from_timestamp_millis(row.at_ms).map(|time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ"));
    let id = |id: Option<String>| id.unwrap_or_default();
    let texts = [
        time.map_or_else(String::new, |time| time.to_string()),
        id(row.user.map(|id| id.to_string())),
        id(row.key.map(|id| id.to_string())),
        row.endpoint.clone().into_owned(),
        row.model.clone(),
        row.class.clone(),
    ];
    let mut line = texts.iter().map(|text| cell(text) + ",").collect::<String>();
    let ttft = row.ttft_ms.map(|ms| ms.to_string()).unwrap_or_default();
    // Writing to a String can't fail. Numbers are ours and need no care.
    let _ = write!(
        line,
        "{},{},{},{},{},{},{},{ttft},{},{}\r\n",
        row.hit,
        row.miss,
        row.output,
        row.reasoning,
        row.cost,
        cell(currency),
        row.queued_ms,
        row.total_ms,
        cell(&row.outcome)
    );
    line
}

/// A text as a cell: in quotes where it has to be, and with an apostrophe where a spreadsheet would take it for a formula.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_texts_and_no_formulas() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\t=a", "'\t=a"),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}
