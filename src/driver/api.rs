//! The local HTTP API: JSON on loopback, behind a token, for the command line and other local programs (contract.md).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::{Stream, StreamExt};

use super::events::Hub;
use super::files;
use crate::id::JobId;
use crate::io::SubmitRefusal;
use crate::time::Span;
use crate::units::{Ppm, Tokens};
use crate::wire::message::Consistency;

/// The largest request: a command of 64 KiB, every byte of it escaped.
const MAX_BODY: usize = 512 * 1024;
/// The file that tells local programs where the API is.
pub const ADDRESS_FILE: &str = "api-address";
/// The file with the token.
pub const TOKEN_FILE: &str = "api-token";

/// What a local program asks the loop.
#[derive(Debug)]
pub enum Ask {
    /// How the node is.
    Status,
    /// Every member but itself.
    Peers,
    /// Every job it knows.
    Jobs,
    /// What this node's account has, and everyone else's.
    Wallet,
    /// One job, with its output where it was submitted here.
    Job(JobId),
    /// Prometheus' text.
    Metrics,
    /// Run this somewhere.
    Submit(Submission),
    /// Give the node's identity another key.
    RotateKey,
}

/// A question and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// The question.
    pub ask: Ask,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// What the loop answers.
pub type Answer = Result<Value, Problem>;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    /// Something that was asked for is not there.
    #[must_use]
    pub fn not_found(message: String) -> Problem {
        Problem { status: StatusCode::NOT_FOUND, message }
    }

    /// It cannot be done now.
    #[must_use]
    pub fn conflict(message: String) -> Problem {
        Problem { status: StatusCode::CONFLICT, message }
    }

    /// The node is stopping, or wrong.
    #[must_use]
    pub fn internal(message: &str) -> Problem {
        Problem { status: StatusCode::SERVICE_UNAVAILABLE, message: message.to_owned() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

/// A job as a local program submits it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// `shell` unless it is said.
    #[serde(default = "shell")]
    pub job_type: String,
    /// What to run.
    pub command: String,
    /// Further capabilities of whoever runs it.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// What is offered.
    #[serde(default = "ten")]
    pub payment: Tokens,
    /// Between 0 and 1.
    #[serde(default = "half")]
    pub priority: Ppm,
    /// From now.
    #[serde(default = "five_minutes")]
    pub deadline: Span,
    /// How often it is run at most, where running it fails.
    #[serde(default = "once")]
    pub max_attempts: u32,
    /// `quorum` unless it is said; with `available`, a part of a split network runs it too.
    #[serde(default)]
    pub consistency: Consistency,
    /// Whether only executor and backup shall see the command, and only the submitter the output.
    #[serde(default)]
    pub private: bool,
}

fn shell() -> String {
    "shell".to_owned()
}

fn ten() -> Tokens {
    Tokens::whole(10)
}

fn half() -> Ppm {
    Ppm(500_000)
}

fn five_minutes() -> Span {
    Span::secs(300)
}

fn once() -> u32 {
    1
}

/// What the node said to a submission, as an answer.
pub fn submitted(verdict: Option<Result<JobId, SubmitRefusal>>) -> Answer {
    let refused = |status, message: &str| Err(Problem { status, message: message.to_owned() });
    match verdict {
        Some(Ok(job)) => Ok(json!({ "job_id": job })),
        Some(Err(reason)) => match reason {
            SubmitRefusal::CommandTooLarge => refused(StatusCode::BAD_REQUEST, "the command is too large"),
            SubmitRefusal::BadRequirements => {
                refused(StatusCode::BAD_REQUEST, "a job type or requirement has 1 to 32 bytes; 16 requirements at most")
            }
            SubmitRefusal::ReservedCommand => {
                refused(StatusCode::BAD_REQUEST, "a command that begins with private/1: stands for another")
            }
            SubmitRefusal::BadDeadline => refused(StatusCode::BAD_REQUEST, "a deadline lies within 30 days"),
            SubmitRefusal::BadAttempts => refused(StatusCode::BAD_REQUEST, "a job is run 1 to 100 times"),
            SubmitRefusal::TooManyJobs => refused(StatusCode::TOO_MANY_REQUESTS, "too many jobs are open"),
            SubmitRefusal::InsufficientBalance => refused(
                StatusCode::PAYMENT_REQUIRED,
                "the wallet has less than 120 % of the payment free, which is reserved for the job",
            ),
            SubmitRefusal::Leaving => Err(Problem::internal("the node is stopping")),
        },
        None => Err(Problem::internal("the node did not answer")),
    }
}

/// The running API. Dropping it ends it.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    address_file: PathBuf,
    task: JoinHandle<()>,
}

impl Api {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.address_file);
    }
}

/// What the handlers share.
#[derive(Debug)]
struct Shared {
    token: [u8; 32],
    requests: mpsc::Sender<Request>,
    hub: Hub,
}

type Context = State<Arc<Shared>>;

/// Listens, and writes token and address to the data directory.
///
/// # Errors
/// A sentence that names the address or the file.
pub async fn serve(
    address: SocketAddr,
    data_dir: &Path,
    requests: mpsc::Sender<Request>,
    hub: Hub,
) -> Result<Api, String> {
    assert!(address.ip().is_loopback(), "the configuration refuses every other address");
    let token = token(data_dir)?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|e| format!("cannot listen on {address}: {e}; choose another api.address or stop what uses it"))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let address_file = data_dir.join(ADDRESS_FILE);
    files::write_private(&address_file, address.to_string().as_bytes(), true)
        .map_err(|e| format!("cannot write {}: {e}", address_file.display()))?;
    let shared = Arc::new(Shared { token: Sha256::digest(token.as_bytes()).into(), requests, hub });
    let app = router(shared);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the API ended");
        }
    });
    Ok(Api { address, address_file, task })
}

fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(|State(s): Context| s_ask(s, Ask::Status)))
        .route("/api/v1/peers", get(|State(s): Context| s_ask(s, Ask::Peers)))
        .route("/api/v1/wallet", get(|State(s): Context| s_ask(s, Ask::Wallet)))
        .route("/api/v1/jobs", get(|State(s): Context| s_ask(s, Ask::Jobs)).post(submit))
        .route("/api/v1/jobs/{id}", get(job))
        .route("/api/v1/key/rotate", post(|State(s): Context, _: Json<Empty>| s_ask(s, Ask::RotateKey)))
        .route("/api/v1/events", get(events))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), authorise));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(api)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(shared)
}

/// The token, made at the first start.
fn token(data_dir: &Path) -> Result<String, String> {
    let path = data_dir.join(TOKEN_FILE);
    if path.exists() {
        let token = files::read_private(&path)?.trim().to_owned();
        return if token.len() >= 32 {
            Ok(token)
        } else {
            Err(format!("{}: a token has 32 characters or more", path.display()))
        };
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| format!("no entropy for the API's token: {e}"))?;
    let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    files::write_private(&path, token.as_bytes(), false)
        .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(token)
}

/// Only who can read the token file gets further. Hashes are compared, so that time tells nothing about the token.
async fn authorise(State(shared): Context, request: HttpRequest, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let token = given.and_then(|v| v.strip_prefix("Bearer ")).map(|t| <[u8; 32]>::from(Sha256::digest(t.as_bytes())));
    if token == Some(shared.token) {
        return next.run(request).await;
    }
    let message = json!({ "error": "the header `Authorization: Bearer TOKEN` is missing or wrong; the token is in data/api-token" });
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], Json(message)).into_response()
}

async fn ask(shared: &Shared, ask: Ask) -> Answer {
    let (answer, answered) = oneshot::channel();
    let stopped = || Problem::internal("the node is stopping");
    shared.requests.send(Request { ask, answer }).await.map_err(|_| stopped())?;
    answered.await.map_err(|_| stopped())?
}

async fn s_ask(shared: Arc<Shared>, what: Ask) -> Result<Json<Value>, Problem> {
    ask(&shared, what).await.map(Json)
}

async fn job(State(shared): Context, UrlPath(id): UrlPath<String>) -> Result<Json<Value>, Problem> {
    let id = id.parse().map_err(|message| Problem { status: StatusCode::BAD_REQUEST, message })?;
    s_ask(shared, Ask::Job(id)).await
}

async fn metrics(State(shared): Context) -> Result<Response, Problem> {
    let text = match ask(&shared, Ask::Metrics).await? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// JSON only: a page of another site can send a form without asking, but not this content type.
async fn submit(State(shared): Context, body: Result<Json<Submission>, JsonRejection>) -> Result<Response, Problem> {
    let Json(submission) = body.map_err(|e| Problem { status: e.status(), message: e.body_text() })?;
    let answer = ask(&shared, Ask::Submit(submission)).await?;
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `{}`: a request that says nothing still needs the content type that a page of another site cannot send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Debug, Deserialize)]
struct Which {
    /// Also every accepted message and every PING.
    #[serde(default)]
    all: bool,
}

async fn events(
    State(shared): Context,
    Query(which): Query<Which>,
) -> Sse<impl Stream<Item = Result<SseEvent, Infallible>>> {
    let stream = BroadcastStream::new(shared.hub.listen()).filter_map(move |said| match said {
        Ok(said) if !which.all && matches!(said.name, "accepted" | "pinged") => None,
        Ok(said) => Some(Ok(SseEvent::default().event(said.name).data(said.json))),
        Err(BroadcastStreamRecvError::Lagged(missed)) => Some(Ok(SseEvent::default()
            .event("missed")
            .data(json!({ "event": "missed", "events": missed }).to_string()))),
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}
