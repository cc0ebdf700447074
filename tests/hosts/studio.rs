//! Where hosts work: the installed tree, the tiny pipeline with a concept of its own, and the pictures
//! of `infusion generate`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use assert_cmd::cargo::CommandCargoExt as _;
use image::RgbImage;
use infusion::concept::{Concept, Existing, Precision};
use tempfile::TempDir;

use crate::hosts::{built, output_of, root, tool};
use crate::tiny;

pub const SEED: u64 = 7;
pub const STEPS: &str = "4";
pub const GUIDANCE: &str = "5";
pub const SIZE: &str = "64";

/// The prefix of `make install`, made once for all tests of this process.
pub fn installed() -> &'static Path {
    static TREE: OnceLock<TempDir> = OnceLock::new();
    let tree = TREE.get_or_init(|| {
        let (built, tree) = (built(), tempfile::tempdir().unwrap());
        let mut make = tool("make");
        make.current_dir(root()).arg("install-built");
        make.arg(format!("BUILD={}", built.path().display())).arg(format!("PREFIX={}", tree.path().display()));
        output_of(&mut make);
        tree
    });
    tree.path()
}

/// The ONNX Runtime that hosts use.
pub fn onnxruntime() -> PathBuf {
    let fetched = || root().join("target/onnxruntime/libonnxruntime.so");
    let file = std::env::var_os("ORT_DYLIB_PATH").map_or_else(fetched, PathBuf::from);
    assert!(file.is_file(), "{} is missing: run 'make setup'", file.display());
    file
}

/// A folder that holds it under the names that linkers and loaders look for.
pub fn onnxruntime_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["libonnxruntime.so", "libonnxruntime.so.1"] {
        std::os::unix::fs::symlink(onnxruntime(), folder.path().join(name)).unwrap();
    }
    folder
}

/// The program finds the library and an ONNX Runtime.
pub fn with_library(program: &mut Command) -> &mut Command {
    program.env("LD_LIBRARY_PATH", installed().join("lib")).env("ORT_DYLIB_PATH", onnxruntime())
}

/// A folder with `model`, patched, and `ball.safetensors`, learned (so it says) on it.
pub struct Studio {
    folder: TempDir,
}

impl Studio {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::rename(tiny::pipeline().keep(), folder.path().join("model")).unwrap();
        let studio = Self { folder };
        output_of(Command::cargo_bin("infusion-patch").unwrap().arg(studio.path("model/unet/model.onnx")).arg("-q"));
        let manifest = std::fs::read(studio.path("model/unet/model.infusion.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let mut concept = Concept::load(tiny::source().join("striped.safetensors")).unwrap();
        concept.base_model_hash = Some(manifest["base_model_hash"].as_str().unwrap().to_owned());
        concept.save(studio.path("ball.safetensors"), Precision::F32, Existing::Keep).unwrap();
        studio
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the hosts of whole pictures take, up to the output.
    pub fn arguments(&self, prompt: &str) -> Vec<String> {
        let [model, concept] = ["model", "ball.safetensors"].map(|name| self.path(name).display().to_string());
        let seed = SEED.to_string();
        [&model, &concept, "ball", prompt, &seed, STEPS, GUIDANCE, SIZE].map(str::to_owned).to_vec()
    }

    /// A file with the start noise of [`SEED`].
    pub fn noise(&self) -> PathBuf {
        let noise = infusion::noise::start_noise(SEED, [1, 4, 8, 8]);
        let bytes: Vec<u8> = noise.iter().flat_map(|number| number.to_le_bytes()).collect();
        std::fs::write(self.path("noise"), bytes).unwrap();
        self.path("noise")
    }

    /// What the hosts with a loop of their own take.
    pub fn loop_arguments(&self, streams: &str, output: &str) -> Vec<String> {
        let paths = [self.path("model"), self.path("ball.safetensors"), self.noise(), self.path(output)];
        let [model, concept, noise, output] = paths.map(|path| path.display().to_string());
        let arguments = [streams, &model, &concept, "ball", tiny::PLAIN_PROMPT, &noise, STEPS, GUIDANCE, SIZE, &output];
        arguments.map(str::to_owned).to_vec()
    }

    /// Checks the picture of a host with a loop of its own.
    pub fn check_loop(&self, streams: &str, output: &str) {
        // Another order of the same sums: a level of 255 where a value lies on the edge between two.
        let most = apart(&self.picture(output), &self.by_infusion(streams));
        assert!(most <= 1, "{streams}: {most} levels apart");
    }

    /// A folder with one.
    pub fn photographs(&self) -> PathBuf {
        let folder = self.path("photographs");
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(tiny::source().join("init.png"), folder.join("a.png")).unwrap();
        folder
    }

    /// The PNG or PPM of that name.
    pub fn picture(&self, name: &str) -> RgbImage {
        match name.ends_with(".ppm") {
            true => portable_pixmap(&std::fs::read(self.path(name)).unwrap()),
            false => image::open(self.path(name)).unwrap().to_rgb8(),
        }
    }

    /// The picture of `infusion generate` with F on its own latents (`separate`) or on C's (`shared`).
    pub fn by_infusion(&self, streams: &str) -> RgbImage {
        let concept = format!("ball={}", self.path("ball.safetensors").display());
        self.generate(tiny::PROMPT, &["--streams", streams, "--concept", &concept])
    }

    /// The picture without the concept.
    pub fn foundation(&self) -> RgbImage {
        self.generate(tiny::PLAIN_PROMPT, &[])
    }

    fn generate(&self, prompt: &str, more: &[&str]) -> RgbImage {
        let mut program = Command::cargo_bin("infusion").unwrap();
        program.args(["generate", prompt, "--quiet", "--overwrite", "--steps", STEPS, "--guidance-scale", GUIDANCE]);
        program.args(["--width", SIZE, "--height", SIZE, "--seed", &SEED.to_string()]).args(more);
        program.arg("--model").arg(self.path("model")).arg("-o").arg(self.path("by-infusion.png"));
        output_of(&mut program);
        self.picture("by-infusion.png")
    }
}

/// As hosts write it without a library: three lines of text, then the bytes.
fn portable_pixmap(bytes: &[u8]) -> RgbImage {
    let mut parts = bytes.splitn(4, |&byte| byte == b'\n');
    let mut line = || parts.next().unwrap();
    let (kind, size, levels) = (line(), std::str::from_utf8(line()).unwrap(), line());
    assert_eq!((kind, levels), (&b"P6"[..], &b"255"[..]));
    let (width, height) = size.split_once(' ').unwrap();
    RgbImage::from_raw(width.parse().unwrap(), height.parse().unwrap(), line().to_vec()).expect("3 bytes a pixel")
}

/// The largest difference, in levels of 255.
pub fn apart(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}
