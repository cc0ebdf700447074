//! Sets of latents from files.

use std::path::Path;

use half::f16;
use ndarray::Array2;
use safetensors::{Dtype, SafeTensors};

use super::{Error, Result};

/// Reads the latents in a safetensors file, one row each: every tensor is `[n, …]`, f32 or f16, all of one
/// shape behind n; tensors follow each other in the order of their names.
pub fn load_samples(path: impl AsRef<Path>) -> Result<Array2<f32>> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    samples_from_bytes(&bytes, &path.display().to_string())
}

/// The same from the bytes of a file; `origin` is how messages name it.
pub fn samples_from_bytes(bytes: &[u8], origin: &str) -> Result<Array2<f32>> {
    let fail = |reason: String| Error::Samples { file: origin.into(), reason };
    let file = SafeTensors::deserialize(bytes).map_err(|e| fail(e.to_string()))?;
    let mut tensors = file.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let Some(item) = tensors.first().and_then(|(_, tensor)| tensor.shape().get(1..)).map(<[usize]>::to_vec) else {
        return Err(fail("holds no tensor of shape [n, …]".into()));
    };
    let mut values = Vec::new();
    for (name, tensor) in &tensors {
        if tensor.shape().get(1..) != Some(&item[..]) {
            return Err(fail(format!("tensor '{name}' is {:?}, where [n, {item:?}] is expected", tensor.shape())));
        }
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => values.extend(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            Dtype::F16 => values.extend(data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())),
            other => return Err(fail(format!("tensor '{name}' is of type {other}, where F32 or F16 is expected"))),
        }
    }
    let width: usize = item.iter().product();
    if width == 0 || values.is_empty() {
        return Err(fail("holds no numbers".into()));
    }
    Array2::from_shape_vec((values.len() / width, width), values).map_err(|e| fail(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
        let view = |&(name, dtype, shape, data): &(&str, Dtype, &[usize], &[u8])| {
            (
                name.to_owned(),
                safetensors::tensor::TensorInfo { dtype, shape: shape.into(), data_offsets: (0, 0) },
                data.to_vec(),
            )
        };
        let tensors: Vec<_> = tensors.iter().map(view).collect();
        let views = tensors.iter().map(|(name, info, data)| {
            (name, TensorView::new(info.dtype, info.shape.clone(), data).expect("data fits the shape"))
        });
        safetensors::serialize(views, None).expect("serialises")
    }

    #[test]
    fn tensors_follow_each_other() {
        let one = [1.0f32, 2.0].map(f32::to_le_bytes).concat();
        let two = [3.0f32, 4.0, 5.0, 6.0].map(|v| f16::from_f32(v).to_le_bytes()).concat();
        let bytes = file(&[("b", Dtype::F16, &[2, 1, 2], &two), ("a", Dtype::F32, &[1, 1, 2], &one)]);
        let samples = samples_from_bytes(&bytes, "x").unwrap();
        assert_eq!(samples, ndarray::array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    }

    #[test]
    fn what_is_no_set_of_samples_is_named() {
        let message = |bytes: &[u8]| samples_from_bytes(bytes, "x.safetensors").unwrap_err().to_string();
        let cases = [
            (message(b"nothing"), "header"),
            (message(&file(&[])), "no tensor"),
            (message(&file(&[("a", Dtype::I8, &[1, 1], &[0])])), "of type I8"),
            (message(&file(&[("a", Dtype::F32, &[0, 4], &[])])), "no numbers"),
            (message(&file(&[("a", Dtype::F16, &[1, 1], &[0, 0]), ("b", Dtype::F16, &[1, 2], &[0; 4])])), "'b'"),
        ];
        for (message, expected) in cases {
            assert!(message.contains(expected) && message.contains("x.safetensors"), "{message}");
        }
    }
}
