use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use kernels::limits::Rate as Spread;
use models::batch::Work;
use models::profile::Cost;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::limits::Limits;

/// What was measured. In JSON each measured number stands as its median, with `_min` and `_max` beside it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) model: PathBuf,
    pub(crate) isa: &'static str,
    pub(crate) threads: usize,
    pub(crate) activations: &'static str,
    /// How keys and values are kept.
    pub(crate) kv: &'static str,
    pub(crate) rounds: u32,
    pub(crate) weight_bytes: u64,
    pub(crate) limits: Option<Limits>,
    pub(crate) load_ms: f64,
    /// From the start of loading to the first token after a prompt of `prefill.tokens`.
    pub(crate) ttft_cold_ms: f64,
    /// The same with the model loaded.
    pub(crate) ttft_ms: Spread,
    pub(crate) prefill: Rate,
    pub(crate) decode: Rate,
    /// With `--sequences`.
    pub(crate) together: Option<Together>,
    /// With `--profile`.
    pub(crate) profile: Option<Vec<ProfileLine>>,
    pub(crate) peak_rss_bytes: u64,
}

/// Sequences that generate in one batch, each after a prompt of `prefill.tokens`.
#[derive(Debug, Serialize)]
pub(crate) struct Together {
    pub(crate) sequences: usize,
    /// All of them together.
    pub(crate) total: Rate,
    /// Each one: they go in step.
    pub(crate) each: Rate,
}

/// A rate over rounds, and what the machine's limits would allow.
#[derive(Debug)]
pub(crate) struct Rate {
    pub(crate) tokens: usize,
    pub(crate) tokens_s: Spread,
    pub(crate) limit: Option<f64>,
}

/// What one operation cost over all rounds of a phase.
#[derive(Debug, Serialize)]
pub(crate) struct ProfileLine {
    phase: &'static str,
    operation: &'static str,
    calls: u64,
    time_ms: f64,
    gb_s: f64,
    gop_s: f64,
}

pub(crate) fn profile_line(
    &(phase, (operation, cost)): &(&'static str, (&'static str, Cost)),
) -> ProfileLine {
    let seconds = cost.time.as_secs_f64().max(1e-9);
    ProfileLine {
        phase,
        operation,
        calls: cost.calls,
        time_ms: seconds * 1e3,
        gb_s: cost.bytes as f64 / seconds / 1e9,
        gop_s: cost.operations as f64 / seconds / 1e9,
    }
}

impl Report {
    /// Says what the limits would allow for work such as this: prefill the arithmetic of the blocks' products, decode
    /// the reading of weights and cache, from the cache if they fit it.
    pub(crate) fn add_limits(&mut self, limits: Limits, work: Work, kv_bytes_per_token: usize) {
        let prefill_s = work.int8_operations as f64 / limits.int8_ops_s.median
            + work.f32_operations as f64 / limits.f32_ops_s.median;
        let depth = self.prefill.tokens + self.decode.tokens / 2;
        let step_bytes = work.weight_bytes as f64 + (depth * kv_bytes_per_token) as f64;
        let fits = step_bytes <= limits.cache_bytes as f64;
        let bandwidth = if fits { limits.cache_bytes_s } else { limits.memory_bytes_s };
        self.prefill.limit = Some(1.0 / prefill_s);
        self.decode.limit = Some(bandwidth.median / step_bytes);
        self.limits = Some(limits);
    }
}

/// `name`, `name_min` and `name_max`.
fn spread<M: serde::ser::SerializeMap>(map: &mut M, name: &str, spread: Spread) -> Result<(), M::Error> {
    map.serialize_entry(name, &spread.median)?;
    map.serialize_entry(&format!("{name}_min"), &spread.min)?;
    map.serialize_entry(&format!("{name}_max"), &spread.max)
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", &self.model)?;
        map.serialize_entry("isa", self.isa)?;
        map.serialize_entry("threads", &self.threads)?;
        map.serialize_entry("activations", &self.activations)?;
        map.serialize_entry("kv", self.kv)?;
        map.serialize_entry("rounds", &self.rounds)?;
        map.serialize_entry("weight_bytes", &self.weight_bytes)?;
        if let Some(limits) = &self.limits {
            map.serialize_entry("limits", limits)?;
        }
        map.serialize_entry("load_ms", &self.load_ms)?;
        map.serialize_entry("ttft_cold_ms", &self.ttft_cold_ms)?;
        spread(&mut map, "ttft_ms", self.ttft_ms)?;
        map.serialize_entry("prefill", &self.prefill)?;
        map.serialize_entry("decode", &self.decode)?;
        if let Some(together) = &self.together {
            map.serialize_entry("together", together)?;
        }
        if let Some(profile) = &self.profile {
            map.serialize_entry("profile", profile)?;
        }
        map.serialize_entry("peak_rss_bytes", &self.peak_rss_bytes)?;
        map.end()
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tokens", &self.tokens)?;
        spread(&mut map, "tokens_s", self.tokens_s)?;
        if let Some(limit) = self.limit {
            map.serialize_entry("limit_tokens_s", &limit)?;
            spread(&mut map, "percent_of_limit", scaled(self.tokens_s, 100.0 / limit))?;
        }
        map.end()
    }
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, rate) in self.named() {
            spread(&mut map, name, rate)?;
        }
        map.end()
    }
}

impl Limits {
    /// In units of 10^9.
    fn named(&self) -> [(&'static str, Spread); 4] {
        [
            ("memory_gb_s", self.memory_bytes_s),
            ("cache_gb_s", self.cache_bytes_s),
            ("int8_gop_s", self.int8_ops_s),
            ("f32_gflop_s", self.f32_ops_s),
        ]
        .map(|(name, rate)| (name, scaled(rate, 1e-9)))
    }
}

fn scaled(Spread { median, min, max }: Spread, factor: f64) -> Spread {
    Spread { median: median * factor, min: min * factor, max: max * factor }
}

/// To standard output.
pub(crate) fn print(report: &Report, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    out.write_all(text(report).as_bytes())?;
    Ok(())
}

fn text(report: &Report) -> String {
    let Report { isa, threads, activations, kv, .. } = report;
    let mut lines = vec![format!(
        "{} ({isa}, {threads} threads, {activations} activations, keys and values as {kv})",
        report.model.display()
    )];
    if let Some(limits) = &report.limits {
        let named = limits
            .named()
            .map(|(name, Spread { median, min, max })| format!("{name} {median:.1} ({min:.1} to {max:.1})"));
        lines.push(format!("limits   {}", named.join(", ")));
    }
    lines.push(rate_line("prefill", &report.prefill));
    lines.push(rate_line("decode", &report.decode));
    if let Some(Together { sequences, total, each }) = &report.together {
        lines.push(rate_line(&format!("{sequences} at once"), total));
        lines.push(rate_line("  each", each));
    }
    lines.push(format!(
        "load     {:.0} ms, cold start to first token {:.0} ms, then {:.0} ms ({:.0} to {:.0})",
        report.load_ms, report.ttft_cold_ms, report.ttft_ms.median, report.ttft_ms.min, report.ttft_ms.max
    ));
    lines.push(format!("memory   {} MiB at most", report.peak_rss_bytes >> 20));
    if let Some(profile) = &report.profile {
        lines.extend(profile_table(profile));
    }
    lines.join("\n") + "\n"
}

fn rate_line(name: &str, rate: &Rate) -> String {
    let (tokens, Spread { median, min, max }) = (rate.tokens, rate.tokens_s);
    let line = format!("{name:<8} {tokens:>6} tokens  {median:>9.1} tokens/s  ({min:.1} to {max:.1})");
    match rate.limit {
        None => line,
        Some(limit) => format!("{line}  limit {limit:.1}, {:.1} % of it", 100.0 * median / limit),
    }
}

fn profile_table(profile: &[ProfileLine]) -> Vec<String> {
    let all =
        |phase: &str| profile.iter().filter(|line| line.phase == phase).map(|line| line.time_ms).sum::<f64>();
    let title = "phase    operation    calls    time, ms      %  us/call     GB/s     GOP/s";
    let line = |line: &ProfileLine| {
        let ProfileLine { phase, operation, calls, time_ms, gb_s, gop_s } = line;
        let (percent, each) = (100.0 * time_ms / all(phase), 1e3 * time_ms / *calls as f64);
        format!(
            "{phase:<8} {operation:<10} {calls:>7} {time_ms:>11.2} {percent:>6.1} {each:>8.2} {gb_s:>8.1} \
             {gop_s:>9.1}"
        )
    };
    std::iter::once(title.to_owned()).chain(profile.iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report() -> Report {
        let of = |median| Spread { median, min: median / 2.0, max: 2.0 * median };
        let rate = |tokens, rate| Rate { tokens, tokens_s: of(rate), limit: None };
        let cost = Cost { calls: 4, time: Duration::from_millis(2), bytes: 8_000_000, operations: 2_000_000 };
        let mut report = Report {
            model: PathBuf::from("m.gguf"),
            isa: "scalar",
            threads: 2,
            activations: "mixed",
            kv: "f16",
            rounds: 1,
            weight_bytes: 1000,
            limits: None,
            load_ms: 1.0,
            ttft_cold_ms: 2.0,
            ttft_ms: of(3.0),
            prefill: rate(10, 50.0),
            decode: rate(4, 20.0),
            together: None,
            profile: Some(vec![profile_line(&("decode", ("head", cost)))]),
            peak_rss_bytes: 5 << 20,
        };
        let limits = Limits {
            cache_bytes: 1_000,
            memory_bytes_s: of(100e3),
            cache_bytes_s: of(400e3),
            int8_ops_s: of(1e6),
            f32_ops_s: of(1e5),
        };
        let work = Work { weight_bytes: 880, int8_operations: 8_000, f32_operations: 200 };
        report.add_limits(limits, work, 10);
        report
    }

    #[test]
    fn json_has_medians_and_spreads() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["limits"]["int8_gop_s"], 1e-3);
        assert_eq!(json["limits"]["memory_gb_s_max"], 2e-4);
        // 8 ms of int8 and 2 ms of f32 for a token.
        assert!((json["prefill"]["limit_tokens_s"].as_f64().unwrap() - 100.0).abs() < 1e-6);
        assert!((json["prefill"]["percent_of_limit"].as_f64().unwrap() - 50.0).abs() < 1e-6);
        // 880 bytes of weights and 12 positions of the cache fit the processor's cache.
        assert!((json["decode"]["limit_tokens_s"].as_f64().unwrap() - 400.0).abs() < 1e-6);
        assert!((json["decode"]["percent_of_limit_min"].as_f64().unwrap() - 2.5).abs() < 1e-6);
        assert_eq!(json["ttft_ms"], 3.0);
        assert_eq!(json["profile"][0]["operation"], "head");
    }

    #[test]
    fn what_does_not_fit_the_cache_comes_from_memory() {
        let mut report = report();
        let limits = report.limits.unwrap();
        let work = Work { weight_bytes: 881, int8_operations: 1, f32_operations: 0 };
        report.add_limits(limits, work, 10);
        assert!((report.decode.limit.unwrap() - 100e3 / 1001.0).abs() < 1e-6);
    }

    #[test]
    fn text_names_what_was_measured() {
        let text = text(&report());
        for part in ["int8_gop_s", "50.0 % of it", "3 ms (2 to 6)", "decode   head             4        2.00"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
