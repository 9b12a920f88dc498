//! A collector of spans in the test's own process: OTLP over HTTP in its JSON form, decoded as it arrives.
//!
//! It lives on threads of its own, so that it outlives the runtime of one test, and can fall silent: then it takes
//! requests and answers none, as a collector does that hangs.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// The longest wait for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// A span that arrived.
#[derive(Clone, Debug)]
pub struct Span {
    /// `service.name` of who sent it.
    pub service: String,
    /// The trace's id.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The span that it is a part of; empty for none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `SpanKind`: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: u64,
    /// From its beginning to its end.
    pub took: Duration,
    /// Its attributes, as texts.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    /// Every body as it came.
    bodies: Vec<String>,
}

/// A listening collector.
pub struct Collector {
    address: String,
    taken: Arc<Mutex<Taken>>,
    is_silent: Arc<AtomicBool>,
}

impl Collector {
    /// Listens on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let (taken, is_silent) = (Arc::<Mutex<Taken>>::default(), Arc::<AtomicBool>::default());
        let (shared, silent) = (Arc::clone(&taken), Arc::clone(&is_silent));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (taken, is_silent) = (Arc::clone(&shared), Arc::clone(&silent));
                thread::spawn(move || serve(&stream, &taken, &is_silent));
            }
        });
        Self { address: format!("http://{address}"), taken, is_silent }
    }

    /// Its address, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        &self.address
    }

    /// Takes requests from now on and answers none, or answers them again.
    pub fn fall_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Every span of a trace so far.
    pub fn trace(&self, trace: &str) -> Vec<Span> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }

    /// Everything that arrived, as it came.
    pub fn bodies(&self) -> Vec<String> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).bodies.clone()
    }

    /// Waits until the spans of a trace are as wanted, and returns what was found in them.
    pub async fn until<T>(&self, trace: &str, what: &str, find: impl Fn(&[Span]) -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = find(&self.trace(trace)) {
                    return found;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{what} did not arrive; of the trace there is {:#?}", self.trace(trace)))
    }
}

fn serve(stream: &TcpStream, taken: &Mutex<Taken>, is_silent: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = request(&mut reader) {
        if is_silent.load(Ordering::SeqCst) {
            // Held open until the other side gives up.
            let _ = reader.read(&mut [0]);
            return;
        }
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.spans.extend(decode(&body));
            taken.bodies.push(body);
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        let mut writer = stream;
        if writer.write_all(answer).is_err() {
            return;
        }
    }
}

/// Head, in lower case, and body of the next request.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let len = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

fn decode(body: &str) -> Vec<Span> {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut spans = Vec::new();
    for of_resource in list(&body, "resourceSpans") {
        let resource = of_resource.get("resource").map(attributes).unwrap_or_default();
        let service = resource.get("service.name").cloned().unwrap_or_default();
        for of_scope in list(&of_resource, "scopeSpans") {
            spans.extend(list(&of_scope, "spans").iter().map(|it| span(&service, it)));
        }
    }
    spans
}

fn span(service: &str, span: &Value) -> Span {
    let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
    let at = |name: &str| text(name).parse::<u64>().unwrap_or_else(|error| panic!("{name}: {error} in {span}"));
    Span {
        service: service.to_owned(),
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        name: text("name"),
        kind: span["kind"].as_u64().unwrap_or_default(),
        took: Duration::from_nanos(at("endTimeUnixNano") - at("startTimeUnixNano")),
        attributes: attributes(span),
    }
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value.as_object().and_then(|it| it.values().next()) {
        Some(Value::String(text)) => text.clone(),
        other => other.map(ToString::to_string).unwrap_or_default(),
    };
    let all = of["attributes"].as_array().cloned().unwrap_or_default();
    all.iter().map(|it| (it["key"].as_str().unwrap_or_default().to_owned(), text(&it["value"]))).collect()
}
