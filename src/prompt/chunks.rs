//! Pieces to chunks of tokens, and the rows of the context that belong to a concept.

use ndarray::{Array2, s};

use super::{Error, Piece, Prompt, Result, Tokenizer};

/// How far back a full chunk looks for a comma to end at, so that a phrase is not torn (A1111's default).
const COMMA_REACH: usize = 20;

/// A tokenised prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    /// `[chunks, 77]`: start, up to 75 tokens, end, padding. Each row goes through the text encoder; the
    /// embeddings are then joined along the token axis to a context of L = 77 · chunks rows.
    pub ids: Array2<i64>,
    /// The weight of each token, 1 where none was given.
    pub weights: Array2<f32>,
    /// The marked phrases, in the order of the prompt.
    pub marks: Vec<MarkedTokens>,
    empty: Vec<i64>,
}

/// Where a marked phrase stands.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkedTokens {
    /// The concept's name.
    pub concept: String,
    /// The phrase.
    pub text: String,
    /// The strength given in the prompt, 1 if none.
    pub strength: f32,
    /// The rows of the context, 0…L−1, one for each token of the phrase.
    pub positions: Vec<usize>,
}

/// The rows of `infusion.delta` that belong to a concept: those after the rows of the concepts before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Slots<'a> {
    /// The concept's name in the prompt.
    pub concept: &'a str,
    /// How many tokens, and so how many rows, it has.
    pub tokens: usize,
    /// Its strength, to be multiplied with that in the prompt.
    pub strength: f32,
}

impl Tokenizer {
    /// Tokenises a prompt into as many chunks as it needs, at least one.
    ///
    /// Every piece is tokenised on its own, so a mark's tokens are exactly those of its phrase. Fails where
    /// a marked phrase has no tokens.
    pub fn tokenize(&self, prompt: &Prompt) -> Result<Tokens> {
        let mut chunks = Chunks::new(self);
        let mut marks = Vec::new();
        for piece in prompt.pieces() {
            match piece {
                Piece::Break => chunks.end_chunk(),
                Piece::Text { text, weight } => chunks.extend(&self.encode(text)?, *weight, None),
                Piece::Mark { concept, text, strength, weight } => {
                    let ids = self.encode(text)?;
                    if ids.is_empty() {
                        let reason = format!("the phrase {text:?} has no tokens");
                        let mark = format!("<{concept}>");
                        return Err(Error::Mark { prompt: prompt.source().into(), mark, reason });
                    }
                    chunks.extend(&ids, *weight, Some(marks.len()));
                    let (concept, text, strength) = (concept.clone(), text.clone(), *strength);
                    marks.push(MarkedTokens { concept, text, strength, positions: Vec::new() });
                }
            }
        }
        Ok(chunks.finish(marks))
    }
}

impl Tokens {
    /// How many chunks there are.
    pub fn chunks(&self) -> usize {
        self.ids.nrows()
    }

    /// How many rows the context has, L.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Appends empty chunks until there are `chunks`, as a prompt needs that is run beside a longer one.
    pub fn pad_to(&mut self, chunks: usize) {
        let (held, length) = self.ids.dim();
        if chunks <= held {
            return;
        }
        let mut ids = Array2::from_shape_fn((chunks, length), |(_, i)| self.empty[i]);
        ids.slice_mut(s![..held, ..]).assign(&self.ids);
        let mut weights = Array2::ones((chunks, length));
        weights.slice_mut(s![..held, ..]).assign(&self.weights);
        (self.ids, self.weights) = (ids, weights);
    }

    /// The mask `[L, S]` of this prompt: what share of each row of `infusion.delta` each row of the context
    /// gets (S = all slots' tokens together).
    ///
    /// A concept of one token goes to every token of its phrases; one of T tokens goes token by token to
    /// phrases of T tokens, and any other phrase is an error. So is a mark without slots.
    pub fn mask(&self, slots: &[Slots]) -> Result<Array2<f32>> {
        let mut mask = Array2::zeros((self.rows(), slots.iter().map(|slot| slot.tokens).sum()));
        for mark in &self.marks {
            let Some(at) = slots.iter().position(|slot| slot.concept == mark.concept) else {
                let known: Vec<_> = slots.iter().map(|slot| format!("<{}>", slot.concept)).collect();
                let (prompt, known) = (mark.text.clone(), format!("there is {}", known.join(", ")));
                return Err(Error::UnknownConcept { prompt, name: mark.concept.clone(), known });
            };
            let first: usize = slots[..at].iter().map(|slot| slot.tokens).sum();
            let slot = &slots[at];
            if slot.tokens != 1 && slot.tokens != mark.positions.len() {
                return Err(Error::TokenCount {
                    concept: mark.concept.clone(),
                    phrase: mark.text.clone(),
                    expected: slot.tokens,
                    found: mark.positions.len(),
                });
            }
            for (token, &row) in mark.positions.iter().enumerate() {
                mask[(row, first + if slot.tokens == 1 { 0 } else { token })] = slot.strength * mark.strength;
            }
        }
        Ok(mask)
    }

    /// Where the tokens of a phrase stand in a prompt that was not marked: the rows of every occurrence.
    pub fn find(&self, phrase: &[i64]) -> Vec<Vec<usize>> {
        let ids: Vec<_> = self.ids.iter().copied().collect();
        let starts = (0..ids.len()).filter(|&at| !phrase.is_empty() && ids[at..].starts_with(phrase));
        starts.map(|at| (at..at + phrase.len()).collect()).collect()
    }
}

#[derive(Clone, Copy)]
struct Token {
    id: i64,
    weight: f32,
    mark: Option<usize>,
}

struct Chunks<'a> {
    tokenizer: &'a Tokenizer,
    done: Vec<Vec<Token>>,
    open: Vec<Token>,
    /// Where the open chunk ends if it is cut behind its last comma.
    behind_comma: Option<usize>,
}

impl<'a> Chunks<'a> {
    fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, done: Vec::new(), open: Vec::new(), behind_comma: None }
    }

    fn room(&self) -> usize {
        self.tokenizer.length - 2
    }

    fn extend(&mut self, ids: &[i64], weight: f32, mark: Option<usize>) {
        for &id in ids {
            let is_comma = Some(id) == self.tokenizer.comma;
            if self.open.len() == self.room() {
                self.make_room(is_comma);
            }
            self.open.push(Token { id, weight, mark });
            if is_comma {
                self.behind_comma = Some(self.open.len());
            }
        }
    }

    /// Ends the full chunk at its last comma if that is near, and takes what stood behind it along.
    fn make_room(&mut self, before_comma: bool) {
        let near = |&at: &usize| at < self.open.len() && self.open.len() - at < COMMA_REACH;
        let moved = match self.behind_comma.filter(near).filter(|_| !before_comma) {
            Some(at) => self.open.split_off(at),
            None => Vec::new(),
        };
        self.end_chunk();
        self.open = moved;
    }

    fn end_chunk(&mut self) {
        self.done.push(std::mem::take(&mut self.open));
        self.behind_comma = None;
    }

    fn finish(mut self, mut marks: Vec<MarkedTokens>) -> Tokens {
        if !self.open.is_empty() || self.done.is_empty() {
            self.end_chunk();
        }
        let Tokenizer { length, start, end, pad, .. } = *self.tokenizer;
        let mut empty = vec![pad; length];
        (empty[0], empty[1]) = (start, end);
        let mut ids = Array2::from_elem((self.done.len(), length), pad);
        let mut weights = Array2::ones((self.done.len(), length));
        for (chunk, tokens) in self.done.iter().enumerate() {
            ids[(chunk, 0)] = start;
            for (i, token) in tokens.iter().enumerate() {
                ids[(chunk, i + 1)] = token.id;
                weights[(chunk, i + 1)] = token.weight;
                if let Some(mark) = token.mark {
                    marks[mark].positions.push(chunk * length + i + 1);
                }
            }
            ids[(chunk, tokens.len() + 1)] = end;
        }
        Tokens { ids, weights, marks, empty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Words;
    use std::path::Path;

    fn tokenizer() -> Tokenizer {
        Tokenizer::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tokenizer")).expect("opens")
    }

    fn tokens(text: &str) -> Tokens {
        let words = Words::new().with("ball", "ball").with("bear", "teddy bear");
        tokenizer().tokenize(&Prompt::parse(text, &words).expect("reads")).expect("tokenises")
    }

    #[test]
    fn marks_point_at_exactly_their_tokens() {
        let tokenizer = tokenizer();
        for text in [
            "a photo of a <ball> in the snow",
            "<ball>, \"<ball>\" and (<bear>:1.2)!",
            "two <ball>s and <bear|strange creatures>",
            "<bear>",
        ] {
            let tokens = tokens(text);
            let row = |p: usize| tokens.ids[(p / 77, p % 77)];
            assert!(!tokens.marks.is_empty());
            for mark in &tokens.marks {
                let found: Vec<_> = mark.positions.iter().map(|&p| row(p)).collect();
                assert_eq!(found, tokenizer.encode(&mark.text).expect("encodes"), "{text}: {mark:?}");
            }
        }
    }

    #[test]
    fn marked_text_has_the_tokens_of_plain_text() {
        let tokenizer = tokenizer();
        let tokens = tokens("a photo of a <ball>, in the (<bear>'s) snow");
        let plain = tokenizer.tokenize(&Prompt::plain("a photo of a ball, in the teddy bear's snow"));
        assert_eq!(tokens.ids, plain.expect("tokenises").ids);
    }

    #[test]
    fn an_empty_prompt_is_one_chunk_of_padding() {
        let tokens = tokens("");
        let tokenizer = tokenizer();
        assert_eq!(tokens.ids.dim(), (1, 77));
        assert_eq!((tokens.ids[(0, 0)], tokens.ids[(0, 1)]), (tokenizer.start, tokenizer.end));
        assert!(tokens.ids.iter().skip(2).all(|&id| id == tokenizer.pad));
    }

    #[test]
    fn long_prompts_have_several_chunks_each_with_start_and_end() {
        let text = format!("{} <ball> snow", "a ".repeat(80));
        let tokens = tokens(&text);
        let tokenizer = tokenizer();
        assert_eq!((tokens.chunks(), tokens.rows()), (2, 154));
        for chunk in 0..2 {
            assert_eq!(tokens.ids[(chunk, 0)], tokenizer.start);
        }
        assert_eq!((tokens.ids[(0, 76)], tokens.ids[(1, 8)]), (tokenizer.end, tokenizer.end));
        assert_eq!(tokens.marks[0].positions, [77 + 6]);
    }

    #[test]
    fn a_phrase_across_two_chunks_is_marked_in_both() {
        let tokens = tokens(&format!("{} <bear>", "a ".repeat(74)));
        assert_eq!(tokens.marks[0].positions.first(), Some(&75));
        assert!(tokens.marks[0].positions.iter().skip(1).all(|&p| p > 77));
    }

    #[test]
    fn a_full_chunk_ends_at_a_near_comma() {
        let text = format!("{}, {}", "a ".repeat(70), "ball ".repeat(10));
        let near = tokens(&text);
        assert_eq!(near.ids[(0, 72)], tokenizer().end, "70 words and a comma");
        assert_eq!(near.ids[(1, 11)], tokenizer().end, "ten words");
        let far = tokens(&format!("a, {}", "ball ".repeat(80)));
        assert_eq!(far.ids[(0, 76)], tokenizer().end);
    }

    #[test]
    fn break_starts_a_chunk() {
        let tokens = tokens("a ball BREAK <ball>");
        assert_eq!((tokens.chunks(), &tokens.marks[0].positions[..]), (2, &[78][..]));
    }

    #[test]
    fn weights_are_the_tokens_own() {
        let tokens = tokens("a (<ball>:1.5) [in]");
        let weights: Vec<_> = tokens.weights.row(0).iter().take(5).copied().collect();
        assert_eq!(weights, [1.0, 1.0, 1.5, 1.0 / 1.1, 1.0]);
    }

    #[test]
    fn the_mask_places_slots_and_strengths() {
        let mut tokens = tokens("<ball:0.5> near <bear>");
        tokens.pad_to(2);
        let count = tokens.marks[1].positions.len();
        let slots = [
            Slots { concept: "bear", tokens: count, strength: 2.0 },
            Slots { concept: "ball", tokens: 1, strength: 0.8 },
        ];
        let mask = tokens.mask(&slots).expect("places");
        assert_eq!(mask.dim(), (154, count + 1));
        assert_eq!(mask[(1, count)], 0.4);
        for (token, &row) in tokens.marks[1].positions.iter().enumerate() {
            assert_eq!(mask[(row, token)], 2.0);
        }
        assert_eq!(mask.iter().filter(|value| **value != 0.0).count(), 1 + count);
    }

    #[test]
    fn a_single_token_concept_goes_to_the_whole_phrase() {
        let tokens = tokens("a <bear>");
        let mask = tokens.mask(&[Slots { concept: "bear", tokens: 1, strength: 1.0 }]).expect("places");
        assert_eq!(mask.sum() as usize, tokens.marks[0].positions.len());
        assert!(tokens.marks[0].positions.len() > 1);
    }

    #[test]
    fn phrases_of_another_length_are_refused() {
        let tokens = tokens("a <bear>");
        let refused = |slot: Slots| tokens.mask(&[slot]).expect_err("does not fit").to_string();
        assert!(refused(Slots { concept: "bear", tokens: 7, strength: 1.0 }).contains("teddy bear"));
        assert!(refused(Slots { concept: "ball", tokens: 1, strength: 1.0 }).contains("<bear>"));
    }

    #[test]
    fn plain_phrases_are_found_too() {
        let tokens = tokens("a ball and a ball");
        let ball = tokenizer().encode("ball").expect("encodes");
        assert_eq!(tokens.find(&ball), [[2], [5]]);
    }
}
