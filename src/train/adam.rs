use ndarray::{Array2, ArrayView2, Zip};

/// Adam (Kingma and Ba, 2015) as `torch.optim.Adam` computes it, without weight decay.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub learning_rate: f64,
    /// Steps taken.
    pub steps: usize,
    /// Running mean of the gradient, m.
    pub mean: Array2<f32>,
    /// Running mean of its square, v.
    pub square: Array2<f32>,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

impl Adam {
    /// Adam before its first step, for parameters of this shape.
    pub fn new(shape: (usize, usize), learning_rate: f64) -> Self {
        Self { learning_rate, steps: 0, mean: Array2::zeros(shape), square: Array2::zeros(shape) }
    }

    /// θ ← θ − lr · m̂ / (√v̂ + ε); the shapes must be those of [`Adam::new`].
    pub fn step(&mut self, parameters: &mut Array2<f32>, gradient: ArrayView2<'_, f32>) {
        self.steps += 1;
        let power = |beta: f64| 1.0 - beta.powi(i32::try_from(self.steps).unwrap_or(i32::MAX));
        let rate = (self.learning_rate / power(BETA_1)) as f32;
        let root = power(BETA_2).sqrt() as f32;
        let keep = BETA_2 as f32;
        let (share_1, share_2) = ((1.0 - BETA_1) as f32, (1.0 - BETA_2) as f32);
        Zip::from(parameters).and(&mut self.mean).and(&mut self.square).and(gradient).for_each(|p, m, v, &g| {
            *m += (g - *m) * share_1;
            *v = keep * *v + share_2 * g * g;
            *p -= rate * *m / (v.sqrt() / root + EPSILON as f32);
        });
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    /// `torch.optim.Adam([x], lr=0.1)` on the loss x₀² + 3 x₁ from (1, −2), three steps, torch 2.
    #[test]
    fn three_steps_are_those_of_torch() {
        let mut x = arr2(&[[1.0_f32, -2.0]]);
        let mut adam = Adam::new((1, 2), 0.1);
        let expected = [[0.9, -2.1], [0.800_412_2, -2.2], [0.701_586_3, -2.3]];
        for expected in expected {
            let gradient = arr2(&[[2.0 * x[[0, 0]], 3.0]]);
            adam.step(&mut x, gradient.view());
            for (found, expected) in x.iter().zip(expected) {
                assert!((found - expected).abs() < 2e-6, "{x:?}");
            }
        }
    }

    #[test]
    fn what_has_no_gradient_stays() {
        let mut x = arr2(&[[1.5_f32]]);
        Adam::new((1, 1), 0.1).step(&mut x, arr2(&[[0.0]]).view());
        assert_eq!(x[[0, 0]], 1.5);
    }
}
