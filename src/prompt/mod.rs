//! Prompts: the concept syntax, weights, CLIP's tokens, and where a concept's tokens stand.
//!
//! Text goes one way: [`Prompt::parse`] reads the syntax, [`Tokenizer::tokenize`] turns it into chunks of
//! 77 tokens with a weight each, and [`Tokens::mask`] says which rows of the context get which Δ. After
//! the text encoder, [`apply_weights`] puts the weights in. A leaf: it knows neither graphs nor sessions.
//!
//! # Syntax
//!
//! | in the prompt | meaning |
//! |---|---|
//! | `<ball>` | the concept named `ball`; the word that it stands for is put in its place |
//! | `<striped:0.9>` | the same, at 0.9 of its strength |
//! | `<ball\|beach balls>`, `<ball\|balls:0.9>` | the same, under other words |
//! | `<ball>s` | letters right behind belong to the word: `balls` |
//! | `(word)`, `((word))`, `(word:1.2)` | more attention: × 1.1, × 1.21, × 1.2 |
//! | `[word]` | less: ÷ 1.1 |
//! | `\(`, `\)`, `\[`, `\]`, `\<`, `\>`, `\\` | the character itself |
//! | `BREAK` | the next chunk of 77 tokens begins here |
//!
//! Weights are those of AUTOMATIC1111's web UI: an unclosed `(` or `[` reaches to the end of the prompt, an
//! unopened `)` or `]` stands for itself, and a `<` without `>` stands for itself too.

mod chunks;
mod error;
mod parse;
mod tokenizer;
mod weights;

pub use chunks::{MarkedTokens, Slots, Tokens};
pub use error::{Error, Result};
pub use parse::{Piece, Prompt, Words};
pub use tokenizer::Tokenizer;
pub use weights::apply_weights;
