//! A registry that does one thing wrong.
//!
//! It holds one image, wants a login, and misbehaves in one way wherever it can. Beside
//! it stands a second server, to which some of the ways lead, and which remembers
//! whether anybody told it a secret.

mod answer;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::digest::sha256;
use crate::forged::Forged;
use crate::http::{Answer, Request, Server};
use crate::layout::architecture;

/// What a registry does wrong, when layers are asked for unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Right,
    /// All of the blob and 200 for a range.
    WholeForRange,
    /// 206 with another range than was asked for, as it says itself.
    Shifted,
    /// 206 with other bytes than those of the range that it names.
    ShiftedInSecret,
    /// 206 with half of the range, as it says itself.
    Short,
    /// 206 without saying which range.
    NoContentRange,
    /// 206 with a range of a blob of another size.
    OtherTotal,
    /// For several ranges one that has them all.
    Merged,
    /// For several ranges the parts from the last to the first.
    Reordered,
    /// For several ranges only the first.
    FirstOnly,
    /// This status for every range.
    StatusForRange(u16),
    /// This status for everything of a blob.
    Status(u16),
    /// This status when something is asked for first, with `Retry-After: 0`.
    StatusAtFirst(u16),
    /// 429 with a pause of a day.
    BusyForADay,
    /// Bodies end in their middle, and the connection with them.
    Cut,
    /// Connections end before an answer.
    NoAnswer,
    /// Bodies never begin.
    Stalls,
    /// What is asked for first stops in its middle.
    StallsAtFirst,
    /// Bodies go on with other bytes behind their end.
    ExtraBytes,
    /// Bodies go on for ever.
    Endless,
    /// A length that is larger than the body.
    LengthTooLarge,
    /// A length that is smaller than the body.
    LengthTooSmall,
    /// No length; the end of the connection is the end of the body.
    NoLength,
    /// A byte of each body is another.
    Flipped,
    /// A content encoding that nobody asked for.
    Encoded,
    /// Blobs are `text/html`.
    BlobIsAPage,
    /// The manifest is `text/html`.
    ManifestIsAPage,
    /// The manifest has no type at all.
    ManifestHasNoType,
    /// The manifest is another one than its digest says.
    ManifestOfOtherDigest,
    /// The manifest has no end.
    ManifestEndless,
    /// Blobs are elsewhere: on the second server, which has them.
    RedirectElsewhere,
    /// Blobs are elsewhere, where only a login would help.
    RedirectToALogin,
    /// Redirects in a circle.
    RedirectInACircle,
    /// Redirects to a place that is not of the web.
    RedirectTo(&'static str),
    /// A redirect without a place.
    RedirectToNowhere,
    /// 100,000 headers.
    ManyHeaders,
    /// No HTTP at all.
    NoHttp,
}

/// A running registry with one image, `odd/image:v1`.
#[derive(Debug)]
pub struct OddRegistry {
    server: Server,
    state: Arc<State>,
}

/// What both servers share.
#[derive(Debug)]
struct State {
    mode: Mode,
    manifest: Vec<u8>,
    blobs: BTreeMap<String, Vec<u8>>,
    elsewhere: Mutex<String>,
    asked: Mutex<HashSet<String>>,
    leaked: AtomicBool,
}

/// Who may pull: user and password.
pub const LOGIN: (&str, &str) = ("someone", "something");

/// [`LOGIN`], as a header says it.
const BASIC: &str = "Basic c29tZW9uZTpzb21ldGhpbmc=";

impl OddRegistry {
    /// Starts a registry that holds an image of these layers, base first.
    ///
    /// # Panics
    ///
    /// If there is no port to be had.
    pub fn start(mode: Mode, layers: &[Forged]) -> Self {
        let (manifest, blobs) = documents(layers);
        let state = Arc::new(State {
            mode,
            manifest,
            blobs,
            elsewhere: Mutex::default(),
            asked: Mutex::default(),
            leaked: AtomicBool::new(false),
        });
        let other = Arc::clone(&state);
        let elsewhere = Server::start(move |request| other.answer_elsewhere(request));
        *state.elsewhere.lock().unwrap_or_else(PoisonError::into_inner) = elsewhere.host();
        let own = Arc::clone(&state);
        let server = Server::start(move |request| own.answer(request));
        Self { server, state }
    }

    /// `127.0.0.1:PORT/odd/image:v1`.
    pub fn reference(&self) -> String {
        format!("{}/odd/image:v1", self.server.host())
    }

    /// Whether the second server was told a secret.
    pub fn leaked(&self) -> bool {
        self.state.leaked.load(Ordering::SeqCst)
    }
}

/// The manifest, and all blobs by their digests.
fn documents(layers: &[Forged]) -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
    let diff_ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| {
            let annotations: BTreeMap<_, _> = layer.annotations.iter().cloned().collect();
            json!({
                "mediaType": layer.media_type, "size": layer.size,
                "digest": format!("sha256:{}", layer.digest), "annotations": annotations,
            })
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": answer::MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{}", sha256(&config)), "size": config.len(),
        },
        "layers": descriptors,
    });
    let blobs = layers.iter().map(|layer| (layer.digest.clone(), layer.blob.clone()));
    let blobs = blobs.chain([(sha256(&config), config)]).collect();
    (manifest.to_string().into_bytes(), blobs)
}

impl State {
    fn answer(&self, request: &Request) -> Answer {
        if request.header("authorization") != Some(BASIC) {
            return Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"odd\"");
        }
        if request.target.contains("/manifests/") {
            return self.manifest(request);
        }
        match self.blob(request) {
            // The config is what it should be.
            Some(blob) if blob.starts_with(b"{") => answer::ranged(request, blob),
            Some(blob) => self.blob_answer(request, blob),
            None if request.target.contains("/blobs/") => Answer::new(404, ""),
            None => Answer::new(200, "{}"),
        }
    }

    /// The second server asks for nothing, but listens.
    fn answer_elsewhere(&self, request: &Request) -> Answer {
        if request.headers.keys().any(|name| matches!(&**name, "authorization" | "cookie")) {
            self.leaked.store(true, Ordering::SeqCst);
        }
        if self.mode == Mode::RedirectToALogin {
            return Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"trap\"");
        }
        self.blob(request).map_or(Answer::new(404, ""), |blob| answer::ranged(request, blob))
    }

    fn blob(&self, request: &Request) -> Option<&Vec<u8>> {
        self.blobs.get(request.target.rsplit_once("sha256:")?.1)
    }

    /// Whether nobody asked for this before.
    fn is_first(&self, request: &Request) -> bool {
        // What goes on behind a break has the same end.
        let last = request.ranges().last().map(|(_, last)| *last);
        let what = format!("{} {last:?}", request.target);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(what)
    }

    fn elsewhere(&self) -> String {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
