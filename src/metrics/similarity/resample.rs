//! Resizing exactly as Pillow does, which the models of this field were trained and measured with.
//!
//! Pillow's `Image.resize` for 8-bit pictures: a separable filter whose support grows with the reduction, rows
//! before columns, weights in fixed point, a byte after each pass. (Pillow 13 takes columns first where that is
//! faster, which moves a byte by one here and there.)

use image::{Rgb, RgbImage};

/// Pillow's numbers for its filters, as `resample` in a `preprocessor_config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Nearest,
    Lanczos,
    Bilinear,
    Bicubic,
    Box,
    Hamming,
}

/// Bits behind the point of a weight.
const PRECISION: u32 = 32 - 8 - 2;

impl Filter {
    pub fn from_number(number: u64) -> Option<Self> {
        let all = [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming];
        all.get(usize::try_from(number).ok()?).copied()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Lanczos => "lanczos",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Box => "box",
            Self::Hamming => "hamming",
        }
    }

    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let size = x.abs();
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
        match self {
            Self::Nearest | Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - size).max(0.0),
            Self::Hamming if size >= 1.0 => 0.0,
            Self::Hamming => sinc(x) * (0.54 + 0.46 * (std::f64::consts::PI * x).cos()),
            // Keys's cubic with a = −½.
            Self::Bicubic if size < 1.0 => (1.5 * size - 2.5) * size * size + 1.0,
            Self::Bicubic if size < 2.0 => -0.5 * (((size - 5.0) * size + 8.0) * size - 4.0),
            Self::Bicubic => 0.0,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// `picture.resize((width, height), filter)`; both sides above 0.
pub(super) fn resize(picture: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    if filter == Filter::Nearest {
        return nearest(picture, width, height);
    }
    let wide = match picture.width() == width {
        true => picture.clone(),
        false => along(picture.width(), width, filter, picture.height(), |x, y| picture.get_pixel(x, y).0, false),
    };
    match wide.height() == height {
        true => wide,
        false => along(wide.height(), height, filter, width, |y, x| wide.get_pixel(x, y).0, true),
    }
}

fn nearest(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let place = |at: u32, from: u32, to: u32| {
        (((f64::from(at) + 0.5) * f64::from(from) / f64::from(to)) as u32).min(from.saturating_sub(1))
    };
    RgbImage::from_fn(width, height, |x, y| {
        *picture.get_pixel(place(x, picture.width(), width), place(y, picture.height(), height))
    })
}

/// One pass: `from` pixels become `to` along one axis, for each of `others` on the other.
fn along(
    from: u32,
    to: u32,
    filter: Filter,
    others: u32,
    pixel: impl Fn(u32, u32) -> [u8; 3],
    transposed: bool,
) -> RgbImage {
    let taps: Vec<(u32, Vec<i64>)> = (0..to).map(|place| weights(place, from, to, filter)).collect();
    let value = |place: u32, other: u32| {
        let mut sums = [1i64 << (PRECISION - 1); 3];
        if let Some((first, weights)) = taps.get(place as usize) {
            for (weight, at) in weights.iter().zip(*first..) {
                for (sum, channel) in sums.iter_mut().zip(pixel(at, other)) {
                    *sum += i64::from(channel) * weight;
                }
            }
        }
        Rgb(sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8))
    };
    match transposed {
        false => RgbImage::from_fn(to, others, value),
        true => RgbImage::from_fn(others, to, |x, y| value(y, x)),
    }
}

/// The first pixel that counts, and the weights from there on.
fn weights(place: u32, from: u32, to: u32, filter: Filter) -> (u32, Vec<i64>) {
    let scale = f64::from(from) / f64::from(to);
    let stretch = scale.max(1.0);
    let (reach, narrow) = (filter.support() * stretch, 1.0 / stretch);
    let centre = (f64::from(place) + 0.5) * scale;
    let first = (centre - reach + 0.5).max(0.0) as u32;
    let end = ((centre + reach + 0.5) as u32).min(from);
    let exact: Vec<f64> = (first..end).map(|at| filter.weight((f64::from(at) - centre + 0.5) * narrow)).collect();
    let sum: f64 = exact.iter().sum();
    let unit = f64::from(1u32 << PRECISION);
    let fixed = |weight: f64| {
        let scaled = weight / if sum == 0.0 { 1.0 } else { sum } * unit;
        (scaled + 0.5f64.copysign(scaled)) as i64
    };
    (first, exact.into_iter().map(fixed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_stay_and_sizes_are_those_asked_for() {
        let grey = RgbImage::from_pixel(17, 9, Rgb([77, 0, 255]));
        for number in 0..6 {
            let filter = Filter::from_number(number).unwrap();
            for (width, height) in [(5, 30), (17, 9), (1, 1), (40, 4)] {
                let resized = resize(&grey, width, height, filter);
                assert_eq!(resized.dimensions(), (width, height));
                assert!(resized.pixels().all(|pixel| pixel.0 == [77, 0, 255]), "{filter:?} {width}x{height}");
            }
        }
        assert!(Filter::from_number(6).is_none());
    }

    /// Goldens by tools/goldens/metrics.py, from Pillow.
    #[test]
    fn pillow_gives_the_same_bytes() {
        let text = include_str!("../../../tests/goldens/resample.json");
        let goldens: serde_json::Value = serde_json::from_str(text).unwrap();
        let bytes = |value: &serde_json::Value| serde_json::from_value::<Vec<u8>>(value.clone()).unwrap();
        let side = |value: &serde_json::Value| value.as_u64().unwrap() as u32;
        let source = &goldens["source"];
        let picture = RgbImage::from_raw(side(&source["width"]), side(&source["height"]), bytes(&source["bytes"]));
        let cases = goldens["cases"].as_array().unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let filter = Filter::from_number(case["filter"].as_u64().unwrap()).unwrap();
            let (width, height) = (side(&case["width"]), side(&case["height"]));
            let resized = resize(picture.as_ref().unwrap(), width, height, filter);
            assert_eq!(resized.into_raw(), bytes(&case["bytes"]), "{filter:?} to {width}x{height}");
        }
    }
}
