use std::path::PathBuf;

/// What can be wrong with a prompt or a tokenizer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A `<name>` that no concept was given for.
    #[error("prompt {prompt:?}: unknown concept <{name}>; {known} (write \\< for the character itself)")]
    UnknownConcept {
        /// The whole prompt.
        prompt: String,
        /// The name in the prompt.
        name: String,
        /// Which concepts there are.
        known: String,
    },
    /// A concept was given, but the prompt does not have it.
    #[error("prompt {prompt:?} does not contain the concept <{concept}>{hint}")]
    Absent {
        /// The whole prompt.
        prompt: String,
        /// The concept's name.
        concept: String,
        /// What may have been meant.
        hint: String,
    },
    /// A `<…>` that cannot be read.
    #[error("prompt {prompt:?}: {mark}: {reason}")]
    Mark {
        /// The whole prompt.
        prompt: String,
        /// The mark as written.
        mark: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A concept of T tokens stands at a phrase of another number of tokens.
    #[error(
        "the concept <{concept}> has {expected} tokens, but {phrase:?} has {found}; mark a phrase of {expected} tokens, or use a concept of one token, which fits every phrase"
    )]
    TokenCount {
        /// The concept's name.
        concept: String,
        /// The marked phrase.
        phrase: String,
        /// How many tokens the concept has.
        expected: usize,
        /// How many tokens the phrase has.
        found: usize,
    },
    /// The tokenizer's folder is not one, or its files cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Tokenizer {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer failed on a text.
    #[error("cannot tokenise {text:?}: {reason}")]
    Encode {
        /// The text.
        text: String,
        /// What it said.
        reason: String,
    },
    /// Embeddings and weights do not belong together, or the result is not a number.
    #[error("prompt weights: {reason}")]
    Weights {
        /// What is wrong.
        reason: String,
    },
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
