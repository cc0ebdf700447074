//! The toys of the paper's figures 4 and 5: `cargo run --release --example toys`.
//!
//! A small diffusion model of a mixture of Gaussians is tuned, through `infusion::autodiff`, on a concept that is a
//! thin line: once with all its weights, as DreamBooth does, and once with Infusion's residual Δ alone. The first
//! shrinks classes that were never touched and loses peaks that were not shown; the second cannot.
//!
//! | file | what |
//! |---|---|
//! | [`net`] | the denoiser in ONNX and its gradient |
//! | [`toy`] | the mixture and both streams |
//! | [`tune`] | tuning all weights, or Δ |
//! | [`measure`] | areas, peaks, distances |
//! | [`figures`] | the two figures |

mod figures;
mod measure;
mod net;
mod toy;
mod tune;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use figures::{Budget, Figure};
use infusion::files::Existing;
use infusion::picture::{self, PictureText};

/// Draw the toys of the paper's figures 4 and 5
#[derive(Parser)]
struct Arguments {
    /// Folder for figure4.png and figure5.png
    #[arg(default_value = "target/toys")]
    output: PathBuf,
    /// Steps of tuning after which points are drawn
    #[arg(long, value_delimiter = ',', default_value = "0,100,400,2000")]
    steps: Vec<usize>,
    /// Points in each picture, of each class
    #[arg(long, default_value_t = 1500)]
    points: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.output)?;
    let budget = Budget { steps: arguments.steps, points: arguments.points };
    let figure = figures::four(&budget)?;
    print(&figure, ["size of other classes", "their distance"]);
    picture::save(arguments.output.join("figure4.png"), &figure.sheet, &PictureText::default(), Existing::Replace)?;
    let figure = figures::twenty_five(&budget)?;
    print(&figure, ["share of peaks kept", "distance of all"]);
    picture::save(arguments.output.join("figure5.png"), &figure.sheet, &PictureText::default(), Existing::Replace)?;
    println!("\npictures: {}", arguments.output.display());
    Ok(())
}

fn print(figure: &Figure, columns: [&str; 2]) {
    println!("\n{:<12} {:>6} {:>22} {:>16} {:>14}", "tuned", "steps", columns[0], columns[1], "off the line");
    for line in &figure.lines {
        println!(
            "{:<12} {:>6} {:>22.3} {:>16.3} {:>14.3}",
            line.method, line.steps, line.kept, line.moved, line.off_the_line
        );
    }
}
