//! `infusion eval`, driven as a user would.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use safetensors::{Dtype, tensor::TensorView};

/// `rows` latents `[1, 2, 2]`: row i is `scale` · (±1 on axis i mod 4) + `shift`.
fn latents(folder: &Path, name: &str, scale: f32, shift: f32) -> PathBuf {
    let number = |i: usize| {
        let (row, column) = (i / 4, i % 4);
        let sign = if row / 4 == 0 { 1.0 } else { -1.0 };
        shift + if row % 4 == column { scale * sign } else { 0.0 }
    };
    let bytes: Vec<u8> = (0..32).flat_map(|i| number(i).to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![8, 1, 2, 2], &bytes).expect("fits");
    let path = folder.join(name);
    std::fs::write(&path, safetensors::serialize([("latents", view)], None).expect("serialises")).expect("writes");
    path
}

#[test]
fn wasserstein_prints_distance_and_floor() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = latents(folder.path(), "one.safetensors", 1.0, 0.0);
    let two = latents(folder.path(), "two.safetensors", 3.0, 0.5);
    let run = |arguments: &[&Path]| {
        let mut command = Command::cargo_bin("infusion").expect("the program is built");
        command.args(["eval", "wasserstein", "--json"]).args(arguments).output().expect("it runs")
    };
    let output = run(&[&one, &two, Path::new("--floor"), &one]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let number = |pointer: &str| report.pointer(pointer).and_then(serde_json::Value::as_f64).expect("a number");
    // Σ = 2 r²/7 on each of four axes: means 4 · 0.25, covariances 4 · (3 − 1)² · 2/7.
    assert!((number("/distance/means") - 1.0).abs() < 1e-9, "{report}");
    assert!((number("/distance/covariances") - 32.0 / 7.0).abs() < 1e-6, "{report}");
    assert!(number("/floor/squared") < 1e-9, "{report}");
    let failed = run(&[&one, &folder.path().join("none.safetensors")]);
    assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains("none.safetensors"));
}
