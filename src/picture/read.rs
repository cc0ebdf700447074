use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageReader, Rgb, RgbImage};

use super::{Error, Picture, Result};

/// Pixels a side of what one latent stands for: sizes are multiples of it.
const VAE_SCALE: u32 = 8;

/// Reads a PNG, JPEG or WebP file, whatever its name, the way up that its EXIF block says.
///
/// Transparent pictures are laid on white; 16-bit ones are rounded to 8.
///
/// # Errors
/// When the file cannot be read, is no such picture, or would take over 512 MiB.
pub fn open(path: impl AsRef<Path>) -> Result<Picture> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    decode(&bytes).map_err(|error| match error {
        Error::Decode { reason, .. } => Error::Decode { path: path.into(), reason },
        other => other,
    })
}

/// [`open`] for bytes in memory.
///
/// # Errors
/// When the bytes are no such picture, or it would take over 512 MiB.
pub fn decode(bytes: &[u8]) -> Result<Picture> {
    let picture = decode_upright(bytes);
    picture.map_err(|error| Error::Decode { path: "picture in memory".into(), reason: error.to_string() })
}

fn decode_upright(bytes: &[u8]) -> image::ImageResult<Picture> {
    let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(if image.color().has_alpha() { on_white(&image) } else { image.into_rgb8() })
}

fn on_white(image: &DynamicImage) -> Picture {
    let image = image.to_rgba8();
    let blend = |colour: u8, alpha: u8| {
        let (colour, alpha) = (u32::from(colour), u32::from(alpha));
        ((colour * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        Rgb([blend(r, alpha), blend(g, alpha), blend(b, alpha)])
    })
}

/// The largest centred part of this shape, resized by Lanczos's filter to `width` × `height` pixels.
///
/// # Errors
/// When the size is 0 or no multiple of 8, or the picture is empty.
pub fn fit(picture: &Picture, width: u32, height: u32) -> Result<Picture> {
    let size = |what, width: u32, height: u32, reason| {
        Err(Error::Size { what, width: width as usize, height: height as usize, reason })
    };
    if width == 0 || height == 0 || !width.is_multiple_of(VAE_SCALE) || !height.is_multiple_of(VAE_SCALE) {
        return size("a picture", width, height, "both have to be multiples of 8 above 0");
    }
    let (full_width, full_height) = picture.dimensions();
    if full_width == 0 || full_height == 0 {
        return size("a picture", full_width, full_height, "it has no pixels");
    }
    if (full_width, full_height) == (width, height) {
        return Ok(picture.clone());
    }
    let share = |side: u32, of: u32, by: u32| ((u64::from(side) * u64::from(of) / u64::from(by)) as u32).max(1);
    let part_width = full_width.min(share(full_height, width, height));
    let part_height = full_height.min(share(full_width, height, width));
    let (left, top) = ((full_width - part_width) / 2, (full_height - part_height) / 2);
    let part = imageops::crop_imm(picture, left, top, part_width, part_height).to_image();
    Ok(imageops::resize(&part, width, height, FilterType::Lanczos3))
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ImageEncoder, ImageFormat, RgbaImage};

    use super::*;

    fn halves() -> Picture {
        RgbImage::from_fn(40, 16, |x, _| if x < 20 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) })
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(halves()).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// A little-endian EXIF block with nothing but an orientation.
    fn exif(orientation: u8) -> Vec<u8> {
        let entry = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
        [b"II*\0\x08\0\0\0\x01\0".as_slice(), &entry, &[0; 4]].concat()
    }

    #[test]
    fn each_format_is_told_by_its_bytes() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let picture = decode(&encoded(format)).unwrap();
            assert_eq!(picture.dimensions(), (40, 16), "{format:?}");
            let [r, _, b] = picture.get_pixel(4, 8).0;
            assert!(r > 230 && b < 20, "{format:?}");
        }
    }

    #[test]
    fn photographs_are_turned_upright() {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif(6)).unwrap();
        encoder.encode_image(&halves()).unwrap();
        let picture = decode(&bytes).unwrap();
        assert_eq!(picture.dimensions(), (16, 40));
        assert!(picture.get_pixel(8, 4).0[0] > 230, "the left side is on top after a quarter turn clockwise");
    }

    #[test]
    fn transparency_becomes_white() {
        let clear = RgbaImage::from_pixel(2, 2, image::Rgba([0, 0, 0, 0]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageRgba8(clear).write_to(&mut bytes, ImageFormat::Png).unwrap();
        assert_eq!(decode(bytes.get_ref()).unwrap().get_pixel(0, 0).0, [255; 3]);
    }

    #[test]
    fn the_middle_is_kept() {
        let fitted = fit(&halves(), 8, 8).unwrap();
        assert_eq!(fitted.dimensions(), (8, 8));
        assert!(fitted.get_pixel(0, 4).0[0] > 200 && fitted.get_pixel(7, 4).0[2] > 200);
        assert_eq!(fit(&halves(), 40, 16).unwrap(), halves());
        assert_eq!(fit(&halves(), 64, 8).unwrap().dimensions(), (64, 8));
        assert_eq!(fit(&RgbImage::new(1, 500), 64, 8).unwrap().dimensions(), (64, 8));
    }

    #[test]
    fn bad_sizes_are_named() {
        for (width, height) in [(0, 8), (8, 0), (12, 8)] {
            let error = fit(&halves(), width, height).unwrap_err().to_string();
            assert!(error.contains(&format!("{width}x{height}")) && error.contains("multiples of 8"), "{error}");
        }
        assert!(matches!(fit(&RgbImage::new(0, 0), 8, 8), Err(Error::Size { .. })));
    }

    #[test]
    fn damaged_files_are_errors() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let bytes = encoded(format);
            assert!(decode(&bytes[..bytes.len() / 3]).is_err(), "{format:?}");
        }
        assert!(decode(b"").is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        std::fs::write(&path, b"not a picture").unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("photo.jpg") && error.contains("PNG, JPEG or WebP"), "{error}");
        assert!(matches!(open(folder.path().join("absent.png")), Err(Error::Io { .. })));
    }

    #[test]
    fn a_bomb_is_refused_before_memory_is_taken() {
        let mut bytes = encoded(ImageFormat::Png);
        bytes[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        assert!(decode(&bytes).is_err());
    }
}
