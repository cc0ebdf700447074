use image::{Rgb, imageops};

use super::font::{LINE, Pen, fill};
use super::{Error, Picture, Result};

const GAP: u32 = 8;
const CAPTION_LINES: usize = 3;
const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([24; 3]);
const BAND: Rgb<u8> = Rgb([228, 230, 235]);

/// Sheets beyond this many pixels are refused before memory is taken.
const MAX_PIXELS: u64 = 400_000_000;

/// A picture of a contact sheet, and what is written above it.
#[derive(Clone, Debug)]
pub struct Cell {
    /// A few words, broken into at most three lines; may be empty.
    pub caption: String,
    /// The picture; sizes may differ.
    pub picture: Picture,
}

/// A row of a contact sheet.
#[derive(Clone, Debug, Default)]
pub struct SheetRow {
    /// Written across the sheet above the row; empty for none.
    pub label: String,
    /// The pictures from left to right.
    pub cells: Vec<Cell>,
}

/// Several pictures on one, in rows, with labels: a batch, or several prompts with F above C.
///
/// Pictures keep their size; columns are as wide as the widest picture.
///
/// # Errors
/// When there is no picture, or the sheet would exceed 400 megapixels.
pub fn contact_sheet(rows: &[SheetRow]) -> Result<Picture> {
    let layout = Layout::new(rows)?;
    let mut sheet = Picture::from_pixel(layout.width, layout.height, PAPER);
    let mut top = GAP;
    for row in rows {
        top = layout.draw_label(&mut sheet, &row.label, top);
        let below = top + layout.caption_height(row);
        for (cell, column) in row.cells.iter().zip(0..) {
            let left = GAP + column * (layout.cell_width + GAP);
            layout.draw_caption(&mut sheet, &cell.caption, left, top);
            imageops::replace(&mut sheet, &cell.picture, i64::from(left), i64::from(below));
        }
        top = below + tallest(row) + GAP;
    }
    Ok(sheet)
}

struct Layout {
    pen: Pen,
    cell_width: u32,
    width: u32,
    height: u32,
}

impl Layout {
    fn new(rows: &[SheetRow]) -> Result<Self> {
        let cells = || rows.iter().flat_map(|row| &row.cells);
        let cell_width = cells().map(|cell| cell.picture.width()).max().unwrap_or(0);
        let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0) as u64;
        if cell_width == 0 || cells().all(|cell| cell.picture.height() == 0) {
            return Err(Error::Empty { what: "a contact sheet" });
        }
        let pen = Pen { scale: (cell_width / 192).clamp(1, 4), colour: INK };
        let mut layout = Self { pen, cell_width, width: 0, height: 0 };
        let width = u64::from(GAP) + columns * u64::from(cell_width + GAP);
        let row_height = |row| u64::from(layout.label_height(row) + layout.caption_height(row) + tallest(row) + GAP);
        let height = u64::from(GAP) + rows.iter().map(row_height).sum::<u64>();
        if width.saturating_mul(height) > MAX_PIXELS {
            let (width, height) = (width as usize, height as usize);
            return Err(Error::Size { what: "a contact sheet", width, height, reason: "at most 400 megapixels" });
        }
        (layout.width, layout.height) = (width as u32, height as u32);
        Ok(layout)
    }

    fn label_height(&self, row: &SheetRow) -> u32 {
        if row.label.is_empty() { 0 } else { LINE * self.pen.scale + GAP }
    }

    fn caption_height(&self, row: &SheetRow) -> u32 {
        let lines = |cell: &Cell| self.pen.wrap(&cell.caption, self.cell_width, CAPTION_LINES).len();
        row.cells.iter().map(lines).max().unwrap_or(0) as u32 * LINE * self.pen.scale
    }

    /// Draws the label's band and returns where the rest of the row begins.
    fn draw_label(&self, sheet: &mut Picture, label: &str, top: u32) -> u32 {
        if label.is_empty() {
            return top;
        }
        let (from, to) = (i64::from(top), i64::from(top + LINE * self.pen.scale));
        fill(sheet, 0..i64::from(self.width), from - 1..to, BAND);
        let line = self.pen.wrap(label, self.width - 2 * GAP, 1).concat();
        self.pen.draw(sheet, i64::from(GAP), from + i64::from(self.pen.scale), &line);
        top + LINE * self.pen.scale + GAP
    }

    fn draw_caption(&self, sheet: &mut Picture, caption: &str, left: u32, top: u32) {
        for (line, row) in self.pen.wrap(caption, self.cell_width, CAPTION_LINES).iter().zip(0..) {
            self.pen.draw(sheet, i64::from(left), i64::from(top + row * LINE * self.pen.scale), line);
        }
    }
}

fn tallest(row: &SheetRow) -> u32 {
    row.cells.iter().map(|cell| cell.picture.height()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(caption: &str, colour: [u8; 3]) -> Cell {
        Cell { caption: caption.to_owned(), picture: Picture::from_pixel(32, 24, Rgb(colour)) }
    }

    fn count(sheet: &Picture, colour: [u8; 3]) -> usize {
        sheet.pixels().filter(|pixel| pixel.0 == colour).count()
    }

    #[test]
    fn every_picture_is_shown_whole_with_its_words() {
        let colours = [[200, 0, 0], [0, 200, 0], [0, 0, 200]];
        let rows = [
            SheetRow { label: "foundation".into(), cells: vec![cell("in snow", colours[0]), cell("", colours[1])] },
            SheetRow { label: String::new(), cells: vec![cell("", colours[2])] },
        ];
        let sheet = contact_sheet(&rows).unwrap();
        assert_eq!(sheet.width(), 2 * 32 + 3 * GAP);
        for colour in colours {
            assert_eq!(count(&sheet, colour), 32 * 24);
        }
        assert!(count(&sheet, INK.0) > 100 && count(&sheet, BAND.0) > 100);
    }

    #[test]
    fn sizes_may_differ() {
        let small = Cell { caption: String::new(), picture: Picture::from_pixel(3, 5, Rgb([9, 9, 200])) };
        let rows = [SheetRow { label: String::new(), cells: vec![cell("", [200, 0, 0]), small] }];
        assert_eq!(count(&contact_sheet(&rows).unwrap(), [9, 9, 200]), 15);
    }

    #[test]
    fn empty_and_immense_sheets_are_refused() {
        assert!(matches!(contact_sheet(&[]), Err(Error::Empty { .. })));
        assert!(matches!(contact_sheet(&[SheetRow::default()]), Err(Error::Empty { .. })));
        let wide = Cell { caption: String::new(), picture: Picture::new(100_000, 1) };
        let tall = Cell { caption: String::new(), picture: Picture::new(1, 100_000) };
        let rows = [SheetRow { label: String::new(), cells: vec![wide, tall] }];
        assert!(matches!(contact_sheet(&rows), Err(Error::Size { .. })));
    }
}
