use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Rgb};
use ndarray::ArrayView2;

use super::{Error, Picture, Result};

/// Matplotlib's "inferno", of evenly growing lightness, in ten even steps.
const INFERNO: [[u8; 3]; 10] = [
    [0, 0, 4],
    [27, 12, 65],
    [74, 12, 107],
    [120, 28, 109],
    [165, 44, 96],
    [207, 68, 70],
    [237, 105, 37],
    [251, 155, 6],
    [247, 209, 61],
    [252, 255, 164],
];

/// An attention map over a picture: dark where it is low, bright where it is high.
///
/// `map` is of any resolution, [h, w] for the picture's height and width, and any scale: its least value
/// becomes 0 and its largest 1. `opacity` is the map's share in the result, from 0 to 1.
///
/// # Errors
/// When the map or the picture is empty, a value is not finite, or `opacity` is no share.
pub fn heat_map(picture: &Picture, map: ArrayView2<'_, f32>, opacity: f32) -> Result<Picture> {
    if !(0.0..=1.0).contains(&opacity) {
        return Err(Error::Opacity { opacity });
    }
    let values = enlarged(map, picture.width(), picture.height())?;
    let mix = |under: u8, over: f32| (f32::from(under) * (1.0 - opacity) + over * opacity).round() as u8;
    Ok(Picture::from_fn(picture.width(), picture.height(), |x, y| {
        let (under, over) = (picture.get_pixel(x, y).0, inferno(values.get_pixel(x, y).0[0]));
        Rgb([mix(under[0], over[0]), mix(under[1], over[1]), mix(under[2], over[2])])
    }))
}

/// The map between 0 and 1, at the picture's size.
fn enlarged(map: ArrayView2<'_, f32>, width: u32, height: u32) -> Result<ImageBuffer<Luma<f32>, Vec<f32>>> {
    let (rows, columns) = map.dim();
    if map.is_empty() || width == 0 || height == 0 {
        return Err(Error::Empty { what: "a heat map" });
    }
    if let Some(value) = map.iter().find(|value| !value.is_finite()) {
        return Err(Error::NotFinite { what: "an attention map".into(), value: (*value).into() });
    }
    let least = map.iter().copied().fold(f32::INFINITY, f32::min);
    let span = map.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least;
    let scaled: Vec<f32> = map.iter().map(|value| if span > 0.0 { (value - least) / span } else { 0.0 }).collect();
    let size = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let small = ImageBuffer::from_raw(size(columns), size(rows), scaled).ok_or(Error::Size {
        what: "an attention map",
        width: columns,
        height: rows,
        reason: "it is too large",
    })?;
    Ok(imageops::resize(&small, width, height, FilterType::Triangle))
}

fn inferno(value: f32) -> [f32; 3] {
    let place = value.clamp(0.0, 1.0) * (INFERNO.len() - 1) as f32;
    let low = (place as usize).min(INFERNO.len() - 2);
    let share = place - low as f32;
    std::array::from_fn(|channel| {
        let (from, to) = (f32::from(INFERNO[low][channel]), f32::from(INFERNO[low + 1][channel]));
        from + (to - from) * share
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn grey() -> Picture {
        Picture::from_pixel(64, 32, Rgb([128; 3]))
    }

    fn lightness(picture: &Picture, x: u32, y: u32) -> u32 {
        picture.get_pixel(x, y).0.iter().map(|&c| u32::from(c)).sum()
    }

    #[test]
    fn the_high_side_is_bright_whatever_the_scale() {
        for scale in [1.0, 1e-6, 1e6] {
            let map = array![[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.5, 1.0]] * scale;
            let shown = heat_map(&grey(), map.view(), 0.7).unwrap();
            assert_eq!(shown.dimensions(), (64, 32));
            assert!(lightness(&shown, 2, 16) < lightness(&shown, 40, 16));
            assert!(lightness(&shown, 40, 16) < lightness(&shown, 62, 16));
        }
    }

    #[test]
    fn opacity_goes_from_the_picture_to_the_map() {
        let map = array![[0.0, 1.0]];
        assert_eq!(heat_map(&grey(), map.view(), 0.0).unwrap(), grey());
        assert_eq!(heat_map(&grey(), map.view(), 1.0).unwrap().get_pixel(63, 0).0, INFERNO[9]);
        for opacity in [-0.1, 1.1, f32::NAN] {
            assert!(heat_map(&grey(), map.view(), opacity).unwrap_err().to_string().contains("opacity"));
        }
    }

    #[test]
    fn colours_grow_evenly_lighter() {
        let lightness =
            |i: usize| inferno(i as f32 / 99.0).iter().zip([0.21, 0.72, 0.07]).map(|(c, w)| c * w).sum::<f32>();
        assert!((1..100).all(|i| lightness(i) > lightness(i - 1)));
    }

    #[test]
    fn flat_maps_are_dark_and_bad_ones_refused() {
        let flat = heat_map(&grey(), Array2::ones((3, 3)).view(), 1.0).unwrap();
        assert_eq!(flat.get_pixel(5, 5).0, INFERNO[0]);
        assert!(matches!(heat_map(&grey(), Array2::zeros((0, 3)).view(), 0.5), Err(Error::Empty { .. })));
        assert!(matches!(heat_map(&Picture::new(0, 0), array![[1.0]].view(), 0.5), Err(Error::Empty { .. })));
        let error = heat_map(&grey(), array![[f32::INFINITY]].view(), 0.5).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }));
    }
}
