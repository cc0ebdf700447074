//! The 2-Wasserstein distance between Gaussians, by their samples.
//!
//! d² = ‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½ (paper, def. 3.2). With X̃ the centred samples over
//! √(n − 1), Σ = X̃ᵀX̃ and tr (Σ₁Σ₂)^½ is the nuclear norm of X̃₁X̃₂ᵀ: an [n₁, n₂] matrix in place of
//! [D, D] ones, which at D = 16 384 would be 2 GB each and of rank n − 1 at most.

use faer::Mat;
use ndarray::{Array1, ArrayView2};

use super::{Error, Result};

/// The distance between two fitted Gaussians, and the parts of its square.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// ‖μ₁ − μ₂‖².
    pub means: f64,
    /// tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½, not below 0.
    pub covariances: f64,
}

impl Distance {
    /// d².
    pub fn squared(&self) -> f64 {
        self.means + self.covariances
    }

    /// d.
    pub fn root(&self) -> f64 {
        self.squared().sqrt()
    }
}

/// W2 between the Gaussians fitted to the rows of `a` `[n₁, D]` and of `b` `[n₂, D]`, in float64.
///
/// Fails unless both have at least two rows, equally wide and of finite numbers.
pub fn wasserstein(a: ArrayView2<f32>, b: ArrayView2<f32>) -> Result<Distance> {
    if a.ncols() != b.ncols() || a.ncols() == 0 {
        let reason = format!("rows of {} and of {} numbers; equally many are needed", a.ncols(), b.ncols());
        return Err(Error::input("samples", reason));
    }
    let (a, b) = (Fitted::new(a)?, Fitted::new(b)?);
    let means = (&a.mean - &b.mean).mapv(|d| d * d).sum();
    let product = &a.deviations * b.deviations.transpose();
    let covariances = a.trace() + b.trace() - 2.0 * nuclear_norm(&product)?;
    Ok(Distance { means, covariances: covariances.max(0.0) })
}

/// Mean, and X̃ = (X − mean) / √(n − 1).
struct Fitted {
    mean: Array1<f64>,
    deviations: Mat<f64>,
}

impl Fitted {
    fn new(samples: ArrayView2<f32>) -> Result<Self> {
        if samples.nrows() < 2 {
            let reason = format!("{} of them; a Gaussian needs at least two", samples.nrows());
            return Err(Error::input("samples", reason));
        }
        if let Some(((row, column), value)) = samples.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::input("samples", format!("number {column} of sample {row} is {value}")));
        }
        let (rows, columns) = samples.dim();
        let mut mean = Array1::zeros(columns);
        for row in samples.rows() {
            mean.zip_mut_with(&row, |sum, &value| *sum += f64::from(value));
        }
        mean /= rows as f64;
        let root = (rows as f64 - 1.0).sqrt();
        let deviation = |row, column| (f64::from(samples[(row, column)]) - mean[column]) / root;
        let deviations = Mat::from_fn(rows, columns, deviation);
        Ok(Self { mean, deviations })
    }

    fn trace(&self) -> f64 {
        self.deviations.squared_norm_l2()
    }
}

fn nuclear_norm(matrix: &Mat<f64>) -> Result<f64> {
    let failed = |e| Error::input("samples", format!("the singular values do not converge: {e:?}"));
    Ok(matrix.singular_values().map_err(failed)?.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::TorchGenerator;
    use ndarray::{Array2, array, s};

    fn normal(seed: u64, shape: (usize, usize)) -> Array2<f32> {
        let mut samples = Array2::zeros(shape);
        TorchGenerator::new(seed).randn(shape).assign_to(samples.view_mut());
        samples
    }

    fn distance(a: &Array2<f32>, b: &Array2<f32>) -> Distance {
        wasserstein(a.view(), b.view()).expect("measures")
    }

    #[test]
    fn equal_covariances_leave_the_distance_of_the_means() {
        let a = normal(0, (40, 6));
        let b = &a + &array![1.0, -2.0, 0.0, 0.5, 0.0, 2.0];
        let d = distance(&a, &b);
        // f32 sums round at 1e-7; 1 + 4 + 0.25 + 4 = 9.25.
        assert!((d.squared() - 9.25).abs() < 1e-5 && d.covariances < 1e-5, "{d:?}");
        assert!((d.root() - 9.25f64.sqrt()).abs() < 1e-5);
    }

    #[test]
    fn one_dimension_is_the_difference_of_means_and_deviations() {
        let (a, b) = (array![[0.0], [2.0], [4.0]], array![[1.0], [1.0], [4.0]]);
        // Means 2 and 2; deviations 2 and √3.
        let d = distance(&a, &b);
        assert!(d.means == 0.0 && (d.root() - (2.0 - 3f64.sqrt())).abs() < 1e-12, "{d:?}");
    }

    #[test]
    fn diagonal_covariances_add_up_by_axis() {
        // ± along each axis in turn: exactly diagonal covariances, σ² = 2 r² / (n − 1) with n = 6.
        let axes = |r: [f32; 3]| {
            let mut rows = Array2::zeros((6, 3));
            for (i, r) in r.into_iter().enumerate() {
                (rows[(2 * i, i)], rows[(2 * i + 1, i)]) = (r, -r);
            }
            rows
        };
        let d = distance(&axes([1.0, 2.0, 3.0]), &axes([4.0, 2.0, 1.0]));
        let expected = (0.4f64).sqrt().powi(2) * (9.0 + 0.0 + 4.0);
        assert!((d.squared() - expected).abs() < 1e-12, "{d:?}");
    }

    #[test]
    fn a_sample_has_no_distance_to_itself_and_never_a_negative_one() {
        let a = normal(1, (30, 100));
        let d = distance(&a, &a.slice(s![..;-1, ..]).to_owned());
        assert!((0.0..1e-9).contains(&d.squared()), "{d:?}");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let two = Array2::<f32>::zeros((2, 3));
        let refused = |a: &Array2<f32>| wasserstein(a.view(), two.view()).expect_err("refused").to_string();
        assert!(refused(&Array2::zeros((2, 4))).contains("4"));
        assert!(refused(&Array2::zeros((1, 3))).contains("at least two"));
        assert!(refused(&array![[0.0, 1.0, 2.0], [0.0, f32::NAN, 1.0]]).contains("number 1 of sample 1"));
    }

    /// Dense formula by scipy.linalg.sqrtm; goldens by tools/goldens/metrics.py.
    #[test]
    fn scipy_agrees_to_a_millionth() {
        let text = include_str!("../../tests/goldens/metrics.json");
        let goldens: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let cases = goldens["wasserstein"].as_array().expect("cases");
        assert!(cases.len() >= 4);
        for case in cases {
            let rows = |key: &str| {
                let rows: Vec<Vec<f32>> = serde_json::from_value(case[key].clone()).expect("rows");
                Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).expect("rectangular")
            };
            let d = distance(&rows("a"), &rows("b"));
            let near = |found: f64, key: &str| {
                let expected = case[key].as_f64().expect("a number");
                assert!((found - expected).abs() <= 1e-6 * expected.max(1.0), "{key}: {found}, scipy {expected}");
            };
            near(d.squared(), "squared");
            near(d.means, "means");
        }
    }
}
