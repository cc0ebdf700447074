//! CLIP's byte-pair encoding, from the `tokenizer/` folder of a pipeline.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers, replace::ReplacePattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use super::{Error, Result};

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
const LENGTH: usize = 77;
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Turns text into the numbers that CLIP's text encoder reads.
///
/// Equal to transformers' `CLIPTokenizer` (version 5, and the fast one before it): NFC, white space as
/// one space, lower case, CLIP's word pattern, byte-pair merges with `</w>`.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// How many tokens the encoder reads at once, start and end included.
    pub(super) length: usize,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) pad: i64,
    pub(super) comma: Option<i64>,
}

impl Tokenizer {
    /// Opens a folder with `vocab.json` and `merges.txt`, or else `tokenizer.json`; the length (77 if it
    /// says nothing) and the padding token are read from `tokenizer_config.json` where there is one.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let (vocab, merges, whole) =
            (folder.join("vocab.json"), folder.join("merges.txt"), folder.join("tokenizer.json"));
        let inner = if vocab.is_file() && merges.is_file() {
            clip(&vocab, &merges)?
        } else if whole.is_file() {
            tokenizers::Tokenizer::from_file(&whole).map_err(|e| unusable(&whole, e))?
        } else {
            return Err(unusable(folder, "holds neither vocab.json and merges.txt nor tokenizer.json"));
        };
        let config = config(&folder.join("tokenizer_config.json"))?;
        let special = |key: &str, default: &str| {
            let token = config.get(key).and_then(|token| token.get("content").unwrap_or(token).as_str());
            let token = token.unwrap_or(default);
            let missing = || unusable(folder, format!("the {key} {token:?} is not in the vocabulary"));
            inner.token_to_id(token).map(i64::from).ok_or_else(missing)
        };
        let length = config.get("model_max_length").and_then(Value::as_u64).map_or(LENGTH, |length| length as usize);
        if !(3..=4096).contains(&length) {
            return Err(unusable(folder, format!("model_max_length is {length}, expected 3 to 4096")));
        }
        Ok(Self {
            length,
            start: special("bos_token", START)?,
            end: special("eos_token", END)?,
            pad: special("pad_token", END)?,
            comma: inner.token_to_id(",</w>").map(i64::from),
            inner,
        })
    }

    /// How many tokens the text encoder reads at once, start and end included (77).
    pub fn length(&self) -> usize {
        self.length
    }

    /// The tokens of a text, without start, end and padding.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        let failed = |e: tokenizers::Error| Error::Encode { text: text.into(), reason: e.to_string() };
        let encoding = self.inner.encode_fast(text, false).map_err(failed)?;
        Ok(encoding.get_ids().iter().map(|&id| id.into()).collect())
    }

    /// What the text encoder reads for a text without concepts: start, the tokens, end, padding; a text
    /// that is too long is cut, as transformers do with `padding="max_length", truncation=True`.
    pub fn encode_padded(&self, text: &str) -> Result<Vec<i64>> {
        let mut ids = vec![self.start];
        ids.extend(self.encode(text)?.into_iter().take(self.length - 2));
        ids.push(self.end);
        ids.resize(self.length, self.pad);
        Ok(ids)
    }
}

fn unusable(path: impl Into<PathBuf>, reason: impl ToString) -> Error {
    Error::Tokenizer { path: path.into(), reason: reason.to_string() }
}

fn config(path: &Path) -> Result<Value> {
    if !path.is_file() {
        return Ok(Value::Null);
    }
    let text = std::fs::read_to_string(path).map_err(|e| unusable(path, e))?;
    serde_json::from_str(&text).map_err(|e| unusable(path, format!("not JSON: {e}")))
}

fn clip(vocab: &Path, merges: &Path) -> Result<tokenizers::Tokenizer> {
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| unusable(path, "the path is not Unicode"));
    let bpe = BPE::from_file(&text(vocab)?, &text(merges)?)
        .unk_token(END.into())
        .end_of_word_suffix("</w>".into())
        .build()
        .map_err(|e| unusable(vocab, e))?;
    let pattern = |e| unusable(vocab, e);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ").map_err(pattern)?;
    let words = SplitPattern::Regex(WORDS.into());
    let words = Split::new(words, SplitDelimiterBehavior::Removed, true).map_err(pattern)?;
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer.with_normalizer(Some(Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()])));
    let bytes = ByteLevel::default().add_prefix_space(false);
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![words.into(), bytes.into()])));
    tokenizer.add_special_tokens(&[AddedToken::from(START, true), AddedToken::from(END, true)]);
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tokenizer")
    }

    /// Goldens by tools/goldens/tokenizer.py.
    #[test]
    fn tokens_are_those_of_transformers() {
        let tokenizer = Tokenizer::open(folder()).expect("opens");
        let text = std::fs::read_to_string(folder().join("prompts.json")).expect("goldens");
        let goldens: Vec<(String, Vec<i64>)> = serde_json::from_str(&text).expect("JSON");
        assert!(goldens.len() > 30);
        for (prompt, expected) in goldens {
            assert_eq!(tokenizer.encode(&prompt).expect("encodes"), expected, "{prompt:?}");
        }
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        let empty = tempfile::tempdir().expect("a folder");
        let message = Tokenizer::open(empty.path()).expect_err("nothing there").to_string();
        assert!(message.contains("vocab.json") && message.contains(&empty.path().display().to_string()), "{message}");
        std::fs::write(empty.path().join("vocab.json"), "{").expect("writes");
        std::fs::write(empty.path().join("merges.txt"), "#version: 0.2\n").expect("writes");
        assert!(Tokenizer::open(empty.path()).expect_err("damaged").to_string().contains("vocab.json"));
    }

    #[test]
    fn the_configuration_sets_length_and_padding() {
        let copy = tempfile::tempdir().expect("a folder");
        for name in ["vocab.json", "merges.txt"] {
            std::fs::copy(folder().join(name), copy.path().join(name)).expect("copies");
        }
        let open = |config: &str| {
            std::fs::write(copy.path().join("tokenizer_config.json"), config).expect("writes");
            Tokenizer::open(copy.path())
        };
        let tokenizer = open(r#"{"model_max_length": 16, "pad_token": {"content": "!"}}"#).expect("opens");
        assert_eq!((tokenizer.length(), tokenizer.pad), (16, 0));
        assert!(open(r#"{"pad_token": "nowhere"}"#).expect_err("unknown").to_string().contains("nowhere"));
        assert!(open(r#"{"model_max_length": 1}"#).is_err());
        assert!(open("{").expect_err("damaged").to_string().contains("tokenizer_config.json"));
    }
}
