//! The train graph's loss, gradient and prediction are torch autograd's, in every float dialect.

#[path = "support/dialects.rs"]
mod dialects;
#[path = "support/patched.rs"]
mod patched;

use infusion::patch::Variant;
use ndarray::Axis;
use patched::{Graphs, difference};

#[test]
fn loss_gradient_and_prediction_are_those_of_torch() {
    for dialect in dialects::patchable().iter().filter(|dialect| dialect.runs_on_cpu) {
        let graphs = Graphs::of(dialect);
        if dialect.name.contains("int8") || dialect.name.contains("qdq") {
            let reason = graphs.refusal(Variant::Train);
            assert!(reason.contains("quantised"), "{}: {reason}", dialect.name);
            continue;
        }
        // Half precision keeps 11 bits through some thousand operators; both bounds are the project's.
        let tolerance = if dialect.dtype == "float16" { 3e-2 } else { 1e-3 };
        let labels: &[&str] = if dialect.name == "sdpa-17" { &["one", "two"] } else { &["two"] };
        for label in labels {
            let mut feeds = graphs.source_feeds();
            for (input, reference) in [
                ("infusion.mask", format!("mask.{label}")),
                ("infusion.delta", format!("delta.{label}")),
                ("infusion.target", "train.target".to_owned()),
            ] {
                feeds.insert(input.to_owned(), graphs.reference(&reference).to_owned());
            }
            let found = graphs.run(Variant::Train, feeds);
            for kind in ["loss", "prediction"] {
                let expected = graphs.reference(&format!("train.{label}.{kind}"));
                let apart = difference(&found[&format!("infusion.{kind}")], expected);
                assert!(apart <= tolerance, "{}: {kind} {label} is {apart:.1e} apart", dialect.name);
            }
            let (grad, expected) = (&found["infusion.grad"], graphs.reference(&format!("train.{label}.grad")));
            for (layer, offset) in graphs.survey.layers.iter().zip(graphs.survey.offsets()) {
                let own = |grad: ndarray::ArrayViewD<f32>| {
                    grad.slice_axis(Axis(1), (offset..offset + layer.width).into()).to_owned()
                };
                let apart = difference(&own(grad.view()), own(expected.view()).view());
                assert!(apart <= tolerance, "{}: layer {} {label} is {apart:.1e} apart", dialect.name, layer.index);
            }
        }
    }
}
