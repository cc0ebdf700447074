use std::path::PathBuf;

use anyhow::{Result, bail};
use infusion::metrics::{Clip, cosine};

use super::pictures;
use super::similarity::{Backbone, Score, bar, print};
use crate::runtime_args::RuntimeArgs;

/// CLIP-T: how well pictures show their prompts; CLIP-I: how like the concept's pictures they are
///
/// Both are means of cosines. CLIP-T needs to know what each picture was asked to show: --prompt, --captions, or
/// the text that `infusion generate` writes into its PNG files. CLIP-I needs --references.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The pictures to be scored: files, and folders of them
    #[arg(value_name = "PICTURE", required = true)]
    pictures: Vec<PathBuf>,
    /// Folder of CLIP in ONNX: model.onnx, or vision_model.onnx and text_model.onnx; preprocessor_config.json;
    /// tokenizer files
    #[arg(long, value_name = "DIR")]
    backbone: PathBuf,
    /// What every picture was asked to show, the concept by its super-class word
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// File with a line {"file_name": "a.png", "text": "a ball in the snow"} for each picture
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    captions: Option<PathBuf>,
    /// The concept's own pictures, for CLIP-I: files and folders
    #[arg(long, value_name = "PICTURE", num_args = 1..)]
    references: Vec<PathBuf>,
    /// Leave CLIP-T out
    #[arg(long)]
    no_text: bool,
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
    if arguments.no_text && arguments.references.is_empty() {
        bail!("--no-text leaves nothing but CLIP-I, which needs --references");
    }
    let shown = pictures::open(&arguments.pictures)?;
    let prompts = match arguments.no_text {
        true => Vec::new(),
        false => pictures::prompts(&shown, arguments.prompt.as_deref(), arguments.captions.as_deref())?,
    };
    let references = match arguments.references.is_empty() {
        true => Vec::new(),
        false => pictures::open(&arguments.references)?,
    };
    arguments.runtime.load()?;
    let clip = Clip::open(&arguments.backbone, &arguments.runtime.session_options())?;
    let bar = bar(shown.len() + references.len(), arguments.quiet || arguments.json);
    let embed = |it: &pictures::Shown| {
        bar.inc(1);
        clip.picture(&it.picture)
    };
    let embedded = shown.iter().map(embed).collect::<Result<Vec<_>, _>>()?;
    let own = references.iter().map(embed).collect::<Result<Vec<_>, _>>()?;
    let mut scores = Vec::new();
    if !prompts.is_empty() {
        let mut cosines = Vec::new();
        for (picture, prompt) in embedded.iter().zip(&prompts) {
            cosines.push(cosine(picture.view(), clip.text_embedding(prompt)?.view()));
        }
        scores.push(Score { name: "CLIP-T", between: format!("{} pictures and their prompts", shown.len()), cosines });
    }
    if !own.is_empty() {
        scores.push(Score::with_references("CLIP-I", &embedded, &own));
    }
    bar.finish_and_clear();
    let backbone = Backbone { name: clip.name().to_owned(), preprocessing: clip.preprocessing() };
    print(&scores, &backbone, &shown, arguments.json);
    Ok(())
}
