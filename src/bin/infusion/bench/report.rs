//! The figures, as a table or as JSON.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::Result;
use infusion::runtime::library;
use serde_json::{Value, json};

use super::Arguments;
use super::child::Measured;
use super::mode::Mode;

/// The figures of a run.
pub struct Report {
    facts: Value,
    json: bool,
    measured: BTreeMap<Mode, Vec<Measured>>,
    least: BTreeMap<Mode, Measured>,
}

impl Report {
    pub fn new(unet: &Path, arguments: &Arguments, patch_s: f64) -> Self {
        let facts = json!({
            "model": unet, "size": arguments.size, "batch": arguments.batch,
            "threads": arguments.runtime.threads, "fused": arguments.fuse,
            "provider": arguments.runtime.provider.to_string(), "patch_s": patch_s,
            "onnxruntime": library::loaded().map(|info| info.version.clone()),
        });
        Self { facts, json: arguments.json, measured: BTreeMap::new(), least: BTreeMap::new() }
    }

    /// Says what is going on, to those who watch.
    pub fn tell(&self, what: &str) {
        if std::io::stderr().is_terminal() {
            eprintln!("{what}");
        }
    }

    pub fn add(&mut self, mode: Mode, measured: Measured) {
        self.measured.entry(mode).or_default().push(measured);
    }

    pub fn add_least_memory(&mut self, mode: Mode, measured: Measured) {
        self.least.insert(mode, measured);
    }

    pub fn print(self) -> Result<()> {
        let of =
            |runs: &Vec<Measured>| (median(&all(runs, |run| &run.steps_s)), median(&all(runs, |run| &run.steps_cpu_s)));
        let plain = self.measured.get(&Mode::Plain).map(of);
        let modes: serde_json::Map<String, Value> = self
            .measured
            .iter()
            .map(|(mode, runs)| (mode.name().to_owned(), self.figures(*mode, runs, plain)))
            .collect();
        if self.json {
            let mut all = self.facts;
            all["modes"] = Value::Object(modes);
            println!("{all:#}");
            return Ok(());
        }
        println!("{}", self.facts["model"].as_str().unwrap_or_default());
        println!(
            "patched in {:.2} s{}",
            self.facts["patch_s"].as_f64().unwrap_or(0.0),
            if self.facts["fused"] == true { ", attention fused" } else { "" }
        );
        println!(
            "a guided step, median (least to greatest), and by processor time; memory in MB, mapped weights included"
        );
        println!(
            "{:8}{:>9}{:>20}{:>8}{:>8}{:>9}{:>9}{:>8}{:>8}{:>8}{:>9}",
            "mode", "step s", "spread", "×plain", "×CPU", "load s", "cached", "peak", "anon", "least", "Δ swap"
        );
        for (name, figures) in &modes {
            println!("{}", row(name, figures));
        }
        Ok(())
    }

    fn figures(&self, mode: Mode, runs: &[Measured], plain: Option<(f64, f64)>) -> Value {
        let (steps, cpu) = (all(runs, |run| &run.steps_s), all(runs, |run| &run.steps_cpu_s));
        let swaps: Vec<f64> = runs.iter().filter_map(|run| run.swap_s).collect();
        let most = |of: fn(&Measured) -> u64| runs.iter().map(of).max().unwrap_or(0);
        // The first round makes the cache's entries, so its memory is not that of later starts.
        let usual: Vec<&Measured> = if runs.len() > 1 { runs[1..].iter().collect() } else { runs.iter().collect() };
        let cached: Vec<f64> = runs.iter().skip(1).map(|run| run.load_s).collect();
        json!({
            "median_s": median(&steps),
            "min_s": steps.iter().copied().fold(f64::INFINITY, f64::min),
            "max_s": steps.iter().copied().fold(0.0, f64::max),
            "steps": steps.len(),
            "of_plain": plain.map(|(plain, _)| median(&steps) / plain),
            "cpu_s": median(&cpu),
            "cpu_of_plain": plain.map(|(_, plain)| median(&cpu) / plain),
            "load_s": runs.first().map(|run| run.load_s),
            "load_cached_s": (!cached.is_empty()).then(|| median(&cached)),
            "peak_bytes": usual.iter().map(|run| run.peak_bytes).max(),
            "anonymous_bytes": usual.iter().map(|run| run.anonymous_bytes).max(),
            "loaded_anonymous_bytes": usual.iter().map(|run| run.loaded_anonymous_bytes).max(),
            "first_peak_bytes": most(|run| run.peak_bytes),
            "least_peak_bytes": self.least.get(&mode).map(|run| run.peak_bytes),
            "least_anonymous_bytes": self.least.get(&mode).map(|run| run.anonymous_bytes),
            "delta_swap_s": (!swaps.is_empty()).then(|| median(&swaps)),
        })
    }
}

fn row(name: &str, figures: &Value) -> String {
    let seconds = |key: &str| figures[key].as_f64();
    let text =
        |value: Option<f64>, decimals: usize| value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"));
    let megabytes = |key: &str| figures[key].as_f64().map_or("-".to_owned(), |bytes| format!("{:.0}", bytes / 1e6));
    let spread = format!("{} to {}", text(seconds("min_s"), 3), text(seconds("max_s"), 3));
    let swap = seconds("delta_swap_s").map_or("-".to_owned(), |swap| format!("{:.2} ms", swap * 1e3));
    format!(
        "{name:8}{:>9}{spread:>20}{:>8}{:>8}{:>9}{:>9}{:>8}{:>8}{:>8}{swap:>9}",
        text(seconds("median_s"), 3),
        text(seconds("of_plain"), 2),
        text(seconds("cpu_of_plain").filter(|ratio| ratio.is_finite()), 2),
        text(seconds("load_s"), 2),
        text(seconds("load_cached_s"), 2),
        megabytes("peak_bytes"),
        megabytes("anonymous_bytes"),
        megabytes("least_peak_bytes"),
    )
}

fn all(runs: &[Measured], of: fn(&Measured) -> &Vec<f64>) -> Vec<f64> {
    runs.iter().flat_map(|run| of(run).iter().copied()).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_row_shows_what_there_is_and_dashes() {
        let figures = json!({"median_s": 1.5, "min_s": 1.0, "max_s": 2.0, "of_plain": 1.75, "load_s": 0.5,
                             "peak_bytes": 2_000_000, "anonymous_bytes": 1_000_000, "delta_swap_s": 0.0005});
        let row = row("dual", &figures);
        for part in ["dual", "1.500", "1.000 to 2.000", "1.75", "0.50 ms", "-"] {
            assert!(row.contains(part), "{part} in {row}");
        }
    }
}
