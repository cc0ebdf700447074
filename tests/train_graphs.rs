//! The train graph's loss, gradient and prediction are torch autograd's, in every float dialect and
//! however much of the forward pass it keeps.

#[path = "support/dialects.rs"]
mod dialects;
#[path = "support/patched.rs"]
mod patched;

use dialects::Dialect;
use infusion::patch::{EmitOptions, Memory, Variant};
use ndarray::{ArrayD, Axis};
use patched::{Graphs, Named, difference};

/// Every third dialect from `first` on: the three tests share the work of several cores.
fn every_third(first: usize) {
    let runnable = dialects::patchable().into_iter().filter(|dialect| dialect.runs_on_cpu);
    for dialect in runnable.skip(first).step_by(3) {
        let graphs = Graphs::of(&dialect);
        if dialect.name.contains("int8") || dialect.name.contains("qdq") {
            let reason = graphs.refusal(Variant::Train);
            assert!(reason.contains("quantised"), "{}: {reason}", dialect.name);
            continue;
        }
        if dialect.opset < 13 {
            let reason = graphs.refusal(Variant::Train);
            assert!(reason.contains("opsets 13 to"), "{}: {reason}", dialect.name);
            continue;
        }
        let labels: &[&str] = if dialect.name == "sdpa-17" { &["one", "two"] } else { &["two"] };
        for label in labels {
            check(&dialect, &graphs, label, &EmitOptions::default());
        }
    }
}

fn feeds(graphs: &Graphs, label: &str) -> Named {
    let mut feeds = graphs.source_feeds();
    for (input, reference) in [
        ("infusion.mask", format!("mask.{label}")),
        ("infusion.delta", format!("delta.{label}")),
        ("infusion.target", "train.target".to_owned()),
    ] {
        feeds.insert(input.to_owned(), graphs.reference(&reference).to_owned());
    }
    feeds
}

fn check(dialect: &Dialect, graphs: &Graphs, label: &str, options: &EmitOptions) {
    // Half precision keeps 11 bits through some thousand operators; both bounds are the project's.
    let tolerance = if dialect.dtype == "float16" { 3e-2 } else { 1e-3 };
    let found = graphs.run_with(Variant::Train, feeds(graphs, label), options);
    let place = format!("{} {label} {}", dialect.name, options.memory);
    for kind in ["loss", "prediction"] {
        let expected = graphs.reference(&format!("train.{label}.{kind}"));
        let apart = difference(&found[&format!("infusion.{kind}")], expected);
        assert!(apart <= tolerance, "{place}: {kind} is {apart:.1e} apart");
    }
    let (grad, expected) = (&found["infusion.grad"], graphs.reference(&format!("train.{label}.grad")));
    for (layer, offset) in graphs.survey.layers.iter().zip(graphs.survey.offsets()) {
        let own =
            |grad: ndarray::ArrayViewD<f32>| grad.slice_axis(Axis(1), (offset..offset + layer.width).into()).to_owned();
        let apart = difference(&own(grad.view()), own(expected.view()).view());
        assert!(apart <= tolerance, "{place}: layer {} is {apart:.1e} apart", layer.index);
    }
}

#[test]
fn dialects_0_3_6() {
    every_third(0);
}

#[test]
fn dialects_1_4_7() {
    every_third(1);
}

#[test]
fn dialects_2_5_8() {
    every_third(2);
}

/// Along each layer's own gradient the loss rises by its length, whoever computed either.
#[test]
fn the_gradient_is_that_of_finite_differences() {
    let graphs = Graphs::of(&dialects::named("sdpa-17"));
    let feeds = feeds(&graphs, "two");
    let grad = &graphs.run(Variant::Train, feeds.clone())["infusion.grad"];
    for (layer, offset) in graphs.survey.layers.iter().zip(graphs.survey.offsets()) {
        let columns = (offset..offset + layer.width).into();
        let mut direction = ArrayD::zeros(grad.raw_dim());
        direction.slice_axis_mut(Axis(1), columns).assign(&grad.slice_axis(Axis(1), columns));
        let length = direction.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        direction /= length as f32;
        // Steps this large drown the rounding of float32 predictions; two of them cancel the third derivative.
        let slope = (4.0 * slope(&graphs, &feeds, &direction, 1.0) - slope(&graphs, &feeds, &direction, 2.0)) / 3.0;
        assert!((slope - length).abs() < 1e-2 * length, "layer {}: {slope:e}, not {length:e}", layer.index);
    }
}

/// How the loss rises along `direction`, from `step` behind Δ to `step` ahead.
fn slope(graphs: &Graphs, feeds: &Named, direction: &ArrayD<f32>, step: f32) -> f64 {
    let prediction = |step: f32| {
        let mut moved = feeds.clone();
        *moved.get_mut("infusion.delta").unwrap() += &(direction * step);
        graphs.run(Variant::Train, moved).remove("infusion.prediction").unwrap()
    };
    let (ahead, behind, target) = (prediction(step), prediction(-step), &feeds["infusion.target"]);
    // (a − t)² − (b − t)², without the loss of digits of subtracting two losses.
    let rise =
        |((&a, &b), &t): ((&f32, &f32), &f32)| f64::from(a - b) * (f64::from(a) + f64::from(b) - 2.0 * f64::from(t));
    let rise = ahead.iter().zip(&behind).zip(target).map(rise).sum::<f64>() / target.len() as f64;
    rise / f64::from(2.0 * step)
}

#[test]
fn what_is_computed_again_changes_nothing() {
    for (name, memory, fuse) in [
        ("sdpa-17-static", Memory::Low, false),
        ("fp16-upcast-17", Memory::Low, false),
        ("dynamo-18", Memory::Low, true),
        ("einsum-14", Memory::Fast, false),
    ] {
        let dialect = dialects::named(name);
        let graphs = Graphs::of(&dialect);
        check(&dialect, &graphs, "two", &EmitOptions { fuse, memory });
    }
}

#[test]
fn low_memory_reads_nothing_of_the_inside_of_blocks_twice() {
    let graphs = Graphs::of(&dialects::named("sdpa-17"));
    let counts = |memory| {
        let model = graphs.emitted(Variant::Train, &EmitOptions { fuse: false, memory });
        let made = |node: &infusion::onnx::proto::NodeProto, prefix: &str| {
            node.output.first().is_some_and(|output| output.starts_with(prefix))
        };
        let nodes: Vec<_> = model.graph.nodes().map(|(_, node)| node.clone()).collect();
        let again = nodes.iter().filter(|node| made(node, "infusion.again/")).count();
        let back = nodes.iter().filter(|node| made(node, "infusion.grad/"));
        let forward = |name: &&String| name.starts_with("infusion/") && !name.contains("Constant");
        let mut kept: Vec<String> = back.flat_map(|node| node.input.iter().filter(forward).cloned()).collect();
        kept.sort();
        kept.dedup();
        (again, kept.len())
    };
    let (low, balanced, fast) = (counts(Memory::Low), counts(Memory::Balanced), counts(Memory::Fast));
    assert_eq!(fast.0, 0);
    assert!(low.0 > balanced.0 && balanced.0 > 0, "{low:?} {balanced:?}");
    assert!(2 * low.1 < balanced.1 && balanced.1 < fast.1, "kept tensors: {low:?} {balanced:?} {fast:?}");
}

#[test]
fn a_weight_counts_elements() {
    let graphs = Graphs::of(&dialects::named("sdpa-17"));
    let mut feeds = feeds(&graphs, "two");
    let all = graphs.run(Variant::Train, feeds.clone());
    let weigh = |value: f32| ("infusion.weight".to_owned(), ArrayD::from_elem(ndarray::IxDyn(&[1, 1, 1, 1]), value));
    feeds.extend([weigh(0.25)]);
    let some = graphs.run(Variant::Train, feeds);
    for output in ["infusion.loss", "infusion.grad"] {
        assert!(difference(&some[output], all[output].mapv(|value| 0.25 * value).view()) < 1e-5, "{output}");
    }
}
