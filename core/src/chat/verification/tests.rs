//! People who make sure that nobody sits between them.

use super::{UserTrust, Verification, VerificationInfo, VerificationState};
use crate::chat::{
    ChatError, Trust,
    crypto::{
        Clear,
        testing::{Net, Phone, people, settle},
    },
    feed::{Diff, apply},
};

/// The newest verification that a phone knows.
async fn newest(phone: &Phone) -> Verification {
    settle().await;
    let id = phone.chat.inner.crypto.flows.all().last().expect("a verification came").id.clone();
    phone.chat.verification(&id).unwrap()
}

async fn trust(phone: &Phone, other: &Phone) -> UserTrust {
    phone.chat.trust_of(&other.user).await.unwrap()
}

/// Two people who have a room for themselves.
async fn couple(net: &std::sync::Arc<Net>) -> ([Phone; 2], ruma::OwnedRoomId) {
    let [alice, bob] = people(net, ["alice", "bob"]).await;
    let room = alice.create("shared").await;
    alice.bring(&room, &bob).await;
    ([alice, bob], room)
}

/// Asks and accepts.
async fn both_ready(alice: &Phone, bob: &Phone) -> [Verification; 2] {
    let hers = alice.chat.request_verification(&bob.user, None).await.unwrap();
    assert_eq!(hers.info().state, VerificationState::Requested);
    let his = newest(bob).await;
    let VerificationInfo { other_user, other_device, incoming, state, .. } = his.info();
    assert_eq!((other_user, other_device, incoming), (alice.user.clone(), Some(alice.me().device), true));
    assert_eq!(state, VerificationState::Requested);
    his.accept().await.unwrap();
    settle().await;
    let ready = VerificationState::Ready { can_compare: true, can_show: true, can_scan: true };
    assert_eq!((hers.info().state, his.info().state), (ready.clone(), ready));
    [hers, his]
}

fn shown(verification: &Verification) -> (Vec<String>, (u16, u16, u16)) {
    match verification.info().state {
        VerificationState::SasEmoji { emoji, decimals } => {
            (emoji.into_iter().map(|emoji| emoji.symbol).collect(), decimals)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn two_people_compare_emoji_and_are_verified_for_each_other() {
    for bob_starts in [false, true] {
        let net = Net::new();
        let ([alice, bob], room) = couple(&net).await;
        let [hers, his] = both_ready(&alice, &bob).await;
        if bob_starts {
            his.start_sas().await.unwrap()
        } else {
            hers.start_sas().await.unwrap()
        }
        settle().await;
        assert_eq!(shown(&hers), shown(&his));
        assert_eq!(shown(&hers).0.len(), 7);
        hers.confirm().await.unwrap();
        settle().await;
        assert_eq!(hers.info().state, VerificationState::Confirmed);
        assert_eq!(trust(&alice, &bob).await, UserTrust::Unverified, "not before both have confirmed");
        his.confirm().await.unwrap();
        settle().await;
        assert_eq!((hers.info().state, his.info().state), (VerificationState::Done, VerificationState::Done));
        assert_eq!(trust(&alice, &bob).await, UserTrust::Verified);
        assert_eq!(trust(&bob, &alice).await, UserTrust::Verified);
        let event = bob.say(&room, "it is me").await;
        settle().await;
        let Clear::Event { trust, .. } = alice.read(&room, &event).await else { panic!("unread") };
        assert_eq!(trust, Trust::Verified);
        // It outlives a restart.
        let alice = alice.reboot().await;
        assert_eq!(alice.chat.trust_of(&bob.user).await.unwrap(), UserTrust::Verified);
    }
}

#[tokio::test(start_paused = true)]
async fn what_differs_ends_it_for_both_and_verifies_nobody() {
    let net = Net::new();
    let ([alice, bob], _) = couple(&net).await;
    let [hers, his] = both_ready(&alice, &bob).await;
    hers.start_sas().await.unwrap();
    settle().await;
    his.confirm().await.unwrap();
    hers.mismatch().await.unwrap();
    settle().await;
    let ended = |verification: &Verification| match verification.info().state {
        VerificationState::Cancelled { by_us, reason } => {
            assert!(reason.contains("SAS"), "{reason}");
            by_us
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((ended(&hers), ended(&his)), (true, false));
    assert_eq!(trust(&alice, &bob).await, UserTrust::Unverified);
    assert_eq!(trust(&bob, &alice).await, UserTrust::Unverified);
}

#[tokio::test(start_paused = true)]
async fn a_code_is_shown_scanned_and_confirmed() {
    let net = Net::new();
    let ([alice, bob], _) = couple(&net).await;
    let [hers, his] = both_ready(&alice, &bob).await;
    let code = hers.qr_code().await.unwrap();
    assert_eq!(hers.info().state, VerificationState::QrShown);
    assert_eq!(hers.qr_code().await.unwrap(), code, "the same code as long as it is shown");
    his.scan(&code).await.unwrap();
    settle().await;
    assert_eq!((hers.info().state, his.info().state), (VerificationState::QrScanned, VerificationState::Confirmed));
    hers.confirm().await.unwrap();
    settle().await;
    assert_eq!((hers.info().state, his.info().state), (VerificationState::Done, VerificationState::Done));
    assert_eq!(trust(&alice, &bob).await, UserTrust::Verified);
    assert_eq!(trust(&bob, &alice).await, UserTrust::Verified);
}

#[tokio::test(start_paused = true)]
async fn a_code_of_something_else_is_refused() {
    let net = Net::new();
    let ([alice, bob], _) = couple(&net).await;
    let [hers, his] = both_ready(&alice, &bob).await;
    let code = hers.qr_code().await.unwrap();
    assert!(matches!(his.scan(b"https://example.org").await, Err(ChatError::Invalid(_))));
    // Somebody in between names another key. Two keys stand before the secret of 16 bytes.
    let mut forged = code.clone();
    let end = forged.len() - 16;
    forged[end - 32..end].copy_from_slice(alice.chat.inner.crypto.machine.identity_keys().ed25519.as_bytes());
    assert!(matches!(his.scan(&forged).await, Err(ChatError::Crypto(_))));
    assert_eq!(trust(&bob, &alice).await, UserTrust::Unverified);
}

#[tokio::test(start_paused = true)]
async fn a_request_can_be_declined_and_taken_back() {
    let net = Net::new();
    let ([alice, bob], _) = couple(&net).await;
    let hers = alice.chat.request_verification(&bob.user, None).await.unwrap();
    newest(&bob).await.cancel().await.unwrap();
    settle().await;
    assert!(matches!(hers.info().state, VerificationState::Cancelled { by_us: false, .. }), "{hers:?}");
    let hers = alice.chat.request_verification(&bob.user, None).await.unwrap();
    let his = newest(&bob).await;
    hers.cancel().await.unwrap();
    settle().await;
    assert!(matches!(his.info().state, VerificationState::Cancelled { by_us: false, .. }), "{his:?}");
    assert!(matches!(his.start_sas().await, Err(ChatError::Invalid(_))));
    assert!(matches!(his.confirm().await, Err(ChatError::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn without_a_room_of_the_two_a_device_is_asked() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    // They share nothing: neither knows a device of the other yet.
    let [hers, his] = both_ready(&alice, &bob).await;
    his.start_sas().await.unwrap();
    settle().await;
    hers.confirm().await.unwrap();
    his.confirm().await.unwrap();
    settle().await;
    assert_eq!((hers.info().state, his.info().state), (VerificationState::Done, VerificationState::Done));
    assert_eq!(trust(&alice, &bob).await, UserTrust::Verified);
    assert_eq!(trust(&bob, &alice).await, UserTrust::Verified);
}

#[tokio::test(start_paused = true)]
async fn somebody_of_whom_nothing_is_known_cannot_be_asked() {
    let net = Net::new();
    let [alice, bob] = people(&net, ["alice", "bob"]).await;
    net.cut(&alice, &bob);
    let refused = alice.chat.request_verification(&bob.user, None).await;
    assert!(matches!(refused, Err(ChatError::NotFound(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn feeds_tell_each_step_once_and_end_with_the_client() {
    let net = Net::new();
    let ([alice, bob], _) = couple(&net).await;
    let mut feed = bob.chat.verifications();
    let mut list = Vec::new();
    let first = feed.next().await.unwrap();
    assert_eq!(first, [Diff::Reset(Vec::new())]);
    let hers = alice.chat.request_verification(&bob.user, None).await.unwrap();
    apply(&mut list, &feed.next().await.unwrap());
    assert_eq!(list.len(), 1);
    let mut his = bob.chat.verification(&list[0].id).unwrap();
    assert_eq!(his.next().await.unwrap().state, VerificationState::Requested);
    hers.cancel().await.unwrap();
    assert!(his.next().await.unwrap().state.is_over());
    assert!(his.next().await.is_none());
    apply(&mut list, &feed.next().await.unwrap());
    assert!(list[0].state.is_over());
    bob.chat.stop().await;
    assert!(feed.next().await.is_none());
}
