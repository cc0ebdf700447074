use font8x8::{BASIC_FONTS, BOX_FONTS, GREEK_FONTS, LATIN_FONTS, UnicodeFonts};
use image::Rgb;

use super::Picture;

/// Side of a letter's cell in pixels, at scale 1.
pub(super) const CELL: u32 = 8;

/// Distance between two lines of text in pixels, at scale 1.
pub(super) const LINE: u32 = 10;

/// Ends a text that was cut.
const ELLIPSIS: &str = "..";

/// A font size and colour; sizes are whole multiples of 8 pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pen {
    pub scale: u32,
    pub colour: Rgb<u8>,
}

impl Pen {
    /// Width of a line in pixels.
    pub fn width(self, text: &str) -> u32 {
        text.chars().count() as u32 * CELL * self.scale
    }

    /// Draws one line with its upper left corner at (x, y); what is outside of the picture is left out.
    pub fn draw(self, picture: &mut Picture, x: i64, y: i64, text: &str) {
        let advance = i64::from(CELL * self.scale);
        for (letter, left) in text.chars().zip((0..).map(|i| x + i * advance)) {
            self.draw_letter(picture, left, y, letter);
        }
    }

    fn draw_letter(self, picture: &mut Picture, x: i64, y: i64, letter: char) {
        for (row, bits) in (0i64..).zip(glyph(letter)) {
            for column in (0..8i64).filter(|column| bits >> column & 1 == 1) {
                let scale = i64::from(self.scale);
                let (left, top) = (x + column * scale, y + row * scale);
                fill(picture, left..left + scale, top..top + scale, self.colour);
            }
        }
    }

    /// Breaks a text into at most `lines` lines of at most `width` pixels, at blanks where there are any.
    pub fn wrap(self, text: &str, width: u32, lines: usize) -> Vec<String> {
        let room = (width / (CELL * self.scale)).max(ELLIPSIS.len() as u32 + 1) as usize;
        let mut wrapped: Vec<String> = Vec::new();
        for word in text.split_whitespace().flat_map(|word| pieces(word, room)) {
            match wrapped.last_mut() {
                Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                    line.push(' ');
                    line.push_str(&word);
                }
                _ => wrapped.push(word),
            }
        }
        if wrapped.len() > lines {
            wrapped.truncate(lines);
            if let Some(last) = wrapped.last_mut() {
                *last = last.chars().take(room - ELLIPSIS.len()).chain(ELLIPSIS.chars()).collect();
            }
        }
        wrapped
    }
}

/// Paints a rectangle, as far as it lies in the picture.
pub(super) fn fill(picture: &mut Picture, xs: std::ops::Range<i64>, ys: std::ops::Range<i64>, colour: Rgb<u8>) {
    let inside = |range: std::ops::Range<i64>, side: u32| {
        range.start.clamp(0, i64::from(side)) as u32..range.end.clamp(0, i64::from(side)) as u32
    };
    let (xs, ys) = (inside(xs, picture.width()), inside(ys, picture.height()));
    for y in ys {
        for x in xs.clone() {
            picture.put_pixel(x, y, colour);
        }
    }
}

fn glyph(letter: char) -> [u8; 8] {
    let fonts = [BASIC_FONTS.get(letter), LATIN_FONTS.get(letter), GREEK_FONTS.get(letter), BOX_FONTS.get(letter)];
    fonts.into_iter().flatten().next().or_else(|| BASIC_FONTS.get('?')).unwrap_or_default()
}

fn pieces(word: &str, room: usize) -> Vec<String> {
    word.chars().collect::<Vec<_>>().chunks(room).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: Pen = Pen { scale: 1, colour: Rgb([0; 3]) };

    fn ink(pen: Pen, text: &str) -> usize {
        let mut picture = Picture::from_pixel(64, 32, Rgb([255; 3]));
        pen.draw(&mut picture, 0, 0, text);
        picture.pixels().filter(|pixel| pixel.0 == pen.colour.0).count()
    }

    #[test]
    fn letters_leave_ink_in_proportion_to_their_size() {
        let one = ink(BLACK, "A");
        assert!(one > 10);
        assert_eq!(ink(Pen { scale: 3, ..BLACK }, "A"), 9 * one);
        assert_eq!(ink(BLACK, "AA"), 2 * one);
        assert_eq!(ink(BLACK, "球"), ink(BLACK, "?"));
        assert_ne!(ink(BLACK, "σ"), ink(BLACK, "?"));
    }

    #[test]
    fn drawing_outside_is_no_panic() {
        let mut picture = Picture::new(4, 4);
        Pen { scale: 100, ..BLACK }.draw(&mut picture, -50, -50, "Ag");
        BLACK.draw(&mut picture, i64::from(u32::MAX), 0, "A");
        BLACK.draw(&mut Picture::new(0, 0), 0, 0, "A");
    }

    #[test]
    fn long_texts_are_broken_and_cut() {
        assert_eq!(BLACK.wrap("a photo of a ball", 64, 3), ["a photo", "of a", "ball"]);
        assert_eq!(BLACK.wrap("a photo of a ball", 64, 2), ["a photo", "of a.."]);
        assert_eq!(BLACK.wrap("incomprehensible", 64, 3), ["incompre", "hensible"]);
        assert!(BLACK.wrap("  ", 64, 3).is_empty());
        assert_eq!(BLACK.wrap("abcdef", 0, 1), ["a.."]);
    }
}
