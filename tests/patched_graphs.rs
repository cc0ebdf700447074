//! The equalities of the graph contract, run through ONNX Runtime and held against torch.

#[path = "support/dialects.rs"]
mod dialects;
#[path = "support/patched.rs"]
mod patched;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use dialects::Dialect;
use infusion::patch::{EmitOptions, Variant};
use patched::{Graphs, difference, mean_difference, same_bits};

type Check = fn(&Dialect, &Graphs);

const CHECKS: [(&str, Check); 5] = [
    ("f", f_is_the_source_bit_for_bit_and_shows_torchs_maps_and_values),
    ("c", c_with_fs_maps_is_the_source_and_with_delta_is_torchs),
    ("dual", dual_is_two_streams_on_their_own_latents),
    ("shared", shared_is_the_source_unfed_and_customises_the_rows_it_is_told),
    ("fused", fused_graphs_compute_the_same),
];

/// Two workers take dialect after dialect and make each one's sessions once for all checks.
/// `INFUSION_DIALECT=name` looks at one dialect only.
#[test]
fn every_dialect_holds_the_contract() {
    let only = std::env::var("INFUSION_DIALECT").ok();
    let wanted = |dialect: &Dialect| dialect.runs_on_cpu && only.as_ref().is_none_or(|name| *name == dialect.name);
    let waiting = Mutex::new(dialects::patchable().into_iter().filter(wanted).collect::<Vec<_>>());
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(dialect) = { waiting.lock().unwrap().pop() } {
            let graphs = Graphs::of(&dialect);
            let fails = |check: &Check| catch_unwind(AssertUnwindSafe(|| check(&dialect, &graphs))).is_err();
            let names = CHECKS.iter().filter(|(_, check)| fails(check)).map(|(name, _)| *name);
            let names: Vec<String> = names.map(|name| format!("{} of {}", name, dialect.name)).collect();
            failed.lock().unwrap().extend(names);
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn f_is_the_source_bit_for_bit_and_shows_torchs_maps_and_values(dialect: &Dialect, graphs: &Graphs) {
    let (source, f) = (graphs.source(), graphs.run(Variant::F, graphs.source_feeds()));
    let [source, shown] = [&source, &f].map(|found| &found[&dialect.outputs[0].name]);
    if dialect.name == "qdq-int8" {
        // ONNX Runtime fuses integer kernels only where nobody else reads what they swallow, and F shows some of it.
        let apart = difference(shown, source.view());
        assert!(apart <= dialect.tolerance, "{}: F is {apart:.1e} from the source", dialect.name);
    } else {
        assert!(same_bits(source, shown), "{}", dialect.name);
    }
    for i in 0..dialect.layers {
        let value = difference(&f[&format!("infusion.{i}.value")], graphs.reference(&format!("value.{i}")));
        assert!(value <= dialect.tolerance, "{}: value {i} is {value:.1e} apart", dialect.name);
    }
    for i in [0, 6, 15].into_iter().filter(|i| *i < dialect.layers) {
        let (found, reference) = (&f[&format!("infusion.{i}.probs")], graphs.reference(&format!("probs.{i}")));
        let probs =
            if is_quantised(dialect) { mean_difference(found, reference) } else { difference(found, reference) };
        assert!(probs <= dialect.tolerance, "{}: map {i} is {probs:.1e} apart", dialect.name);
    }
}

/// Eight bits in Q and K move single probabilities by any amount, but not the maps as a whole.
fn is_quantised(dialect: &Dialect) -> bool {
    dialect.name.contains("int8")
}

fn c_with_fs_maps_is_the_source_and_with_delta_is_torchs(dialect: &Dialect, graphs: &Graphs) {
    let output = &dialect.outputs[0].name;
    let source = graphs.source();
    let maps = graphs.run(Variant::F, graphs.source_feeds());
    let plain = graphs.run(Variant::C, graphs.c_feeds(&maps, None));
    let apart = difference(&plain[output], source[output].view());
    assert!(apart <= dialect.tolerance, "{}: C(F, 0) is {apart:.1e} from the source", dialect.name);
    for label in ["one", "two"] {
        let customised = graphs.run(Variant::C, graphs.c_feeds(&maps, Some(label)));
        let apart = difference(&customised[output], graphs.reference(&format!("c.{label}")));
        assert!(apart <= dialect.tolerance, "{}: C {label} is {apart:.1e} apart", dialect.name);
    }
}

fn dual_is_two_streams_on_their_own_latents(dialect: &Dialect, graphs: &Graphs) {
    if !dialect.dynamic_batch() {
        assert!(graphs.refusal(Variant::Dual).contains("batch size is baked"), "{}", dialect.name);
        return;
    }
    let output = &dialect.outputs[0].name;
    for label in ["one", "two"] {
        let found = graphs.run(Variant::Dual, graphs.dual_feeds(Some(label)));
        let apart = difference(&found[output], graphs.reference(&format!("dual.{label}")));
        assert!(apart <= dialect.tolerance, "{}: dual {label} is {apart:.1e} apart", dialect.name);
    }
}

fn shared_is_the_source_unfed_and_customises_the_rows_it_is_told(dialect: &Dialect, graphs: &Graphs) {
    if !dialect.dynamic_batch() {
        assert!(graphs.refusal(Variant::Shared).contains("batch size is baked"), "{}", dialect.name);
        return;
    }
    let (source, output) = (graphs.source(), &dialect.outputs[0].name);
    let found = graphs.run(Variant::Shared, graphs.source_feeds());
    // Integer and half-precision arithmetic is fused around other nodes than in the source, and rounds elsewhere.
    let coarse = is_quantised(dialect) || dialect.dtype == "float16";
    let unfed = if coarse { dialect.tolerance } else { dialect.tolerance / 10.0 };
    for name in [output.as_str(), "infusion.foundation"] {
        let apart = difference(&found[name], source[output].view());
        assert!(apart <= unfed, "{}: unfed, {name} is {apart:.1e} apart", dialect.name);
    }
    for label in ["one", "two"] {
        let found = graphs.run(Variant::Shared, graphs.shared_feeds(label));
        let apart = difference(&found[output], graphs.reference(&format!("shared.{label}")));
        assert!(apart <= dialect.tolerance, "{}: shared {label} is {apart:.1e} apart", dialect.name);
        let apart = difference(&found["infusion.foundation"], graphs.reference("output"));
        assert!(apart <= dialect.tolerance, "{}: shared's F is {apart:.1e} apart", dialect.name);
    }
}

fn fused_graphs_compute_the_same(dialect: &Dialect, graphs: &Graphs) {
    let fused = graphs.fused();
    if dialect.name.starts_with("sdpa") || dialect.name.starts_with("baddbmm") || dialect.name.starts_with("dynamo") {
        assert_eq!(fused, 2 * dialect.layers, "{}", dialect.name);
    }
    if fused == 0 {
        return;
    }
    let (options, output) = (EmitOptions { fuse: true, ..Default::default() }, &dialect.outputs[0].name);
    let f = graphs.run_with(Variant::F, graphs.source_feeds(), &options);
    let apart = difference(&f[output], graphs.reference("output"));
    assert!(apart <= dialect.tolerance, "{}: fused F is {apart:.1e} apart", dialect.name);
    let customised = graphs.run_with(Variant::C, graphs.c_feeds(&f, Some("one")), &options);
    let apart = difference(&customised[output], graphs.reference("c.one"));
    assert!(apart <= dialect.tolerance, "{}: fused C is {apart:.1e} apart", dialect.name);
    if dialect.dynamic_batch() {
        let dual = graphs.run_with(Variant::Dual, graphs.dual_feeds(Some("two")), &options);
        let apart = difference(&dual[output], graphs.reference("dual.two"));
        assert!(apart <= dialect.tolerance, "{}: fused dual is {apart:.1e} apart", dialect.name);
        let shared = graphs.run_with(Variant::Shared, graphs.shared_feeds("two"), &options);
        let apart = difference(&shared[output], graphs.reference("shared.two"));
        assert!(apart <= dialect.tolerance, "{}: fused shared is {apart:.1e} apart", dialect.name);
    }
}

#[test]
fn a_baked_concept_needs_no_feeding() {
    let dialect = dialects::named("four-17");
    let graphs = Graphs::of(&dialect);
    let apart = difference(&graphs.baked("one")[&dialect.outputs[0].name], graphs.reference("shared.one"));
    assert!(apart <= dialect.tolerance, "{apart:.1e} apart");
}
