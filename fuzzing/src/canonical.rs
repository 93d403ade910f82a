//! Any JSON inside an envelope: what a signature covers does not depend on how it was written (RFC 8785).

use marlos::wire::Envelope;
use serde_json::Value;

use crate::frame::MAX_MESSAGE;

/// An envelope to which only a payload is missing.
const HEAD: &str = r#"{"msg_type":"PING","sender_id":"0f2f8083f1a02024a59b345d9e00827b","timestamp":1704672000.123,"nonce":"0f2f8083f1a02024a59b345d9e00827b:1704672000.123:00000003000000000000012c","signature":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==","version":1,"network":"9426","payload":"#;

/// `data` as a payload, and as a whole envelope.
pub fn run(data: &[u8]) {
    is_stable(&[HEAD.as_bytes(), data, b"}"].concat());
    is_stable(data);
}

/// `canonical(parse(x))` is a fixed point, and white space and the order of fields are free.
fn is_stable(frame: &[u8]) {
    if frame.first() != Some(&b'{') {
        return;
    }
    let Ok(envelope) = Envelope::peek(frame, MAX_MESSAGE) else { return };
    let signed = envelope.signed("marlos").bytes.to_vec();
    let text = std::str::from_utf8(&signed).expect("canonical JSON is UTF-8");
    let (value, whole): (Value, Value) = match (serde_json::from_str(text), serde_json::from_slice(frame)) {
        (Ok(value), Ok(whole)) => (value, whole),
        other => panic!("what could be read is JSON, and so is its canonical form: {other:?}"),
    };
    let signature = whole.get("signature").expect("it was read").to_string();
    let again = format!("{{\"signature\":{signature},{}", text.strip_prefix('{').expect("an object"));
    let again = again.into_bytes();
    assert!(
        again.len() > MAX_MESSAGE as usize || signed_bytes(&again) == signed,
        "a canonical form is its own: {text}"
    );
    let Value::Object(mut fields) = value else { panic!("an envelope is an object: {text}") };
    fields.insert("signature".into(), whole["signature"].clone());
    let pretty = serde_json::to_vec_pretty(&fields).expect("JSON");
    assert!(
        pretty.len() > MAX_MESSAGE as usize || signed_bytes(&pretty) == signed,
        "white space and order are free: {text}"
    );
    // Decoding it is the other codec's target; here it must only not panic.
    let _ = envelope.payloads(MAX_MESSAGE, &mut |_| {});
}

fn signed_bytes(frame: &[u8]) -> Vec<u8> {
    match Envelope::peek(frame, MAX_MESSAGE) {
        Ok(envelope) => envelope.signed("marlos").bytes.to_vec(),
        Err(refusal) => panic!("{refusal:?}: {}", String::from_utf8_lossy(frame)),
    }
}
