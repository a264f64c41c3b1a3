//! Payloads of several messages.

use strait_protocol::packed::{ITEM_BYTES, Item, append, item_stride};

/// Reads the bytes as packed items; then packs what was read, and reads it again.
pub fn packed(data: &[u8]) {
    let items = read(data);
    let mut again = vec![0; items.iter().map(|item| item_stride(item.length)).sum()];
    let mut end = 0;
    for item in &items {
        assert!(append(&mut again, end, item.code, item.tag, &data[item.at..][..item.length]));
        end += item_stride(item.length);
    }
    let same = |(a, b): (&Item, &Item)| {
        (a.code, a.tag, &data[a.at..][..a.length]) == (b.code, b.tag, &again[b.at..][..b.length])
    };
    let read_again = read(&again);
    assert!(read_again.len() == items.len() && items.iter().zip(&read_again).all(same));
    // Anywhere, and without room: refused or within bounds.
    if let [a, b, rest @ ..] = data {
        let at = usize::from(u16::from_le_bytes([*a, *b]));
        if let Some(item) = Item::read(rest, at) {
            assert!(item.at + item.length <= rest.len());
        }
        let mut small = rest.to_vec();
        let fits = at <= small.len() && ITEM_BYTES + data.len() <= small.len() - at;
        assert_eq!(append(&mut small, at, 0, 0, data), fits);
        assert!(fits || small == rest);
    }
}

fn read(data: &[u8]) -> Vec<Item> {
    let (mut items, mut at) = (Vec::new(), 0);
    while let Some(item) = Item::read(data, at) {
        assert!(item.at + item.length <= data.len() && item.end() > at);
        at = item.end();
        items.push(item);
    }
    items
}
