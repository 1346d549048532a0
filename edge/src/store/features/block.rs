//! A block: the vectors of one instrument over some time, packed.
//!
//! Column by column, each value is XORed with the one before it: what has not changed, such as the
//! indicators of a bar that is still open, becomes zero. The bytes are then sorted into planes, the
//! signs and exponents first, and compressed. Not lossy: the bits come back as they were.
//!
//! It knows neither the names of the columns nor the database.

/// Most vectors of a block.
pub(super) const MAX_VECTORS: usize = 100;
/// Most columns of any version of the table.
pub(super) const MAX_COLUMNS: usize = 8_192;
/// zstd's lowest level, since a block is packed anew with every commit while it grows.
const LEVEL: i32 = 1;
/// `format u8, vectors u16, columns u16, crc32 u32` in front of the compressed bytes.
const HEAD: usize = 9;
const FORMAT: u8 = 1;

/// Some vectors of one instrument, in the order of their times.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Block {
    /// Unix nanoseconds.
    pub(super) times: Vec<u64>,
    /// One vector after another.
    pub(super) values: Vec<f32>,
}

impl Block {
    /// The vectors with their times. `columns` is not zero.
    pub(super) fn rows(&self, columns: usize) -> impl Iterator<Item = (u64, &[f32])> {
        self.times
            .iter()
            .copied()
            .zip(self.values.chunks_exact(columns))
    }
}

/// Checksum of a block, tied to its place.
fn checksum(place: &[u8], packed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(place);
    hasher.update(packed);
    hasher.finalize()
}

/// Packs a block of at most [`MAX_VECTORS`] vectors. `place` is its key in the database.
pub(super) fn pack(block: &Block, columns: usize, place: &[u8]) -> std::io::Result<Vec<u8>> {
    debug_assert_eq!(block.values.len(), block.times.len() * columns);
    let vectors = block.times.len();
    let cells = vectors * columns;
    let mut raw = vec![0; vectors * 8 + cells * 4];
    let (times, planes) = raw.split_at_mut(vectors * 8);
    let mut before = 0_u64;
    for (bytes, time) in times.chunks_exact_mut(8).zip(&block.times) {
        bytes.copy_from_slice(&time.wrapping_sub(before).to_le_bytes());
        before = *time;
    }
    for column in 0..columns {
        let mut before = 0_u32;
        for row in 0..vectors {
            let bits = block.values[row * columns + column].to_bits();
            for (plane, byte) in (bits ^ before).to_be_bytes().into_iter().enumerate() {
                planes[plane * cells + column * vectors + row] = byte;
            }
            before = bits;
        }
    }
    let packed = zstd::bulk::compress(&raw, LEVEL)?;
    let mut bytes = Vec::with_capacity(HEAD + packed.len());
    bytes.push(FORMAT);
    bytes.extend_from_slice(&(vectors as u16).to_le_bytes());
    bytes.extend_from_slice(&(columns as u16).to_le_bytes());
    bytes.extend_from_slice(&checksum(place, &packed).to_le_bytes());
    bytes.extend_from_slice(&packed);
    Ok(bytes)
}

/// A packed block again; `None` if any of it is wrong.
pub(super) fn unpack(bytes: &[u8], columns: usize, place: &[u8]) -> Option<Block> {
    let (head, packed) = bytes.split_first_chunk::<HEAD>()?;
    let [format, v0, v1, c0, c1, crc @ ..] = *head;
    let vectors = usize::from(u16::from_le_bytes([v0, v1]));
    let sound = format == FORMAT
        && vectors <= MAX_VECTORS
        && columns <= MAX_COLUMNS
        && usize::from(u16::from_le_bytes([c0, c1])) == columns
        && u32::from_le_bytes(crc) == checksum(place, packed);
    if !sound {
        return None;
    }
    let cells = vectors * columns;
    let length = vectors * 8 + cells * 4;
    let raw = zstd::bulk::decompress(packed, length).ok()?;
    if raw.len() != length {
        return None;
    }
    let (times, planes) = raw.split_at(vectors * 8);
    let mut block = Block {
        times: Vec::with_capacity(vectors),
        values: vec![0.0; cells],
    };
    let mut time = 0_u64;
    for bytes in times.chunks_exact(8) {
        time = time.wrapping_add(u64::from_le_bytes(bytes.try_into().ok()?));
        block.times.push(time);
    }
    for column in 0..columns {
        let mut bits = 0_u32;
        for row in 0..vectors {
            let cell = column * vectors + row;
            bits ^= u32::from_be_bytes([0, 1, 2, 3].map(|plane| planes[plane * cells + cell]));
            block.values[row * columns + column] = f32::from_bits(bits);
        }
    }
    Some(block)
}

/// The vectors of a packed block, by its head.
pub(super) fn vectors(bytes: &[u8]) -> u64 {
    match bytes {
        [_, low, high, ..] => u16::from_le_bytes([*low, *high]).into(),
        _ => 0,
    }
}
