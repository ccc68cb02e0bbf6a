//! A broker that writes down what it is asked and answers what the test told it to.

use super::{Evidence, Request};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tidegate_message::TopicFilter;
use tidegate_protocol::{
    Answer, Attach, Attached, Attachment, Authenticate, Authenticated, Authentication, Backlog, Broker,
    Consume, ConsumerId, DeliveryTag, Detach, Follow, Following, Identity, Outcome, Proof, Publish,
    Published, Refusal, ResumeToken, Saved, Saving, Start, Subscribe, Subscribed,
};

/// What the reply addresses of a connection begin with where the test says nothing else.
pub const REPLY_PREFIX: &str = "$reply/own/";

/// Records every request; each kind has a queue of answers, and a friendly answer when that is empty: a new session with the
/// expiry that was asked, a new subscription, a publish that matched. Whoever asks who it is, is anonymous.
///
/// It panics where a machine breaks the contract itself: a consumer that attaches twice, a request while an answer is awaited, a detach
/// without an attached session.
#[derive(Debug, Default)]
pub struct RecordingBroker {
    /// What was asked, in order. Tests take it or clear it.
    pub requests: Vec<Request>,
    /// What was shown as evidence, in order; apart from the requests, because every conversation begins with it.
    pub evidence: Vec<Evidence>,
    /// The next answers to `authenticate`.
    pub authentications: VecDeque<Authentication>,
    /// The next answers to `attach`.
    pub attachments: VecDeque<Attachment>,
    /// The next answers to `consume`.
    pub consumed: VecDeque<Result<(), Refusal>>,
    /// The next answers to `subscribe`.
    pub subscribed: VecDeque<Result<Subscribed, Refusal>>,
    /// The next answers to `follow`; a beginning when empty.
    pub followed: VecDeque<Result<Following, Refusal>>,
    /// The next answers to `unsubscribe`; true when empty.
    pub unsubscribed: VecDeque<bool>,
    /// The next answers to `reply_prefix`; [`REPLY_PREFIX`] when empty.
    pub reply_prefixes: VecDeque<Result<Box<str>, Refusal>>,
    /// The next answers to `publish`.
    pub published: VecDeque<Result<Published, Refusal>>,
    /// The next answers to `publish_all`.
    pub published_all: VecDeque<Result<Answer, (usize, Refusal)>>,
    /// The next answers to a `save` that is awaited; now when empty.
    pub saved: VecDeque<Answer>,
    /// The next answers to `cancel`; true when empty.
    pub cancelled: VecDeque<bool>,
    /// The consumers of attached sessions.
    attached: BTreeSet<ConsumerId>,
    /// The consumer for which the answer to `attach` is still to come.
    attaching: Option<ConsumerId>,
    checks_credentials: bool,
    /// Requests of which the connection is to be told what became of them.
    unanswered: usize,
    is_known: bool,
}

impl RecordingBroker {
    /// Whether a session is attached now.
    pub fn is_attached(&self) -> bool {
        !self.attached.is_empty()
    }

    /// The requests since the last time, oldest first.
    pub fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// Whether the answer to `attach` is still to come.
    pub fn owes_attachment(&self) -> bool {
        self.attaching.is_some()
    }

    /// Whether the answer to `authenticate` is still to come.
    pub fn owes_authentication(&self) -> bool {
        self.checks_credentials
    }

    /// Whether any answer is still to come.
    pub fn owes_an_answer(&self) -> bool {
        self.owes_attachment() || self.checks_credentials
    }

    /// How many requests were answered [`Answer::Later`] and are still to be answered.
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    fn note(&mut self, answer: Option<Answer>) {
        self.unanswered += usize::from(answer == Some(Answer::Later));
    }

    /// Notes that the oldest request is answered; the harness calls it with the answer.
    pub(super) fn answer_request(&mut self) {
        self.unanswered -= 1;
    }

    /// Notes the late answer about credentials; the harness calls it with the reply.
    pub(super) fn answer_authentication(&mut self) {
        (self.checks_credentials, self.is_known) = (false, true);
    }

    /// Notes the late answer, and says for which consumer it is; the harness calls it with the reply.
    pub(super) fn answer_attachment(&mut self, attached: bool) -> Option<ConsumerId> {
        let consumer = self.attaching.take();
        self.attached.extend(consumer.filter(|_| attached));
        consumer
    }
}

impl Broker for RecordingBroker {
    fn authenticate(&mut self, authenticate: Authenticate<'_>) -> Authentication {
        self.evidence.push(authenticate.evidence.into());
        let answer = self.authentications.pop_front().unwrap_or_else(|| {
            Authentication::Now(Authenticated::Accepted {
                identity: anonymous(authenticate.client_id),
                data: Vec::new(),
            })
        });
        self.is_known |= matches!(answer, Authentication::Now(Authenticated::Accepted { .. }));
        self.checks_credentials = matches!(answer, Authentication::Later);
        answer
    }

    fn attach(&mut self, attach: Attach<'_>) -> Attachment {
        assert!(!self.owes_an_answer(), "a connection waits for one answer at a time");
        assert!(!self.attached.contains(&attach.consumer), "a consumer has one session");
        assert!(self.is_known, "nobody attaches who is not known");
        assert!(!attach.client_id.is_empty(), "the client id of an attach is not empty");
        assert!(attach.credit > 0, "the credit of an attach is at least 1");
        let (consumer, expiry) = (attach.consumer, attach.expiry);
        self.requests.push(attach.into());
        let answer = self.attachments.pop_front().unwrap_or_else(|| Attachment::Now(new_session(expiry)));
        match answer {
            Attachment::Now(_) => drop(self.attached.insert(consumer)),
            Attachment::Later => self.attaching = Some(consumer),
            Attachment::Refused(_) => {}
        }
        answer
    }

    fn detach(&mut self, detach: Detach) {
        assert!(self.attached.remove(&detach.consumer), "only an attached session is detached, and once");
        self.requests.push(detach.into());
    }

    fn save(&mut self, consumer: ConsumerId, saved: Saved<'_>, saving: Saving) -> Answer {
        assert!(self.attached.contains(&consumer), "only what has a session is saved");
        self.requests.push(match saved {
            Saved::Whole(bytes) => Request::SaveWhole { consumer, bytes: bytes.to_vec(), saving },
            Saved::More(bytes) => Request::SaveMore { consumer, bytes: bytes.to_vec(), saving },
        });
        let answer = match saving {
            Saving::Along => Answer::Now,
            Saving::Awaited => self.saved.pop_front().unwrap_or(Answer::Now),
        };
        self.note(Some(answer));
        answer
    }

    fn consume(&mut self, consume: Consume) -> Result<(), Refusal> {
        assert!(self.is_known, "nobody consumes who is not known");
        self.requests.push(consume.into());
        self.consumed.pop_front().unwrap_or(Ok(()))
    }

    fn cancel(&mut self, consumer: ConsumerId) -> bool {
        self.requests.push(Request::Cancel(consumer));
        self.cancelled.pop_front().unwrap_or(true)
    }

    fn subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<Subscribed, Refusal> {
        self.requests.push(subscribe.into());
        let answer =
            self.subscribed.pop_front().unwrap_or(Ok(Subscribed { existed: false, answer: Answer::Now }));
        self.note(answer.map(|subscribed| subscribed.answer).ok());
        answer
    }

    fn follow(&mut self, follow: &Follow<'_>) -> Result<Following, Refusal> {
        self.requests.push(follow.into());
        let token = ResumeToken { epoch: 1, ring: 2, position: 3, state_before: None };
        self.followed.pop_front().unwrap_or(Ok(Following { start: Start::Began, token }))
    }

    fn unsubscribe(&mut self, consumer: ConsumerId, share: Option<&str>, filter: &TopicFilter) -> bool {
        let (share, filter) = (share.map(str::to_owned), filter.as_str().to_owned());
        self.requests.push(Request::Unsubscribe { consumer, share, filter });
        self.unsubscribed.pop_front().unwrap_or(true)
    }

    fn keep_only(&mut self, consumer: ConsumerId, filters: &[TopicFilter]) {
        self.requests.push(Request::KeepOnly { consumer, filters: filters.to_vec() });
    }

    fn reply_prefix(&mut self) -> Result<Box<str>, Refusal> {
        self.requests.push(Request::ReplyPrefix);
        self.reply_prefixes.pop_front().unwrap_or_else(|| Ok(REPLY_PREFIX.into()))
    }

    fn publish(&mut self, publish: &Publish<'_>) -> Result<Published, Refusal> {
        self.requests.push(publish.into());
        let answer = self.published.pop_front();
        let answer = answer.unwrap_or(Ok(Published { matched: true, answer: Answer::Now }));
        self.note(answer.map(|published| published.answer).ok());
        answer
    }

    fn publish_all(&mut self, batch: &[Publish<'_>]) -> Result<Answer, (usize, Refusal)> {
        self.requests.push(Request::PublishAll(batch.iter().map(Request::from).collect()));
        let answer = self.published_all.pop_front().unwrap_or(Ok(Answer::Now));
        self.note(answer.ok());
        answer
    }

    fn slow_down(&mut self, time: Duration) {
        self.requests.push(Request::SlowDown(time));
    }

    fn note_dropped(&mut self, reason: &'static str) {
        self.requests.push(Request::NoteDropped(reason));
    }

    fn arrange(&mut self, consumer: ConsumerId, backlog: Backlog) {
        self.requests.push(Request::Arrange { consumer, backlog });
    }

    fn settle(&mut self, consumer: ConsumerId, tag: DeliveryTag, outcome: Outcome) {
        self.requests.push(Request::Settle { consumer, tag, outcome });
    }
}

/// A client that has proved nothing.
fn anonymous(client_id: Option<&str>) -> Arc<Identity> {
    let client_id = client_id.map(Box::from);
    Arc::new(Identity { user: None, client_id, listener: Arc::default(), proof: Proof::Nothing })
}

/// A session that did not exist before.
fn new_session(expiry: Duration) -> Attached {
    Attached { present: false, saved: Vec::new(), expiry, is_durable: false }
}
