//! `infusion inspect`: what a picture or a pipeline holds.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use infusion::picture;
use infusion::pipeline::{Folder, UnetGraphs};

/// Print the settings in a picture, or the parts and layers of a pipeline
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// A PNG picture, or the folder of a pipeline
    path: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.path.is_dir() { pipeline(&arguments.path) } else { settings(&arguments.path) }
}

fn settings(path: &Path) -> Result<()> {
    let text = picture::read_text(path)?;
    if text.iter().next().is_none() {
        bail!("{}: holds no text; was it saved by a program that drops it?", path.display());
    }
    for (keyword, value) in text.iter().filter(|(keyword, _)| *keyword != "infusion") {
        println!("{keyword}:\n{value}\n");
    }
    if let Some(settings) = text.infusion()? {
        println!("infusion:\n{settings:#}");
    }
    Ok(())
}

fn pipeline(path: &Path) -> Result<()> {
    let folder = Folder::find(path)?;
    println!("text encoder: {}", folder.text_encoder.display());
    println!("unet: {}", folder.unet.display());
    println!("vae decoder: {}", folder.vae_decoder.display());
    match &folder.vae_encoder {
        Some(encoder) => println!("vae encoder: {}", encoder.display()),
        None => println!("vae encoder: none (no img2img)"),
    }
    let graphs = UnetGraphs::find_or_make(&folder.unet, None, true)?;
    println!("cross-attention layers:");
    for (index, layer) in graphs.layers.iter().enumerate() {
        println!("  {index:2} {} (width {})", layer.module_path, layer.width);
    }
    Ok(())
}
