//! One verification: where it stands, and what a person can do about it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use matrix_sdk_crypto::{
    CancelInfo, OlmMachine, QrVerificationState, SasState, VerificationRequest, VerificationRequestState,
    matrix_sdk_qrcode::QrVerificationData,
};
use ruma::{
    OwnedDeviceId, OwnedUserId, UserId,
    events::key::verification::{VerificationMethod, cancel::CancelCode},
};
use tokio::time::{Duration, Instant};

use super::{super::feed::Item, send_all};
use crate::{
    chat::{
        ChatError, Inner,
        crypto::{
            CryptoError,
            send::{self, verification_methods},
        },
    },
    types::limits::VERIFICATIONS_MAX,
};

type Machine = matrix_sdk_crypto::Verification;

/// How far behind a time-out is looked at, so that it has surely passed.
const TIMEOUT_SLACK: Duration = Duration::from_secs(1);

/// One of the seven pictures that both people see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SasEmoji {
    /// The picture.
    pub symbol: String,
    /// Its name in English.
    pub name: String,
}

/// Where a verification stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerificationState {
    /// One side asked. The other one accepts or cancels.
    Requested,
    /// Both are there. Either begins with emoji, or shows or scans a code.
    Ready {
        /// Emoji can be compared.
        can_compare: bool,
        /// We can show a code that the other side scans.
        can_show: bool,
        /// We can scan a code that the other side shows.
        can_scan: bool,
    },
    /// Emoji are on their way.
    SasStarted,
    /// Both people see the same, or somebody is between them: confirm, or say that they differ.
    SasEmoji {
        /// Seven pictures; none if the other side knows numbers only.
        emoji: Vec<SasEmoji>,
        /// The same as three numbers.
        decimals: (u16, u16, u16),
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

impl VerificationState {
    /// Whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Cancelled { .. })
    }
}

/// A verification as a UI shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationInfo {
    /// Its id, for [`Chat::verification`](crate::chat::Chat::verification).
    pub id: String,
    /// With whom.
    pub other_user: OwnedUserId,
    /// With which device of theirs, once one has answered.
    pub other_device: Option<OwnedDeviceId>,
    /// They asked us.
    pub incoming: bool,
    /// Where it stands.
    pub state: VerificationState,
}

impl Item for VerificationInfo {
    type Id = String;

    fn id(&self) -> String {
        self.id.clone()
    }
}

/// The name of a flow. The other side chooses the flow's own id, so it counts beside who they are.
fn id_of(request: &VerificationRequest) -> String {
    format!("{}/{}", request.other_user(), request.flow_id().as_str())
}

/// A flow as it stands.
pub(super) fn info(request: &VerificationRequest) -> VerificationInfo {
    VerificationInfo {
        id: id_of(request),
        other_user: request.other_user().to_owned(),
        other_device: request.other_device_id(),
        incoming: !request.we_started(),
        state: state(request.state()),
    }
}

fn state(state: VerificationRequestState) -> VerificationState {
    use VerificationMethod as M;
    use VerificationRequestState as S;
    match state {
        S::Created { .. } | S::Requested { .. } => VerificationState::Requested,
        S::Ready { their_methods, our_methods, .. } => {
            let both = |ours: M, theirs: M| our_methods.contains(&ours) && their_methods.contains(&theirs);
            let can_reciprocate = both(M::ReciprocateV1, M::ReciprocateV1);
            VerificationState::Ready {
                can_compare: both(M::SasV1, M::SasV1),
                can_show: can_reciprocate && both(M::QrCodeShowV1, M::QrCodeScanV1),
                can_scan: can_reciprocate && both(M::QrCodeScanV1, M::QrCodeShowV1),
            }
        }
        S::Transitioned { verification: Machine::SasV1(sas), .. } => match sas.state() {
            SasState::Created { .. } | SasState::Started { .. } | SasState::Accepted { .. } => {
                VerificationState::SasStarted
            }
            SasState::KeysExchanged { emojis, decimals } => {
                let emoji = emojis.into_iter().flat_map(|emojis| emojis.emojis);
                let emoji = emoji.map(|emoji| SasEmoji { symbol: emoji.symbol.into(), name: emoji.description.into() });
                VerificationState::SasEmoji { emoji: emoji.collect(), decimals }
            }
            SasState::Confirmed => VerificationState::Confirmed,
            SasState::Done { .. } => VerificationState::Done,
            SasState::Cancelled(info) => cancelled(&info),
        },
        S::Transitioned { verification: Machine::QrV1(qr), .. } => match qr.state() {
            QrVerificationState::Started => VerificationState::QrShown,
            QrVerificationState::Scanned => VerificationState::QrScanned,
            QrVerificationState::Confirmed | QrVerificationState::Reciprocated => VerificationState::Confirmed,
            QrVerificationState::Done { .. } => VerificationState::Done,
            QrVerificationState::Cancelled(info) => cancelled(&info),
        },
        S::Transitioned { .. } => VerificationState::SasStarted,
        S::Done => VerificationState::Done,
        S::Cancelled(info) => cancelled(&info),
    }
}

fn cancelled(info: &CancelInfo) -> VerificationState {
    VerificationState::Cancelled { reason: info.reason().to_owned(), by_us: info.cancelled_by_us() }
}

/// The flows that are known, the oldest first.
#[derive(Debug, Default)]
pub(in crate::chat) struct Flows(Mutex<Vec<Flow>>);

#[derive(Debug)]
struct Flow {
    request: VerificationRequest,
    shown: VerificationInfo,
}

impl Flows {
    /// Takes in what the machine has of a user.
    pub(in crate::chat) fn notice(&self, machine: &OlmMachine, user: &UserId) {
        for request in machine.get_verification_requests(user) {
            self.add(request);
        }
    }

    /// Takes a flow in, if it is new. Of too many an ended one goes, or the oldest.
    pub(in crate::chat) fn add(&self, request: VerificationRequest) {
        let shown = info(&request);
        let mut flows = self.lock();
        if flows.iter().any(|flow| flow.shown.id == shown.id) {
            return;
        }
        if flows.len() >= VERIFICATIONS_MAX {
            let ended = flows.iter().position(|flow| flow.shown.state.is_over());
            flows.remove(ended.unwrap_or(0));
        }
        // A state that was never shown: the next look at it tells of it.
        flows.push(Flow { request, shown: VerificationInfo { state: VerificationState::Done, ..shown } });
    }

    /// A flow by its id.
    pub(in crate::chat) fn find(&self, id: &str) -> Option<VerificationRequest> {
        self.lock().iter().find(|flow| flow.shown.id == id).map(|flow| flow.request.clone())
    }

    /// All flows as they stand, the oldest first.
    pub(super) fn all(&self) -> Vec<VerificationInfo> {
        self.lock().iter().map(|flow| info(&flow.request)).collect()
    }

    /// When the next flow times out.
    pub(in crate::chat) fn next_timeout(&self) -> Option<Instant> {
        let flows = self.lock();
        let open = flows.iter().filter(|flow| !info(&flow.request).state.is_over());
        let left = open.map(|flow| flow.request.time_remaining()).min()?;
        Some(Instant::now() + left + TIMEOUT_SLACK)
    }

    /// Whether a flow has timed out, and the machine must be told to end it.
    pub(in crate::chat) fn is_late(&self) -> bool {
        self.lock().iter().any(|flow| flow.request.timed_out() && !info(&flow.request).state.is_over())
    }

    /// The flows whose state is another one than at the last look.
    fn moved(&self) -> Vec<VerificationInfo> {
        let mut moved = Vec::new();
        for flow in self.lock().iter_mut() {
            let now = info(&flow.request);
            if now != flow.shown {
                flow.shown = now.clone();
                moved.push(now);
            }
        }
        moved
    }

    fn requests(&self) -> Vec<VerificationRequest> {
        self.lock().iter().map(|flow| flow.request.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Flow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after the flows: what needs no person is done. Answers who was verified since the last look.
pub(in crate::chat) async fn tend(inner: &Inner) -> Result<Vec<OwnedUserId>, CryptoError> {
    for request in inner.crypto.flows.requests() {
        let VerificationRequestState::Transitioned { verification: Machine::SasV1(sas), .. } = request.state() else {
            continue;
        };
        // The other side has begun. Both have agreed to verify; who of them begins makes no difference to a person.
        if matches!(sas.state(), SasState::Started { .. })
            && let Some(accept) = sas.accept()
        {
            send::verification(inner, accept).await?;
        }
    }
    let moved = inner.crypto.flows.moved();
    if !moved.is_empty() {
        inner.changes.ring();
    }
    Ok(moved.into_iter().filter(|info| info.state == VerificationState::Done).map(|info| info.other_user).collect())
}

/// One verification, to act on and to watch.
pub struct Verification {
    inner: Arc<Inner>,
    request: VerificationRequest,
    shown: Option<VerificationInfo>,
}

impl Verification {
    pub(super) fn new(inner: Arc<Inner>, request: VerificationRequest) -> Self {
        Self { inner, request, shown: None }
    }

    /// Where it stands.
    pub fn info(&self) -> VerificationInfo {
        info(&self.request)
    }

    /// Where it stands, the first time at once and then when it has moved on. `None` after its end was told, or once the client
    /// has ended.
    pub async fn next(&mut self) -> Option<VerificationInfo> {
        loop {
            let seen = self.inner.seen();
            let now = self.info();
            if self.shown.as_ref() != Some(&now) {
                self.shown = Some(now.clone());
                return Some(now);
            }
            if now.state.is_over() {
                return None;
            }
            self.inner.changed_after(seen).await.ok()?;
        }
    }

    /// Agrees to verify. Nothing happens to a flow that is beyond that.
    ///
    /// # Errors
    /// The store's.
    pub async fn accept(&self) -> Result<(), ChatError> {
        Ok(send_all(&self.inner, self.request.accept_with_methods(verification_methods())).await?)
    }

    /// Begins to compare emoji.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] when the flow is not ready for it; the store's.
    pub async fn start_sas(&self) -> Result<(), ChatError> {
        let started = self.request.start_sas().await.map_err(CryptoError::from)?;
        let (_, request) = started.ok_or_else(|| not_now("emoji cannot be compared now"))?;
        Ok(send_all(&self.inner, [request]).await?)
    }

    /// Says that both people see the same, or that the other side has scanned our code.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] when there is nothing to confirm; the store's.
    pub async fn confirm(&self) -> Result<(), ChatError> {
        match self.request.state() {
            VerificationRequestState::Transitioned { verification: Machine::SasV1(sas), .. }
                if sas.can_be_presented() =>
            {
                let (requests, signatures) = sas.confirm().await.map_err(CryptoError::from)?;
                if let Some(signatures) = signatures {
                    send::signatures(&self.inner, signatures).await?;
                }
                Ok(send_all(&self.inner, requests).await?)
            }
            VerificationRequestState::Transitioned { verification: Machine::QrV1(qr), .. } => {
                let confirm = qr.confirm_scanning().ok_or_else(|| not_now("our code was not scanned yet"))?;
                Ok(send_all(&self.inner, [confirm]).await?)
            }
            _ => Err(not_now("there is nothing to confirm yet").into()),
        }
    }

    /// Says that the two people see different things: somebody may be between them. The verification ends.
    ///
    /// # Errors
    /// The store's.
    pub async fn mismatch(&self) -> Result<(), ChatError> {
        match self.request.state() {
            VerificationRequestState::Transitioned { verification: Machine::SasV1(sas), .. } => {
                Ok(send_all(&self.inner, sas.cancel_with_code(CancelCode::MismatchedSas)).await?)
            }
            _ => self.cancel().await,
        }
    }

    /// Ends the verification, or declines it.
    ///
    /// # Errors
    /// The store's.
    pub async fn cancel(&self) -> Result<(), ChatError> {
        Ok(send_all(&self.inner, self.request.cancel()).await?)
    }

    /// The bytes of a code for the other side to scan, to be drawn in binary mode.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] when the flow is not ready for it, or the other side cannot scan; the store's.
    pub async fn qr_code(&self) -> Result<Vec<u8>, ChatError> {
        let shown = match self.request.state() {
            VerificationRequestState::Transitioned { verification: Machine::QrV1(qr), .. } => Some(*qr),
            _ => self.request.generate_qr_code().await.map_err(CryptoError::from)?,
        };
        let shown = shown.ok_or_else(|| not_now("a code cannot be shown now"))?;
        self.inner.changes.ring();
        Ok(shown.to_bytes().map_err(|error| CryptoError::Failed(error.to_string()))?)
    }

    /// Takes the bytes of the other side's code, which was scanned. The other person then confirms.
    ///
    /// # Errors
    /// [`ChatError::Invalid`] for a code of something else, and when the flow is not ready for it; [`ChatError::Crypto`] for a
    /// code that names other keys than we know: somebody may be between the two people; the store's.
    pub async fn scan(&self, bytes: &[u8]) -> Result<(), ChatError> {
        let data = QrVerificationData::from_bytes(bytes);
        let data = data.map_err(|error| ChatError::Invalid(format!("this is no code for verification: {error}")))?;
        let scanned = self.request.scan_qr_code(data).await.map_err(|error| CryptoError::Failed(error.to_string()))?;
        let scanned = scanned.ok_or_else(|| not_now("a code cannot be scanned now"))?;
        Ok(send_all(&self.inner, scanned.reciprocate()).await?)
    }
}

impl std::fmt::Debug for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verification").field("info", &self.info()).finish_non_exhaustive()
    }
}

fn not_now(why: &str) -> CryptoError {
    CryptoError::Invalid(why.to_owned())
}
