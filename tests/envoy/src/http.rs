//! An HTTP/1.1 client with a connection for each request, so that requests spread over Envoy's workers; or one that is
//! kept, so that they do not.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::{HeaderMap, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::patience::DEADLINE;

/// Host and port of a server.
#[derive(Clone, Debug)]
pub struct Origin(String);

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
}

/// What comes back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A connection that is kept; it closes when dropped.
#[derive(Debug)]
pub struct Kept {
    origin: Origin,
    sender: Sender,
    running: JoinHandle<()>,
}

type Sender = http1::SendRequest<Full<Bytes>>;

impl Origin {
    /// From host and port.
    pub fn new(authority: impl ToString) -> Self {
        Self(authority.to_string())
    }

    /// From an address such as `http://envoy:10000`.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"))?;
        Some(Self(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80))))
    }

    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.0
    }

    /// The address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0)
    }

    /// A connection of one's own.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(&self.0).await
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Errors
    /// When there is no whole answer within the deadline.
    pub async fn send(&self, request: Request) -> io::Result<Answer> {
        timeout(DEADLINE, self.exchange(request)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn exchange(&self, request: Request) -> io::Result<Answer> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(self.connect().await?)).await.map_err(io::Error::other)?;
        let request = request.to(self)?;
        let answered = answered(&mut sender, request);
        tokio::pin!(connection);
        tokio::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer.map_err(io::Error::other),
            // The connection may end just before the answer is taken from it.
            _ = &mut connection => answered.await.map_err(io::Error::other),
        }
    }

    /// A connection for several requests, which all reach the same worker.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn keep(&self) -> io::Result<Kept> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(self.connect().await?)).await.map_err(io::Error::other)?;
        let running = tokio::spawn(async move {
            // How it ended is told by the request that was under way.
            let _ = connection.await;
        });
        Ok(Kept { origin: self.clone(), sender, running })
    }

    /// Sends bytes as they are and reads the first answer.
    ///
    /// # Errors
    /// When there is no answer within the deadline.
    pub async fn send_bytes(&self, bytes: &[u8]) -> io::Result<Answer> {
        let exchange = async {
            let mut stream = self.connect().await?;
            // Envoy may answer and close before it has read everything.
            let _ = stream.write_all(bytes).await;
            let mut received = Vec::new();
            // After its answer Envoy keeps the connection open for a second, for clients that are still writing.
            while !Answer::is_whole(&received) {
                match stream.read_buf(&mut received).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(_) if !received.is_empty() => break,
                    Err(error) => return Err(error),
                }
            }
            Answer::parse(&received)
        };
        timeout(DEADLINE, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

impl Kept {
    /// Sends a request and reads the answer to its end.
    ///
    /// # Errors
    /// When there is no whole answer within the deadline.
    pub async fn send(&mut self, request: Request) -> io::Result<Answer> {
        let request = request.to(&self.origin)?;
        let exchange = async {
            self.sender.ready().await?;
            answered(&mut self.sender, request).await
        };
        let answer = timeout(DEADLINE, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        answer.map_err(io::Error::other)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn answered(sender: &mut Sender, request: hyper::Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, path: impl Into<String>) -> Self {
        Self { method: method.to_owned(), path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// `GET`
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// `DELETE`
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new("DELETE", path)
    }

    /// `POST` of a JSON document.
    pub fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body.to_string())
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    fn to(self, origin: &Origin) -> io::Result<hyper::Request<Full<Bytes>>> {
        let mut builder = hyper::Request::builder().method(self.method.as_str()).uri(&self.path);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(HOST.as_str())) {
            builder = builder.header(HOST, origin.authority());
        }
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::new(self.body)).map_err(io::Error::other)
    }

    /// The request line, for messages.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

impl Answer {
    /// The only value of a header.
    ///
    /// # Panics
    /// When there are several, or it is not text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "several {name} headers: {:?}", self.headers);
        Some(value.to_str().expect("a header value is text"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `reason` of a refusal, if the body tells one.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get("reason")?.as_str()?.to_owned())
    }

    fn is_whole(bytes: &[u8]) -> bool {
        let length = |answer: &Self| answer.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        Self::parse(bytes).is_ok_and(|answer| length(&answer) == Some(answer.body.len()))
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, format!("no answer: {bytes:?}"));
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(malformed)?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(malformed)?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(malformed)?;
            let name: hyper::header::HeaderName = name.parse().map_err(io::Error::other)?;
            headers.append(name, value.trim().parse().map_err(io::Error::other)?);
        }
        let mut body = Bytes::copy_from_slice(&bytes[end + 4..]);
        if let Some(length) = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()) {
            body.truncate(length);
        }
        Ok(Self { status, headers, body })
    }
}
