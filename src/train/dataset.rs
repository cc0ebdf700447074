use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use ndarray::Array2;

use super::{Error, Result};
use crate::picture::{self, Picture};

/// Pixels a side of what one latent stands for.
const VAE_SCALE: u32 = 8;

/// Where photographs lie, and whom they show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The folder; its PNG, JPEG and WebP files are read, those of its own folders are not.
    pub path: PathBuf,
    /// The concept that they show; `None` for pictures that go with every prompt.
    pub subject: Option<String>,
    /// A folder of masks: for each photograph a picture of the same stem, white where it counts.
    pub masks: Option<PathBuf>,
}

impl Folder {
    /// Photographs without masks that go with every prompt.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), subject: None, masks: None }
    }
}

/// A photograph, cut and resized.
#[derive(Clone, Debug, PartialEq)]
pub struct Photo {
    /// Its file.
    pub path: PathBuf,
    /// Its pixels.
    pub picture: Picture,
    /// How much each latent cell `[height / 8, width / 8]` counts, 0 to 1; `None`: all of it.
    pub weight: Option<Array2<f32>>,
    /// The concept that it shows; `None`: it goes with every prompt.
    pub subject: Option<String>,
}

/// A file that cannot be used, and why.
#[derive(Debug)]
#[non_exhaustive]
pub struct Skipped {
    /// The photograph's file.
    pub path: PathBuf,
    /// What is wrong with it, or with its mask.
    pub error: picture::Error,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, error) = (self.path.display().to_string(), self.error.to_string());
        match error.starts_with(&path) {
            true => f.write_str(&error),
            false => write!(f, "{path}: {error}"),
        }
    }
}

/// The photographs to learn from.
#[derive(Debug, Default)]
pub struct Dataset {
    /// In the order of folders and, within one, of names.
    pub photos: Vec<Photo>,
    /// What could not be used. Empty, if all is well.
    pub skipped: Vec<Skipped>,
}

impl Dataset {
    /// Reads every photograph of `folders`: upright as its EXIF block says, its centred square resized to
    /// `size` pixels a side. Files that cannot be used are listed in [`Dataset::skipped`].
    ///
    /// # Errors
    /// A folder cannot be read, or nothing in it can be used.
    pub fn read(folders: &[Folder], size: u32) -> Result<Self> {
        let mut dataset = Self::default();
        for folder in folders {
            let before = dataset.photos.len();
            let files = picture_files(&folder.path)?;
            for path in &files {
                match Photo::read(path, folder, size) {
                    Ok(photo) => dataset.photos.push(photo),
                    Err(error) => dataset.skipped.push(Skipped { path: path.clone(), error }),
                }
            }
            if dataset.photos.len() == before {
                return Err(Error::NoPictures { folder: folder.path.clone(), reason: dataset.nothing_in(&files) });
            }
        }
        Ok(dataset)
    }

    fn nothing_in(&self, files: &[PathBuf]) -> String {
        match self.skipped.last().filter(|_| !files.is_empty()) {
            None => "holds no .png, .jpg, .jpeg or .webp file".to_owned(),
            Some(last) => format!("none of its {} pictures can be used; the last: {}", files.len(), last.error),
        }
    }
}

impl Photo {
    fn read(path: &Path, folder: &Folder, size: u32) -> picture::Result<Self> {
        let picture = picture::fit(&picture::open(path)?, size, size)?;
        let weight = match &folder.masks {
            Some(masks) => Some(weight(&picture::fit(&picture::open(mask_of(path, masks))?, size, size)?)),
            None => None,
        };
        Ok(Self { path: path.to_owned(), picture, weight, subject: folder.subject.clone() })
    }

    /// The photograph as a mirror shows it.
    pub fn mirrored(&self) -> Self {
        let weight = self.weight.as_ref().map(|weight| weight.slice(ndarray::s![.., ..;-1]).to_owned());
        Self { picture: imageops::flip_horizontal(&self.picture), weight, ..self.clone() }
    }
}

fn picture_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::Io { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is_picture(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ["png", "jpg", "jpeg", "webp"].contains(&extension.as_str())
}

/// The mask of the same stem; where there is none, the name that was looked for first.
fn mask_of(photo: &Path, masks: &Path) -> PathBuf {
    let usual = masks.join(photo.with_extension("png").file_name().unwrap_or_default());
    let others = ["jpg", "jpeg", "webp"].map(|extension| usual.with_extension(extension));
    let found = std::iter::once(usual.clone()).chain(others).find(|path| path.is_file());
    found.unwrap_or(usual)
}

/// The mean brightness of each latent cell.
fn weight(mask: &Picture) -> Array2<f32> {
    let grey = imageops::grayscale(mask);
    let cells = imageops::resize(&grey, grey.width() / VAE_SCALE, grey.height() / VAE_SCALE, FilterType::Triangle);
    let shape = (cells.height() as usize, cells.width() as usize);
    Array2::from_shape_fn(shape, |(y, x)| f32::from(cells.get_pixel(x as u32, y as u32).0[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn write(path: &Path, colour: [u8; 3]) {
        let left = |x| if x < 20 { Rgb(colour) } else { Rgb([0; 3]) };
        Picture::from_fn(40, 40, |x, _| left(x)).save(path).unwrap();
    }

    #[test]
    fn good_files_are_read_and_bad_ones_named() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| root.path().join(name);
        write(&folder("b.jpg"), [200; 3]);
        write(&folder("a.PNG"), [255, 0, 0]);
        std::fs::write(folder("c.webp"), "no picture").unwrap();
        std::fs::write(folder("prompts.json"), "{}").unwrap();
        let dataset = Dataset::read(&[Folder::new(root.path())], 16).unwrap();
        let names: Vec<_> = dataset.photos.iter().map(|photo| photo.path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["a.PNG", "b.jpg"]);
        assert_eq!(dataset.photos[0].picture.dimensions(), (16, 16));
        assert_eq!(dataset.skipped.len(), 1);
        assert!(dataset.skipped[0].error.to_string().contains("c.webp"));
    }

    #[test]
    fn a_folder_without_pictures_is_an_error_that_says_why() {
        let root = tempfile::tempdir().unwrap();
        let reason = || Dataset::read(&[Folder::new(root.path())], 16).unwrap_err().to_string();
        assert!(reason().contains(".webp"), "{}", reason());
        std::fs::write(root.path().join("a.png"), "no picture").unwrap();
        assert!(reason().contains("none of its 1 pictures"), "{}", reason());
    }

    #[test]
    fn masks_weigh_cells_and_turn_with_their_photograph() {
        let root = tempfile::tempdir().unwrap();
        let masks = root.path().join("masks");
        std::fs::create_dir(&masks).unwrap();
        write(&root.path().join("a.png"), [255, 0, 0]);
        write(&root.path().join("b.png"), [255, 0, 0]);
        write(&masks.join("a.png"), [255; 3]);
        let folder = Folder { masks: Some(masks), ..Folder::new(root.path()) };
        let dataset = Dataset::read(&[folder], 32).unwrap();
        assert!(dataset.skipped[0].error.to_string().contains("b.png"), "{:?}", dataset.skipped);
        let photo = &dataset.photos[0];
        let weight = photo.weight.clone().unwrap();
        assert_eq!(weight.dim(), (4, 4));
        assert!(weight[[1, 0]] > 0.95 && weight[[1, 3]] < 0.05, "{weight}");
        let mirrored = photo.mirrored();
        assert_eq!(mirrored.weight.unwrap()[[1, 3]], weight[[1, 0]]);
        assert_eq!(mirrored.picture.get_pixel(31, 4), photo.picture.get_pixel(0, 4));
    }
}
