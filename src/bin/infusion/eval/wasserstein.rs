use std::path::PathBuf;

use anyhow::{Result, bail};
use infusion::metrics::{Distance, load_samples, wasserstein};
use serde_json::{Value, json};

use super::draw::{DrawArgs, Drawn, draw};

/// 2-Wasserstein distance between Gaussians fitted to the latents of two models
///
/// Draws the latents: the original model's under the prompt with the super-class word, the customised model's
/// from the same noise, and the original's from other noise: the floor, which two sets of one model are apart
/// for no other reason than that they are finite. Or takes them from files: safetensors with tensors [n, …] of
/// f32 or f16, e.g. [1000, 4, 64, 64]. Needs 8 bytes a number.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Latents of the original model (.safetensors), instead of drawing them
    #[arg(value_name = "ORIGINAL", requires = "customised")]
    original: Option<PathBuf>,
    /// Latents of the customised model (.safetensors)
    #[arg(value_name = "CUSTOMISED")]
    customised: Option<PathBuf>,
    /// Latents of the original model under other seeds (.safetensors)
    #[arg(long, value_name = "FILE", requires = "original")]
    floor: Option<PathBuf>,
    #[command(flatten)]
    draw: DrawArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let drawn = match (&arguments.original, &arguments.customised) {
        (Some(original), Some(customised)) => Drawn {
            original: load_samples(original)?,
            customised: load_samples(customised)?,
            floor: arguments.floor.as_ref().map(load_samples).transpose()?,
            settings: Value::Null,
        },
        (None, None) => draw(&arguments.draw)?,
        _ => bail!("two files of latents are needed, the original model's and the customised one's"),
    };
    let distance = wasserstein(drawn.original.view(), drawn.customised.view())?;
    let floor = drawn.floor.as_ref().map(|floor| wasserstein(drawn.original.view(), floor.view())).transpose()?;
    if arguments.json {
        let report = json!({
            "measure": "2-Wasserstein distance",
            "samples": [drawn.original.nrows(), drawn.customised.nrows()],
            "dimensions": drawn.original.ncols(),
            "distance": describe(&distance),
            "floor": floor.as_ref().map(describe),
            "settings": drawn.settings,
        });
        println!("{report}");
        return Ok(());
    }
    let (original, customised) = (drawn.original.nrows(), drawn.customised.nrows());
    println!("{original} and {customised} samples of {} numbers", drawn.original.ncols());
    print("distance", &distance);
    match floor {
        Some(floor) => print("floor", &floor),
        None => println!("floor     not measured: give the original model's latents under other seeds as --floor"),
    }
    Ok(())
}

pub fn describe(distance: &Distance) -> Value {
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
