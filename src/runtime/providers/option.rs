use crate::runtime::{Error, Result};

/// One option of a provider.
#[derive(Clone, Copy, Debug)]
pub struct ProviderOption {
    /// Its name in `--provider`.
    pub name: &'static str,
    /// The key that ONNX Runtime knows it by.
    pub key: &'static str,
    /// What its value may be.
    pub kind: ValueKind,
    /// One line for help: what it does, its unit and default.
    pub help: &'static str,
}

/// What the value of a provider's option may be.
#[derive(Clone, Copy, Debug)]
pub enum ValueKind {
    /// A whole number, at least this.
    Int(i64),
    /// A number of bytes, e.g. `4GB` or `512MB`.
    Bytes,
    /// yes or no; the words that ONNX Runtime wants for them.
    Flag(&'static str, &'static str),
    /// One of these words; with each, the word that ONNX Runtime wants.
    Choice(&'static [(&'static str, &'static str)]),
    /// One whole number, or the least and the most of several: `512-768`.
    Range,
    /// Any text, such as a folder.
    Text,
}

/// yes or no where ONNX Runtime wants 1 or 0.
pub(super) const FLAG: ValueKind = ValueKind::Flag("1", "0");

impl ProviderOption {
    /// The value that ONNX Runtime wants for `text`.
    pub(super) fn translate(&self, provider: &str, text: &str) -> Result<String> {
        self.kind.translate(text).ok_or_else(|| Error::InvalidOption {
            option: format!("provider {provider}, option {}", self.name),
            reason: format!("'{text}' is not {}", self.kind.expected()),
        })
    }
}

impl ValueKind {
    fn translate(self, text: &str) -> Option<String> {
        match self {
            Self::Int(least) => text.parse().ok().filter(|&value: &i64| value >= least).map(|value| value.to_string()),
            Self::Bytes => bytes(text).map(|count| count.to_string()),
            Self::Flag(yes, no) => match text.to_ascii_lowercase().as_str() {
                "yes" | "true" | "1" | "on" => Some(yes.to_owned()),
                "no" | "false" | "0" | "off" => Some(no.to_owned()),
                _ => None,
            },
            Self::Choice(words) => {
                words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, key)| (*key).to_owned())
            }
            Self::Range => range(text).map(|_| text.to_owned()),
            // NUL cannot pass through the C interface.
            Self::Text => (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned()),
        }
    }

    /// What values are accepted, for help and errors.
    pub fn expected(self) -> String {
        match self {
            Self::Int(least) => format!("a whole number of at least {least}"),
            Self::Bytes => "a number of bytes such as 4GB or 512MB".to_owned(),
            Self::Flag(..) => "yes or no".to_owned(),
            Self::Choice(words) => words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or "),
            Self::Range => "a range of whole numbers such as 512-768".to_owned(),
            Self::Text => "a text".to_owned(),
        }
    }
}

/// Bytes of `4GB`, `512MB`, `16KB` or a plain number; units are powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let units = [("GB", 30), ("MB", 20), ("KB", 10), ("G", 30), ("M", 20), ("K", 10), ("", 0)];
    let (number, shift) = units.iter().find_map(|(unit, shift)| Some((upper.strip_suffix(unit)?, *shift)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The least and the most of `512-768`, or of `512`.
pub(super) fn range(text: &str) -> Option<(usize, usize)> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let (least, most) = (least.trim().parse().ok()?, most.trim().parse().ok()?);
    (0 < least && least <= most).then_some((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(range("512-768"), Some((512, 768)));
        assert_eq!(range("77"), Some((77, 77)));
        assert!([range("768-512"), range("0-4"), range("a-b"), range("")].iter().all(Option::is_none));
    }

    #[test]
    fn byte_counts() {
        assert_eq!(bytes("4GB"), Some(4 << 30));
        assert_eq!(bytes("512 mb"), Some(512 << 20));
        assert_eq!(bytes("77"), Some(77));
        assert_eq!(bytes("4TB"), None);
        assert_eq!(bytes("-1"), None);
        assert_eq!(bytes("99999999999999GB"), None);
    }
}
