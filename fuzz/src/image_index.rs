//! The index of an image that a world sent.

use strait_image::{Area, Builder, HOME, Index, MAX_AREAS, MAX_FILES, MAX_INDEX_BYTES, Source, USER};

/// The word of an index that says how long the file is.
const IMAGE_BYTES_AT: usize = 24;

/// Judges the bytes as the index of a file that is as long as it says. What is accepted has its areas where they may be, none over another, takes
/// no page of the image twice, and is the same once it was written anew.
pub fn image_index(data: &[u8]) {
    let word = data.get(IMAGE_BYTES_AT..).and_then(|rest| rest.first_chunk());
    let image_bytes = word.copied().map_or(0, u64::from_le_bytes);
    assert!(Index::parse(data, !image_bytes).is_err(), "a file of another length");
    let Ok(index) = Index::parse(data, image_bytes) else { return };
    let (mut end, mut used_bytes) = (0, 0);
    for area in index.areas() {
        judge(&index, &area, image_bytes);
        if let Source::Copy { .. } | Source::Image { .. } = area.source {
            used_bytes += area.range.bytes();
        }
        if !matches!(area.source, Source::Copy { .. }) {
            assert!(end <= area.range.start, "{area:?} begins before {end:x}");
            end = area.range.end;
        }
    }
    assert!(used_bytes <= image_bytes, "{used_bytes} bytes of an image of {image_bytes}");
    compare(&index);
}

fn judge(index: &Index<'_>, area: &Area, image_bytes: u64) {
    assert!(area.range.is_pages() && USER.contains(area.range) && !area.range.overlaps(HOME), "{area:?}");
    assert!(index.head().pieces().all(|piece| !piece.overlaps(area.range)), "{area:?} is the kernel's");
    match area.source {
        Source::Copy { offset } | Source::Image { offset } => assert!(offset + area.range.bytes() <= image_bytes),
        Source::File { file, .. } => assert!(index.path(file).is_some_and(|path| path.ends_with(b"\0"))),
        Source::Zero | Source::Stack | Source::Wiped => {}
    }
}

/// Two files of one path are found as one when they are written, and names may overlap when they are read: then it can't be the same.
fn compare(index: &Index<'_>) {
    let (mut areas, mut files) = (vec![[0; 6]; MAX_AREAS], vec![[0; 6]; MAX_FILES]);
    let (mut names, mut out) = (vec![0; MAX_INDEX_BYTES], vec![0; MAX_INDEX_BYTES]);
    let mut builder = Builder::new(&mut areas, &mut files, &mut names);
    let has_room = index.files().all(|file| builder.add_file(&file).is_ok());
    if !has_room || !index.areas().all(|area| builder.add(&area).is_ok()) {
        return;
    }
    let Ok(length) = builder.finish(index.head(), &mut out) else { return };
    let again = Index::parse(&out[..length], index.head().image_bytes).expect("the same index");
    assert!(index.areas().eq(again.areas()) && index.files().eq(again.files()) && index.head() == again.head());
}
