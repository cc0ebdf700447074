use ndarray::{Array, Dimension, IntoDimension};
use rand_mt::Mt;

use super::{Error, Result};

/// Values of one call of PyTorch's vectorised Box–Muller transform.
const BLOCK: usize = 16;

/// Above this many items `torch.randperm` draws 64-bit integers.
const PERMUTATION_LIMIT: usize = u32::MAX as usize / 20;

/// From this many values on `torch.randint` takes the rest of a 64-bit number (older releases: from 2³² on).
const WIDE_RANGE: u64 = 1 << 28;

/// PyTorch's CPU generator: MT19937 with the draws of `aten/src/ATen/native/cpu`.
///
/// Integers and uniform numbers equal PyTorch's bit for bit. Normal numbers equal them up to the last
/// bits of `ln`, `cos` and `sin`, which PyTorch itself computes differently with AVX2, AVX-512 and
/// without. Draws are single precision; a half-precision pipeline of diffusers draws in half precision
/// and gets other numbers.
///
/// Cloning copies the whole state, so that two streams can draw the same numbers.
#[derive(Clone, Debug)]
pub struct TorchGenerator {
    engine: Mt,
    second_normal: Option<f64>,
}

impl TorchGenerator {
    /// `torch.Generator("cpu").manual_seed(seed)`. As there, only the low 32 bits count, and a
    /// negative seed `s` is given as `s as u64`.
    pub fn new(seed: u64) -> Self {
        Self { engine: Mt::new(seed as u32), second_normal: None }
    }

    /// `torch.randn(shape, generator=...)` in single precision.
    pub fn randn<S, D>(&mut self, shape: S) -> Array<f32, D>
    where
        S: IntoDimension<Dim = D>,
        D: Dimension,
    {
        let mut drawn = Array::zeros(shape.into_dimension());
        if let Some(values) = drawn.as_slice_mut() {
            self.fill_normal(values);
        }
        drawn
    }

    /// `torch.rand(shape, generator=...)` in single precision: uniform in `[0, 1)`.
    pub fn rand<S, D>(&mut self, shape: S) -> Array<f32, D>
    where
        S: IntoDimension<Dim = D>,
        D: Dimension,
    {
        Array::from_shape_simple_fn(shape.into_dimension(), || self.uniform_f32())
    }

    /// `torch.randint(low, high, (count,), generator=...)`: integers in `low..high`.
    ///
    /// # Errors
    /// When the range is empty.
    pub fn randint(&mut self, low: i64, high: i64, count: usize) -> Result<Vec<i64>> {
        let range = high.wrapping_sub(low) as u64;
        if high <= low {
            return Err(Error::EmptyRange { low, high });
        }
        let wide = range >= WIDE_RANGE;
        let draw = |_| {
            let random = if wide { self.next_u64() } else { u64::from(self.engine.next_u32()) };
            low.wrapping_add((random % range) as i64)
        };
        Ok((0..count).map(draw).collect())
    }

    /// `torch.randperm(count, generator=...)`: the integers below `count` in random order.
    ///
    /// # Errors
    /// When `count` is so large that PyTorch takes another path (214 million).
    pub fn randperm(&mut self, count: usize) -> Result<Vec<usize>> {
        if count >= PERMUTATION_LIMIT {
            return Err(Error::PermutationTooLong { count, limit: PERMUTATION_LIMIT - 1 });
        }
        let mut order: Vec<usize> = (0..count).collect();
        for here in 0..count.saturating_sub(1) {
            let there = here + self.engine.next_u32() as usize % (count - here);
            order.swap(here, there);
        }
        Ok(order)
    }

    fn fill_normal(&mut self, values: &mut [f32]) {
        let count = values.len();
        if count < BLOCK {
            values.fill_with(|| self.scalar_normal() as f32);
            return;
        }
        values.fill_with(|| self.uniform_f32());
        values.chunks_exact_mut(BLOCK).for_each(box_muller);
        if !count.is_multiple_of(BLOCK) {
            let tail = &mut values[count - BLOCK..];
            tail.fill_with(|| self.uniform_f32());
            box_muller(tail);
        }
    }

    /// `normal_distribution<double>`: two numbers a draw, the second kept for the next call.
    fn scalar_normal(&mut self) -> f64 {
        if let Some(kept) = self.second_normal.take() {
            return kept;
        }
        let (angle, radius) = (self.uniform_f64(), self.uniform_f64());
        let radius = (-2.0 * (-radius).ln_1p()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * angle).sin_cos();
        self.second_normal = Some(radius * sin);
        radius * cos
    }

    fn uniform_f32(&mut self) -> f32 {
        const BITS: u32 = f32::MANTISSA_DIGITS;
        (self.engine.next_u32() & ((1 << BITS) - 1)) as f32 / (1u32 << BITS) as f32
    }

    fn uniform_f64(&mut self) -> f64 {
        const BITS: u32 = f64::MANTISSA_DIGITS;
        (self.next_u64() & ((1 << BITS) - 1)) as f64 / (1u64 << BITS) as f64
    }

    fn next_u64(&mut self) -> u64 {
        let high = u64::from(self.engine.next_u32());
        high << 32 | u64::from(self.engine.next_u32())
    }
}

/// Turns 16 uniform numbers into 16 normal ones: the first eight give radii, the last eight angles.
fn box_muller(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (first, second) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - *first).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * *second).sin_cos();
        (*first, *second) = (radius * cos, radius * sin);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;
    use safetensors::SafeTensors;

    use super::*;

    const GOLDENS: &[u8] = include_bytes!("../../tests/goldens/noise.safetensors");

    /// PyTorch rounds `ln`, `sin` and `cos` differently by the processor; radii reach 5.8.
    const TOLERANCE: f32 = 2e-6;

    fn golden_f32(name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(GOLDENS).unwrap();
        let bytes = file.tensor(name).unwrap().data().to_vec();
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn golden_i64(name: &str) -> Vec<i64> {
        let file = SafeTensors::deserialize(GOLDENS).unwrap();
        let bytes = file.tensor(name).unwrap().data().to_vec();
        bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn names(prefix: &str) -> Vec<String> {
        let file = SafeTensors::deserialize(GOLDENS).unwrap();
        let names: Vec<String> = file.names().iter().filter(|n| n.starts_with(prefix)).map(|n| n.to_string()).collect();
        assert!(!names.is_empty(), "no golden starts with {prefix}");
        names
    }

    /// The numbers between the slashes of a golden's name; a negative seed as PyTorch wraps it.
    fn numbers(name: &str) -> Vec<u64> {
        name.split('/').skip(1).map(|n| n.parse().unwrap_or_else(|_| n.parse::<i64>().unwrap() as u64)).collect()
    }

    fn assert_close(drawn: impl IntoIterator<Item = f32>, name: &str) {
        let (drawn, wanted) = (drawn.into_iter().collect::<Vec<_>>(), golden_f32(name));
        assert_eq!(drawn.len(), wanted.len(), "{name}");
        for (i, (a, b)) in drawn.iter().zip(&wanted).enumerate() {
            assert!((a - b).abs() <= TOLERANCE, "{name}[{i}]: {a} instead of {b}");
        }
    }

    #[test]
    fn normal_numbers_equal_pytorch() {
        for name in names("randn/") {
            let numbers = numbers(&name);
            assert_close(TorchGenerator::new(numbers[0]).randn(numbers[1] as usize), &name);
        }
    }

    #[test]
    fn uniform_numbers_equal_pytorch_exactly() {
        for name in names("rand/") {
            let numbers = numbers(&name);
            let drawn: Array1<f32> = TorchGenerator::new(numbers[0]).rand(numbers[1] as usize);
            assert_eq!(drawn.to_vec(), golden_f32(&name), "{name}");
        }
    }

    #[test]
    fn integers_equal_pytorch() {
        for name in names("randint/") {
            let numbers = numbers(&name);
            let drawn = TorchGenerator::new(numbers[0]).randint(0, numbers[2] as i64, numbers[1] as usize).unwrap();
            assert_eq!(drawn, golden_i64(&name), "{name}");
        }
    }

    #[test]
    fn permutations_equal_pytorch() {
        for name in names("randperm/") {
            let numbers = numbers(&name);
            let drawn = TorchGenerator::new(numbers[0]).randperm(numbers[1] as usize).unwrap();
            let wanted: Vec<usize> = golden_i64(&name).iter().map(|&i| i as usize).collect();
            assert_eq!(drawn, wanted, "{name}");
        }
    }

    #[test]
    fn draws_of_all_kinds_share_one_state() {
        let mut generator = TorchGenerator::new(11);
        assert_close(generator.randn(3), "mixed/0");
        assert_close(generator.randn(20), "mixed/1");
        assert_eq!(generator.randint(0, 1000, 4).unwrap(), golden_i64("mixed/2"));
        assert_close(generator.randn(2), "mixed/3");
        assert_close(generator.rand(2), "mixed/4");
        assert_close(generator.randn((1, 4, 3, 3)), "mixed/5");
    }

    #[test]
    fn clones_draw_the_same() {
        let mut one = TorchGenerator::new(1);
        one.randn(3);
        let mut other = one.clone();
        assert_eq!(one.randn(40), other.randn(40));
    }

    #[test]
    fn each_row_of_a_batch_can_be_repeated_alone() {
        let batch = super::super::start_noise(7, [2, 4, 3, 5]);
        let alone = super::super::start_noise(8, [1, 4, 3, 5]);
        assert_eq!(batch.index_axis(ndarray::Axis(0), 1), alone.index_axis(ndarray::Axis(0), 0));
    }

    #[test]
    fn empty_ranges_and_shapes_are_no_panic() {
        let mut generator = TorchGenerator::new(0);
        let error = generator.randint(5, 5, 1).unwrap_err().to_string();
        assert!(error.contains("5..5"), "{error}");
        assert!(generator.randint(i64::MIN, i64::MAX, 2).is_ok());
        assert!(generator.randn(0).is_empty());
        assert_eq!(generator.randperm(0).unwrap(), Vec::<usize>::new());
    }
}
