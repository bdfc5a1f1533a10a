//! How long it takes to list large tables as engines lay them out.

use super::store::{Store, longest_chain};

/// A name as engines give them, other for each number.
fn name(number: u64) -> String {
    let scattered = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    format!(
        "{:05}-17-{}-00001.parquet",
        number % 200,
        uuid::Uuid::from_u128(scattered)
    )
}

#[test]
fn large_tables_of_usual_layouts_are_listed_side_by_side() {
    let flat = |number| format!("t/data/{}", name(number));
    let partitioned = |number: u64| {
        let (day, hour) = (number / 24 % 208, number % 24);
        let (month, day) = (day / 28 + 1, day % 28 + 1);
        format!(
            "t/data/event_date=2024-{month:02}-{day:02}/hour={hour:02}/{}",
            name(number)
        )
    };
    let hashed = |number: u64| {
        let hash = format!("{:020b}", number.wrapping_mul(0x9e37_79b1) >> 7 & 0xf_ffff);
        let (a, b, c, d) = (&hash[..4], &hash[4..8], &hash[8..12], &hash[12..]);
        format!("t/data/{a}/{b}/{c}/{d}/{}", name(number))
    };
    let layouts: [&dyn Fn(u64) -> String; 3] = [&flat, &partitioned, &hashed];
    for layout in layouts {
        let store = Store::of((0..50_000).map(layout), 50);
        let (chain, listed) = longest_chain(&store);
        assert_eq!(listed.keys.len(), store.keys.len());
        // One after the other they would be a thousand.
        let requests = listed.pages + listed.probes;
        assert!(
            chain <= 200 && requests <= 1_600,
            "{}: {chain}, {requests}",
            layout(0)
        );
    }
}
