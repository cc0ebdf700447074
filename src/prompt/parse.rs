//! Text to pieces: plain text, marked phrases and breaks, each with its weight.

use indexmap::IndexMap;

use super::{Error, Result};

const STEP: f32 = 1.1;

/// The concepts that a prompt may name, and the word that each puts into the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(IndexMap<String, String>);

impl Words {
    /// No concepts: every `<name>` is an error.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the concept `<name>`, for which the prompt reads `word`.
    pub fn with(mut self, name: impl Into<String>, word: impl Into<String>) -> Self {
        self.0.insert(name.into(), word.into());
        self
    }

    fn describe(&self) -> String {
        match self.0.len() {
            0 => "no concept was given".into(),
            _ => format!("there is {}", self.0.keys().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A part of a prompt that is tokenised on its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Plain text.
    Text {
        /// As the text encoder is to read it.
        text: String,
        /// The attention that the user asked for; 1 is none in particular.
        weight: f32,
    },
    /// A phrase that stands for a concept.
    Mark {
        /// The concept's name, as in `<name>`.
        concept: String,
        /// The phrase in the text.
        text: String,
        /// How much of its Δ is added: the number in `<name:0.9>`, or 1.
        strength: f32,
        /// As for plain text.
        weight: f32,
    },
    /// The next chunk begins here.
    Break,
}

impl Piece {
    fn weight_mut(&mut self) -> Option<&mut f32> {
        match self {
            Self::Text { weight, .. } | Self::Mark { weight, .. } => Some(weight),
            Self::Break => None,
        }
    }
}

/// A prompt, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    source: String,
    pieces: Vec<Piece>,
}

impl Prompt {
    /// Reads the whole syntax of this module; `words` are the concepts that may occur.
    pub fn parse(source: &str, words: &Words) -> Result<Self> {
        let mut parser =
            Parser { source, rest: source, words, pieces: Vec::new(), round: Vec::new(), square: Vec::new() };
        while !parser.rest.is_empty() {
            parser.step()?;
        }
        Ok(Self { source: source.into(), pieces: parser.finish() })
    }

    /// A prompt in which no character has a meaning of its own.
    pub fn plain(source: &str) -> Self {
        let pieces = vec![Piece::Text { text: source.into(), weight: 1.0 }];
        Self { source: source.into(), pieces }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// As a reader would read it: words in place of marks, no weights.
    pub fn text(&self) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text { text, .. } | Piece::Mark { text, .. } => text.clone(),
            Piece::Break => " ".into(),
        };
        self.pieces.iter().map(text).collect()
    }

    /// The concepts that it marks, each once, in order.
    pub fn concepts(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in &self.pieces {
            if let Piece::Mark { concept, .. } = piece
                && !names.contains(&concept.as_str())
            {
                names.push(concept.as_str());
            }
        }
        names
    }

    /// Fails unless it marks this concept.
    pub fn require(&self, concept: &str) -> Result<()> {
        if self.concepts().contains(&concept) {
            return Ok(());
        }
        let text = self.text();
        let mut plain_words = text.split(|c: char| !c.is_alphanumeric());
        let hint = match plain_words.any(|word| word.eq_ignore_ascii_case(concept)) {
            true => format!("; it has the plain word: write <{concept}> to mark it"),
            false => format!("; write <{concept}> where it is to appear"),
        };
        Err(Error::Absent { prompt: self.source.clone(), concept: concept.into(), hint })
    }
}

struct Parser<'a> {
    source: &'a str,
    rest: &'a str,
    words: &'a Words,
    pieces: Vec<Piece>,
    /// Where each open bracket's pieces begin.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Parser<'_> {
    fn step(&mut self) -> Result<()> {
        let Some(first) = self.rest.chars().next() else { return Ok(()) };
        let here = self.pieces.len();
        match first {
            '\\' => {
                let escaped = self.rest[1..].chars().next().filter(|c| r"\()[]<>".contains(*c));
                self.advance(1 + escaped.map_or(0, char::len_utf8));
                self.text(&escaped.map(String::from).unwrap_or_default());
            }
            '(' => {
                self.round.push(here);
                self.advance(1);
            }
            '[' => {
                self.square.push(here);
                self.advance(1);
            }
            ')' if !self.round.is_empty() => {
                self.close_round(STEP);
                self.advance(1);
            }
            ']' if !self.square.is_empty() => {
                let from = self.square.pop().unwrap_or(here);
                self.multiply(from, 1.0 / STEP);
                self.advance(1);
            }
            ':' => match weight_and_close(self.rest).filter(|_| !self.round.is_empty()) {
                Some((weight, length)) => {
                    self.close_round(weight);
                    self.advance(length);
                }
                None => self.literal(1),
            },
            '<' => self.mark()?,
            ')' | ']' => self.literal(1),
            _ => {
                let end = self.rest.find(|c| r"\()[]:<".contains(c)).unwrap_or(self.rest.len());
                self.literal(end);
            }
        }
        Ok(())
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn close_round(&mut self, weight: f32) {
        let from = self.round.pop().unwrap_or(self.pieces.len());
        self.multiply(from, weight);
    }

    fn multiply(&mut self, from: usize, by: f32) {
        self.pieces[from..].iter_mut().filter_map(Piece::weight_mut).for_each(|weight| *weight *= by);
    }

    /// Takes the next bytes as text, in which BREAK as a word of its own breaks.
    fn literal(&mut self, bytes: usize) {
        let text = &self.rest[..bytes];
        self.advance(bytes);
        let mut parts = split_at_break(text).into_iter();
        self.text(parts.next().unwrap_or_default());
        for part in parts {
            self.pieces.push(Piece::Break);
            self.text(part);
        }
    }

    fn text(&mut self, text: &str) {
        self.pieces.push(Piece::Text { text: text.into(), weight: 1.0 });
    }

    fn mark(&mut self) -> Result<()> {
        let Some(end) = self.rest.find('>') else {
            self.literal(1);
            return Ok(());
        };
        let mark = &self.rest[..=end];
        let fail = |reason: String| Err(Error::Mark { prompt: self.source.into(), mark: mark.into(), reason });
        let (inner, strength) = match mark[1..end].rsplit_once(':') {
            None => (&mark[1..end], 1.0),
            Some((inner, number)) => match number.trim().parse::<f32>() {
                Ok(strength) if strength.is_finite() => (inner, strength),
                _ => return fail(format!("{number:?} is not a strength; write <name:0.9>")),
            },
        };
        let (name, phrase) = match inner.split_once('|') {
            None => (inner.trim(), None),
            Some((name, phrase)) => (name.trim(), Some(phrase.trim())),
        };
        if name.is_empty() {
            return fail("names no concept; write <name>, or \\< for the character itself".into());
        }
        let Some(word) = self.words.0.get(name) else {
            let (prompt, known) = (self.source.into(), self.words.describe());
            return Err(Error::UnknownConcept { prompt, name: name.into(), known });
        };
        let phrase = phrase.unwrap_or(word.trim());
        if phrase.is_empty() {
            return fail("stands for an empty phrase; write <name|words>".into());
        }
        let behind = &self.rest[end + 1..];
        let letters = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
        let text = format!("{phrase}{}", &behind[..letters]);
        self.pieces.push(Piece::Mark { concept: name.into(), text, strength, weight: 1.0 });
        self.advance(end + 1 + letters);
        Ok(())
    }

    fn finish(mut self) -> Vec<Piece> {
        for from in std::mem::take(&mut self.round) {
            self.multiply(from, STEP);
        }
        for from in std::mem::take(&mut self.square) {
            self.multiply(from, 1.0 / STEP);
        }
        let mut joined: Vec<Piece> = Vec::new();
        for piece in self.pieces {
            match (joined.last_mut(), piece) {
                (Some(Piece::Text { text, weight }), Piece::Text { text: more, weight: same }) if *weight == same => {
                    text.push_str(&more);
                }
                (_, piece) => joined.push(piece),
            }
        }
        joined.retain(|piece| !matches!(piece, Piece::Text { text, .. } if text.is_empty()));
        joined
    }
}

/// The weight and length of `:1.2)`, spaces allowed around the number.
fn weight_and_close(text: &str) -> Option<(f32, usize)> {
    let (number, _) = text.strip_prefix(':')?.split_once(')')?;
    let weight: f32 = number.trim().parse().ok()?;
    let plain = number.trim().bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
    (plain && weight.is_finite()).then_some((weight, number.len() + 2))
}

/// The parts of a text between the words BREAK, which lose the spaces around them.
fn split_at_break(text: &str) -> Vec<&str> {
    const BREAK: &str = "BREAK";
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut parts, mut from) = (Vec::new(), 0);
    for (at, _) in text.match_indices(BREAK) {
        let (before, after) = (&text[from..at], &text[at + BREAK.len()..]);
        if text[..at].ends_with(is_word) || after.starts_with(is_word) {
            continue;
        }
        parts.push(if parts.is_empty() { before.trim_end() } else { before.trim() });
        from = at + BREAK.len();
    }
    parts.push(if parts.is_empty() { text } else { text[from..].trim_start() });
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words::new().with("ball", "ball").with("striped", "soft ball")
    }

    fn parse(text: &str) -> Prompt {
        Prompt::parse(text, &words()).expect("reads")
    }

    fn weights(text: &str) -> Vec<(String, f32)> {
        let pair = |piece: &Piece| match piece {
            Piece::Text { text, weight } => (text.clone(), *weight),
            Piece::Mark { text, weight, .. } => (format!("<{text}>"), *weight),
            Piece::Break => ("BREAK".into(), -1.0),
        };
        parse(text).pieces().iter().map(pair).collect()
    }

    fn assert_weights(text: &str, expected: &[(&str, f32)]) {
        let found = weights(text);
        let same = |(a, b): (&(String, f32), &(&str, f32))| a.0 == b.0 && (a.1 - b.1).abs() < 1e-6;
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(same), "{text}: {found:?}");
    }

    #[test]
    fn weights_are_those_of_the_web_ui() {
        assert_weights("normal text", &[("normal text", 1.0)]);
        assert_weights("an (important) word", &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]);
        assert_weights("(unbalanced", &[("unbalanced", 1.1)]);
        assert_weights("un)balanced]", &[("un)balanced]", 1.0)]);
        assert_weights(r"\(literal\]", &[("(literal]", 1.0)]);
        assert_weights("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]);
        assert_weights(
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            &[
                ("a ", 1.0),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        );
        assert_weights("at 12:30, (a : b)", &[("at 12:30, ", 1.0), ("a : b", 1.1)]);
        assert_weights("(a: 1.5 )b:2)", &[("a", 1.5), ("b:2)", 1.0)]);
        assert_weights("(a:nan) (b:1e3)", &[("a:nan", 1.1), (" ", 1.0), ("b:1e3", 1.1)]);
        assert_weights(r"a\b \\ c", &[(r"ab \ c", 1.0)]);
        assert_weights("", &[]);
    }

    #[test]
    fn break_is_a_word_of_its_own() {
        assert_weights("a BREAK b BREAKFAST", &[("a", 1.0), ("BREAK", -1.0), ("b BREAKFAST", 1.0)]);
        assert_weights("(a BREAK b)", &[("a", 1.1), ("BREAK", -1.0), ("b", 1.1)]);
    }

    #[test]
    fn marks_may_stand_anywhere() {
        for (text, read) in [
            ("<ball>", "ball"),
            ("a photo of a <ball>, in the snow", "a photo of a ball, in the snow"),
            ("\"<ball>\" and <ball>!", "\"ball\" and ball!"),
            ("<striped:0.9> and (<ball>:1.2)", "soft ball and ball"),
            ("two <ball>s", "two balls"),
            ("two <ball|beach balls> here", "two beach balls here"),
            ("a < b, 1 <2", "a < b, 1 <2"),
            (r"\<ball\>", "<ball>"),
        ] {
            assert_eq!(parse(text).text(), read);
        }
        assert_weights("(<ball>:1.2)", &[("<ball>", 1.2)]);
    }

    #[test]
    fn a_mark_has_a_strength() {
        let prompt = parse("<striped:0.9> < ball | balls : 0.5 >");
        let mark = |piece: &Piece| match piece {
            Piece::Mark { concept, text, strength, .. } => Some((concept.clone(), text.clone(), *strength)),
            _ => None,
        };
        let marks: Vec<_> = prompt.pieces().iter().filter_map(mark).collect();
        assert_eq!(marks, [("striped".into(), "soft ball".into(), 0.9), ("ball".into(), "balls".into(), 0.5)]);
        assert_eq!(prompt.concepts(), ["striped", "ball"]);
    }

    #[test]
    fn bad_marks_say_what_to_write() {
        for (text, expected) in [
            ("a <cube>", "unknown concept <cube>; there is <ball>, <striped>"),
            ("a <>", "names no concept"),
            ("a <|balls>", "names no concept"),
            ("a <ball|>", "empty phrase"),
            ("a <ball:strong>", "\"strong\" is not a strength"),
            ("a <ball:inf>", "\"inf\" is not a strength"),
            ("a <lora:style:1>", "unknown concept"),
        ] {
            let message = Prompt::parse(text, &words()).expect_err(text).to_string();
            let named = message.contains(expected) && message.contains(&format!("{text:?}"));
            assert!(named, "{message}");
        }
        let message = Prompt::parse("<a>", &Words::new()).expect_err("no concepts").to_string();
        assert!(message.contains("no concept was given"), "{message}");
    }

    #[test]
    fn an_absent_concept_is_named_with_the_prompt() {
        let prompt = parse("a photo of a Ball in the snow");
        let message = prompt.require("ball").expect_err("not marked").to_string();
        assert!(message.contains("a photo of a Ball") && message.contains("write <ball> to mark it"), "{message}");
        assert!(parse("a <ball>").require("ball").is_ok());
        assert!(parse("a cube").require("ball").expect_err("absent").to_string().contains("where it is to appear"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r"[a-z():\[\]<>\\|. 0-9éBREAK]{0,60}") {
            if let Ok(prompt) = Prompt::parse(&text, &words()) {
                prompt.text();
            }
        }
    }
}
