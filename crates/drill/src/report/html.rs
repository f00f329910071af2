//! The report as one page that needs nothing else: no script, no picture, light or dark as the reader has it.

use std::fmt::Write as _;

use super::Report;
use super::plot::{Mark, Plot, Series, Span, escape};
use crate::attack::Count;
use crate::sample::Sample;

const STYLE: &str = include_str!("page.css");
/// Levels, weakest first. One that isn't known stands above the others under its own name.
const LEVELS: [&str; 6] = ["open", "challenge", "email_first", "waiting_list", "invite_only", "suspended"];

impl Report {
    /// The report as a page.
    pub fn to_html(&self) -> String {
        let mut page = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"><title>Drill, seed \
             {}</title><style>{STYLE}</style></head><body><main><h1>Attack drill</h1>",
            self.plan.seed
        );
        let _ = write!(
            page,
            "<p>{}. Seed {}, strength {} times capacity, {} s of attack. Capacity: {}.</p>",
            escape(&self.about),
            self.plan.seed,
            self.plan.strength,
            self.plan.attack.as_secs_f64(),
            escape(&self.capacity.in_words())
        );
        table(&mut page, "Figures", &self.summary_rows());
        notes(&mut page, self.unmeasured.iter().map(|(name, why)| format!("{name} was not measured: {why}")));
        page.push_str("<h2>The course of things</h2>");
        let spans = self.spans();
        let until = self.phases.last().map_or(0.0, |of| of.ended.as_secs_f64());
        for (title, unit, words, series) in self.plots() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            page.push_str(&Plot { title, unit, until, spans: &spans, series, words: &words }.to_svg());
        }
        table(&mut page, "People", &self.phase_rows());
        table(&mut page, "Attackers", &self.attack_rows());
        let skipped =
            self.attacks.iter().filter_map(|attack| Some((attack.kind, attack.not_applicable.as_ref()?)));
        notes(&mut page, skipped.map(|(kind, why)| format!("{kind} is not applicable: {why}")));
        if !self.costs.is_empty() {
            table(&mut page, "What a refused request costs", &self.cost_rows());
        }
        let settings: Vec<Vec<String>> = std::iter::once(vec!["setting".to_owned(), "value".to_owned()])
            .chain(self.settings.iter().map(|(name, value)| vec![name.clone(), value.clone()]))
            .collect();
        table(&mut page, "Declared settings", &settings);
        page.push_str("</main></body></html>\n");
        page
    }

    fn spans(&self) -> Vec<Span> {
        let span = |of: &crate::stats::OfPhase| Span {
            name: of.phase.name(),
            from: of.began.as_secs_f64(),
            to: of.ended.as_secs_f64(),
        };
        self.phases.iter().map(span).collect()
    }

    fn plots(&self) -> Vec<(&'static str, &'static str, Vec<String>, Vec<Series>)> {
        let mut plots =
            vec![("Time to the first token of established users' chats", "ms", Vec::new(), self.latency())];
        let levels = self.levels();
        if let Some((words, series)) = levels {
            plots.push(("Level of registration", "", words, vec![series]));
        }
        plots.push(("What attackers sent and what was refused", "a second", Vec::new(), self.rates()));
        let of_server = |name: &str, color, of: &dyn Fn(&Sample) -> Option<f64>| Series {
            name: name.to_owned(),
            color,
            mark: Mark::Line,
            points: self.samples.iter().filter_map(|it| Some((it.at.as_secs_f64(), of(it)?))).collect(),
        };
        let memory = of_server("resident memory", 1, &|it| {
            Some(it.server?.resident_bytes as f64 / f64::from(1 << 20))
        });
        let descriptors = of_server("open files", 2, &|it| Some(it.server?.descriptors as f64));
        if !memory.points.is_empty() {
            plots.push(("The server's memory", "MiB", Vec::new(), vec![memory]));
            plots.push(("The server's open files", "", Vec::new(), vec![descriptors]));
            plots.push(("The server's processor time", "cores", Vec::new(), vec![self.processor()]));
        }
        plots
    }

    fn latency(&self) -> Vec<Series> {
        let patience = self.plan.targets.patience.as_secs_f64() * 1e3;
        let of = |name: &str, color, mark, wanted: &dyn Fn(&super::ChatPoint) -> bool| Series {
            name: name.to_owned(),
            color,
            mark,
            points: self
                .chats
                .iter()
                .filter(|chat| wanted(chat))
                .map(|chat| (chat.at_seconds, chat.ttft_ms.unwrap_or(patience)))
                .collect(),
        };
        vec![
            of("with a cookie", 1, Mark::Dots, &|chat| chat.ttft_ms.is_some() && !chat.with_key),
            of("with a key", 2, Mark::Dots, &|chat| chat.ttft_ms.is_some() && chat.with_key),
            of("no answer", 3, Mark::Crosses, &|chat| chat.ttft_ms.is_none()),
        ]
    }

    fn levels(&self) -> Option<(Vec<String>, Series)> {
        let mut words: Vec<String> = LEVELS.map(str::to_owned).to_vec();
        let mut points = Vec::new();
        for sample in &self.samples {
            let Some(level) = &sample.level else { continue };
            if !words.contains(level) {
                words.push(level.clone());
            }
            let height = words.iter().position(|word| word == level).unwrap_or_default();
            points.push((sample.at.as_secs_f64(), height as f64));
        }
        let series = Series { name: "level".to_owned(), color: 1, mark: Mark::Steps, points };
        (!series.points.is_empty()).then_some((words, series))
    }

    fn rates(&self) -> Vec<Series> {
        let of = |name: &str, color, of: &dyn Fn(&Count) -> u64| {
            let total = |sample: &Sample| sample.attacks.values().map(of).sum::<u64>() as f64;
            Series { name: name.to_owned(), color, mark: Mark::Line, points: slope(&self.samples, total) }
        };
        vec![
            of("sent", 1, &|count| count.sent),
            of("served", 2, &|count| count.served),
            of("refused", 3, &|count| count.refused),
        ]
    }

    fn processor(&self) -> Series {
        let points = slope(&self.samples, |sample| sample.server.map_or(0.0, |usage| usage.cpu_seconds));
        Series { name: "cores busy".to_owned(), color: 1, mark: Mark::Line, points }
    }
}

/// How fast something grows, over a second at a time.
fn slope(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    const OVER: usize = 4;
    let pairs = samples.iter().zip(samples.iter().skip(OVER));
    pairs
        .map(|(from, to)| {
            let time = (to.at - from.at).as_secs_f64().max(1e-3);
            (to.at.as_secs_f64(), ((of(to) - of(from)) / time).max(0.0))
        })
        .collect()
}

fn table(page: &mut String, title: &str, rows: &[Vec<String>]) {
    let _ = write!(page, "<h2>{}</h2><div class=\"wide\"><table>", escape(title));
    for (number, row) in rows.iter().enumerate() {
        let cell = if number == 0 { "th" } else { "td" };
        page.push_str("<tr>");
        for text in row {
            let class = if matches!(text.as_str(), "met" | "missed") {
                format!(" class=\"{text}\"")
            } else {
                String::new()
            };
            let _ = write!(page, "<{cell}{class}>{}</{cell}>", escape(text));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}

fn notes(page: &mut String, notes: impl Iterator<Item = String>) {
    for note in notes {
        let _ = write!(page, "<p class=\"note\">{}</p>", escape(&note));
    }
}
