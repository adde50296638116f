//! Making sure that people and devices are who they seem to be: by seven pictures, or by a QR code.

use std::sync::Arc;

use hearth_core::chat::{self, Chat, VerificationFeed, feed::Diff, verification::UserTrust};

use crate::{
    error::NodeError,
    node::{Node, Running, Shared},
    parse::user_id,
    records::VerificationDiff,
    watch::{BoxFuture, TaskHandle, follow_mut},
};

/// Whoever wants to know of verifications, in particular of those that others ask for.
#[uniffi::export(foreign)]
pub trait VerificationListener: Send + Sync {
    /// Takes a batch of changes of the list of verifications. The first one is a `Reset`.
    fn on_change(&self, diffs: Vec<VerificationDiff>);
}

/// One of the seven pictures.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Emoji {
    /// The picture.
    pub symbol: String,
    /// Its name in English.
    pub name: String,
}

/// Where a verification stands.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum VerificationState {
    /// One side asked. The other one accepts or cancels.
    Requested,
    /// Both are there. Either begins with pictures, or shows or scans a code.
    Ready {
        /// Pictures can be compared.
        can_compare: bool,
        /// We can show a code that the other side scans.
        can_show: bool,
        /// We can scan a code that the other side shows.
        can_scan: bool,
    },
    /// Pictures are on their way.
    Comparing,
    /// Both people see these seven, or somebody is between them: confirm, or say that they differ.
    Emoji {
        /// The pictures.
        emoji: Vec<Emoji>,
    },
    /// Our code can be scanned.
    QrShown,
    /// The other side scanned our code, it says: confirm if their phone says so.
    QrScanned,
    /// We are done; the other side is not.
    Confirmed,
    /// They are verified.
    Done,
    /// It ended without a result.
    Cancelled {
        /// A sentence for a person.
        reason: String,
        /// We ended it.
        by_us: bool,
    },
}

/// A verification.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct VerificationInfo {
    /// Its id.
    pub id: String,
    /// With whom.
    pub user: String,
    /// With which device of theirs, once one has answered.
    pub device: Option<String>,
    /// They asked us.
    pub incoming: bool,
    /// Where it stands.
    pub state: VerificationState,
}

/// How far a person is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PersonTrust {
    /// They were verified, and have the same identity still.
    Verified,
    /// They have the identity that they had when we first heard of them.
    Unverified,
    /// They have another identity than before: verify them.
    Changed,
    /// They have no identity, or it is not known here.
    Unknown,
}

/// Verifications.
#[derive(uniffi::Object)]
pub struct Verifications {
    shared: Arc<Shared>,
}

#[uniffi::export]
impl Node {
    /// Verifications of people and of the person's other devices.
    pub fn verifications(&self) -> Arc<Verifications> {
        Arc::new(Verifications { shared: self.shared.clone() })
    }
}

#[uniffi::export]
impl Verifications {
    /// Tells a listener of all verifications, until the answer is cancelled or dropped.
    ///
    /// # Errors
    /// [`NodeError::Internal`] when the runtime has ended.
    pub fn subscribe(&self, listener: Arc<dyn VerificationListener>) -> Result<Arc<TaskHandle>, NodeError> {
        let open = |running: &Arc<Running>| running.chat.verifications();
        follow_mut(&self.shared, open, next, move |diffs| listener.on_change(VerificationDiff::batch(diffs)))
    }

    /// Asks somebody, or the person's own other devices, to verify each other. Answers the verification's id.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] for somebody of whom nothing is known yet, [`NodeError::InvalidInput`].
    pub async fn request(&self, user: String) -> Result<String, NodeError> {
        let user = user_id(&user)?;
        self.shared.with(async move |running| Ok(running.chat.request_verification(&user, None).await?.info().id)).await
    }

    /// Agrees to a verification that somebody asked for.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] for one that is over.
    pub async fn accept(&self, id: String) -> Result<(), NodeError> {
        self.with(id, async |flow| Ok(flow.accept().await?)).await
    }

    /// Begins to compare pictures.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::InvalidInput`] when it cannot be done now.
    pub async fn compare(&self, id: String) -> Result<(), NodeError> {
        self.with(id, async |flow| Ok(flow.start_sas().await?)).await
    }

    /// Says that both see the same, or that the other phone says that it scanned our code.
    ///
    /// # Errors
    /// As [`Verifications::compare`].
    pub async fn confirm(&self, id: String) -> Result<(), NodeError> {
        self.with(id, async |flow| Ok(flow.confirm().await?)).await
    }

    /// Says that the pictures differ.
    ///
    /// # Errors
    /// As [`Verifications::compare`].
    pub async fn mismatch(&self, id: String) -> Result<(), NodeError> {
        self.with(id, async |flow| Ok(flow.mismatch().await?)).await
    }

    /// Ends it.
    ///
    /// # Errors
    /// As [`Verifications::accept`].
    pub async fn cancel(&self, id: String) -> Result<(), NodeError> {
        self.with(id, async |flow| Ok(flow.cancel().await?)).await
    }

    /// The bytes of the code to show.
    ///
    /// # Errors
    /// As [`Verifications::compare`].
    pub async fn qr_code(&self, id: String) -> Result<Vec<u8>, NodeError> {
        self.with(id, async |flow| Ok(flow.qr_code().await?)).await
    }

    /// Takes the bytes of a code that was scanned.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`] for another kind of code, [`NodeError::Crypto`] for one of somebody else.
    pub async fn scan(&self, id: String, code: Vec<u8>) -> Result<(), NodeError> {
        self.with(id, async move |flow| Ok(flow.scan(&code).await?)).await
    }

    /// How far somebody is known.
    ///
    /// # Errors
    /// [`NodeError::InvalidInput`], [`NodeError::Storage`].
    pub async fn trust(&self, user: String) -> Result<PersonTrust, NodeError> {
        let user = user_id(&user)?;
        self.shared.with(async move |running| Ok(running.chat.trust_of(&user).await?.into())).await
    }
}

impl Verifications {
    async fn with<T, Fut>(
        &self,
        id: String,
        work: impl FnOnce(chat::Verification) -> Fut + Send + 'static,
    ) -> Result<T, NodeError>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, NodeError>> + Send + 'static,
    {
        self.shared
            .with(async move |running| {
                let chat: &Chat = &running.chat;
                let flow = chat.verification(&id);
                let flow =
                    flow.ok_or_else(|| NodeError::NotFound { reason: "there is no such verification".into() })?;
                work(flow).await
            })
            .await
    }
}

fn next(feed: &mut VerificationFeed) -> BoxFuture<'_, Option<Vec<Diff<chat::VerificationInfo>>>> {
    Box::pin(feed.next())
}

impl From<UserTrust> for PersonTrust {
    fn from(trust: UserTrust) -> Self {
        match trust {
            UserTrust::Verified => Self::Verified,
            UserTrust::Unverified => Self::Unverified,
            UserTrust::Changed => Self::Changed,
            UserTrust::Unknown => Self::Unknown,
        }
    }
}

impl From<chat::VerificationInfo> for VerificationInfo {
    fn from(info: chat::VerificationInfo) -> Self {
        Self {
            id: info.id,
            user: info.other_user.to_string(),
            device: info.other_device.map(|device| device.to_string()),
            incoming: info.incoming,
            state: info.state.into(),
        }
    }
}

impl From<chat::VerificationState> for VerificationState {
    fn from(state: chat::VerificationState) -> Self {
        use chat::VerificationState as S;
        match state {
            S::Ready { can_compare, can_show, can_scan } => Self::Ready { can_compare, can_show, can_scan },
            S::SasStarted => Self::Comparing,
            S::SasEmoji { emoji, .. } => Self::Emoji {
                emoji: emoji.into_iter().map(|one| Emoji { symbol: one.symbol, name: one.name }).collect(),
            },
            S::QrShown => Self::QrShown,
            S::QrScanned => Self::QrScanned,
            S::Confirmed => Self::Confirmed,
            S::Done => Self::Done,
            S::Cancelled { reason, by_us } => Self::Cancelled { reason, by_us },
            _ => Self::Requested,
        }
    }
}
