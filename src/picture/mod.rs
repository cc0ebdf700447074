//! Pictures: reading, writing, drawing, and the way to the VAE and back.
//!
//! What lives here: photographs into [`Picture`]s of a size ([`open`], [`fit`]), pictures to tensors and
//! back ([`to_tensor`], [`from_tensor`]), PNG files with the settings that made them ([`save`],
//! [`read_text`], [`Parameters`]), contact sheets, heat maps and line plots. All of these drawings are
//! ordinary pictures, saved by [`save`]. This is a leaf: it knows neither models nor prompts; the
//! pipeline, the trainer, the metrics and the programs use it.

mod error;
mod font;
mod heat_map;
mod parameters;
mod plot;
mod png_file;
mod read;
mod sheet;
mod tensor;

pub use error::{Error, Result};
pub use heat_map::heat_map;
pub use parameters::Parameters;
pub use plot::{LinePlot, Scale, Series};
pub use png_file::{PictureText, encode, read_text, save, text_of};
pub use read::{decode, fit, open};
pub use sheet::{Cell, SheetRow, contact_sheet};
pub use tensor::{from_tensor, to_tensor};

/// A picture of 8-bit sRGB pixels.
pub type Picture = image::RgbImage;
