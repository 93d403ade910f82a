//! Pages of the web, and jobs of strangers, look for what they should not have.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::nodes::{Node, start, until, until_quietly};

/// A request as a browser sends it for a page of another site: simple, so that nobody asks beforehand.
fn as_a_page(node: &Node, head: &str, body: &str) -> String {
    let api = std::fs::read_to_string(node.data.join("api-address")).unwrap();
    let mut stream = TcpStream::connect(&api).unwrap();
    let request = format!(
        "{head}\r\nHost: {api}\r\nOrigin: http://evil.example\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.to_lowercase()
}

#[test]
fn a_web_page_submits_nothing() {
    let root = tempfile::tempdir().unwrap();
    let node = start(root.path(), "one", None, "");
    let token = std::fs::read_to_string(node.data.join("api-token")).unwrap();
    let job = r#"{"command": "touch /tmp/owned"}"#;
    // What a form or a script of another site can send without being asked: no token, and never JSON.
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"]
    {
        let answer = as_a_page(&node, &format!("POST /api/v1/jobs HTTP/1.1\r\nContent-Type: {kind}"), job);
        assert!(answer.starts_with("http/1.1 401 "), "{kind}: {answer}");
        assert!(!answer.contains("access-control-allow"), "no other site may read or send: {answer}");
    }
    // Even with the token, what is no JSON is no job.
    let with_token = format!("POST /api/v1/jobs HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: text/plain");
    assert!(as_a_page(&node, &with_token, job).starts_with("http/1.1 415 "));
    for head in ["GET /api/v1/wallet HTTP/1.1", "GET /metrics HTTP/1.1", "GET /api/v1/events HTTP/1.1"] {
        assert!(as_a_page(&node, head, "").starts_with("http/1.1 401 "), "{head}");
    }
    let preflight = "OPTIONS /api/v1/jobs HTTP/1.1\r\nAccess-Control-Request-Method: POST";
    assert!(!as_a_page(&node, preflight, "").contains("access-control-allow"));
    assert_eq!(node.json(&["jobs"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_job_finds_no_secret_in_environment_arguments_or_open_files() {
    let root = tempfile::tempdir().unwrap();
    let one = start(root.path(), "one", None, "");
    let two = start(root.path(), "two", Some(&one), "there");
    until("both know each other", || [&one, &two].iter().all(|node| node.peers("alive").len() == 1));
    let token = std::fs::read_to_string(two.data.join("api-token")).unwrap();
    let key = std::fs::read_dir(two.data.join("keys")).unwrap().flatten().next().unwrap();
    let key = std::fs::read_to_string(key.path()).unwrap();
    let secret = key.lines().nth(1).unwrap();
    let looks = "env; pwd; ls -la; ls -l /proc/self/fd; cat /proc/self/environ /proc/self/cmdline; \
                 cat /proc/$PPID/cmdline | tr '\\0' ' '; cat <&0; for n in 3 4 5 6 7 8 9; do cat <&$n; done 2>/dev/null; echo end";
    let body = serde_json::json!({ "command": looks, "requirements": ["there"] }).to_string();
    let (status, answer) = one.http("POST", "/api/v1/jobs", &body);
    assert_eq!(status, 201, "{answer}");
    let job: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let job = job["job_id"].as_str().unwrap();
    until_quietly(|| one.job(job)["output"].is_string());
    let found = one.job(job)["output"].as_str().unwrap().to_owned();
    assert!(found.contains("PATH=") && found.ends_with("end\n"), "{found}");
    for word in [secret, token.trim(), "MARLOS_", "PRIVATE KEY", "node.redb", ".key"] {
        assert!(!found.contains(word), "{word} in {found}");
    }
}
