//! The toys of `examples/toys`, with a small budget: tuned through `autodiff`, they show what the paper's figures show.

#[path = "../examples/toys/figures.rs"]
mod figures;
#[path = "../examples/toys/measure.rs"]
mod measure;
#[path = "../examples/toys/net.rs"]
mod net;
#[path = "../examples/toys/toy.rs"]
mod toy;
#[path = "../examples/toys/tune.rs"]
mod tune;

use figures::Budget;

#[test]
fn tuning_all_weights_shrinks_other_classes_and_the_residual_leaves_them() {
    let figure = figures::four(&Budget { steps: vec![0, 100], points: 100 }).unwrap();
    let [before, tuned, residual] = &figure.lines[..] else { panic!("{} lines", figure.lines.len()) };
    assert_eq!((before.kept, before.moved), (1.0, 0.0));
    assert!(figure.sheet.width() > 3 * 260, "three pictures beside each other");
    assert!(tuned.kept < 0.9, "other classes keep {} of their size", tuned.kept);
    assert!(tuned.moved > 0.1, "they move by {}", tuned.moved);
    assert!(tuned.off_the_line < 0.5 * before.off_the_line, "the concept is learned");
    assert_eq!((residual.kept, residual.moved), (1.0, 0.0), "prompts without the concept run the foundation alone");
    assert!(residual.off_the_line < before.off_the_line, "{} {}", residual.off_the_line, before.off_the_line);
}

#[test]
fn tuning_all_weights_loses_peaks_and_the_residual_keeps_them() {
    let figure = figures::twenty_five(&Budget { steps: vec![0, 60], points: 300 }).unwrap();
    let [before, tuned, residual] = &figure.lines[..] else { panic!("{} lines", figure.lines.len()) };
    assert!(before.kept > 0.9, "the model gives {} of the peaks", before.kept);
    assert!(tuned.kept < 0.8, "{} of the peaks are kept", tuned.kept);
    assert!(residual.kept > 0.9, "{} of the peaks are kept", residual.kept);
    assert!(residual.moved < 0.5 * tuned.moved, "{} {}", residual.moved, tuned.moved);
}

/// The gradient of a weight through `autodiff` against the difference of two losses.
#[test]
fn gradients_are_those_of_finite_differences() {
    let toy = toy::Toy::open("four").unwrap();
    let points = ndarray::array![[0.3, -0.2], [1.1, 0.7]];
    let mut feeds = toy.feeds(&points, &[200, 700], &[0, 2]);
    feeds.extend(toy.weights.clone());
    let name = "w_v_1";
    let loss = |shift: f32| {
        let mut feeds = feeds.clone();
        if let Some(infusion::runtime::Tensor::F32(weight)) = feeds.get_mut(name) {
            weight[[3, 5]] += shift;
        }
        let noise = toy.denoiser.predict(&feeds).unwrap().remove("noise").unwrap().into_f32();
        noise.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>()
    };
    let noise = toy.denoiser.predict(&feeds).unwrap().remove("noise").unwrap().into_f32();
    let gradients = toy.denoiser.gradients(&feeds, noise * 2.0).unwrap();
    let place = toy.denoiser.tuned().iter().position(|tuned| tuned == name).unwrap();
    let found = f64::from(gradients[place][[3, 5]]);
    let expected = (loss(0.01) - loss(-0.01)) / 0.02;
    assert!((found - expected).abs() < 2e-3 * expected.abs().max(0.1), "{found} {expected}");
}
