use std::io::Cursor;
use std::path::Path;

use indexmap::IndexMap;
use png::text_metadata::{ITXtChunk, TEXtChunk, ZTXtChunk};
use serde_json::Value;

use super::{Error, Parameters, Picture, Result};
use crate::files::{self, Existing};

/// Keyword of A1111's text.
const PARAMETERS: &str = "parameters";
/// Keyword of this project's JSON block.
const INFUSION: &str = "infusion";

/// Memory that the text of a hostile file may take, in bytes.
const TEXT_LIMIT: usize = 64 << 20;

/// The texts in a PNG file, by keyword, in the file's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PictureText {
    entries: IndexMap<String, String>,
}

impl PictureText {
    /// The two texts of a generated picture: `parameters` for other tools, `infusion` for this one.
    pub fn new(parameters: &Parameters, infusion: &Value) -> Self {
        let mut text = Self::default();
        text.insert(PARAMETERS, parameters.to_string());
        text.insert(INFUSION, infusion.to_string());
        text
    }

    /// Adds a text, in place of an older one of the same keyword.
    pub fn insert(&mut self, keyword: impl Into<String>, text: impl Into<String>) {
        self.entries.insert(keyword.into(), text.into());
    }

    /// The text of this keyword.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.entries.get(keyword).map(String::as_str)
    }

    /// All keywords and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(keyword, text)| (keyword.as_str(), text.as_str()))
    }

    /// What A1111 and its kin say made the picture.
    pub fn parameters(&self) -> Option<Parameters> {
        self.get(PARAMETERS).map(Parameters::parse)
    }

    /// What this project says made the picture.
    ///
    /// # Errors
    /// When the text is no JSON.
    pub fn infusion(&self) -> Result<Option<Value>> {
        let parsed = self.get(INFUSION).map(serde_json::from_str).transpose();
        parsed.map_err(|source| Error::Json { keyword: INFUSION, source })
    }
}

/// Writes a PNG file with texts: whole, under a temporary name first.
///
/// # Errors
/// When the file exists and is to be kept, cannot be written, or a text cannot be stored.
pub fn save(path: impl AsRef<Path>, picture: &Picture, text: &PictureText, existing: Existing) -> Result<()> {
    let path = path.as_ref();
    let bytes = encode(picture, text)?;
    files::write_whole(path, &bytes, existing).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.into() },
        _ => Error::Io { path: path.into(), source },
    })
}

/// The bytes of a PNG file: 8-bit sRGB, each text as `tEXt` where Latin-1 holds it and as `iTXt` elsewhere.
///
/// # Errors
/// When the picture is empty, or a keyword or text breaks the format's rules.
pub fn encode(picture: &Picture, text: &PictureText) -> Result<Vec<u8>> {
    if let Some((keyword, _)) = text.iter().find(|(_, text)| text.contains('\0')) {
        return Err(Error::Encode { reason: format!("the text '{keyword}' holds a zero character") });
    }
    let mut bytes = Vec::new();
    write(&mut bytes, picture, text).map_err(|error| Error::Encode { reason: error.to_string() })?;
    Ok(bytes)
}

fn write(bytes: &mut Vec<u8>, picture: &Picture, text: &PictureText) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    for (keyword, text) in text.iter() {
        match text.chars().all(|c| u32::from(c) < 256) {
            true => encoder.add_text_chunk(keyword.to_owned(), text.to_owned())?,
            false => encoder.add_itxt_chunk(keyword.to_owned(), text.to_owned())?,
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()
}

/// The texts in a PNG file, before and after its pixels; the first of each keyword.
///
/// # Errors
/// When the file cannot be read, is no whole PNG file, or its texts are damaged or over 64 MiB.
pub fn read_text(path: impl AsRef<Path>) -> Result<PictureText> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    parse_text(&bytes).map_err(|error| Error::Decode { path: path.into(), reason: error.to_string() })
}

/// [`read_text`] for bytes in memory.
///
/// # Errors
/// When the bytes are no whole PNG file, or its texts are damaged or over 64 MiB.
pub fn text_of(bytes: &[u8]) -> Result<PictureText> {
    parse_text(bytes).map_err(|error| Error::Decode { path: "picture in memory".into(), reason: error.to_string() })
}

fn parse_text(bytes: &[u8]) -> Result<PictureText, png::DecodingError> {
    let limits = png::Limits { bytes: TEXT_LIMIT };
    let mut reader = png::Decoder::new_with_limits(Cursor::new(bytes), limits).read_info()?;
    reader.finish()?;
    let mut text = PictureText::default();
    let mut keep = |keyword: &str, value: String| {
        text.entries.entry(keyword.to_owned()).or_insert(value);
    };
    let info = reader.info();
    for TEXtChunk { keyword, text, .. } in &info.uncompressed_latin1_text {
        keep(keyword, text.clone());
    }
    for chunk @ ZTXtChunk { keyword, .. } in &info.compressed_latin1_text {
        keep(keyword, chunk.get_text()?);
    }
    for chunk @ ITXtChunk { keyword, .. } in &info.utf8_text {
        keep(keyword, chunk.get_text()?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn picture() -> Picture {
        Picture::from_fn(9, 5, |x, y| image::Rgb([x as u8 * 20, y as u8 * 50, 7]))
    }

    fn text(prompt: &str) -> PictureText {
        let parameters = Parameters { prompt: prompt.to_owned(), ..Default::default() };
        PictureText::new(&parameters, &json!({"prompt": prompt, "seed": 7}))
    }

    #[test]
    fn pixels_and_texts_come_back() {
        for prompt in ["a photo of a <ball>", "ein schöner Ball,\nblau", "球 🎈 \"quoted\""] {
            let bytes = encode(&picture(), &text(prompt)).unwrap();
            assert_eq!(super::super::decode(&bytes).unwrap(), picture());
            let read = text_of(&bytes).unwrap();
            assert_eq!(read, text(prompt));
            assert_eq!(read.parameters().unwrap().prompt, prompt);
            assert_eq!(read.infusion().unwrap().unwrap()["prompt"], prompt);
        }
    }

    #[test]
    fn latin_text_is_stored_for_the_oldest_readers() {
        let has = |bytes: &[u8], kind: &[u8]| bytes.windows(4).any(|window| window == kind);
        let latin = encode(&picture(), &text("schön")).unwrap();
        assert!(has(&latin, b"tEXt") && !has(&latin, b"iTXt"));
        assert!(has(&encode(&picture(), &text("球")).unwrap(), b"iTXt"));
    }

    #[test]
    fn texts_after_the_pixels_and_compressed_ones_are_found() {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.add_ztxt_chunk("packed".to_owned(), "z".repeat(1000)).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[0; 3]).unwrap();
        writer.write_text_chunk(&TEXtChunk::new("parameters", "late")).unwrap();
        writer.write_text_chunk(&TEXtChunk::new("parameters", "later")).unwrap();
        writer.finish().unwrap();
        let text = text_of(&bytes).unwrap();
        assert_eq!(text.get("parameters"), Some("late"));
        assert_eq!(text.get("packed").map(str::len), Some(1000));
    }

    #[test]
    fn impossible_texts_and_pictures_are_named() {
        let mut zero = PictureText::default();
        zero.insert("prompt", "a\0b");
        assert!(encode(&picture(), &zero).unwrap_err().to_string().contains("'prompt'"));
        let mut long = PictureText::default();
        long.insert("k".repeat(80), "text");
        assert!(matches!(encode(&picture(), &long), Err(Error::Encode { .. })));
        assert!(matches!(encode(&Picture::new(0, 3), &text("")), Err(Error::Encode { .. })));
    }

    #[test]
    fn a_damaged_json_block_does_not_hide_the_rest() {
        let mut damaged = text("a ball");
        damaged.insert(INFUSION, "{");
        let read = text_of(&encode(&picture(), &damaged).unwrap()).unwrap();
        assert!(matches!(read.infusion(), Err(Error::Json { .. })));
        assert_eq!(read.parameters().unwrap().prompt, "a ball");
        assert_eq!(PictureText::default().infusion().unwrap(), None);
    }

    #[test]
    fn files_are_kept_unless_told_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.png");
        save(&path, &picture(), &text("one"), Existing::Keep).unwrap();
        let again = save(&path, &picture(), &text("two"), Existing::Keep).unwrap_err().to_string();
        assert!(again.contains("out.png") && again.contains("exists"), "{again}");
        assert_eq!(read_text(&path).unwrap(), text("one"));
        save(&path, &picture(), &text("two"), Existing::Replace).unwrap();
        assert_eq!(read_text(&path).unwrap(), text("two"));
        assert!(matches!(read_text(folder.path().join("absent.png")), Err(Error::Io { .. })));
    }

    #[test]
    fn truncated_files_are_errors_or_read_but_never_panic() {
        let bytes = encode(&picture(), &text("a photo of a <ball>")).unwrap();
        for length in 0..bytes.len() - 12 {
            assert!(text_of(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(place in 0usize..400, value: u8) {
            let mut bytes = encode(&picture(), &text("球 of a ball")).unwrap();
            let place = place % bytes.len();
            bytes[place] = value;
            if let Ok(text) = text_of(&bytes) {
                let _ = (text.parameters(), text.infusion());
            }
        }
    }
}
