use std::path::PathBuf;

use anyhow::Result;
use infusion::metrics::Dino;

use super::pictures;
use super::similarity::{Backbone, Score, bar, print};
use crate::runtime_args::RuntimeArgs;

/// DINO: how like the concept's own pictures these are, by what they show and not by words
///
/// The mean cosine between the class tokens of the pictures and of the references.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The pictures to be scored: files, and folders of them
    #[arg(value_name = "PICTURE", required = true)]
    pictures: Vec<PathBuf>,
    /// Folder of DINO or DINOv2 in ONNX: model.onnx and preprocessor_config.json
    #[arg(long, value_name = "DIR")]
    backbone: PathBuf,
    /// The concept's own pictures: files and folders
    #[arg(long, value_name = "PICTURE", num_args = 1.., required = true)]
    references: Vec<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let shown = pictures::open(&arguments.pictures)?;
    let references = pictures::open(&arguments.references)?;
    arguments.runtime.load()?;
    let dino = Dino::open(&arguments.backbone, &arguments.runtime.session_options())?;
    let bar = bar(shown.len() + references.len(), arguments.quiet || arguments.json);
    let embed = |it: &pictures::Shown| {
        bar.inc(1);
        dino.picture(&it.picture)
    };
    let embedded = shown.iter().map(embed).collect::<Result<Vec<_>, _>>()?;
    let own = references.iter().map(embed).collect::<Result<Vec<_>, _>>()?;
    bar.finish_and_clear();
    let score = Score::with_references("DINO", &embedded, &own);
    let backbone = Backbone { name: dino.name().to_owned(), preprocessing: dino.preprocessing() };
    print(&[score], &backbone, &shown, arguments.json);
    Ok(())
}
