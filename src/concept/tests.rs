use half::f16;
use indexmap::IndexMap;
use ndarray::{Array2, array};
use proptest::prelude::*;
use safetensors::Dtype;
use serde_json::json;

use super::container::{self, Entry};
use super::layers::tensor_name;
use super::*;

const HASH: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The cross-attention layers of Stable Diffusion 1.5 in order of execution.
fn sd15() -> Vec<LayerSpec> {
    let mut specs = Vec::new();
    let mut add = |block: String, attentions: usize, width: usize| {
        for i in 0..attentions {
            specs.push(LayerSpec { module_path: format!("{block}.attentions.{i}.transformer_blocks.0"), width });
        }
    };
    for (i, width) in [320, 640, 1280].into_iter().enumerate() {
        add(format!("down_blocks.{i}"), 2, width);
    }
    add("mid_block".into(), 1, 1280);
    for (i, width) in [1280, 640, 320].into_iter().enumerate() {
        add(format!("up_blocks.{}", i + 1), 3, width);
    }
    specs
}

/// Numbers like those of a trained Δ: bell-shaped, σ = 0.05, the same on every machine.
fn bell(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() * 0.05).collect()
}

fn concept(specs: &[LayerSpec], tokens: usize) -> Concept {
    let mut numbers = bell(tokens * specs.iter().map(|spec| spec.width).sum::<usize>()).into_iter();
    let mut concept = Concept::new("striped", "ball");
    concept.base_model_hash = Some(HASH.into());
    let prompts = ["a photo of a <ball>", "a <ball> on the beach", "a close-up of a <ball>"];
    concept.training = Some(json!({"steps": 400, "lr": 0.01, "batch": 4, "seed": 0, "prompts": prompts}));
    for spec in specs {
        let values = numbers.by_ref().take(tokens * spec.width).collect();
        let delta = Array2::from_shape_vec((tokens, spec.width), values).expect("as many numbers as places");
        concept.layers.insert(spec.module_path.clone(), delta);
    }
    concept
}

fn small() -> Concept {
    let specs = [("down_blocks.0", 6), ("mid_block", 5)];
    concept(&specs.map(|(path, width)| LayerSpec { module_path: path.into(), width }), 2)
}

fn read(bytes: &[u8]) -> Result<Concept> {
    Concept::from_bytes(bytes, "test.safetensors")
}

fn message(bytes: &[u8]) -> String {
    read(bytes).expect_err("a file that lies is refused").to_string()
}

/// A file of these tensors with the metadata of a concept, `metadata` on top.
fn file(tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>, metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut pairs = metadata::describe(&Concept::new("striped", "ball"));
    pairs.extend(metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())));
    let entry = |(name, dtype, shape, data)| Entry { name, dtype, shape, data };
    container::encode(&tensors.into_iter().map(entry).collect::<Vec<_>>(), &pairs)
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn every_precision_comes_back_with_the_error_it_declares() {
    let concept = concept(&sd15(), 1);
    // Bounds: exact; half an f16 unit in the last place; half a step of 1/127 and of 1/7 of about 3σ.
    for (precision, bound) in
        [(Precision::F32, 0.0), (Precision::F16, 5e-4), (Precision::I8, 0.01), (Precision::I4, 0.1)]
    {
        let encoded = concept.encode(precision).expect("encodes");
        let back = read(&encoded.bytes).expect("reads");
        assert_eq!((&back.word, &back.class), (&concept.word, &concept.class));
        assert_eq!(back.base_model_hash, concept.base_model_hash);
        assert_eq!(back.training, concept.training);
        for (path, declared) in &encoded.layer_errors {
            let (exact, stored) = (&concept.layers[path], &back.layers[path]);
            let norm = |a: &Array2<f32>| a.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let real = norm(&(exact - stored)) / norm(exact);
            assert!((real - declared).abs() < 1e-6, "{precision} {path}: {real} declared as {declared}");
            assert!(real <= bound, "{precision} {path}: {real}");
        }
        assert!(encoded.error <= bound, "{precision}: {}", encoded.error);
    }
}

#[test]
fn the_i4_file_of_sd15_is_under_eleven_kilobytes() {
    let concept = concept(&sd15(), 1);
    assert_eq!(concept.parameters(), 12_480);
    let size = concept.encode(Precision::I4).expect("encodes").bytes.len();
    assert!(size <= 11_000, "{size} bytes");
}

#[test]
fn files_of_one_concept_are_the_same_bytes() {
    let concept = small();
    for precision in Precision::ALL {
        let encode = || concept.encode(precision).expect("encodes").bytes;
        assert_eq!(encode(), encode());
    }
}

#[test]
fn quantised_files_can_be_written_again_without_loss() {
    for precision in [Precision::F16, Precision::I8] {
        let once = read(&small().encode(precision).expect("encodes").bytes).expect("reads");
        let twice = once.encode(precision).expect("encodes");
        assert!(twice.error < 1e-6, "{precision}: {}", twice.error);
    }
}

#[test]
fn odd_widths_survive_packing() {
    let concept = small();
    let back = read(&concept.encode(Precision::I4).expect("encodes").bytes).expect("reads");
    assert_eq!(back.layers["mid_block"].dim(), (2, 5));
}

#[test]
fn foreign_metadata_is_kept() {
    let mut concept = small();
    concept.extra.insert("modelspec.author".into(), "someone".into());
    let back = read(&concept.encode(Precision::F16).expect("encodes").bytes).expect("reads");
    assert_eq!(back.extra, concept.extra);
}

#[test]
fn the_matrix_has_the_layers_side_by_side_in_the_models_order() {
    let concept = small();
    let spec = |path: &str, width| LayerSpec { module_path: path.into(), width };
    let matrix = concept.matrix(&[spec("mid_block", 5), spec("unet.down_blocks.0.attn2", 6)]).expect("fits");
    assert_eq!(matrix.dim(), (2, 11));
    assert_eq!(matrix[(1, 4)], concept.layers["mid_block"][(1, 4)]);
    assert_eq!(matrix[(1, 5)], concept.layers["down_blocks.0"][(1, 0)]);
}

#[test]
fn a_wrong_model_is_refused_by_layer_and_file() {
    let concept = small();
    let spec = |path: &str, width| LayerSpec { module_path: path.into(), width };
    let cases = [
        (vec![spec("mid_block", 5)], "down_blocks.0"),
        (vec![spec("mid_block", 5), spec("down_blocks.0", 8)], "[2, 8] is needed"),
        (vec![spec("mid_block", 5), spec("down_blocks.0", 6), spec("up_blocks.0", 6)], "up_blocks.0"),
    ];
    for (specs, expected) in cases {
        let message = concept.matrix(&specs).expect_err("does not fit").to_string();
        assert!(message.contains(expected) && message.contains("striped"), "{message}");
    }
}

#[test]
fn only_force_overrides_the_base_model() {
    let concept = small();
    let other = HASH.replace('0', "f");
    assert!(concept.check_base(HASH, false).is_ok());
    assert!(concept.check_base(&other, false).expect_err("another model").to_string().contains(&other));
    assert!(concept.check_base(&other, true).is_ok());
}

#[test]
fn layers_are_in_the_order_people_count_in() {
    let specs = concept(&sd15(), 1).layer_specs();
    assert_eq!(specs, sd15());
    let mut names = ["a.10.b", "a.2.b", "a.2"];
    names.sort_by(|a, b| layers::natural_order(a, b));
    assert_eq!(names, ["a.2", "a.2.b", "a.10.b"]);
}

#[test]
fn saving_overwrites_nothing_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.safetensors");
    let concept = small();
    concept.save(&path, Precision::F16, Existing::Keep).expect("saves");
    let again = concept.save(&path, Precision::F32, Existing::Keep);
    assert!(matches!(again, Err(Error::Exists { .. })));
    concept.save(&path, Precision::F32, Existing::Replace).expect("replaces");
    assert_eq!(Concept::load(&path).expect("loads").layers, concept.layers);
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1, "a temporary file was left");
}

#[test]
fn module_paths_are_written_in_one_spelling_and_read_in_any() {
    let mut concept = Concept::new("ball", "ball");
    concept.layers.insert("down_blocks.0.attn2".to_owned(), array![[1.0, -2.0, 3.0]]);
    concept.layers.insert("unet.mid_block.attn2.to_v".to_owned(), array![[0.5, 0.25]]);
    for precision in [Precision::F32, Precision::F16, Precision::I8, Precision::I4] {
        let bytes = concept.encode(precision).expect("encodes").bytes;
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
        for path in ["down_blocks.0", "mid_block"] {
            assert!(file.names().contains(&tensor_name(path).as_str()), "{precision}: {:?}", file.names());
        }
        let again = Concept::from_bytes(&bytes, "again").expect("reads");
        assert_eq!(again.layers.keys().collect::<Vec<_>>(), ["down_blocks.0", "mid_block"]);
        assert!((again.layers["down_blocks.0"][(0, 2)] - 3.0).abs() < 0.2);
    }
    let doubled = file(vec![(tensor_name("mid_block.attn2"), Dtype::F32, vec![1, 1], f32s(&[1.0]))], &[]);
    assert_eq!(Concept::from_bytes(&doubled, "doubled").expect("reads").layers["mid_block"], array![[1.0]]);
}

#[test]
fn numbers_that_a_precision_cannot_hold_are_refused() {
    let mut concept = small();
    concept.layers["mid_block"][(0, 0)] = 1e5;
    assert!(concept.encode(Precision::F32).is_ok());
    assert!(concept.encode(Precision::F16).expect_err("beyond f16").to_string().contains("mid_block"));
    concept.layers["mid_block"][(0, 0)] = f32::NAN;
    assert!(concept.encode(Precision::F32).expect_err("NaN").to_string().contains("mid_block"));
}

#[test]
fn every_lie_has_its_own_message() {
    let name = || tensor_name("mid_block");
    let scale = || format!("{}.scale", name());
    let good = || (name(), Dtype::F32, vec![1, 2], f32s(&[1.0, 2.0]));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "header too small"),
        (u64::MAX.to_le_bytes().to_vec(), "header"),
        (file(vec![good()], &[("format_version", "2")]), "\"2\" is unknown"),
        (file(vec![good()], &[("concept", " ")]), "the concept word is empty"),
        (file(vec![good()], &[("class", "a>b")]), "'>'"),
        (file(vec![good()], &[("training", "{")]), "metadata 'training': not JSON"),
        (file(vec![good()], &[("base_model_hash", "md5:1")]), "base_model_hash"),
        (file(vec![], &[]), "layers: there are none"),
        (file(vec![(name(), Dtype::F32, vec![2], f32s(&[1.0, 2.0]))], &[]), "[T, d] is expected"),
        (file(vec![(name(), Dtype::F32, vec![0, 2], vec![])], &[]), "is empty"),
        (file(vec![(name(), Dtype::F32, vec![1, 2], f32s(&[1.0, f32::NAN]))], &[]), "number 1 is NaN"),
        (file(vec![(name(), Dtype::F32, vec![1, 1], f32s(&[f32::INFINITY]))], &[]), "number 0 is inf"),
        (file(vec![(name(), Dtype::F64, vec![1, 1], vec![0; 8])], &[]), "is of type F64"),
        (file(vec![good(), ("lora_unet.alpha".into(), Dtype::F32, vec![1], f32s(&[1.0]))], &[]), "'lora_unet.alpha'"),
        (
            file(vec![good(), (tensor_name("up_blocks.1"), Dtype::F32, vec![2, 1], f32s(&[1.0, 2.0]))], &[]),
            "2 tokens where the first layer has 1",
        ),
        (file(vec![(name(), Dtype::I8, vec![1, 2], vec![1, 2])], &[]), "is quantised, but there is neither"),
        (
            file(
                vec![(scale(), Dtype::F32, vec![2], f32s(&[1.0; 2])), (name(), Dtype::I8, vec![1, 2], vec![1, 2])],
                &[],
            ),
            "needs 1 scales",
        ),
        (
            file(vec![(scale(), Dtype::F32, vec![1], f32s(&[1e38])), (name(), Dtype::I8, vec![1, 1], vec![127])], &[]),
            "Δ is inf at token 0, column 0",
        ),
        (file(vec![(scale(), Dtype::F32, vec![1], f32s(&[1.0])), good()], &[]), "which has none"),
        (
            file(
                vec![
                    ("unet.infusion_delta.scale".into(), Dtype::F32, vec![2], f32s(&[1.0; 2])),
                    (name(), Dtype::U8, vec![1, 1], vec![0]),
                ],
                &[],
            ),
            "1 scales more",
        ),
        (
            file(vec![(name(), Dtype::U8, vec![1, 1], vec![0])], &[("widths", "{\"mid_block\": 5}")]),
            "the metadata gives it 5",
        ),
        (file(vec![(name(), Dtype::U8, vec![1, 1], vec![0])], &[("scale_block", "0")]), "\"0\" is not a count"),
    ];
    for (bytes, expected) in cases {
        let message = message(&bytes);
        assert!(message.contains(expected) && message.contains("test.safetensors"), "{message} lacks {expected}");
    }
}

#[test]
fn a_missing_key_says_which() {
    for key in ["format_version", "concept", "class"] {
        let mut pairs = metadata::describe(&small());
        pairs.shift_remove(key);
        let message = message(&container::encode(&[], &pairs));
        assert!(message.contains(key) && message.contains("missing"), "{message}");
    }
}

#[test]
fn names_that_occur_twice_are_refused() {
    let name = tensor_name("mid_block");
    let info = r#"{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}"#;
    let headers = [
        format!(r#"{{"{name}":{info},"{name}":{info}}}"#),
        format!(r#"{{"__metadata__":{{"concept":"a","concept":"b"}},"{name}":{info}}}"#),
    ];
    for header in headers {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes().chain(f32s(&[1.0])));
        assert!(message(&bytes).contains("occurs twice"), "{}", message(&bytes));
    }
}

#[test]
fn merging_adds_up_and_broadcasts_single_tokens() {
    let (one, two) = (small(), small());
    let single = {
        let mut single = small();
        for delta in single.layers.values_mut() {
            *delta = Array2::ones((1, delta.ncols()));
        }
        single
    };
    let merged = merge(&[(&one, 0.5), (&two, 0.25), (&single, 2.0)], "both", "ball").expect("merges");
    let expected = &one.layers["mid_block"] * 0.75 + 2.0;
    for (a, b) in merged.layers["mid_block"].iter().zip(&expected) {
        assert!((a - b).abs() < 1e-6);
    }
    assert_eq!(merged.base_model_hash, one.base_model_hash);
}

#[test]
fn merging_refuses_what_does_not_match() {
    let one = small();
    let change = |f: &dyn Fn(&mut Concept)| {
        let mut other = small();
        f(&mut other);
        merge(&[(&one, 1.0), (&other, 1.0)], "both", "ball").expect_err("does not match").to_string()
    };
    assert!(change(&|c| c.base_model_hash = None).contains("different models"));
    assert!(
        change(&|c| c.layers = c.layers.iter().map(|(k, v)| (k.clone(), Array2::ones((3, v.ncols())))).collect())
            .contains("tokens")
    );
    assert!(change(&|c| c.layers["mid_block"] = Array2::ones((2, 4))).contains("mid_block"));
    assert!(change(&|c| drop(c.layers.shift_remove("mid_block"))).contains("missing"));
    assert!(change(&|c| drop(c.layers.insert("up_blocks.9".into(), Array2::ones((2, 4))))).contains("up_blocks.9"));
    assert!(merge(&[(&one, f32::NAN)], "both", "ball").is_err() && merge(&[], "both", "ball").is_err());
}

#[test]
fn a_text_delta_folds_through_the_value_projection() {
    let weight = |path: &str, weight| ValueWeight { module_path: path.into(), weight };
    let weights =
        [weight("mid_block.attn2", array![[1.0, 2.0, 3.0], [0.0, 1.0, -1.0]]), weight("up.0", array![[1.0], [10.0]])];
    let bytes = file(
        vec![("delta".into(), Dtype::F16, vec![2], [2.0, 1.0].map(|v| f16::from_f32(v).to_le_bytes()).concat())],
        &[],
    );
    let folded = TextDelta::from_bytes(&bytes, "old.safetensors")
        .expect("reads")
        .fold(&weights, "old.safetensors")
        .expect("folds");
    assert_eq!(folded["mid_block"], array![[2.0, 5.0, 5.0]]);
    assert_eq!(folded["up.0"], array![[12.0]]);

    let own =
        |path: &str, width: usize| TextDelta::Layers(IndexMap::from([(path.to_owned(), Array2::ones((1, width)))]));
    let refused = |delta: TextDelta| delta.fold(&weights, "old.safetensors").expect_err("does not fit").to_string();
    assert!(refused(own("mid_block", 2)).contains("up.0"));
    assert!(refused(own("down.7", 2)).contains("down.7"));
    assert!(refused(TextDelta::Same(Array2::ones((1, 3)))).contains("3 wide"));
}

proptest! {
    /// Whatever is cut or flipped, reading ends in a sound concept or in an error.
    #[test]
    fn damaged_files_never_panic(
        precision in prop::sample::select(Precision::ALL.to_vec()),
        cut in prop::option::of(0usize..3000),
        flips in prop::collection::vec((0usize..3000, 0u8..8), 0..8),
    ) {
        let mut bytes = small().encode(precision).expect("encodes").bytes;
        bytes.truncate(cut.unwrap_or(usize::MAX));
        for (at, bit) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        if let Ok(concept) = read(&bytes) {
            concept.check().expect("what is read is sound");
        }
    }

    #[test]
    fn quantised_numbers_are_within_half_a_step(values in prop::collection::vec(-4f32..4.0, 1..200)) {
        let mut concept = Concept::new("a", "b");
        let width = values.len();
        concept.layers.insert("mid_block".into(), Array2::from_shape_vec((1, width), values.clone()).expect("one row"));
        let back = read(&concept.encode(Precision::I8).expect("encodes").bytes).expect("reads");
        let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (exact, stored) in values.iter().zip(&back.layers["mid_block"]) {
            // The search may clip a little to win elsewhere: its reach is 118…130 of 127 steps.
            prop_assert!((exact - stored).abs() <= largest * (0.51 / 118.0 + 3.0 / 127.0));
        }
    }
}
