//! When and where a picture was taken, from its EXIF data.
//!
//! Cameras write local time without a zone, so times are given as they are written. What can't be
//! read is absent, never an error: a picture is a picture without it.

use exif::{Exif, In, Reader, Tag, Value};

/// What EXIF data say of when and where a picture was taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Local time of the camera: year, month, day, hour, minute, second.
    pub time: Option<[u16; 6]>,
    /// Degrees north of the equator, -90 to 90.
    pub latitude: Option<f64>,
    /// Degrees east of Greenwich, -180 to 180.
    pub longitude: Option<f64>,
}

/// Reads EXIF data, which have the form of a TIFF file.
pub(super) fn taken(data: Vec<u8>) -> Taken {
    let Ok(exif) = Reader::new().read_raw(data) else { return Taken::default() };
    let time = [Tag::DateTimeOriginal, Tag::DateTimeDigitized, Tag::DateTime]
        .iter()
        .find_map(|tag| time(&exif, *tag));
    let place = |value, side, opposite, most| degrees(&exif, value, side, opposite, most);
    Taken {
        time,
        latitude: place(Tag::GPSLatitude, Tag::GPSLatitudeRef, b"S", 90.0),
        longitude: place(Tag::GPSLongitude, Tag::GPSLongitudeRef, b"W", 180.0),
    }
}

/// A time that could have been.
fn time(exif: &Exif, tag: Tag) -> Option<[u16; 6]> {
    let Value::Ascii(texts) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
    let time = exif::DateTime::from_ascii(texts.first()?).ok()?;
    let within = (1..=9999).contains(&time.year)
        && (1..=12).contains(&time.month)
        && (1..=31).contains(&time.day)
        && time.hour < 24
        && time.minute < 60
        && time.second < 60;
    let [month, day, hour, minute, second] =
        [time.month, time.day, time.hour, time.minute, time.second].map(u16::from);
    within.then_some([time.year, month, day, hour, minute, second])
}

/// Degrees, minutes and seconds as degrees; negative on the opposite side.
fn degrees(exif: &Exif, value: Tag, side: Tag, opposite: &[u8], most: f64) -> Option<f64> {
    let Value::Rational(parts) = &exif.get_field(value, In::PRIMARY)?.value else { return None };
    let [degrees, minutes, seconds] = parts.get(..3)?.try_into().ok()?;
    let degrees = [(degrees, 1.0), (minutes, 60.0), (seconds, 3600.0)]
        .iter()
        .map(|(part, divisor): &(exif::Rational, f64)| part.to_f64() / divisor)
        .sum::<f64>();
    let is_opposite = matches!(
        exif.get_field(side, In::PRIMARY).map(|field| &field.value),
        Some(Value::Ascii(texts)) if texts.first().is_some_and(|text| text.starts_with(opposite))
    );
    let degrees = if is_opposite { -degrees } else { degrees };
    (degrees.is_finite() && degrees.abs() <= most).then_some(degrees)
}
