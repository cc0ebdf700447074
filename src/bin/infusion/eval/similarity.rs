//! What `infusion eval clip` and `infusion eval dino` have in common.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use infusion::metrics::{Running, cosine};
use ndarray::Array1;
use serde_json::{Value, json};

use super::pictures::Shown;

/// Cosines of one kind, one a picture.
pub struct Score {
    /// CLIP-T, CLIP-I or DINO.
    pub name: &'static str,
    /// What is compared.
    pub between: String,
    /// The mean of each picture's cosines.
    pub cosines: Vec<f64>,
}

/// Which model gave the numbers: without it they mean nothing.
pub struct Backbone {
    pub name: String,
    pub preprocessing: String,
}

impl Score {
    /// Of each picture, the mean cosine with all the references.
    pub fn with_references(name: &'static str, pictures: &[Array1<f32>], references: &[Array1<f32>]) -> Self {
        let mean = |picture: &Array1<f32>| {
            let sum: f64 = references.iter().map(|reference| cosine(picture.view(), reference.view())).sum();
            sum / references.len() as f64
        };
        let between = format!("{} pictures, {} of the concept", pictures.len(), references.len());
        Self { name, between, cosines: pictures.iter().map(mean).collect() }
    }

    pub fn statistics(&self) -> Running {
        let mut running = Running::default();
        running.extend(self.cosines.iter().copied());
        running
    }
}

/// Prints the scores, with the backbone and the scale beside every number.
pub fn print(scores: &[Score], backbone: &Backbone, pictures: &[Shown], as_json: bool) {
    if as_json {
        println!("{}", Value::from(scores.iter().map(|score| report(score, backbone, pictures)).collect::<Vec<_>>()));
        return;
    }
    for score in scores {
        let statistics = score.statistics();
        let mean = statistics.mean().unwrap_or_default();
        let error = statistics.standard_error().map(|error| format!(" ± {error:.4}")).unwrap_or_default();
        println!("{} {mean:.4}{error} (cosine, -1 to 1; {}; {})", score.name, backbone.name, score.between);
    }
    println!("pictures: {}", backbone.preprocessing);
}

pub fn report(score: &Score, backbone: &Backbone, pictures: &[Shown]) -> Value {
    let statistics = score.statistics();
    let files: Vec<&PathBuf> = pictures.iter().map(|it| &it.file).collect();
    json!({
        "measure": score.name,
        "mean": statistics.mean(),
        "standard_error": statistics.standard_error(),
        "count": statistics.count(),
        "backbone": backbone.name,
        "preprocessing": backbone.preprocessing,
        "scale": "cosine, -1 to 1",
        "between": score.between,
        "files": files,
        "cosines": score.cosines,
    })
}

pub fn bar(count: usize, hidden: bool) -> ProgressBar {
    let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(count as u64) };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} pictures, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
