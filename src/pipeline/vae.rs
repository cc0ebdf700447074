use std::sync::Arc;

use image::RgbImage;
use ndarray::{Array4, ArrayView3, Axis, Ix4, s};

use crate::noise::TorchGenerator;
use crate::picture::to_tensor;
use crate::runtime::{Session, SessionOptions, Tensor};
use crate::schedulers::Latents;

use super::encoding::Posterior;
use super::part::Part;
use super::{Error, Folder, Result};

/// Latents to pictures and back.
#[derive(Debug)]
pub(super) struct Vae {
    decoder: Part,
    encoder: Option<Part>,
    scaling_factor: f32,
}

const CHANNELS: usize = 4;

/// Of every VAE of Stable Diffusion 1.x.
const SCALING_FACTOR: f64 = 0.18215;

impl Vae {
    pub fn new(folder: &Folder, options: &SessionOptions) -> Result<Self> {
        let scaling = folder.config_number("vae_decoder", "scaling_factor").unwrap_or(SCALING_FACTOR);
        Ok(Self {
            decoder: Part::new(&folder.vae_decoder, options),
            encoder: folder.vae_encoder.as_deref().map(|path| Part::new(path, options)),
            scaling_factor: scaling as f32,
        })
    }

    pub fn loaded(&self) -> Option<Arc<Session>> {
        self.decoder.loaded()
    }

    pub fn release(&self) {
        self.decoder.release();
        self.encoder.iter().for_each(Part::release);
    }

    /// One picture for each row of latents.
    pub fn decode(&self, latents: &Latents) -> Result<Vec<RgbImage>> {
        let (_, channels, height, width) = latents.dim();
        let session = self.decoder.session_for(|_| vec![1, channels, height, width])?;
        latents.axis_iter(Axis(0)).map(|row| self.decode_one(&session, row)).collect()
    }

    /// One row at a time: its activations at full size are the largest of the pipeline.
    fn decode_one(&self, session: &Session, latents: ArrayView3<'_, f32>) -> Result<RgbImage> {
        let latents = (&latents / self.scaling_factor).insert_axis(Axis(0));
        let picture = run_single(session, latents)?;
        let bad = picture.iter().filter(|value| !value.is_finite()).count();
        if bad > 0 {
            return Err(Error::PictureNotFinite { bad });
        }
        let (_, _, height, width) = picture.dim();
        let byte = |value: f32| ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        let pixel =
            |x: u32, y: u32| image::Rgb([0, 1, 2].map(|channel| byte(picture[[0, channel, y as usize, x as usize]])));
        Ok(RgbImage::from_fn(width as u32, height as u32, pixel))
    }

    /// Latents of a picture, one row for each generator; as diffusers, a sample of the posterior
    /// where the encoder gives its mean and variance.
    pub fn encode(&self, picture: &RgbImage, generators: &mut [TorchGenerator]) -> Result<Latents> {
        let posterior = self.posterior(picture)?;
        let rows: Vec<Latents> = generators.iter_mut().map(|generator| posterior.sample(generator)).collect();
        let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
        let joined = ndarray::concatenate(Axis(0), &views);
        joined.map_err(|error| Error::setting("init image", error.to_string()))
    }

    /// The mean of the posterior `[1, 4, h, w]`, scaled.
    pub fn encode_mean(&self, picture: &RgbImage) -> Result<Latents> {
        Ok(self.posterior(picture)?.mean)
    }

    /// What the encoder says of a picture.
    pub fn posterior(&self, picture: &RgbImage) -> Result<Posterior> {
        let encoder = self.encoder.as_ref().ok_or_else(|| {
            Error::setting("pictures to latents", "this pipeline has no vae_encoder/model.onnx; export it, too")
        })?;
        let picture = to_tensor(picture);
        let moments = run_single(&*encoder.session_for(|_| picture.shape().to_vec())?, picture)?;
        let channels = CHANNELS.min(moments.shape()[1]);
        let deviation = (moments.shape()[1] == 2 * channels).then(|| {
            let deviation = |log: f32| (0.5 * log.clamp(-30.0, 20.0)).exp() * self.scaling_factor;
            moments.slice(s![.., channels.., .., ..]).mapv(deviation)
        });
        let mean = moments.slice(s![.., ..channels, .., ..]).mapv(|value| value * self.scaling_factor);
        Ok(Posterior { mean, deviation })
    }
}

fn run_single(session: &Session, input: Array4<f32>) -> Result<Array4<f32>> {
    let spec = session.inputs().first().ok_or_else(|| Error::model(session.model(), "has no input"))?;
    let output = session.run(&[(&spec.name, &Tensor::from(input).cast(spec.element_type))])?.take_first()?;
    let wrong = |error: ndarray::ShapeError| Error::model(session.model(), error.to_string());
    output.into_f32().into_dimensionality::<Ix4>().map_err(wrong)
}
