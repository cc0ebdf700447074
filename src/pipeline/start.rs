use image::imageops::FilterType;
use ndarray::{Axis, concatenate};

use crate::noise::TorchGenerator;
use crate::schedulers::{Latents, Scheduler};

use super::plan::Plan;
use super::vae::Vae;
use super::{Error, InitImage, Request, Result};

/// One generator for each picture of the batch, seeded seed + i; what they draw is shared by both streams.
#[derive(Debug)]
pub(super) struct Generators(pub Vec<TorchGenerator>);

impl Generators {
    pub fn new(seed: u64, batch: usize) -> Self {
        Self((0..batch as u64).map(|picture| TorchGenerator::new(seed.wrapping_add(picture))).collect())
    }

    /// Standard normal noise `[batch, channels, height, width]`.
    pub fn draw(&mut self, [channels, height, width]: [usize; 3]) -> Latents {
        let rows: Vec<Latents> = self.0.iter_mut().map(|row| row.randn((1, channels, height, width))).collect();
        let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
        concatenate(Axis(0), &views).unwrap_or_else(|_| Latents::zeros((0, channels, height, width)))
    }
}

/// The latents that the first step begins with: noise, or a picture noised as far as its strength says.
pub(super) fn first_latents(
    request: &Request,
    plan: &Plan,
    scheduler: &dyn Scheduler,
    vae: &Vae,
    generators: &mut Generators,
) -> Result<Latents> {
    let picture = match &request.init_image {
        Some(init) => Some(vae.encode(&resized(init, request), &mut generators.0)?),
        None => None,
    };
    let noise = match &request.noise {
        Some(noise) => checked(noise, plan)?,
        None => generators.draw(plan.latents),
    };
    match picture {
        None => Ok(noise * scheduler.init_noise_sigma()),
        Some(picture) if plan.first_step < plan.steps => Ok(scheduler.add_noise(&picture, &noise, plan.first_step)?),
        Some(picture) => Ok(picture),
    }
}

fn checked(noise: &Latents, plan: &Plan) -> Result<Latents> {
    let [channels, height, width] = plan.latents;
    let wanted = [plan.guidance_batch(), channels, height, width];
    if noise.shape() != wanted {
        let reason = format!("has shape {:?}, and {wanted:?} is needed", noise.shape());
        return Err(Error::setting("noise", reason));
    }
    match noise.iter().all(|value| value.is_finite()) {
        true => Ok(noise.clone()),
        false => Err(Error::setting("noise", "holds values that are no number")),
    }
}

fn resized(init: &InitImage, request: &Request) -> image::RgbImage {
    let (width, height) = (request.width as u32, request.height as u32);
    if init.picture.dimensions() == (width, height) {
        return init.picture.clone();
    }
    image::imageops::resize(&init.picture, width, height, FilterType::Lanczos3)
}
