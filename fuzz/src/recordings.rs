//! Recordings of vendors, made of any bytes: what comes before damage is said, nothing is said of an instrument that is not there, and a file that is cut
//! says no other things than the whole one.

use tickwire_recordings::Format;
use tickwire_recordings::source::Entry;

/// The entries of a reading that are compared.
const COMPARED_MAX: usize = 4_096;

/// The formats, by the first byte of an input.
const FORMATS: [Format; 8] = [
    Format::Dbn,
    Format::Iex,
    Format::Itch,
    Format::Bus,
    Format::Stream,
    Format::Tardis,
    Format::Cryptofeed,
    Format::Lobster,
];
/// Those that say how long each record is.
const BINARY: [Format; 5] = [Format::Dbn, Format::Iex, Format::Itch, Format::Bus, Format::Stream];

/// Reads bytes as a recording; the first byte says in which format, and the second one where the second reading is cut.
pub fn recording(bytes: &[u8]) {
    let [format, cut, content @ ..] = bytes else { return };
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    let Some(whole) = read(format, content) else { return };
    if !BINARY.contains(&format) {
        // A text that is cut within a number says another number.
        return;
    }
    let end = content.len() * usize::from(*cut) / 256;
    let Some(part) = read(format, &content[..end]) else { return };
    // Its last entries may be of the cut itself.
    let said = |entries: &[Entry]| {
        let said = entries.iter().filter(|entry| matches!(entry, Entry::Said(_)));
        said.take(COMPARED_MAX).cloned().collect::<Vec<_>>()
    };
    let (whole, part) = (said(&whole), said(&part));
    assert!(part.len() > whole.len() || whole[..part.len()] == part, "a cut file says other things");
}

fn read(format: Format, content: &[u8]) -> Option<Vec<Entry>> {
    let mut source = format.source_of(content.to_vec(), "2020-01-30".parse().ok()).ok()?;
    let mut entries = Vec::new();
    while source.read(&mut entries) {
        // Of a few thousand bytes there is not more to say than this.
        assert!(entries.len() <= 64 * content.len() + 4_096, "{} entries", entries.len());
    }
    let symbols = source.symbols().len();
    for entry in &entries {
        if let Entry::Said(said) = entry {
            assert!((said.symbol as usize) < symbols);
        }
    }
    Some(entries)
}
