//! Figures as a table for people and as JSON for programs: the median of the rounds, and how far they spread.

use serde::Serialize;

/// What a table's figures are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Units {
    /// What there are so many of a second.
    pub(crate) rate: &'static str,
    /// What latencies are printed in.
    pub(crate) latency: Latency,
}

/// Units of latency; the JSON is always in ms.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Latency {
    /// Milliseconds.
    Millis,
    /// Nanoseconds.
    Nanos,
}

impl Latency {
    const fn name(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Nanos => "ns",
        }
    }

    fn text(self, ms: f64) -> String {
        match self {
            Self::Millis => format!("{ms:.2}"),
            Self::Nanos => format!("{:.0}", ms * 1e6),
        }
    }
}

/// One measured line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) name: String,
    /// Events, or whatever the table counts, a second; one figure a round.
    pub(crate) rates: Vec<f64>,
    /// Latency in ms over all rounds, where it was measured.
    pub(crate) p50_ms: Option<f64>,
    /// As above.
    pub(crate) p99_ms: Option<f64>,
    /// The line it is compared with, and what is aimed at.
    pub(crate) against: Option<(String, f64)>,
}

impl Line {
    /// A line without figures yet.
    pub(crate) fn new(name: impl Into<String>, against: Option<(&str, f64)>) -> Self {
        let against = against.map(|(name, aim)| (name.to_owned(), aim));
        Self { name: name.into(), rates: Vec::new(), p50_ms: None, p99_ms: None, against }
    }

    /// Takes in what became of the latencies of all rounds.
    pub(crate) fn set_latencies(&mut self, took_ms: &mut [f64]) {
        self.p50_ms = Some(percentile(took_ms, 0.5));
        self.p99_ms = Some(percentile(took_ms, 0.99));
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.rates)
    }

    /// Largest distance from the median, relative to it.
    fn spread(&self) -> f64 {
        let median = self.median();
        self.rates.iter().map(|rate| (rate - median).abs()).fold(0.0, f64::max) / median.max(f64::MIN_POSITIVE)
    }
}

/// The middle value; of an even number, the upper of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// The value below which `part` of all lie.
pub(crate) fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = (values.len().saturating_sub(1) as f64 * part).round() as usize;
    values.get(index).copied().unwrap_or(0.0)
}

/// Prints a table of events and milliseconds, then the JSON.
pub(crate) fn print(title: &str, lines: &[Line]) -> anyhow::Result<()> {
    print_in(Units { rate: "events/s", latency: Latency::Millis }, title, lines)
}

/// Prints a table, then the JSON.
pub(crate) fn print_in(units: Units, title: &str, lines: &[Line]) -> anyhow::Result<()> {
    println!("\n{title}\n");
    let [p50, p99] = ["p50", "p99"].map(|name| format!("{name} {}", units.latency.name()));
    println!("{:<44} {:>12} {:>8} {p50:>10} {p99:>10}  ratio (aim)", "", units.rate, "spread");
    for line in lines {
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| units.latency.text(value));
        // A line of latencies has no rate.
        let rate = |text: String| if line.rates.is_empty() { "-".to_owned() } else { text };
        let ratio = line.against.as_ref().and_then(|(name, aim)| {
            let other = lines.iter().find(|other| other.name == *name)?;
            Some(format!("{:.2} × {name} ({aim:.2})", line.median() / other.median().max(f64::MIN_POSITIVE)))
        });
        println!(
            "{:<44} {:>12} {:>8} {:>10} {:>10}  {}",
            line.name,
            rate(format!("{:.0}", line.median())),
            rate(format!("{:.0}%", line.spread() * 100.0)),
            figure(line.p50_ms),
            figure(line.p99_ms),
            ratio.unwrap_or_default()
        );
    }
    println!("\n{}", serde_json::to_string(&serde_json::json!({ "title": title, "lines": lines }))?);
    Ok(())
}
