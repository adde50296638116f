//! Whatever two people do, a list that was kept by diffs is the list that a fresh look gives.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::world::{Listed, Phone, items_of, pair, settle};
use crate::chat::{
    message::TextMessage,
    timeline::{Timeline, TimelineItem},
};

/// One step of somebody, on a row that is drawn by lot.
async fn step(rng: &mut ChaCha8Rng, timeline: &Timeline, rows: &[TimelineItem], n: usize) {
    let pick = rows.get(rng.next_u32() as usize % rows.len().max(1));
    let own = rows.iter().rfind(|item| item.mine && super::world::text(item).is_some());
    // What a step may not do is refused, which is as good a step as any.
    match (rng.next_u32() % 8, pick, own) {
        (0, Some(item), _) => drop(timeline.react(&item.id, ["👍", "🍰"][n % 2]).await),
        (1, Some(item), _) => drop(timeline.unreact(&item.id, ["👍", "🍰"][n % 2]).await),
        (2, _, Some(item)) => drop(timeline.edit(&item.id, TextMessage::plain(format!("edit {n}"))).await),
        (3, _, Some(item)) => drop(timeline.redact(&item.id, None).await),
        (4, Some(item), _) => {
            let text = TextMessage { reply_to: item.event_id.clone(), ..TextMessage::plain(format!("answer {n}")) };
            drop(timeline.send_text(text).await);
        }
        (5, ..) => drop(timeline.mark_read(false).await),
        _ => drop(timeline.send_text(TextMessage::plain(format!("text {n}"))).await),
    }
}

async fn check(phone: &Phone, list: &Listed<TimelineItem>, room: &ruma::RoomId) {
    let fresh = phone.room(room).timeline();
    drop(fresh.paginate_backwards(500).await);
    assert_eq!(list.rows, items_of(&fresh).await);
}

#[tokio::test(start_paused = true)]
async fn diffs_lead_to_what_a_fresh_look_shows() {
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (net, alice, bob, room) = pair().await;
        let (hers, his) = (alice.room(&room).timeline(), bob.room(&room).timeline());
        let (mut her_list, mut his_list) = (Listed::new(), Listed::new());
        her_list.keep(&hers).await;
        his_list.keep(&his).await;
        his.paginate_backwards(500).await.unwrap();
        his_list.keep(&his).await;
        let mut apart = false;
        for n in 0..40 {
            if rng.next_u32() % 10 == 0 {
                if apart {
                    net.link(&alice, &bob)
                } else {
                    net.cut(&alice, &bob)
                }
                apart = !apart;
            }
            step(&mut rng, &hers, &her_list.rows, n).await;
            step(&mut rng, &his, &his_list.rows, n).await;
            if n % 3 == 0 {
                her_list.keep(&hers).await;
                his_list.keep(&his).await;
                check(&alice, &her_list, &room).await;
                check(&bob, &his_list, &room).await;
            }
        }
        net.link(&alice, &bob);
        settle().await;
        her_list.keep(&hers).await;
        his_list.keep(&his).await;
        let said = |rows: &[TimelineItem]| {
            let mut said: Vec<_> = rows
                .iter()
                .map(|item| {
                    (
                        item.event_id.clone(),
                        item.content.clone(),
                        item.edited,
                        item.reactions.iter().map(|r| (r.key.clone(), r.senders.len())).collect::<Vec<_>>(),
                    )
                })
                .collect();
            said.sort_by_key(|row| row.0.clone());
            said
        };
        assert_eq!(said(&her_list.rows), said(&his_list.rows), "both see the same, seed {seed}");
    }
}
