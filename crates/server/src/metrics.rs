//! Prometheus metrics. What the HTTP side counts goes through a recorder of our own (not the process's global one, so
//! that two servers in one process don't mix); what the engines count is read from them when asked for.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use defence::{Class, Dimness};
use dialogue::{EngineStats, LATENCY_BOUNDS_SECONDS, LatencyHistogram};
use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder as _, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::bulwark::class_word;

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

const REQUESTS: &str = "cachalot_http_requests_total";
const DURATION: &str = "cachalot_http_request_duration_seconds";
const IN_FLIGHT: &str = "cachalot_http_requests_in_flight";
const CONNECTIONS: &str = "cachalot_http_connections";
const OF_USERS: &str = "cachalot_http_connections_authenticated";
const ACCEPTED: &str = "cachalot_http_connections_accepted_total";
const REFUSED: &str = "cachalot_http_connections_refused_total";
const CLOSED: &str = "cachalot_http_connections_closed_total";

const OF_CLASS: &str = "cachalot_requests_in_flight";
const SHED: &str = "cachalot_requests_shed_total";
const ANSWERS: &str = "cachalot_answers_in_flight";
const LIMIT: &str = "cachalot_requests_limit";
const PASSWORD_QUEUE: &str = "cachalot_password_queue_depth";
const WRITES: &str = "cachalot_database_writes_total";
const BROWNOUT: &str = "cachalot_brownout_level";

const GATE_LEVEL: &str = "cachalot_gate_level";
const REGISTRATIONS: &str = "cachalot_registrations_total";

const GENERATIONS: &str = "cachalot_requests_total";
const END_TO_END: &str = "cachalot_e2e_request_latency_seconds";
const PROMPT_TOKENS: &str = "cachalot_request_prompt_tokens";
const GENERATION_TOKENS: &str = "cachalot_request_generation_tokens";

/// Buckets of the time until an answer has ended.
const END_TO_END_BOUNDS: [f64; 14] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 240.0, 480.0, 960.0];
/// Buckets of tokens of one request.
const TOKENS_BOUNDS: [f64; 15] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0,
    100_000.0,
];
/// Buckets of the time until a response begins.
const DURATION_BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];

pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    in_flight: Gauge,
    connections: Gauge,
    gate: Gauge,
    of_users: Gauge,
    accepted: Counter,
    /// Each open connection holds one more of it.
    connection: Arc<()>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A request for an answer, at its end. All but the model's name come from small sets of words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generated<'a> {
    /// The endpoint's path; `chat` for conversations.
    pub(crate) endpoint: &'static str,
    /// Of the caller: `local`, `session` or `key`.
    pub(crate) class: &'static str,
    /// One that is installed.
    pub(crate) model: &'a str,
    /// `complete`, `cancelled`, `interrupted` or `failed`.
    pub(crate) outcome: &'static str,
    pub(crate) prompt_tokens: u64,
    pub(crate) generation_tokens: u64,
    /// From the request to the end.
    pub(crate) total: Duration,
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
        let buckets: [(&str, &[f64]); 4] = [
            (DURATION, &DURATION_BOUNDS),
            (END_TO_END, &END_TO_END_BOUNDS),
            (PROMPT_TOKENS, &TOKENS_BOUNDS),
            (GENERATION_TOKENS, &TOKENS_BOUNDS),
        ];
        let builder = buckets.into_iter().try_fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)
        });
        // Only an empty list of buckets is refused.
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let describe = |text: &'static str| SharedString::const_str(text);
        recorder.describe_counter(
            REQUESTS.into(),
            None,
            describe("Requests by route, method, status and class of caller."),
        );
        let until_head = describe("Time until the response began.");
        recorder.describe_histogram(DURATION.into(), Some(Unit::Seconds), until_head);
        recorder.describe_gauge(IN_FLIGHT.into(), None, describe("Requests whose response has not begun."));
        recorder.describe_gauge(CONNECTIONS.into(), None, describe("Connections that are open."));
        let levels = describe("How far the door to new accounts is closed: 0 (open) to 5 (suspended).");
        recorder.describe_gauge(GATE_LEVEL.into(), None, levels);
        let asked = describe("Those who asked for an account, by what came of it.");
        recorder.describe_counter(REGISTRATIONS.into(), None, asked);
        describe_connections(&recorder);
        describe_defence(&recorder);
        let ended = describe(
            "Requests for answers that have ended, by endpoint, class of caller, model and outcome.",
        );
        recorder.describe_counter(GENERATIONS.into(), None, ended);
        let end_to_end = describe("From a request for an answer to the answer's end.");
        recorder.describe_histogram(END_TO_END.into(), Some(Unit::Seconds), end_to_end);
        recorder.describe_histogram(PROMPT_TOKENS.into(), None, describe("Prompt tokens of a request."));
        recorder.describe_histogram(
            GENERATION_TOKENS.into(),
            None,
            describe("Tokens generated for a request."),
        );
        Self {
            handle: recorder.handle(),
            in_flight: recorder.register_gauge(&Key::from_static_name(IN_FLIGHT), &METADATA),
            connections: recorder.register_gauge(&Key::from_static_name(CONNECTIONS), &METADATA),
            gate: recorder.register_gauge(&Key::from_static_name(GATE_LEVEL), &METADATA),
            of_users: recorder.register_gauge(&Key::from_static_name(OF_USERS), &METADATA),
            accepted: recorder.register_counter(&Key::from_static_name(ACCEPTED), &METADATA),
            connection: Arc::new(()),
            recorder,
        }
    }

    pub(crate) fn connection_opened(&self) -> OpenConnection {
        OpenConnection { _counted: Counted::new(&self.connections), _one: Arc::clone(&self.connection) }
    }

    pub(crate) fn connection_accepted(&self) {
        self.accepted.increment(1);
    }

    /// Notes a connection that was not taken in.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        self.count(REFUSED, reason);
    }

    /// Notes a connection that was closed by us, and not because its client was done.
    pub(crate) fn connection_closed(&self, reason: &'static str) {
        self.count(CLOSED, reason);
    }

    fn count(&self, name: &'static str, reason: &'static str) {
        let key = Key::from_parts(name, vec![Label::new("reason", reason)]);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Notes how many connections count as a user's.
    pub(crate) fn connections_of_users(&self, count: usize) {
        self.of_users.set(count as f64);
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        Arc::strong_count(&self.connection) - 1
    }

    pub(crate) fn request_began(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// Notes a request whose response begins. Labels come from small sets: the route's pattern, a known method, a class
    /// of callers.
    pub(crate) fn request_answered(
        &self,
        method: &'static str,
        route: &str,
        class: &'static str,
        status: u16,
        after: Duration,
    ) {
        let route = Label::new("route", route.to_owned());
        let method = Label::new("method", method);
        let key = Key::from_parts(DURATION, vec![route.clone(), method.clone()]);
        self.recorder.register_histogram(&key, &METADATA).record(after.as_secs_f64());
        let (status, class) = (Label::new("status", status.to_string()), Label::new("class", class));
        let key = Key::from_parts(REQUESTS, vec![route, method, status, class]);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Notes a request that was not let in, by the class of its caller and why.
    pub(crate) fn refused(&self, class: Class, reason: &'static str) {
        let labels = vec![Label::new("class", class_word(class)), Label::new("reason", reason)];
        self.recorder.register_counter(&Key::from_parts(SHED, labels), &METADATA).increment(1);
    }

    /// A request that was let in.
    pub(crate) fn request_of(&self, class: Class) -> Counted {
        Counted::new(&self.gauge_of(OF_CLASS, class))
    }

    /// Notes how many answers of a class are written or wait.
    pub(crate) fn answers_of(&self, class: Class, count: u32) {
        self.gauge_of(ANSWERS, class).set(f64::from(count));
    }

    /// Notes how many writes of a class there were.
    pub(crate) fn writes_of(&self, class: Class, count: u64) {
        let key = Key::from_parts(WRITES, vec![Label::new("class", class_word(class))]);
        self.recorder.register_counter(&key, &METADATA).absolute(count);
    }

    fn gauge_of(&self, name: &'static str, class: Class) -> Gauge {
        let key = Key::from_parts(name, vec![Label::new("class", class_word(class))]);
        self.recorder.register_gauge(&key, &METADATA)
    }

    /// Notes how many requests may be under way.
    pub(crate) fn requests_limit(&self, limit: u32) {
        self.gauge(LIMIT).set(f64::from(limit));
    }

    /// Notes how many wait for a password to be hashed.
    pub(crate) fn password_queue(&self, depth: usize) {
        self.gauge(PASSWORD_QUEUE).set(depth as f64);
    }

    /// Notes how far answers are cut down.
    pub(crate) fn brownout(&self, dimness: Dimness) {
        self.gauge(BROWNOUT).set(f64::from(dimness as u8));
    }

    fn gauge(&self, name: &'static str) -> Gauge {
        self.recorder.register_gauge(&Key::from_static_name(name), &METADATA)
    }

    /// Notes the level of the registration gate.
    pub(crate) fn gate_level(&self, level: defence::Level) {
        let number = defence::Level::ALL.iter().position(|other| *other == level).unwrap_or_default();
        self.gate.set(number as f64);
    }

    /// Notes what came of somebody's asking for an account: `made`, `failed` (of those), `letter`, `challenge_required`,
    /// `challenge_failed`, `email_required`, `waiting` or `no_place`.
    pub(crate) fn registration(&self, outcome: &'static str) {
        let key = Key::from_parts(REGISTRATIONS, vec![Label::new("outcome", outcome)]);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Notes a request for an answer that has ended.
    pub(crate) fn generated(&self, ended: &Generated<'_>) {
        let model = Label::new("model_name", ended.model.to_owned());
        let class = Label::new("class", ended.class);
        let (endpoint, outcome) =
            (Label::new("endpoint", ended.endpoint), Label::new("outcome", ended.outcome));
        let key = Key::from_parts(GENERATIONS, vec![endpoint, class.clone(), model.clone(), outcome]);
        self.recorder.register_counter(&key, &METADATA).increment(1);
        for (name, value) in [
            (END_TO_END, ended.total.as_secs_f64()),
            (PROMPT_TOKENS, ended.prompt_tokens as f64),
            (GENERATION_TOKENS, ended.generation_tokens as f64),
        ] {
            let key = Key::from_parts(name, vec![class.clone(), model.clone()]);
            self.recorder.register_histogram(&key, &METADATA).record(value);
        }
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

fn describe_connections(recorder: &PrometheusRecorder) {
    let describe = |text: &'static str| SharedString::const_str(text);
    let of_users = "Connections that are open, of callers who have shown who they are.";
    recorder.describe_gauge(OF_USERS.into(), None, describe(of_users));
    recorder.describe_counter(ACCEPTED.into(), None, describe("Connections that were taken in."));
    recorder.describe_counter(
        REFUSED.into(),
        None,
        describe("Connections and requests that were refused, by reason."),
    );
    let closed = "Connections that the server closed, by reason.";
    recorder.describe_counter(CLOSED.into(), None, describe(closed));
}

fn describe_defence(recorder: &PrometheusRecorder) {
    let describe = |text: &'static str| SharedString::const_str(text);
    let shed = "Requests that were not let in, by class of trust and reason.";
    recorder.describe_counter(SHED.into(), None, describe(shed));
    for (name, text) in [
        (OF_CLASS, "Requests that were let in and whose response has not begun, by class of trust."),
        (ANSWERS, "Answers that are written or wait for it, by class of trust."),
        (LIMIT, "Requests that may be under way at once, as far as the server keeps up."),
        (PASSWORD_QUEUE, "Passwords that wait to be hashed."),
        (BROWNOUT, "How far answers are cut down: 0 (not at all) to 3."),
    ] {
        recorder.describe_gauge(name.into(), None, describe(text));
    }
}

type Value = fn(&EngineStats) -> f64;
type Histogram = fn(&EngineStats) -> &LatencyHistogram;

/// Names as the field has them, with our prefix.
const VALUES: [(&str, &str, &str, Value); 12] = [
    ("num_requests_running", "gauge", "Sequences in the engine's batch.", |stats| stats.running as f64),
    ("num_requests_waiting", "gauge", "Sequences in the engine's queue.", |stats| stats.waiting as f64),
    ("kv_blocks", "gauge", "Blocks of the KV cache.", |stats| stats.blocks_total as f64),
    ("kv_blocks_free", "gauge", "Blocks of the KV cache that nothing holds but the prefix cache.", |stats| {
        stats.blocks_free as f64
    }),
    ("kv_blocks_cached", "gauge", "Blocks of the KV cache that the prefix cache has.", |stats| {
        stats.blocks_cached as f64
    }),
    ("kv_cache_usage_perc", "gauge", "Part of the KV cache that is held, 0 to 1.", |stats| {
        let held = stats.blocks_total.saturating_sub(stats.blocks_free);
        held as f64 / stats.blocks_total.max(1) as f64
    }),
    (
        "prompt_tokens_total",
        "counter",
        "Prompt tokens read, without those that the prefix cache had.",
        |stats| stats.prompt_tokens as f64,
    ),
    ("prefix_cache_queries_total", "counter", "Prompt tokens looked for in the prefix cache.", |stats| {
        stats.prompt_tokens.saturating_add(stats.cached_tokens) as f64
    }),
    ("prefix_cache_hits_total", "counter", "Prompt tokens that the prefix cache had.", |stats| {
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
            ("displaced", ends.displaced),
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
            format!("cachalot_kv_cache_usage_perc{{{label}}} 0.25"),
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
        metrics.request_answered("GET", "/v1/models", "local", 200, Duration::from_millis(3));
        metrics.request_answered("GET", "/v1/models", "local", 200, Duration::from_millis(4));
        let flying = metrics.request_began();
        let text = metrics.render(&[], 7);
        let counted =
            r#"cachalot_http_requests_total{route="/v1/models",method="GET",status="200",class="local"} 2"#;
        assert!(text.contains(counted), "{text}");
        assert!(text.contains(r#"le="0.0025"} 0"#) && text.contains(r#"le="0.005"} 2"#), "{text}");
        assert!(text.contains("cachalot_http_requests_in_flight 1"), "{text}");
        drop(flying);
        assert!(metrics.render(&[], 7).contains("cachalot_http_requests_in_flight 0"));
        assert!(metrics.render(&[], 7).contains("\ncachalot_password_hashes_total 7\n"));
    }

    #[test]
    fn answers_are_counted_by_endpoint_class_model_and_outcome() {
        let metrics = Metrics::new();
        let ended = Generated {
            endpoint: "/v1/completions",
            class: "key",
            model: "plain",
            outcome: "complete",
            prompt_tokens: 7,
            generation_tokens: 0,
            total: Duration::from_millis(300),
        };
        metrics.generated(&ended);
        metrics.generated(&Generated { outcome: "cancelled", ..ended });
        let text = metrics.render(&[], 0);
        for line in [
            r#"cachalot_requests_total{endpoint="/v1/completions",class="key",model_name="plain",outcome="complete"} 1"#,
            r#"cachalot_requests_total{endpoint="/v1/completions",class="key",model_name="plain",outcome="cancelled"} 1"#,
            r#"cachalot_e2e_request_latency_seconds_bucket{class="key",model_name="plain",le="0.25"} 0"#,
            r#"cachalot_e2e_request_latency_seconds_bucket{class="key",model_name="plain",le="0.5"} 2"#,
            r#"cachalot_request_prompt_tokens_bucket{class="key",model_name="plain",le="5"} 0"#,
            r#"cachalot_request_prompt_tokens_bucket{class="key",model_name="plain",le="10"} 2"#,
            r#"cachalot_request_generation_tokens_sum{class="key",model_name="plain"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_metric_is_documented_and_nothing_else() {
        let metrics = Metrics::new();
        let flying = (metrics.request_began(), metrics.connection_opened());
        metrics.connection_refused("full");
        metrics.connection_closed("idle_timeout");
        metrics.request_answered("GET", "/", "local", 200, Duration::ZERO);
        metrics.gate_level(defence::Level::Suspended);
        metrics.registration("made");
        metrics.refused(Class::New, "overload");
        drop(metrics.request_of(Class::Guest));
        metrics.answers_of(Class::Unknown, 1);
        metrics.writes_of(Class::New, 3);
        metrics.requests_limit(9);
        metrics.password_queue(2);
        metrics.brownout(Dimness::Severe);
        metrics.generated(&Generated {
            endpoint: "/",
            class: "local",
            model: "plain",
            outcome: "complete",
            prompt_tokens: 1,
            generation_tokens: 1,
            total: Duration::ZERO,
        });
        let text = metrics.render(&[("plain".to_owned(), EngineStats::default())], 0);
        drop(flying);
        for line in ["cachalot_gate_level 5", "cachalot_brownout_level 3"] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let described: std::collections::BTreeSet<_> = described.collect();
        let page = include_str!("../../../docs/observability.md");
        let documented = page.lines().filter_map(|line| line.strip_prefix("| `cachalot_")?.split('`').next());
        let documented: Vec<_> = documented.map(|name| format!("cachalot_{name}")).collect();
        assert_eq!(
            documented.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
            described
        );
    }
}
