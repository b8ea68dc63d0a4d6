//! gzip in one member, compressed piece by piece.
//!
//! Each piece is raw deflate that ends at a byte boundary (a sync flush), so pieces can be
//! compressed side by side and put one after the other; checksums of pieces combine into that of
//! the whole. One member, because `curl --compressed` fails on several and browsers show only the
//! first.

use flate2::{Compress, Compression, FlushCompress};

/// RFC 1952: magic, deflate, no flags, no time, no extra flags, unknown system.
pub const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block of deflate with fixed codes.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Compresses one piece behind what `out` holds already; gives the checksum of its text.
pub fn compress(text: &[u8], level: u32, out: &mut Vec<u8>) -> crc32fast::Hasher {
    let mut sum = crc32fast::Hasher::new();
    sum.update(text);
    let mut deflate = Compress::new(Compression::new(level), false);
    out.reserve(text.len() / 6 + 1024);
    loop {
        let done = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
        let rest = text.get(done..).unwrap_or_default();
        // Memory that is there is all that a sync flush into a Vec can lack.
        let _cannot_fail = deflate.compress_vec(rest, out, FlushCompress::Sync);
        // Room left over after a flush means that everything is out.
        if deflate.total_in() == text.len() as u64 && out.len() < out.capacity() {
            return sum;
        }
        out.reserve(text.len() / 6 + 1024);
    }
}

/// The end of the member, for all pieces together.
#[must_use]
pub fn tail(sum: crc32fast::Hasher, text_bytes: u64) -> Vec<u8> {
    let mut bytes = LAST_BLOCK.to_vec();
    bytes.extend_from_slice(&sum.finalize().to_le_bytes());
    // RFC 1952: the length modulo 2^32.
    let [a, b, c, d, ..] = text_bytes.to_le_bytes();
    bytes.extend_from_slice(&[a, b, c, d]);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[track_caller]
    fn check(pieces: &[&[u8]]) {
        let mut member = HEAD.to_vec();
        let (mut sum, mut length) = (crc32fast::Hasher::new(), 0);
        for piece in pieces {
            sum.combine(&compress(piece, 1, &mut member));
            length += piece.len() as u64;
        }
        member.extend(tail(sum, length));
        let mut text = Vec::new();
        // `GzDecoder` reads one member and checks its checksum and length.
        let mut decoder = flate2::bufread::GzDecoder::new(member.as_slice());
        decoder.read_to_end(&mut text).unwrap();
        assert_eq!(text, pieces.concat());
        assert!(decoder.into_inner().is_empty(), "nothing stands behind the member");
    }

    #[test]
    fn any_pieces_make_one_member() {
        check(&[]);
        check(&[b""]);
        check(&[b"a", b"", b"bc"]);
        let noise: Vec<u8> = (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        check(&[&noise, b"x", &noise[..77_777], &[b'y'; 1_000_000]]);
    }
}
