use std::path::PathBuf;

/// What can be wrong with a picture or its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Writing would replace a file, which was not asked for.
    #[error("{path}: exists already; choose another name or ask for it to be replaced", path = path.display())]
    Exists {
        /// The file concerned.
        path: PathBuf,
    },
    /// The bytes are no picture of a known kind, or a damaged one.
    #[error("{path}: not a readable picture (PNG, JPEG or WebP): {reason}", path = path.display())]
    Decode {
        /// The file concerned.
        path: PathBuf,
        /// Why decoding stopped.
        reason: String,
    },
    /// The picture could not be made into a PNG file.
    #[error("cannot write as PNG: {reason}")]
    Encode {
        /// What is wrong with the picture or its text.
        reason: String,
    },
    /// The JSON block that `infusion` writes into its pictures is damaged.
    #[error("the text '{keyword}' of the picture is no JSON: {source}")]
    Json {
        /// The keyword of the text chunk.
        keyword: &'static str,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A width or height that cannot be used.
    #[error("{what} of {width}x{height}: {reason}")]
    Size {
        /// What has this size.
        what: &'static str,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// What it has to be.
        reason: &'static str,
    },
    /// A tensor that is no batch of pictures.
    #[error("a tensor of shape {shape:?} is no batch of pictures: it has to be [B, 3, H, W], none of them 0")]
    Shape {
        /// The shape given.
        shape: Vec<usize>,
    },
    /// Numbers that are infinite or not a number.
    #[error("{what} holds a number that is not finite: {value}")]
    NotFinite {
        /// Where the number was found.
        what: String,
        /// The number.
        value: f64,
    },
    /// The share of a heat map is no share.
    #[error("opacity = {opacity}: must lie between 0 and 1")]
    Opacity {
        /// The value given.
        opacity: f32,
    },
    /// There is nothing to draw.
    #[error("{what} has nothing to show")]
    Empty {
        /// The drawing concerned.
        what: &'static str,
    },
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
