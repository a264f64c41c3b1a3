//! The index against itself, and against bytes that nobody meant.

use super::*;
use proptest::prelude::*;

const HEAD: Head = Head {
    image_bytes: PAGES_AT + 8 * PAGE,
    entry: 0x40_0010,
    stack: 0x7000_0000,
    pid: 2,
    vdso: 0x9000_0000,
    pieces: [
        Range { start: 0x8fff_e000, end: 0x9000_0000 },
        Range { start: 0x9000_0000, end: 0x9000_2000 },
        Range { start: 0, end: 0 },
        Range { start: 0, end: 0 },
    ],
};

fn area(start: u64, pages: u64, protection: u64, source: Source) -> Area {
    let range = Range { start, end: start + pages * PAGE };
    Area { range, protection: Protection::from_bits(protection).unwrap(), source }
}

fn areas() -> Vec<Area> {
    vec![
        area(0x40_0000, 2, 5, Source::File { file: 0, offset: PAGE, shared: false }),
        area(0x50_0000, 1, 1, Source::Image { offset: PAGES_AT }),
        area(0x60_0000, 9, 3, Source::Zero),
        area(0x60_1000, 2, 3, Source::Copy { offset: PAGES_AT + PAGE }),
        area(0x60_4000, 1, 3, Source::Copy { offset: PAGES_AT + 3 * PAGE }),
        area(0x6fff_f000, 3, 3, Source::Stack),
    ]
}

fn build(head: &Head, areas: &[Area]) -> Result<Vec<u8>, Full> {
    let (mut table, mut files, mut names) = ([[0; 6]; 64], [[0; 6]; 4], [0; 64]);
    let mut builder = Builder::new(&mut table, &mut files, &mut names);
    let file = MappedFile { path: b"/bin/true", inode: 7, bytes: 40_000, modified: (1, 2) };
    assert_eq!(builder.add_file(&file), Ok(0));
    assert_eq!((builder.find(b"/bin/true"), builder.find(b"/bin/tru")), (Some(0), None));
    areas.iter().try_for_each(|area| builder.add(area))?;
    let mut out = vec![0; 8192];
    let length = builder.finish(head, &mut out)?;
    out.truncate(length);
    Ok(out)
}

fn judge(head: &Head, areas: &[Area]) -> Result<usize, Fault> {
    let bytes = build(head, areas).unwrap();
    Index::parse(&bytes, head.image_bytes).map(|index| index.areas().count())
}

#[test]
fn what_was_written_is_read() {
    let bytes = build(&HEAD, &areas()).unwrap();
    let index = Index::parse(&bytes, HEAD.image_bytes).unwrap();
    assert_eq!(index.areas().collect::<Vec<_>>(), areas());
    assert_eq!(*index.head(), HEAD);
    assert_eq!(index.path(0), Some(&b"/bin/true\0"[..]));
    assert_eq!(index.files().next().unwrap().modified, (1, 2));
    assert_eq!(index.path(1), None);
}

#[test]
fn what_contradicts_itself_is_refused() {
    assert_eq!(judge(&HEAD, &areas()), Ok(6), "the control");
    let wrong: [(usize, Area); 14] = [
        (0, area(0x40_0000, 2, 5, Source::File { file: 1, offset: 0, shared: false })),
        (0, area(0x40_0000, 2, 7, Source::File { file: 0, offset: 0, shared: true })),
        (0, area(0x40_0000, 2, 4, Source::File { file: 0, offset: 1, shared: false })),
        (1, area(0x40_1000, 1, 1, Source::Zero)),
        (1, area(0x50_0000, 1, 1, Source::Image { offset: 0 })),
        (1, area(0x50_0000, 9, 1, Source::Image { offset: PAGES_AT })),
        (1, area(HOME.start, 1, 1, Source::Zero)),
        (1, area(USER.end - PAGE, 2, 1, Source::Zero)),
        (2, area(0x60_0000, 9, 1, Source::Zero)),
        (4, area(0x60_2000, 1, 3, Source::Copy { offset: PAGES_AT + 3 * PAGE })),
        (4, area(0x60_9000, 1, 3, Source::Copy { offset: PAGES_AT + 3 * PAGE })),
        // Pages that are used already: a small image would fill much memory.
        (3, area(0x60_1000, 2, 3, Source::Copy { offset: PAGES_AT })),
        (4, area(0x60_4000, 1, 3, Source::Copy { offset: PAGES_AT + 2 * PAGE })),
        (4, area(0x60_4000, 1, 3, Source::Copy { offset: PAGES_AT + PAGE })),
    ];
    for (at, wrong) in wrong {
        let mut areas = areas();
        areas[at] = wrong;
        assert_eq!(judge(&HEAD, &areas), Err(Fault::Index), "{wrong:?}");
    }
    for head in [
        Head { entry: 0x50_0000, ..HEAD },
        Head { stack: 0x50_0000, ..HEAD },
        Head { vdso: 0x1000, ..HEAD },
        Head { pieces: [Range { start: 0x60_0000, end: 0x60_1000 }; 4], vdso: 0, ..HEAD },
    ] {
        assert_eq!(judge(&head, &areas()), Err(Fault::Index), "{head:?}");
    }
    let bytes = build(&HEAD, &areas()).unwrap();
    assert_eq!(Index::parse(&bytes, HEAD.image_bytes + 1).err(), Some(Fault::Index));
    assert_eq!(Index::parse(&bytes[..bytes.len() - 1], HEAD.image_bytes).err(), Some(Fault::Index));
    assert_eq!(Index::parse(b"strait", 6).err(), Some(Fault::Alien));
}

#[test]
fn codes_and_faults_name_each_other() {
    for code in 224..=235 {
        assert_eq!(Fault::from_code(code).unwrap().code(), code);
    }
    assert_eq!((Fault::from_code(223), Fault::from_code(236), Fault::from_code(i32::MIN)), (None, None, None));
}

proptest! {
    /// Whatever is changed, what is accepted still holds together.
    #[test]
    fn an_accepted_index_is_sound(changes in prop::collection::vec((0usize..600, any::<u8>()), 0..6)) {
        let mut bytes = build(&HEAD, &areas()).unwrap();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        check(&bytes);
    }

    #[test]
    fn random_words_are_no_index(words in prop::collection::vec(prop::sample::select(
        vec![0, 1, 2, 3, PAGE, PAGES_AT, 0x40_0000, u64::MAX, 1 << 63, HOME.start, USER.end]), 20..200)) {
        let mut bytes = build(&HEAD, &areas()).unwrap();
        for (place, word) in bytes[24..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        check(&bytes);
    }
}

fn check(bytes: &[u8]) {
    let Ok(index) = Index::parse(bytes, HEAD.image_bytes) else { return };
    let (mut next, mut unused) = (0, PAGES_AT);
    for area in index.areas() {
        assert!(area.range.is_pages() && USER.contains(area.range) && !area.range.overlaps(HOME));
        assert!(index.head().pieces().all(|piece| !piece.overlaps(area.range)));
        match area.source {
            Source::Copy { offset } | Source::Image { offset } => {
                assert!(unused <= offset && offset + area.range.bytes() <= HEAD.image_bytes);
                unused = offset + area.range.bytes();
            }
            Source::File { file, .. } => assert!(index.path(file).is_some()),
            _ => {}
        }
        if !matches!(area.source, Source::Copy { .. }) {
            assert!(area.range.start >= next);
            next = area.range.end;
        }
    }
}
