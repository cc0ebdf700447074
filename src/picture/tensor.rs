use image::Rgb;
use ndarray::{Array4, ArrayView4, Axis};

use super::{Error, Picture, Result};

/// A picture for the VAE's encoder: shape `[1, 3, H, W]`, from −1 to 1.
pub fn to_tensor(picture: &Picture) -> Array4<f32> {
    let (width, height) = picture.dimensions();
    Array4::from_shape_fn((1, 3, height as usize, width as usize), |(_, channel, y, x)| {
        let value = picture.get_pixel(x as u32, y as u32).0[channel];
        f32::from(value) / 255.0 * 2.0 - 1.0
    })
}

/// The pictures that the VAE's decoder gave: shape `[B, 3, H, W]`, from −1 to 1, clipped beyond.
///
/// Rounded as diffusers' `VaeImageProcessor` does: `round((x / 2 + 0.5) · 255)`, halves to even.
///
/// # Errors
/// When the shape is another, or a number is not finite.
pub fn from_tensor(tensor: ArrayView4<'_, f32>) -> Result<Vec<Picture>> {
    let (batch, channels, height, width) = tensor.dim();
    let sides = (u32::try_from(width), u32::try_from(height));
    let (Ok(width @ 1..), Ok(height @ 1..), 1.., 3) = (sides.0, sides.1, batch, channels) else {
        return Err(Error::Shape { shape: tensor.shape().to_vec() });
    };
    if let Some(((row, ..), &value)) = tensor.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::NotFinite { what: format!("decoded picture {row}"), value: value.into() });
    }
    let pixel = |value: f32| ((value * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    let picture = |row: ndarray::ArrayView3<'_, f32>| {
        Picture::from_fn(width, height, |x, y| {
            let at = |channel| pixel(row[[channel, y as usize, x as usize]]);
            Rgb([at(0), at(1), at(2)])
        })
    };
    Ok(tensor.axis_iter(Axis(0)).map(picture).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_survives_the_way_there_and_back() {
        let picture = Picture::from_fn(16, 16, |x, y| Rgb([(x + 16 * y) as u8, (x * 16) as u8, (y * 15) as u8]));
        assert_eq!(from_tensor(to_tensor(&picture).view()).unwrap(), [picture]);
    }

    #[test]
    fn rounding_is_diffusers() {
        let values = [-2.0, -1.0, -0.996_2, 0.0, 0.5, 0.999, 1.0, 7.0];
        let wanted = [0, 0, 0, 128, 191, 255, 255, 255];
        let tensor = Array4::from_shape_fn((1, 3, 1, 8), |(_, _, _, x)| values[x]);
        let picture = &from_tensor(tensor.view()).unwrap()[0];
        assert_eq!(picture.pixels().map(|pixel| pixel.0[0]).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn other_shapes_and_nan_are_refused() {
        for shape in [(1, 4, 2, 2), (0, 3, 2, 2), (1, 3, 0, 2), (1, 3, 2, 0)] {
            assert!(matches!(from_tensor(Array4::zeros(shape).view()), Err(Error::Shape { .. })), "{shape:?}");
        }
        let mut tensor = Array4::zeros((2, 3, 2, 2));
        tensor[[1, 0, 1, 1]] = f32::NAN;
        let error = from_tensor(tensor.view()).unwrap_err().to_string();
        assert!(error.contains("picture 1") && error.contains("NaN"), "{error}");
    }
}
