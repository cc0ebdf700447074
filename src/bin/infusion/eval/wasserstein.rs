use std::path::PathBuf;

use anyhow::Result;
use infusion::metrics::{Distance, load_samples, wasserstein};
use ndarray::Array2;
use serde_json::{Value, json};

/// 2-Wasserstein distance between Gaussians fitted to two sets of latents
///
/// The files are safetensors with tensors [n, …] of f32 or f16, e.g. [1000, 4, 64, 64]: the original model's
/// latents under the prompt with the super-class word, and the customised model's. Needs 8 bytes a number.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Latents of the original model (.safetensors)
    #[arg(value_name = "ORIGINAL")]
    original: PathBuf,
    /// Latents of the customised model (.safetensors)
    #[arg(value_name = "CUSTOMISED")]
    customised: PathBuf,
    /// Latents of the original model under other seeds: how far apart two sets of one model are
    #[arg(long, value_name = "FILE")]
    floor: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let (original, customised) = (load_samples(&arguments.original)?, load_samples(&arguments.customised)?);
    let distance = wasserstein(original.view(), customised.view())?;
    let floor = arguments.floor.as_ref().map(|file| floor(&original, file)).transpose()?;
    if arguments.json {
        let report = json!({
            "samples": [original.nrows(), customised.nrows()],
            "dimensions": original.ncols(),
            "distance": describe(&distance),
            "floor": floor.as_ref().map(describe),
        });
        println!("{report}");
        return Ok(());
    }
    println!("{} and {} samples of {} numbers", original.nrows(), customised.nrows(), original.ncols());
    print("distance", &distance);
    match floor {
        Some(floor) => print("floor", &floor),
        None => println!("floor     not measured: give the original model's latents under other seeds as --floor"),
    }
    Ok(())
}

fn floor(original: &Array2<f32>, file: &PathBuf) -> Result<Distance> {
    Ok(wasserstein(original.view(), load_samples(file)?.view())?)
}

fn describe(distance: &Distance) -> Value {
    json!({
        "squared": distance.squared(),
        "root": distance.root(),
        "means": distance.means,
        "covariances": distance.covariances,
    })
}

fn print(name: &str, distance: &Distance) {
    let (squared, root) = (distance.squared(), distance.root());
    println!(
        "{name:<10}d² {squared:.6}  d {root:.6}  (means {:.6}, covariances {:.6})",
        distance.means, distance.covariances
    );
}
