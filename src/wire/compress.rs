//! Gzip for large payloads, with the unpacked size bounded while unpacking.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::io::Refusal;

/// Compresses, or nothing where that would not make it smaller (signatures do not shrink).
#[must_use]
pub fn gzip_if_smaller(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
    encoder.write_all(bytes).expect("a vector takes every write");
    let packed = encoder.finish().expect("a vector takes every write");
    (packed.len() < bytes.len()).then_some(packed)
}

/// Unpacks at most `limit` bytes.
///
/// # Errors
/// `Malformed` where it is not gzip or is cut short, `TooLarge` as soon as one byte more than `limit` comes out.
pub fn gunzip(bytes: &[u8], limit: u32) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    let mut reader = GzDecoder::new(bytes).take(u64::from(limit) + 1);
    reader.read_to_end(&mut out).map_err(|_| Refusal::Malformed)?;
    if out.len() > limit as usize { Err(Refusal::TooLarge) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_a_bomb_stops_at_the_limit() {
        let text = b"the same words over and over ".repeat(400);
        let packed = gzip_if_smaller(&text).expect("repetition shrinks");
        assert_eq!(gunzip(&packed, 100_000), Ok(text));
        let bomb = gzip_if_smaller(&vec![0; 50_000_000]).expect("zeros shrink");
        assert_eq!(gunzip(&bomb, 1_000_000), Err(Refusal::TooLarge));
        assert_eq!(gunzip(&packed[..packed.len() / 2], 100_000), Err(Refusal::Malformed));
        assert_eq!(gunzip(b"not gzip", 100), Err(Refusal::Malformed));
    }

    #[test]
    fn noise_is_left_alone() {
        let noise: Vec<u8> = (0u32..6_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert!(gzip_if_smaller(&noise).is_none_or(|packed| packed.len() < noise.len()));
    }
}
