use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

use super::*;
use crate::onnx::proto::{ModelProto, TensorProto};
use crate::onnx::testing::{self, external, raw};
use crate::onnx::weights::{WeightSource, external_data};
use crate::onnx::{DataType, Error};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts `proto` under `name` and opens it.
    fn model(&self, name: &str, proto: &ModelProto) -> Model {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), proto.encode_to_vec()).unwrap();
        Model::open(self.path(name)).unwrap()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The small model with `w` in the external file `location`, which is not made.
fn with_external(location: &str) -> ModelProto {
    let mut proto = testing::model();
    let tensors = &mut proto.graph.as_mut().unwrap().initializer;
    tensors[0] = external("w", &[32, 32], &[("location", location), ("length", "4096")]);
    proto
}

fn weights() -> Vec<f32> {
    (0..32 * 32).map(|i| (i % 7) as f32 - 3.0).collect()
}

fn weight_bytes() -> Vec<u8> {
    weights().iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn read_w(path: &Path) -> Vec<f32> {
    let model = Model::open(path).unwrap();
    model.tensor_f32s(&model.graph.initializers()["w"]).unwrap()
}

fn location_of_w(path: &Path) -> Option<String> {
    let model = Model::open(path).unwrap();
    external_data(&model.graph.initializers()["w"]).unwrap().map(|external| external.location)
}

fn shared() -> WriteOptions<'static> {
    WriteOptions::default()
}

fn contained() -> WriteOptions<'static> {
    WriteOptions { weights: Weights::SelfContained, ..WriteOptions::default() }
}

#[test]
fn beside_a_single_file_the_weights_stay_in_it() {
    let folder = Folder::new();
    let model = folder.model("unet.onnx", &testing::model());
    write_all(folder.0.path(), &[("unet.f.onnx", &model), ("unet.c.onnx", &model)], shared()).unwrap();
    assert_eq!(folder.names(""), ["unet.c.onnx", "unet.f.onnx", "unet.onnx"]);
    assert_eq!(location_of_w(&folder.path("unet.f.onnx")).as_deref(), Some("unet.onnx"));
    assert_eq!(read_w(&folder.path("unet.f.onnx")), weights());
    assert!(fs::metadata(folder.path("unet.f.onnx")).unwrap().len() < 2048);
}

#[test]
fn writing_keeps_every_field() {
    let folder = Folder::new();
    let model = folder.model("m.onnx", &testing::model());
    write_all(folder.0.path(), &[("copy.onnx", &model)], contained()).unwrap();
    let copy = ModelProto::decode(&*fs::read(folder.path("copy.onnx")).unwrap()).unwrap();
    assert_eq!(copy, testing::model());
}

#[test]
fn external_files_are_referred_to_beside_and_linked_elsewhere() {
    let folder = Folder::new();
    fs::write(folder.path("weights.pb"), weight_bytes()).unwrap();
    let model = folder.model("m.onnx", &with_external("weights.pb"));
    write_all(folder.0.path(), &[("m.f.onnx", &model)], shared()).unwrap();
    assert_eq!(location_of_w(&folder.path("m.f.onnx")).as_deref(), Some("weights.pb"));

    let out = folder.path("out");
    write_all(&out, &[("m.f.onnx", &model), ("m.c.onnx", &model)], shared()).unwrap();
    assert_eq!(folder.names("out"), ["m.c.onnx", "m.f.onnx", "weights.pb"]);
    assert_eq!(read_w(&out.join("m.c.onnx")), weights());
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(out.join("weights.pb")), inode(folder.path("weights.pb")));
    }
    let again = WriteOptions { overwrite: Overwrite::Named(["m.f.onnx".to_owned()].into()), ..shared() };
    write_all(&out, &[("m.f.onnx", &model)], again).unwrap();
}

#[test]
fn a_single_file_is_linked_elsewhere() {
    let folder = Folder::new();
    let model = folder.model("m.onnx", &testing::model());
    write_all(&folder.path("out"), &[("m.f.onnx", &model)], shared()).unwrap();
    assert_eq!(folder.names("out"), ["m.f.onnx", "m.onnx"]);
    write_all(&folder.path("same"), &[("m.onnx", &model)], shared()).unwrap();
    assert_eq!(folder.names("same"), ["m.onnx", "m.onnx.infusion.data"]);
    assert_eq!(read_w(&folder.path("same/m.onnx")), weights());
}

#[cfg(unix)]
#[test]
fn a_hugging_face_cache_gets_a_hard_link_in_place_of_the_symbolic_one() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    for name in ["blobs", "snapshots/1"] {
        fs::create_dir_all(folder.path(name)).unwrap();
    }
    fs::write(folder.path("blobs/single"), testing::model().encode_to_vec()).unwrap();
    fs::write(folder.path("blobs/graph"), with_external("m.onnx_data").encode_to_vec()).unwrap();
    fs::write(folder.path("blobs/weights"), weight_bytes()).unwrap();
    for (blob, name) in [("single", "single.onnx"), ("graph", "m.onnx"), ("weights", "m.onnx_data")] {
        symlink(Path::new("../../blobs").join(blob), folder.path("snapshots/1").join(name)).unwrap();
    }
    let snapshot = folder.path("snapshots/1");
    for (source, output) in [("single.onnx", "single.f.onnx"), ("m.onnx", "m.f.onnx")] {
        let model = Model::open(snapshot.join(source)).unwrap();
        write_all(&snapshot, &[(output, &model)], shared()).unwrap();
        let location = location_of_w(&snapshot.join(output)).unwrap();
        assert!(!snapshot.join(&location).is_symlink(), "{location}");
        assert_eq!(read_w(&snapshot.join(output)), weights());
    }
    assert!(snapshot.join("m.onnx_data.infusion.data").exists() && snapshot.join("single.onnx.infusion.data").exists());
}

#[test]
fn large_tensors_without_raw_data_are_shared_by_all_models() {
    let folder = Folder::new();
    let mut proto = testing::model();
    let typed = TensorProto { float_data: vec![0.25; 1 << 18], ..testing::tensor("big", &[1 << 18], DataType::Float) };
    proto.graph.as_mut().unwrap().initializer.push(typed);
    let model = folder.model("m.onnx", &proto);
    write_all(&folder.path("out"), &[("m.f.onnx", &model), ("m.c.onnx", &model)], shared()).unwrap();
    assert_eq!(folder.names("out"), ["m.c.onnx", "m.f.onnx", "m.infusion.data", "m.onnx"]);
    assert_eq!(fs::metadata(folder.path("out/m.infusion.data")).unwrap().len(), 1 << 20);
    let copy = Model::open(folder.path("out/m.c.onnx")).unwrap();
    assert_eq!(copy.tensor_f32s(&copy.graph.initializers()["big"]).unwrap(), vec![0.25; 1 << 18]);
}

#[test]
fn slices_of_the_source_stay_in_it() {
    let folder = Folder::new();
    let mut model = folder.model("m.onnx", &testing::model());
    let tensor = model.graph.initializers_mut().get_mut("w").unwrap();
    tensor.dims = vec![16, 32];
    tensor.raw_data = tensor.raw_data.as_ref().map(|raw| raw.slice(2048..));
    write_all(folder.0.path(), &[("half.onnx", &model)], shared()).unwrap();
    let half = Model::open(folder.path("half.onnx")).unwrap();
    let tensor = &half.graph.initializers()["w"];
    assert!(matches!(half.weight_source(tensor).unwrap(), WeightSource::External(_)));
    assert_eq!(half.tensor_f32s(tensor).unwrap(), weights()[512..]);
}

#[test]
fn nothing_is_replaced_unasked_and_nothing_remains_of_a_failure() {
    let folder = Folder::new();
    let model = folder.model("m.onnx", &testing::model());
    fs::create_dir(folder.path("out")).unwrap();
    fs::write(folder.path("out/m.c.onnx"), "mine").unwrap();
    let models = [("m.f.onnx", &model), ("m.c.onnx", &model)];
    let error = write_all(&folder.path("out"), &models, shared()).unwrap_err();
    assert!(matches!(&error, Error::Exists { path } if path.ends_with("m.c.onnx")), "{error}");
    assert_eq!(folder.names("out"), ["m.c.onnx"]);
    assert_eq!(fs::read(folder.path("out/m.c.onnx")).unwrap(), b"mine");

    let mut cyclic = model.clone();
    let first = cyclic.graph.nodes().next().unwrap().0;
    cyclic.graph.set_input(first, 0, "sum").unwrap();
    let models = [("m.f.onnx", &model), ("m.c.onnx", &cyclic)];
    write_all(&folder.path("new"), &models, shared()).unwrap_err();
    assert!(!folder.path("new").exists());

    let options = WriteOptions { overwrite: Overwrite::Always, ..shared() };
    write_all(&folder.path("out"), &[("m.c.onnx", &model)], options).unwrap();
    assert_eq!(folder.names("out"), ["m.c.onnx", "m.onnx"]);
}

#[test]
fn a_failed_move_is_taken_back() {
    let folder = Folder::new();
    let options = WriteOptions { overwrite: Overwrite::Always, ..shared() };
    fs::write(folder.path("a"), "old a").unwrap();
    let mut transaction = Transaction::begin(folder.0.path(), options).unwrap();
    for name in ["a", "b", "c"] {
        transaction.file(name, b"new").unwrap();
    }
    let hidden = folder.names("").into_iter().find(|name| name.starts_with(".infusion-")).unwrap();
    fs::remove_file(folder.path(&hidden).join("new-2")).unwrap();
    transaction.commit().unwrap_err();
    assert_eq!(folder.names(""), ["a"]);
    assert_eq!(fs::read(folder.path("a")).unwrap(), b"old a");
}

#[test]
fn leftovers_of_killed_runs_go_and_running_ones_stay() {
    let folder = Folder::new();
    fs::create_dir(folder.path(".infusion-dead")).unwrap();
    fs::write(folder.path(".infusion-dead/lock"), "").unwrap();
    let mut running = Transaction::begin(folder.0.path(), shared()).unwrap();
    let mut second = Transaction::begin(folder.0.path(), shared()).unwrap();
    running.file("a", b"a").unwrap();
    second.file("b", b"b").unwrap();
    running.commit().unwrap();
    second.commit().unwrap();
    assert_eq!(folder.names(""), ["a", "b"]);
}

#[test]
fn names_must_be_plain_and_distinct() {
    let folder = Folder::new();
    let options = WriteOptions { overwrite: Overwrite::Always, ..shared() };
    let mut transaction = Transaction::begin(folder.0.path(), options).unwrap();
    transaction.file("a", b"").unwrap();
    fs::create_dir(folder.path("d")).unwrap();
    for name in ["a", "../b", "", "b/c", "..", "d"] {
        transaction.file(name, b"").unwrap_err();
    }
}

#[test]
fn external_data_is_taken_into_a_self_contained_model() {
    let folder = Folder::new();
    fs::write(folder.path("w.bin"), weight_bytes()).unwrap();
    let model = folder.model("m.onnx", &with_external("w.bin"));
    write_all(&folder.path("out"), &[("m.onnx", &model)], contained()).unwrap();
    assert_eq!(folder.names("out"), ["m.onnx"]);
    let copy = ModelProto::decode(&*fs::read(folder.path("out/m.onnx")).unwrap()).unwrap();
    assert_eq!(copy.graph.unwrap().initializer[0], raw("w", &[32, 32], weights()));
}
