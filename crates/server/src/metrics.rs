//! Prometheus metrics. What the HTTP side counts goes through a recorder of our own (not the process's global one, so
//! that two servers in one process don't mix); what the engines count is read from them when asked for.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use dialogue::{EngineStats, LATENCY_BOUNDS_SECONDS, LatencyHistogram};
use metrics::{Gauge, Key, Label, Level, Metadata, Recorder as _, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

const REQUESTS: &str = "cachalot_http_requests_total";
const DURATION: &str = "cachalot_http_request_duration_seconds";
const IN_FLIGHT: &str = "cachalot_http_requests_in_flight";
const CONNECTIONS: &str = "cachalot_http_connections";

/// Buckets of the time until a response begins.
const DURATION_BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];

pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    in_flight: Gauge,
    connections: Gauge,
    /// Each open connection holds one more of it.
    connection: Arc<()>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Counts down when dropped.
pub(crate) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// A connection that is open until this is dropped.
pub(crate) struct OpenConnection {
    _counted: Counted,
    _one: Arc<()>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let recorder =
            match builder.set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), &DURATION_BOUNDS) {
                Ok(builder) => builder.build_recorder(),
                // Only an empty list of buckets is refused.
                Err(_) => PrometheusBuilder::new().build_recorder(),
            };
        let describe = |text: &'static str| SharedString::const_str(text);
        recorder.describe_counter(REQUESTS.into(), None, describe("Requests by route, method and status."));
        let until_head = describe("Time until the response began.");
        recorder.describe_histogram(DURATION.into(), Some(Unit::Seconds), until_head);
        recorder.describe_gauge(IN_FLIGHT.into(), None, describe("Requests whose response has not begun."));
        recorder.describe_gauge(CONNECTIONS.into(), None, describe("Connections that are open."));
        Self {
            handle: recorder.handle(),
            in_flight: recorder.register_gauge(&Key::from_static_name(IN_FLIGHT), &METADATA),
            connections: recorder.register_gauge(&Key::from_static_name(CONNECTIONS), &METADATA),
            connection: Arc::new(()),
            recorder,
        }
    }

    pub(crate) fn connection_opened(&self) -> OpenConnection {
        OpenConnection { _counted: Counted::new(&self.connections), _one: Arc::clone(&self.connection) }
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        Arc::strong_count(&self.connection) - 1
    }

    pub(crate) fn request_began(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// Notes a request whose response begins. Labels come from small sets: the route's pattern, a known method.
    pub(crate) fn request_answered(&self, method: &'static str, route: &str, status: u16, after: Duration) {
        let route = Label::new("route", route.to_owned());
        let method = Label::new("method", method);
        let key = Key::from_parts(DURATION, vec![route.clone(), method.clone()]);
        self.recorder.register_histogram(&key, &METADATA).record(after.as_secs_f64());
        let key = Key::from_parts(REQUESTS, vec![route, method, Label::new("status", status.to_string())]);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Moves what was recorded to where it takes constant room. To be called now and then.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The exposition: the HTTP side's, hashes of passwords that were computed, and that of each model.
    pub(crate) fn render(&self, models: &[(String, EngineStats)], password_hashes: u64) -> String {
        let mut text = self.handle.render();
        let name = "cachalot_password_hashes_total";
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "# HELP {name} Password hashes computed.\n# TYPE {name} counter\n{name} {password_hashes}"
        );
        write_engines(&mut text, models);
        text
    }
}

type Value = fn(&EngineStats) -> f64;
type Histogram = fn(&EngineStats) -> &LatencyHistogram;

/// Names as the field has them, with our prefix.
const VALUES: [(&str, &str, &str, Value); 11] = [
    ("num_requests_running", "gauge", "Sequences in the engine's batch.", |stats| stats.running as f64),
    ("num_requests_waiting", "gauge", "Sequences in the engine's queue.", |stats| stats.waiting as f64),
    ("kv_blocks", "gauge", "Blocks of the KV cache.", |stats| stats.blocks_total as f64),
    ("kv_blocks_free", "gauge", "Blocks of the KV cache that nothing holds but the prefix cache.", |stats| {
        stats.blocks_free as f64
    }),
    ("kv_blocks_cached", "gauge", "Blocks of the KV cache that the prefix cache has.", |stats| {
        stats.blocks_cached as f64
    }),
    ("kv_cache_usage_ratio", "gauge", "Part of the KV cache that is held, 0 to 1.", |stats| {
        let held = stats.blocks_total.saturating_sub(stats.blocks_free);
        held as f64 / stats.blocks_total.max(1) as f64
    }),
    ("prompt_tokens_total", "counter", "Prompt tokens read.", |stats| stats.prompt_tokens as f64),
    ("prompt_tokens_cached_total", "counter", "Prompt tokens that the prefix cache had.", |stats| {
        stats.cached_tokens as f64
    }),
    ("generation_tokens_total", "counter", "Tokens generated.", |stats| stats.generated_tokens as f64),
    ("engine_steps_total", "counter", "Steps of the engine.", |stats| stats.steps as f64),
    ("num_preemptions_total", "counter", "Sequences sent back to the queue.", |stats| {
        stats.preemptions as f64
    }),
];

const HISTOGRAMS: [(&str, &str, Histogram); 3] = [
    ("time_to_first_token_seconds", "From a request to its first token.", |stats| &stats.first_token),
    ("inter_token_latency_seconds", "Between two tokens of a request.", |stats| &stats.inter_token),
    ("request_queue_time_seconds", "From a request to its start.", |stats| &stats.queue),
];

fn write_engines(text: &mut String, models: &[(String, EngineStats)]) {
    if models.is_empty() {
        return;
    }
    let models: Vec<_> = models.iter().map(|(name, stats)| (escaped(name), stats)).collect();
    // Writing to a String can't fail.
    for (name, kind, help, value) in VALUES {
        let _ = write!(text, "# HELP cachalot_{name} {help}\n# TYPE cachalot_{name} {kind}\n");
        for (model, stats) in &models {
            let _ = writeln!(text, "cachalot_{name}{{model_name=\"{model}\"}} {}", value(stats));
        }
        text.push('\n');
    }
    let name = "request_finished_total";
    let help = "Sequences ended, by reason.";
    let _ = write!(text, "# HELP cachalot_{name} {help}\n# TYPE cachalot_{name} counter\n");
    for (model, stats) in &models {
        let ends = stats.finished;
        for (reason, count) in [
            ("stop", ends.end_token),
            ("length", ends.length),
            ("cancelled", ends.cancelled),
            ("shutting_down", ends.shutting_down),
            ("failed", ends.failed),
        ] {
            let labels = format!("model_name=\"{model}\",finished_reason=\"{reason}\"");
            let _ = writeln!(text, "cachalot_{name}{{{labels}}} {count}");
        }
    }
    text.push('\n');
    for (name, help, histogram) in HISTOGRAMS {
        let _ = write!(text, "# HELP cachalot_{name} {help}\n# TYPE cachalot_{name} histogram\n");
        for (model, stats) in &models {
            write_histogram(text, name, model, histogram(stats));
        }
        text.push('\n');
    }
}

fn write_histogram(text: &mut String, name: &str, model: &str, histogram: &LatencyHistogram) {
    let mut below = 0;
    let bounds = LATENCY_BOUNDS_SECONDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(histogram.buckets) {
        below += count;
        let _ = writeln!(text, "cachalot_{name}_bucket{{model_name=\"{model}\",le=\"{bound}\"}} {below}");
    }
    let _ = writeln!(text, "cachalot_{name}_sum{{model_name=\"{model}\"}} {}", histogram.sum.as_secs_f64());
    let _ = writeln!(text, "cachalot_{name}_count{{model_name=\"{model}\"}} {}", histogram.count);
}

/// A label's value: models may be named by a path.
fn escaped(name: &str) -> String {
    name.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposition_of_an_engine() {
        let mut stats = EngineStats { running: 2, blocks_total: 8, blocks_free: 6, ..EngineStats::default() };
        stats.first_token.record(Duration::from_millis(30));
        stats.first_token.record(Duration::from_secs(500));
        let mut text = String::new();
        write_engines(&mut text, &[("a \"b\" \\ \n".to_owned(), stats)]);
        let label = r#"model_name="a \"b\" \\ \n""#;
        for line in [
            "# TYPE cachalot_num_requests_running gauge".to_owned(),
            format!("cachalot_num_requests_running{{{label}}} 2"),
            format!("cachalot_kv_cache_usage_ratio{{{label}}} 0.25"),
            format!("cachalot_time_to_first_token_seconds_bucket{{{label},le=\"0.025\"}} 0"),
            format!("cachalot_time_to_first_token_seconds_bucket{{{label},le=\"0.05\"}} 1"),
            format!("cachalot_time_to_first_token_seconds_bucket{{{label},le=\"+Inf\"}} 2"),
            format!("cachalot_time_to_first_token_seconds_sum{{{label}}} 500.03"),
            format!("cachalot_time_to_first_token_seconds_count{{{label}}} 2"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let metrics = Metrics::new();
        metrics.request_answered("GET", "/v1/models", 200, Duration::from_millis(3));
        metrics.request_answered("GET", "/v1/models", 200, Duration::from_millis(4));
        let flying = metrics.request_began();
        let text = metrics.render(&[], 7);
        let counted = r#"cachalot_http_requests_total{route="/v1/models",method="GET",status="200"} 2"#;
        assert!(text.contains(counted), "{text}");
        assert!(text.contains(r#"le="0.0025"} 0"#) && text.contains(r#"le="0.005"} 2"#), "{text}");
        assert!(text.contains("cachalot_http_requests_in_flight 1"), "{text}");
        drop(flying);
        assert!(metrics.render(&[], 7).contains("cachalot_http_requests_in_flight 0"));
        assert!(metrics.render(&[], 7).contains("\ncachalot_password_hashes_total 7\n"));
    }
}
