//! GraphQL: documents and requests that are written to hurt, on every way in.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Arena;
use super::raw::Answer;
use super::socket::{BOTH, Socket};

const JSON: &str = "content-type: application/json";
const NEW: &str = "accept: application/graphql-response+json";

/// Far more than any of these takes, and far less than they took before there was a guard.
const SOON: Duration = Duration::from_secs(5);

/// What a document is refused with.
type Refusal = (&'static str, &'static str);

const BRACKETS: Refusal =
    ("TOO_COMPLEX", "the document has too many brackets inside each other; at most 64 are allowed");
const TOKENS: Refusal = ("TOO_COMPLEX", "the document has too many tokens; at most 20000 are allowed");
const SPREAD_OUT: Refusal = (
    "TOO_COMPLEX",
    "the document has too many tokens once its fragments are spread out; at most 40000 are allowed",
);
const CIRCLE: Refusal = ("INVALID_REQUEST", "the document's fragments spread each other in a circle");
const ALIASES: Refusal = ("TOO_COMPLEX", "the document has too many aliases; at most 100 are allowed");
const DIRECTIVES: Refusal = ("TOO_COMPLEX", "the document has too many directives; at most 100 are allowed");
const INTROSPECTIONS: Refusal =
    ("TOO_COMPLEX", "the document has too many introspections; at most 4 are allowed");
const COMPLEXITY: Refusal = ("TOO_COMPLEX", "Query is too complex.");
const DEPTH: Refusal = ("TOO_COMPLEX", "Query is nested too deep.");

/// Documents that ended the process, or kept it busy for minutes, in the library that parses them.
fn documents() -> Vec<(&'static str, String, Refusal)> {
    let nested = |open: &str, close: &str, times: usize| {
        format!("{{ history(channel: {}1{}) {{ cursor }} }}", open.repeat(times), close.repeat(times))
    };
    let mut doubling = "{ ...F0 }".to_owned();
    for n in 0..30 {
        doubling += &format!(" fragment F{n} on Query {{ ...F{0} ...F{0} }}", n + 1);
    }
    doubling += " fragment F30 on Query { cursor }";
    let circle = "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }";
    let many = |item: &dyn Fn(usize) -> String, count: usize| (0..count).map(item).collect::<String>();
    let introspection = "__schema { types { name fields { name type { name } } } } ";
    let deep = format!("{{ __schema {{ types {} name {} }} }}", "{ ofType ".repeat(30), "}".repeat(30));
    vec![
        ("nested lists", nested("[", "]", 1_600), BRACKETS),
        ("a hundred thousand nested lists", nested("[", "]", 100_000), BRACKETS),
        ("nested objects", nested("{a:", "}", 1_600), BRACKETS),
        (
            "nested list types",
            format!("query($v: {}Int{}) {{ cursor }}", "[".repeat(1_600), "]".repeat(1_600)),
            BRACKETS,
        ),
        ("nested selections", "{a".repeat(300_000), BRACKETS),
        ("doubling fragments", doubling, SPREAD_OUT),
        ("fragments in a circle", circle.to_owned(), CIRCLE),
        ("five thousand aliases", format!("{{ {} }}", many(&|n| format!("a{n}: cursor "), 5_000)), ALIASES),
        (
            "ten thousand directives",
            format!("{{ cursor {} }}", "@skip(if: false) ".repeat(10_000)),
            DIRECTIVES,
        ),
        ("a hundred introspections", format!("{{ {} }}", introspection.repeat(100)), INTROSPECTIONS),
        ("fields that overlap", format!("{{ {} }}", "cursor ".repeat(19_000)), COMPLEXITY),
        (
            "fields that overlap below each other",
            format!("{{ {} }}", "channel(name: \"a\") { name name name } ".repeat(1_500)),
            COMPLEXITY,
        ),
        ("half a million tokens", format!("{{ {} }}", "a ".repeat(250_000)), TOKENS),
        ("depth", deep, DEPTH),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_hurt_parsers_are_refused_on_every_way_in() {
    let mut arena = Arena::start_with(&[("NUNCIO_GRAPHQL_BATCH", "10")]).await;
    let mut sockets = [arena.let_in(BOTH[0]).await, arena.let_in(BOTH[1]).await];
    for (name, document, refusal) in documents() {
        let request = json!({ "query": document });
        refused(name, &posted(&arena, &[JSON, NEW], &request).await, 400, refusal);
        let batch = posted(&arena, &[JSON], &Value::from(vec![request.clone(); 3])).await;
        assert_eq!(batch.status, 200, "{name}");
        for answer in batch.json().as_array().expect("an answer for each") {
            assert_refusal(name, answer, refusal);
        }
        if document.len() < 5_000 {
            let line = format!("GET /graphql?query={}", percent(&document));
            let request = arena.request(&line, &[NEW], b"");
            refused(name, &arena.connect().await.exchange(request).await, 400, refusal);
        }
        let stream = posted(&arena, &[JSON, "accept: text/event-stream"], &request).await;
        let told = json!({ "message": refusal.1, "extensions": { "code": refusal.0 } }).to_string();
        let stream = String::from_utf8_lossy(&stream.body).into_owned();
        assert!(stream.contains(&told), "{name}: {stream}");
        for socket in &mut sockets {
            let answer = executed(socket, name, &request).await;
            assert_eq!(answer["type"], "error", "{name}: {answer}");
            assert!(answer["payload"].to_string().contains(&told), "{name}: {answer}");
        }
        arena.still_well(name).await;
    }
}

/// Documents that are right, or at least may be read: the work that they make is small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_are_only_big_are_answered_soon() {
    let mut arena = Arena::start().await;
    let mut socket = arena.let_in(BOTH[0]).await;
    let conflicts: String = (0..99).map(|n| format!("a: channel(name: \"{n}\") {{ name }} ")).collect();
    let arguments = "x: 1 ".repeat(3_000);
    let variables: String = (0..2_400).map(|n| format!("$v{n}: Int ")).collect();
    let uses: String = (0..2_400).map(|n| format!("$v{n} ")).collect();
    let data = format!("{{a: [{}]}}", "[[[1]]] ".repeat(1_000));
    for (name, document, is_good) in [
        ("a megabyte of commas", format!("{{ cursor {} }}", ",".repeat(1_000_000)), true),
        ("a megabyte of comment", format!("{{ cursor }} #{}", "{[(".repeat(300_000)), true),
        ("names of the type, over and over", format!("{{ {} }}", "__typename ".repeat(19_000)), true),
        (
            "many values",
            format!("mutation {{ publish(channel: \"a\", event: {{data: {data}}}) {{ id }} }}"),
            true,
        ),
        ("fields in conflict", format!("{{ {conflicts} }}"), false),
        ("fields with many arguments", format!("{{ cursor({arguments}) cursor({arguments}) }}"), false),
        ("unknown fields", format!("{{ {} }}", "nothing ".repeat(19_000)), false),
        (
            "many variables",
            format!(
                "mutation({variables}) {{ publish(channel: \"a\", event: {{data: [{uses}]}}) {{ id }} }}"
            ),
            true,
        ),
    ] {
        let request = json!({ "query": document });
        let begun = Instant::now();
        let answer = posted(&arena, &[JSON, NEW], &request).await;
        let over_socket = executed(&mut socket, name, &request).await;
        assert!(begun.elapsed() < SOON, "{name}: {:?}", begun.elapsed());
        let (status, kind) = if is_good { (200, "next") } else { (400, "error") };
        assert_eq!(
            (answer.status, over_socket["type"].as_str()),
            (status, Some(kind)),
            "{name}: {over_socket}"
        );
        assert!(answer.body.len() < 8_000, "{name}: {} bytes", answer.body.len());
        arena.still_well(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_form_and_no_link_makes_a_browser_mutate() {
    let mut arena = Arena::start().await;
    let mutation = r#"mutation{publish(channel:"a",event:{}){id}}"#;
    let by_get = arena.request(&format!("GET /graphql?query={}", percent(mutation)), &[NEW], b"");
    let answer = arena.connect().await.exchange(by_get).await;
    refused("GET", &answer, 405, ("INVALID_REQUEST", "GET is for queries alone; send this by POST"));
    assert_eq!(answer.header("allow"), Some("POST"));
    let body = json!({ "query": mutation });
    let form = format!("query={}", percent(mutation)).into_bytes();
    let parts =
        format!("--x\r\ncontent-disposition: form-data; name=\"operations\"\r\n\r\n{body}\r\n--x--\r\n");
    for (media_type, body) in [
        ("text/plain", body.to_string().into_bytes()),
        ("application/x-www-form-urlencoded", form),
        ("multipart/form-data; boundary=x", parts.into_bytes()),
        ("application/graphql", mutation.into()),
        ("text/plain; application/json", body.to_string().into_bytes()),
    ] {
        let request = arena.request("POST /graphql", &[&format!("content-type: {media_type}"), NEW], &body);
        let answer = arena.connect().await.exchange(request).await;
        let refusal = ("INVALID_REQUEST", "send the request as Content-Type: application/json");
        refused(media_type, &answer, 415, refusal);
    }
    let published =
        posted(&arena, &[JSON, NEW], &json!({ "query": "{ channel(name: \"a\") { name } }" })).await;
    assert_eq!(published.json(), json!({ "data": { "channel": null } }));
    arena.still_well("mutations by forms and links").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_are_not_unpacked_and_batches_have_an_end() {
    let mut arena = Arena::start_with(&[("NUNCIO_GRAPHQL_BATCH", "10")]).await;
    let bomb =
        Command::new("sh").args(["-c", "head -c 268435456 /dev/zero | gzip -9"]).output().expect("gzip");
    assert!(bomb.stdout.len() > 100_000, "256 MiB in {} bytes", bomb.stdout.len());
    for encoding in ["gzip", "deflate, gzip", "br"] {
        let encoded = format!("content-encoding: {encoding}");
        let request = arena.request("POST /graphql", &[JSON, NEW, &encoded], &bomb.stdout);
        let answer = arena.connect().await.exchange(request).await;
        let told = "send the request without Content-Encoding: compressed bodies are not taken";
        refused(encoding, &answer, 415, ("INVALID_REQUEST", told));
    }
    arena.still_well("bombs").await;
    for count in [11, 10_000, 200_000] {
        let batch = Value::from(vec![json!({ "query": "{ cursor }" }); count]);
        let answer = posted(&arena, &[JSON, NEW], &batch).await;
        assert_eq!(answer.status, 400);
        let told = format!(
            "the batch has {count} operations; this server takes 1 to 10 in a request (NUNCIO_GRAPHQL_BATCH)"
        );
        assert_eq!(answer.json()["errors"][0]["message"], told);
    }
    arena.still_well("batches").await;
    let deep = |depth: usize| {
        let variables = format!("{{\"d\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        format!(
            r#"{{"query":"query($d: JSON) {{ history(channel: $d) {{ cursor }} }}","variables":{variables}}}"#
        )
    };
    for depth in [200, 1_000_000] {
        let request = arena.request("POST /graphql", &[JSON, NEW], deep(depth).as_bytes());
        let answer = arena.connect().await.exchange(request).await;
        let told = "variables must be a JSON object or null, nested less than 128 deep";
        refused("deep variables", &answer, 400, ("INVALID_REQUEST", told));
    }
    let mut socket = arena.let_in(BOTH[0]).await;
    socket.text(&format!(r#"{{"id":"1","type":"subscribe","payload":{}}}"#, deep(200))).await;
    assert_eq!(socket.closed().await, 4400);
    arena.still_well("deep variables").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_that_explode_are_refused_and_those_that_work_have_a_budget() {
    let mut arena = Arena::start().await;
    let mut socket = arena.let_in(BOTH[0]).await;
    let all =
        |depth: usize| (0..depth).fold("true".to_owned(), |inner, n| format!("data.l.all(v{n}, {inner})"));
    let doubled = (0..6).fold("data".to_owned(), |inner, _| format!("[{inner}, {inner}]"));
    for (name, filter) in [
        ("loops over literals", "[1,2].all(a, [1,2].all(b, [1,2].all(c, true)))".to_owned()),
        ("lists that double", format!("{doubled} == null")),
        ("brackets", format!("{}true{}", "(".repeat(500), ")".repeat(500))),
        ("conditions", "true ? ".repeat(140)),
        ("a regular expression", "type.matches(\"(a+)+$\")".to_owned()),
        ("a long text", format!("type == \"{}\"", "x".repeat(2_000))),
        ("maps of lists of maps", "data.l.map(a, data.l.map(b, data.l.map(c, {\"a\": [c]})))".to_owned()),
    ] {
        for (n, document) in [
            "query($f: String) { history(channel: \"#\", filter: $f) { cursor } }",
            "subscription($f: String) { events(channel: \"#\", filter: $f) { id } }",
        ]
        .into_iter()
        .enumerate()
        {
            let request = json!({ "query": document, "variables": { "f": filter } });
            let answer = executed(&mut socket, &format!("{name} {n}"), &request).await;
            // A query has an error at its field, a subscription is refused.
            let errors =
                if answer["type"] == "error" { &answer["payload"] } else { &answer["payload"]["errors"] };
            assert_eq!(errors[0]["extensions"]["code"], "INVALID_FILTER", "{name}: {answer}");
            assert!(answer.to_string().len() < 2_000, "{name}: {answer}");
        }
        arena.still_well(name).await;
    }
    // Four loops inside each other over a hundred items would be a hundred million turns.
    let list = json!({ "l": (0..100).collect::<Vec<_>>() });
    let event = "mutation($d: JSON) { publish(channel: \"heavy\", event: {data: $d}) { id } }";
    let published =
        posted(&arena, &[JSON, NEW], &json!({ "query": event, "variables": { "d": list } })).await;
    assert_eq!(published.json().get("errors"), None);
    let read = "query($f: String) { history(channel: \"heavy\", filter: $f) { events { id } } }";
    let begun = Instant::now();
    let answer = posted(&arena, &[JSON, NEW], &json!({ "query": read, "variables": { "f": all(4) } })).await;
    assert_eq!(answer.json(), json!({ "data": { "history": { "events": [] } } }));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    arena.still_well("loops inside loops").await;
}

/// Posts JSON with the abused project's key.
async fn posted(arena: &Arena, headers: &[&str], body: &Value) -> Answer {
    let request = arena.request("POST /graphql", headers, body.to_string().as_bytes());
    arena.connect().await.exchange(request).await
}

#[track_caller]
fn refused(name: &str, answer: &Answer, status: u16, refusal: Refusal) {
    assert_eq!(answer.status, status, "{name}: {}", answer.json());
    assert_refusal(name, &answer.json(), refusal);
}

/// Exactly one error, and nothing of what was sent.
#[track_caller]
fn assert_refusal(name: &str, answer: &Value, (code, message): Refusal) {
    let expected = json!({ "message": message, "extensions": { "code": code } });
    assert_eq!(answer, &json!({ "errors": [expected] }), "{name}");
}

fn percent(text: &str) -> String {
    reqwest::Url::parse_with_params("http://x/", [("q", text)]).expect("a URL").query().expect("one")[2..]
        .to_owned()
}

/// Starts an operation under an id that is new and gives the first that comes of it.
async fn executed(socket: &mut Socket, id: &str, payload: &Value) -> Value {
    let mut start: Value = serde_json::from_str(&socket.words.start(id, "")).expect("JSON");
    start["payload"] = payload.clone();
    socket.text(&start.to_string()).await;
    loop {
        let message = socket.message().await;
        // The end of a query before this one is of no interest.
        if message["id"] == id {
            return message;
        }
    }
}
