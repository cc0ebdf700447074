//! What tuning did to a mixture.

use anyhow::Result;
use infusion::metrics::wasserstein;
use ndarray::Array2;

use crate::toy::Toy;

/// A peak counts as kept if it gets this share of what it got before.
const KEPT: f64 = 0.25;

/// √(det Σ) of the points, over that of others: 1 where a cloud kept its size, less where it shrank.
pub fn relative_area(points: &Array2<f32>, others: &Array2<f32>) -> f64 {
    area(points) / area(others)
}

fn area(points: &Array2<f32>) -> f64 {
    let count = points.nrows() as f64;
    let mean = |axis: usize| points.column(axis).iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let (mx, my) = (mean(0), mean(1));
    let moment = |f: fn(f64, f64) -> f64| {
        points.rows().into_iter().map(|row| f(f64::from(row[0]) - mx, f64::from(row[1]) - my)).sum::<f64>() / count
    };
    let (xx, yy, xy) = (moment(|x, _| x * x), moment(|_, y| y * y), moment(|x, y| x * y));
    (xx * yy - xy * xy).max(0.0).sqrt()
}

/// How many of the mixture's peaks still get points.
pub fn peaks_kept(toy: &Toy, points: &Array2<f32>) -> usize {
    let peaks = toy.mixture.centres.len();
    let mut counts = vec![0usize; peaks];
    toy.nearest(points).into_iter().for_each(|peak| counts[peak] += 1);
    let enough = KEPT * points.nrows() as f64 / peaks as f64;
    counts.into_iter().filter(|&count| count as f64 >= enough).count()
}

/// W2 between the Gaussians fitted to both.
pub fn distance(points: &Array2<f32>, others: &Array2<f32>) -> Result<f64> {
    Ok(wasserstein(others.view(), points.view())?.root())
}

/// How far points lie from the line through their nearest peak, root mean square: the concept is thin.
pub fn off_the_line(toy: &Toy, points: &Array2<f32>) -> f64 {
    let square = |(row, peak): (ndarray::ArrayView1<'_, f32>, usize)| {
        let centre = toy.mixture.centres[peak];
        (f64::from((row[0] - centre[0]) - (row[1] - centre[1])) * std::f64::consts::FRAC_1_SQRT_2).powi(2)
    };
    let squares: f64 = points.rows().into_iter().zip(toy.nearest(points)).map(square).sum();
    (squares / points.nrows() as f64).sqrt()
}
