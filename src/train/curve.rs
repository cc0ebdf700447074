use super::Result;
use crate::picture::{LinePlot, Picture, Scale, Series};

/// Draws the loss of each step and its running mean, `width` × `height` pixels.
///
/// # Errors
/// There is no finite loss, or the size is below 240 × 160 or above 8192.
pub fn loss_curve(losses: &[f64], width: u32, height: u32) -> Result<Picture> {
    let steps = |values: Vec<f64>| (1..).map(f64::from).zip(values).collect();
    let plot = LinePlot {
        title: "loss while learning".to_owned(),
        x_label: "step".to_owned(),
        y_label: "mean squared error".to_owned(),
        y_scale: Scale::Logarithmic,
        series: vec![
            Series { name: "each step".to_owned(), points: steps(losses.to_vec()) },
            Series { name: "running mean".to_owned(), points: steps(running_mean(losses)) },
        ],
    };
    Ok(plot.draw(width, height)?)
}

/// The mean of the last tenth of the steps so far, at least ten.
fn running_mean(losses: &[f64]) -> Vec<f64> {
    let window = (losses.len() / 10).max(10);
    let mean = |end: usize| {
        let last = &losses[end.saturating_sub(window)..end];
        last.iter().sum::<f64>() / last.len() as f64
    };
    (1..=losses.len()).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_run_behind() {
        let losses: Vec<f64> = (0..30).map(f64::from).collect();
        let means = running_mean(&losses);
        assert_eq!((means[0], means[1], means[29]), (0.0, 0.5, 24.5));
    }

    #[test]
    fn a_curve_needs_a_loss() {
        assert_eq!(loss_curve(&[0.5, 0.4], 320, 200).unwrap().dimensions(), (320, 200));
        assert!(loss_curve(&[], 320, 200).is_err());
    }
}
