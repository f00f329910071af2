//! The report in a terminal.

use std::fmt::Write as _;

use super::{Attack, Line, Report, Verdict, figure, or_dash};
use crate::kind::Resource;
use crate::stats::OfPhase;

impl Report {
    /// The report as text, for 100 columns.
    pub fn to_table(&self) -> String {
        let mut text = String::new();
        let plan = &self.plan;
        let _ = writeln!(text, "{}", self.about);
        let _ = writeln!(
            text,
            "seed {}, strength {}, server on core {}, people and attackers on core {}{}",
            plan.seed,
            figure(plan.strength),
            list(&self.cores.server),
            list(&self.cores.load),
            if self.cores.apart() { "" } else { " (the same: figures are worse than they need be)" }
        );
        let _ = writeln!(text, "capacity: {}\n", self.capacity.in_words());
        rows(&mut text, &self.summary_rows());
        text.push('\n');
        rows(&mut text, &self.phase_rows());
        text.push('\n');
        rows(&mut text, &self.attack_rows());
        if !self.costs.is_empty() {
            text.push('\n');
            rows(&mut text, &self.cost_rows());
        }
        for (name, why) in &self.unmeasured {
            let _ = write!(text, "\n{name} was not measured: {why}");
        }
        for Attack { kind, not_applicable, .. } in &self.attacks {
            if let Some(why) = not_applicable {
                let _ = write!(text, "\n{kind} is not applicable: {why}");
            }
        }
        if plan.is_viral() {
            let suspended =
                if self.suspended() { "suspended registration" } else { "did not suspend registration" };
            let _ = write!(text, "\nThe crowd {suspended}.");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    pub(super) fn summary_rows(&self) -> Vec<Vec<String>> {
        let mut all = vec![row(&["figure", "value", "goal", ""])];
        for Line { name, figure, goal, verdict } in self.lines() {
            let verdict = match verdict {
                Verdict::Met => "met",
                Verdict::Missed => "missed",
                Verdict::Unknown if goal.is_empty() => "",
                Verdict::Unknown => "unknown",
            };
            all.push(row(&[name, &or_dash(figure), &goal, verdict]));
        }
        all
    }

    /// One column for each phase.
    pub(super) fn phase_rows(&self) -> Vec<Vec<String>> {
        let mut header = vec!["people".to_owned()];
        header.extend(self.phases.iter().map(|of| of.phase.name().to_owned()));
        let mut all = vec![header];
        let mut add = |name: &str, of: &dyn Fn(&OfPhase) -> String| {
            let mut row = vec![name.to_owned()];
            row.extend(self.phases.iter().map(of));
            all.push(row);
        };
        let part = |part: usize, whole: usize| format!("{part} of {whole}");
        add("seconds", &|of| format!("{:.1}", (of.ended - of.began).as_secs_f64()));
        add("chats good", &|of| part(of.chats.good, of.chats.came));
        add("answers whole", &|of| part(of.chats.complete, of.chats.begun));
        add("chats blocked", &|of| of.chats.blocked.to_string());
        add("first token p50, ms", &|of| or_dash(of.chats.ttft.map(|times| times.p50_ms.round())));
        add("first token p99, ms", &|of| or_dash(of.chats.ttft.map(|times| times.p99_ms.round())));
        add("logins ok", &|of| part(of.logins.ok, of.logins.came));
        add("login p99, ms", &|of| or_dash(of.logins.took.map(|times| times.p99_ms.round())));
        add("newcomers: accounts", &|of| part(of.newcomers.accounts, of.newcomers.came));
        add("newcomers: places", &|of| part(of.newcomers.places, of.newcomers.came));
        add("still going on", &|of| of.unfinished.to_string());
        all
    }

    pub(super) fn attack_rows(&self) -> Vec<Vec<String>> {
        let mut all =
            vec![row(&["attack", "planned", "sent", "served", "refused", "silent", "held back", "held"])];
        for attack in &self.attacks {
            let mut cells = vec![attack.kind.name().to_owned()];
            if attack.not_applicable.is_some() {
                cells.push("not applicable".to_owned());
            } else {
                let Attack { planned, sent_per_second, count, .. } = attack;
                if attack.kind.resource() == Resource::Connections {
                    cells.extend([format!("{planned:.0}"), count.sent.to_string()]);
                } else {
                    cells.extend([format!("{planned:.0}/s"), format!("{sent_per_second:.0}/s")]);
                }
                let held_back = count.held_back + count.unable;
                let counts = [count.served, count.refused, count.silent, held_back, count.held];
                cells.extend(counts.map(|count| count.to_string()));
            }
            all.push(cells);
        }
        all
    }

    pub(super) fn cost_rows(&self) -> Vec<Vec<String>> {
        let mut all = vec![row(&[
            "alone",
            "served",
            "refused",
            "server µs/answer",
            "server µs/refusal",
            "of it spare µs",
            "attacker µs/answer",
            "by status",
            "",
        ])];
        for cost in &self.costs {
            let why = cost.why_not.clone().unwrap_or_default();
            let micros = |value: Option<f64>| or_dash(value.map(f64::round));
            let statuses: Vec<_> =
                cost.statuses.iter().map(|(status, answers)| format!("{status}: {answers}")).collect();
            all.push(vec![
                cost.kind.name().to_owned(),
                cost.served.to_string(),
                cost.refused.to_string(),
                micros(cost.server_micros_per_answer),
                micros(cost.server_micros_per_refusal),
                micros(cost.spare_micros_per_answer),
                micros(cost.attacker_micros_per_answer),
                statuses.join(", "),
                why,
            ]);
        }
        all
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Columns as wide as they have to be; numbers to the right.
fn rows(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            let is_number = cell.starts_with(|first: char| first.is_ascii_digit() || first == '-');
            let padded =
                if is_number && column > 0 { format!("{pad}{cell}") } else { format!("{cell}{pad}") };
            line.push_str(&padded);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
