//! Where the objects are in a picture of the demo model: the rule of `tools/demo_model/judge.py`.

use image::RgbImage;
use ndarray::Array2;

const TOLERANCE: f32 = 70.0;
const COLOURS: [[u8; 3]; 8] = [
    [222, 22, 32],
    [252, 134, 8],
    [250, 226, 24],
    [36, 214, 52],
    [24, 222, 226],
    [28, 58, 236],
    [138, 30, 190],
    [255, 112, 196],
];
const GROUNDS: [[u8; 3]; 6] =
    [[66, 104, 50], [206, 180, 130], [234, 240, 248], [18, 20, 48], [50, 98, 134], [116, 116, 120]];

/// `[height, width]`: the pixels that are not ground.
pub fn foreground(picture: &RgbImage) -> Array2<bool> {
    let ground = ground(picture);
    let near = picture.pixels().filter(|pixel| distance(pixel.0, ground) < 1.3 * TOLERANCE);
    let near: Vec<[u8; 3]> = near.map(|pixel| pixel.0).collect();
    let colour = [0, 1, 2].map(|channel| median(near.iter().map(|pixel| pixel[channel]).collect(), ground[channel]));
    let (width, height) = picture.dimensions();
    let far = |(y, x): (usize, usize)| distance(picture.get_pixel(x as u32, y as u32).0, colour) > TOLERANCE;
    opened(&Array2::from_shape_fn((height as usize, width as usize), far))
}

/// The ground whose plain colour is nearest for most pixels; object colours compete and are left out.
fn ground(picture: &RgbImage) -> [u8; 3] {
    let mut votes = [0; GROUNDS.len()];
    for pixel in picture.pixels() {
        let palette = GROUNDS.iter().chain(&COLOURS).map(|colour| distance(pixel.0, *colour));
        let nearest = palette.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
        votes.iter_mut().skip(nearest).take(1).for_each(|count| *count += 1);
    }
    GROUNDS[(0..votes.len()).max_by_key(|index| votes[*index]).unwrap()]
}

fn median(mut values: Vec<u8>, otherwise: u8) -> u8 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(otherwise)
}

fn distance(a: [u8; 3], b: [u8; 3]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (f32::from(*a) - f32::from(b)).powi(2)).sum::<f32>().sqrt()
}

/// Erosion, then dilation, by the four neighbours: single pixels vanish.
fn opened(mask: &Array2<bool>) -> Array2<bool> {
    let around = |mask: &Array2<bool>, (y, x): (usize, usize)| {
        let at = |y: Option<usize>, x: Option<usize>| mask.get((y?, x?)).copied();
        [
            at(Some(y), Some(x)),
            at(y.checked_sub(1), Some(x)),
            at(Some(y + 1), Some(x)),
            at(Some(y), x.checked_sub(1)),
            at(Some(y), Some(x + 1)),
        ]
        .map(Option::unwrap_or_default)
    };
    let eroded = Array2::from_shape_fn(mask.dim(), |place| around(mask, place).iter().all(|set| *set));
    Array2::from_shape_fn(mask.dim(), |place| around(&eroded, place).contains(&true))
}
