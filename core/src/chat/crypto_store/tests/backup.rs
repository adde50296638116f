//! Which room keys the backup lacks, and the marks of those that it has.

use super::*;

#[tokio::test]
async fn a_backup_is_filled_batch_by_batch_and_what_is_saved_meanwhile_is_not_forgotten() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let mut left = std::collections::BTreeSet::new();
    let names = |sessions: &[InboundGroupSession]| -> Vec<String> {
        sessions.iter().map(|session| session.session_id().to_owned()).collect()
    };
    let batch = async || desk.store.inbound_group_sessions_for_backup("1", 30).await.unwrap();
    for round in 0..7 {
        let due = if round < 6 { 30 } else { 20 };
        // Keys lie in no order: some of these come before those that were marked already.
        let mut sessions = Vec::new();
        for _ in 0..if round < 5 { 40 } else { 0 } {
            sessions.push(pair(&account, room()).await.1);
        }
        left.extend(names(&sessions));
        desk.save(Changes { inbound_group_sessions: sessions, ..Default::default() }).await;
        let first = batch().await;
        assert_eq!(names(&batch().await).len(), names(&first).len(), "what was not marked comes again");
        let marked = names(&first);
        let marks: Vec<_> = marked.iter().map(|name| (room(), name.as_str())).collect();
        desk.store.mark_inbound_group_sessions_as_backed_up("1", &marks).await.unwrap();
        assert_eq!(marked.len(), due);
        assert!(marked.iter().all(|name| left.remove(name)), "each comes until it is marked, and not after");
        assert!(!desk.store.lacks_nothing());
    }
    assert_eq!(batch().await.len(), 0);
    assert!(left.is_empty() && desk.store.lacks_nothing());
    assert_eq!(desk.store.inbound_group_session_counts(Some("1")).await.unwrap().backed_up, 200);
}

/// A better room key came while the one before was on its way into the backup. To mark it would keep it out for ever.
#[tokio::test]
async fn a_room_key_that_was_replaced_while_it_was_backed_up_is_not_marked() {
    let desk = Desk::new().await;
    let account = desk.account().await;
    let (replaced, same) = (pair(&account, room()).await.1, pair(&account, room()).await.1);
    desk.save(Changes { inbound_group_sessions: vec![replaced.clone(), same], ..Default::default() }).await;
    let (found, marks) = desk.store.not_backed_up("1", 9).await.unwrap();
    assert_eq!(found.len(), 2);
    desk.save(Changes { inbound_group_sessions: vec![replaced.clone()], ..Default::default() }).await;
    desk.store.store.write::<_, StoreError, _>(move |tx| marks.apply(tx)).await.unwrap();
    let (left, _) = desk.store.not_backed_up("1", 9).await.unwrap();
    let left: Vec<_> = left.iter().map(InboundGroupSession::session_id).collect();
    assert_eq!(left, [replaced.session_id()]);
}
