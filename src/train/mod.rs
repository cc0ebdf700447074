//! Learning concepts: Δ from a few pictures, with nothing but the inference runtime.
//!
//! Minimises ‖ε − ε_θ'(z_t, t, τ(y))‖² over Δ alone (eq. 8 of the paper): the model is frozen, there is no
//! regularisation, and F and C see the same noised latents. The gradient comes from the `train` graph,
//! which is made of standard operators, so that any provider that draws pictures can learn, too.
//!
//! Uses `pipeline` and `patch`; the programs use it. Data goes one way:
//!
//! 1. [`Dataset`] reads photographs, and masks if there are any.
//! 2. [`Material`] encodes them and the prompts, once.
//! 3. [`Batch`] draws pictures, prompts, timesteps and noise of a step from its seed.
//! 4. [`TrainGraph`] computes the loss and its gradient, a micro-batch at a time.
//! 5. [`Adam`] moves Δ, at a rate that [`LrScheduler`] may let fall.
//! 6. [`Trainer`] ties these together; [`Checkpoint`] keeps its state, [`Plateau`] says when to stop,
//!    and [`loss_curve`] draws how it went.
//!
//! ```no_run
//! use infusion::pipeline::{Pipeline, PipelineOptions};
//! use infusion::train::{Dataset, Folder, Material, Settings, Subject, Trainer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::open("models/demo", &PipelineOptions::default())?;
//! let dataset = Dataset::read(&[Folder::new("photos")], 128)?;
//! let subjects = [Subject { name: "ball".into(), class: "ball".into() }];
//! let material = Material::prepare(&pipeline, &subjects, &dataset, &["a photo of a <ball>".into()], false)?;
//! let mut trainer = Trainer::new(&pipeline, material, Settings { steps: 300, ..Settings::default() })?;
//! while let Some(step) = trainer.step()? {
//!     println!("{}: {}", step.step, step.loss);
//! }
//! trainer.concepts()[0].save("ball.safetensors", Default::default(), Default::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Masks
//! A mask weighs the loss: `infusion.weight` of the train graph is `[B,1,h,w]`, the share of each latent
//! cell that is white in the mask, and the loss is the mean of weight · error² over all elements. Black
//! parts of a photograph teach nothing then.

mod adam;
mod batches;
mod checkpoint;
mod curve;
mod dataset;
mod error;
mod graph;
mod lr_scheduler;
mod material;
mod plateau;
mod settings;
mod trainer;

pub use adam::Adam;
pub use batches::{Batch, Row};
pub use checkpoint::Checkpoint;
pub use curve::loss_curve;
pub use dataset::{Dataset, Folder, Photo, Skipped};
pub use error::{Error, Result};
pub use graph::{Gradient, TrainGraph};
pub use lr_scheduler::LrScheduler;
pub use material::{Caption, Example, Material, Subject};
pub use plateau::Plateau;
pub use settings::Settings;
pub use trainer::{StepDone, Trainer};
