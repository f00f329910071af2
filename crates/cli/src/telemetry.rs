//! What is logged, and spans of requests for an OpenTelemetry collector, by OTLP over HTTP.
//!
//! Spans are sent from a thread of the SDK's own, from a queue of fixed capacity: a collector that is slow or gone costs
//! spans, never requests. They hold what the log holds, which is nothing of prompts and answers.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};
use url::Url;

/// Longest that a collector is waited for.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that the last spans may take when the program ends.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Most of a collector's answer that is read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What ends with the program.
#[derive(Debug)]
pub(crate) struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Logs to standard error what the filter lets through, and sends spans of requests to a collector if there is one.
    ///
    /// # Errors
    /// When the way to the collector can't be set up. Whether it is there shows when something is sent.
    pub(crate) fn start(filter: &str, json: bool, collector: Option<&Url>) -> anyhow::Result<Self> {
        let lines = fmt::layer().with_writer(std::io::stderr);
        let lines = if json {
            lines.json().flatten_event(true).boxed()
        } else {
            lines.with_ansi(std::io::stderr().is_terminal()).boxed()
        };
        let lines = lines.with_filter(EnvFilter::builder().parse_lossy(filter));
        let provider = collector.map(provider).transpose()?;
        let spans = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("cachalot"))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                // Whatever is logged: only requests and what belongs to them.
                .with_filter(Targets::new().with_target("server", LevelFilter::INFO))
        });
        // A logger that is set already stays.
        let _ = registry().with(lines).with(spans).try_init();
        Ok(Self(provider))
    }

    /// Sends what waits.
    pub(crate) fn end(self) {
        if let Some(provider) = self.0
            && provider.shutdown_with_timeout(END_TIMEOUT).is_err()
        {
            tracing::warn!("the last spans could not be sent to the collector");
        }
    }
}

fn provider(collector: &Url) -> anyhow::Result<SdkTracerProvider> {
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_http_client(Client::new())
        .with_endpoint(collector.as_str())
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .with_context(|| format!("spans can't be sent to {collector}"))?;
    let resource = Resource::builder_empty()
        .with_service_name("cachalot")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(Named(exporter)).with_resource(resource).build())
}

/// Gives spans the names of OpenTelemetry's conventions for HTTP servers, which would make lines of the log long.
#[derive(Debug)]
struct Named<E>(E);

impl<E: SpanExporter> SpanExporter for Named<E> {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.0.export(batch.into_iter().map(named).collect())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

fn named(mut span: SpanData) -> SpanData {
    if span.name != "request" {
        return span;
    }
    let text = |name: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
        found.map_or_else(String::new, |attribute| attribute.value.to_string())
    };
    span.name = format!("{} {}", text("method"), text("route")).into();
    span.span_kind = SpanKind::Server;
    for attribute in &mut span.attributes {
        let name = match attribute.key.as_str() {
            "method" => "http.request.method",
            "route" => "http.route",
            "status" => "http.response.status_code",
            _ => continue,
        };
        attribute.key = Key::from_static_str(name);
    }
    let status =
        span.attributes.iter().find(|attribute| attribute.key.as_str() == "http.response.status_code");
    if matches!(status, Some(KeyValue { value: Value::I64(500..), .. })) {
        span.status = opentelemetry::trace::Status::error("");
    }
    span
}

/// Asks a collector. Blocking, as the thread that calls it may.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    /// Whether the last time failed, which is then said once.
    failing: AtomicBool,
}

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(EXPORT_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self { agent: config.into(), failing: AtomicBool::new(false) }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let response = self.agent.run(Request::from_parts(head, body.to_vec()))?;
        let (head, body) = response.into_parts();
        let body = body.into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.send(request);
        let fails = sent.as_ref().map_or(true, |response| !response.status().is_success());
        if self.failing.swap(fails, Ordering::Relaxed) != fails {
            match &sent {
                Ok(response) if fails => tracing::warn!(
                    status = response.status().as_u16(),
                    "the OpenTelemetry collector refuses spans, which are lost"
                ),
                Ok(_) => tracing::warn!("the OpenTelemetry collector takes spans again"),
                Err(error) => {
                    tracing::warn!(%error, "the OpenTelemetry collector can't be asked; spans are lost");
                }
            }
        }
        Ok(sent?)
    }
}
