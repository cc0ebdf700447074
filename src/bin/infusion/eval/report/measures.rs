use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use infusion::metrics::{Clip, Dino, Running, cosine};
use infusion::picture::Picture;
use ndarray::Array1;
use serde::Serialize;
use serde_json::Value;

use super::Arguments;
use super::pictures::Scene;
use crate::eval::pictures;
use crate::eval::similarity::Score;

/// Standard errors on either side of a mean that hold 95 of 100 true values.
const INTERVAL: f64 = 1.96;

/// A line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Measure {
    pub name: String,
    /// Whose: the customised stream, the foundation, another model.
    pub subject: String,
    pub value: f64,
    /// Half the width of the 95 % interval, where there is one.
    pub interval: Option<f64>,
    /// Over how many pictures, pairs or samples.
    pub count: u64,
    /// Backbone, scale, and what else the number rests on.
    pub detail: String,
}

impl Measure {
    fn of(name: &str, subject: &str, statistics: &Running, detail: String) -> Self {
        Self {
            name: name.to_owned(),
            subject: subject.to_owned(),
            value: statistics.mean().unwrap_or_default(),
            interval: statistics.standard_error().map(|error| INTERVAL * error),
            count: statistics.count(),
            detail,
        }
    }
}

/// CLIP-T, CLIP-I and DINO of the report's own pictures, as far as models and references are given.
pub fn score(arguments: &Arguments, scenes: &[Scene]) -> Result<Vec<Measure>> {
    let references = match arguments.references.is_empty() {
        true => Vec::new(),
        false => pictures::open(&arguments.references)?,
    };
    let options = arguments.model.runtime.session_options();
    let streams: [(&str, Vec<&Picture>); 2] = [
        ("customised", scenes.iter().map(|scene| &scene.customised).collect()),
        ("foundation", scenes.iter().map(|scene| &scene.foundation).collect()),
    ];
    let mut measures = Vec::new();
    if let Some(folder) = &arguments.clip {
        let clip = Clip::open(folder, &options)?;
        let detail = format!("cosine, −1 to 1; {}; {}", clip.name(), clip.preprocessing());
        let own = references.iter().map(|it| clip.picture(&it.picture)).collect::<Result<Vec<_>, _>>()?;
        for (stream, shown) in &streams {
            let embedded = shown.iter().map(|it| clip.picture(it)).collect::<Result<Vec<_>, _>>()?;
            let mut with_text = Running::default();
            for (picture, scene) in embedded.iter().zip(scenes) {
                with_text.push(cosine(picture.view(), clip.text_embedding(&scene.text)?.view()));
            }
            measures.push(Measure::of("CLIP-T", stream, &with_text, detail.clone()));
            measures.extend(with_references("CLIP-I", stream, &embedded, &own, &detail));
        }
    }
    if let Some(folder) = &arguments.dino {
        let dino = Dino::open(folder, &options)?;
        let detail = format!("cosine, −1 to 1; {}; {}", dino.name(), dino.preprocessing());
        let own = references.iter().map(|it| dino.picture(&it.picture)).collect::<Result<Vec<_>, _>>()?;
        for (stream, shown) in &streams {
            let embedded = shown.iter().map(|it| dino.picture(it)).collect::<Result<Vec<_>, _>>()?;
            measures.extend(with_references("DINO", stream, &embedded, &own, &detail));
        }
    }
    Ok(measures)
}

fn with_references(
    name: &'static str,
    stream: &str,
    shown: &[Array1<f32>],
    own: &[Array1<f32>],
    detail: &str,
) -> Option<Measure> {
    let detail = format!("{detail}; references: {}", own.len());
    (!own.is_empty()).then(|| Measure::of(name, stream, &Score::with_references(name, shown, own).statistics(), detail))
}

/// What other commands printed with `--json`.
pub fn read(files: &[PathBuf]) -> Result<Vec<Measure>> {
    let mut measures = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let value: Value = serde_json::from_str(&text).with_context(|| format!("{}: is not JSON", file.display()))?;
        let reports = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        for report in &reports {
            match included(report) {
                Some(found) => measures.extend(found),
                None => bail!("{}: is not what `infusion eval … --json` prints", file.display()),
            }
        }
    }
    Ok(measures)
}

fn included(report: &Value) -> Option<Vec<Measure>> {
    let text = |key: &str| report.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
    let interval = number("/standard_error").map(|error| INTERVAL * error);
    let name = text("measure");
    match name.as_str() {
        "latent Fisher divergence" => {
            let applied = report.get("applied_to").and_then(Value::as_str);
            let detail = match applied {
                Some(word) => format!("½ E‖Δε‖², the concept put on '{word}'; seed {}", report["seed"]),
                None => format!("½ E‖Δε‖² on captions without the concept; seed {}", report["seed"]),
            };
            let count = report.get("pairs")?.as_u64()?;
            Some(vec![Measure {
                name,
                subject: text("customised"),
                value: number("/divergence")?,
                interval,
                count,
                detail,
            }])
        }
        "2-Wasserstein distance" => {
            let count = report.pointer("/samples/1")?.as_u64()?;
            let line = |subject: &str, which: &str, detail: &str| {
                let value = number(&format!("/{which}/root"))?;
                let (squared, detail) = (number(&format!("/{which}/squared"))?, detail.to_owned());
                let detail = format!("d between fitted Gaussians (d² {squared:.4}); {detail}");
                Some(Measure { name: name.clone(), subject: subject.to_owned(), value, interval: None, count, detail })
            };
            let distance = line("customised", "distance", "from the original, same noise")?;
            let floor = line("floor", "floor", "the original from itself, other noise");
            Some([Some(distance), floor].into_iter().flatten().collect())
        }
        "CLIP-T" | "CLIP-I" | "DINO" => {
            let detail =
                format!("{}; {}; {}; {}", text("scale"), text("backbone"), text("preprocessing"), text("between"));
            let count = report.get("count")?.as_u64()?;
            Some(vec![Measure {
                name,
                subject: "pictures".to_owned(),
                value: number("/mean")?,
                interval,
                count,
                detail,
            }])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reports_of_other_commands_become_lines() {
        let fisher = json!({"measure": "latent Fisher divergence", "divergence": 2.5, "standard_error": 0.5,
            "pairs": 10, "seed": 3, "customised": "a.safetensors", "applied_to": null});
        let line = &included(&fisher).unwrap()[0];
        assert_eq!((line.value, line.interval, line.count), (2.5, Some(0.98), 10));
        let distance = json!({"root": 2.0, "squared": 4.0});
        let wasserstein =
            json!({"measure": "2-Wasserstein distance", "samples": [8, 8], "distance": distance, "floor": distance});
        assert_eq!(included(&wasserstein).unwrap().len(), 2);
        assert!(included(&json!({"measure": "length"})).is_none());
    }
}
