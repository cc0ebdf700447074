use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use infusion::concept::{Concept, merge};

/// Add concepts up, each times its weight, to a new one
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Concept files, each with a weight if it is not 1: a.safetensors:0.5
    #[arg(required = true, value_name = "FILE[:WEIGHT]")]
    parts: Vec<Part>,
    /// The new concept's name [default: the names joined by +]
    #[arg(long, value_name = "WORD")]
    name: Option<String>,
    /// The new concept's super-class word [default: that of the first]
    #[arg(long, value_name = "WORD")]
    class: Option<String>,
    #[command(flatten)]
    output: super::Output,
}

#[derive(Debug, Clone)]
struct Part {
    file: PathBuf,
    weight: f32,
}

impl FromStr for Part {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let weighted = text.rsplit_once(':').and_then(|(file, weight)| Some((file, weight.parse().ok()?)));
        let (file, weight) = weighted.unwrap_or((text, 1.0));
        Ok(Self { file: file.into(), weight })
    }
}

pub fn run(arguments: Arguments) -> Result<()> {
    let concepts = arguments.parts.iter().map(|part| Concept::load(&part.file)).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<_> = concepts.iter().zip(&arguments.parts).map(|(concept, part)| (concept, part.weight)).collect();
    let words: Vec<_> = concepts.iter().map(|concept| concept.word.as_str()).collect();
    let name = arguments.name.unwrap_or_else(|| words.join("+"));
    let class = arguments.class.or_else(|| concepts.first().map(|first| first.class.clone())).unwrap_or_default();
    arguments.output.save(&merge(&parts, &name, &class)?)
}
