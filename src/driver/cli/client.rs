//! HTTP/1.1 to the local API: one request, one connection.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::Failure;
use crate::driver::api::{ADDRESS_FILE, TOKEN_FILE};
use crate::driver::files;

/// Where the API is, and the token for it.
#[derive(Debug)]
pub struct Client {
    address: String,
    token: String,
}

impl Client {
    /// By what the running node wrote to its data directory.
    ///
    /// # Errors
    /// No node runs there, or its token cannot be read.
    pub fn find(data_dir: &Path, address: Option<&str>) -> Result<Client, Failure> {
        let file = data_dir.join(ADDRESS_FILE);
        let address = match address {
            Some(address) => address.to_owned(),
            None => std::fs::read_to_string(&file).map_err(|_| {
                Failure::unreachable(format!(
                    "no node runs with the data directory {}; start one with `marlos-node run`, or name another with --data-dir",
                    data_dir.display()
                ))
            })?,
        };
        let token = files::read_private(&data_dir.join(TOKEN_FILE))?;
        Ok(Client { address: address.trim().to_owned(), token: token.trim().to_owned() })
    }

    /// A JSON answer.
    ///
    /// # Errors
    /// The node cannot be reached, or refuses.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json("GET", path, None).await
    }

    /// A text answer.
    ///
    /// # Errors
    /// The node cannot be reached, or refuses.
    pub async fn get_text(&self, path: &str) -> Result<String, Failure> {
        let response = self.send("GET", path, None).await?;
        let body = self.whole(response).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends JSON, and takes a JSON answer.
    ///
    /// # Errors
    /// The node cannot be reached, or refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json("POST", path, Some(body)).await
    }

    /// Hands over each line of an answer that does not end.
    ///
    /// # Errors
    /// The node cannot be reached, refuses, or stopped.
    pub async fn lines(&self, path: &str, mut each: impl FnMut(&str)) -> Result<(), Failure> {
        let mut response = self.send("GET", path, None).await?;
        let mut rest = Vec::new();
        while let Some(frame) = response.frame().await {
            let frame = frame.map_err(|e| self.unreachable(&e))?;
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                each(String::from_utf8_lossy(&rest[..end]).trim_end());
                rest.drain(..=end);
            }
        }
        Err(Failure::unreachable(format!("the node at {} closed the stream", self.address)))
    }

    async fn json(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let response = self.send(method, path, body).await?;
        let body = self.whole(response).await?;
        serde_json::from_slice(&body).map_err(|e| Failure::unreachable(format!("{}{path}: {e}", self.address)))
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        Ok(response.into_body().collect().await.map_err(|e| self.unreachable(&e))?.to_bytes())
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response<Incoming>, Failure> {
        let stream = TcpStream::connect(&self.address).await.map_err(|e| self.unreachable(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.unreachable(&e))?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("authorization", format!("Bearer {}", self.token));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = Full::new(body.map_or_else(Bytes::new, |b| Bytes::from(b.to_string())));
        let request = request.body(body).map_err(|e| Failure::usage(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.whole(response).await?;
        let said = serde_json::from_slice::<Value>(&body).ok().and_then(|v| Some(v["error"].as_str()?.to_owned()));
        let message = said.unwrap_or_else(|| format!("{} answered {status}", self.address));
        Err(Failure { code: if status == StatusCode::SERVICE_UNAVAILABLE { 3 } else { 2 }, message })
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::unreachable(format!("the node at {} cannot be reached: {error}", self.address))
    }
}
