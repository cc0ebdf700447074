use super::encode::{LARGEST_MESSAGE, encode, encoded_len};
use super::place::contain;
use crate::onnx::{Error, Model, Result};

impl Model {
    /// The model as the bytes of a file, every weight inside.
    ///
    /// # Errors
    /// Weights that cannot be read; more than the 2 GB that protobuf holds.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut proto = self.to_proto()?;
        contain(self, &mut proto)?;
        let size = encoded_len(&proto);
        if size > LARGEST_MESSAGE {
            let reason = format!("would take {size} bytes, more than protobuf allows; write it to files");
            return Err(Error::unsupported("model with its weights", reason));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        encode(proto, &mut bytes).map_err(|error| Error::unsupported("model with its weights", error.to_string()))?;
        Ok(bytes)
    }
}
