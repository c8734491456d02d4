//! Frames as clients send them, cut anywhere: what is an authority goes through, and so does all
//! that is none of it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::{io, iter};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use crate::model::limits;

use super::frames::Frames;
use super::{Reader, fields, stands_in};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const URL: &[u8] = b"http://127.0.0.1:2379";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// A string that is not in code, of less than 127 bytes.
fn plain(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

/// What goes on when all comes at once.
fn at_once(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let gone = Frames::new().pass(&mut bytes);
    assert_eq!(gone, bytes.len(), "whole frames go on");
    bytes
}

/// What one block becomes.
fn amended(block: &[u8]) -> Vec<u8> {
    let sent = [PREFACE, &frame(1, 4, block)].concat();
    at_once(&sent).split_off(PREFACE.len() + 9)
}

#[test]
fn what_etcds_clients_send_is_overwritten_in_every_form() {
    let stand_in = b"-@-------------------";
    for text in
        [URL, b"#initially=[a:1;b:12]", b"/run/etcd/sock/et.sck", b"caf\xc3\xa9:237900000000000"]
    {
        assert_eq!(text.len(), stand_in.len());
        // Kept for the next request, not kept, never to be kept; and with its name spelled out.
        for head in [&[0x41][..], &[0x01], &[0x11], b"\x40\x0a:authority", b"\0\x0a:authority"] {
            let block = |text: &[u8]| [b"\x82\x86", head, &plain(text), b"\x84\xbe"].concat();
            assert_eq!(amended(&block(text)), block(stand_in), "{head:?}");
        }
    }
    assert!(stands_in("-@-------------------") && stands_in("-@-"));
    for host in ["", "-", "-@", "-@-a", "a@b", "127.0.0.1:2379"] {
        assert!(!stands_in(host), "{host}");
    }
}

/// As Go's encoder sends a URL and the name `:authority`.
const URL_IN_CODE: &[u8] = b"\x8f\x9d\x29\xae\xe3\x0c\x04\x4e\xae\x05\xc0\xb8\x6e\x09\x97\x5f";
const NAME_IN_CODE: &[u8] = b"\x88\xb8\x3b\x53\x39\xec\x32\x7d\x7f";

#[test]
fn what_comes_in_code_becomes_plain_and_stays_as_long() {
    let plain = plain(b"-@-------------");
    assert_eq!(amended(&[&[0x41], URL_IN_CODE].concat()), [&[0x41], &plain[..]].concat());
    let spelled = [&[0x40], NAME_IN_CODE].concat();
    let amended = amended(&[&spelled, URL_IN_CODE].concat());
    assert_eq!(amended, [spelled, plain].concat());
    // A code that breaks off, and one that is longer than its text: that would make the table's
    // entry longer than the client's.
    for block in [&b"\x41\x83\x9d\x29\xae\x84"[..], b"\x41\x84\xff\xff\xff\xf3"] {
        assert_eq!(super::tests::amended(block), block);
    }
}

#[test]
fn what_is_an_authority_is_left_alone() {
    let all = ["127.0.0.1:2379", "[::1]:2379", "etcd.example", "user@host", "a", "-@--"];
    for text in all {
        let block = [&[0x41][..], &plain(text.as_bytes())].concat();
        assert_eq!(amended(&block), block, "{text}");
    }
    // Too short to be overwritten; a path, not an authority; and a field of the request.
    for block in [&b"\x41\x02/a"[..], b"\x44\x04/a/b", b"\x40\x01a\x03/a/"] {
        assert_eq!(amended(block), block);
    }
}

#[test]
fn padding_and_priority_are_no_fields() {
    let literal = [&[0x41][..], &plain(URL)].concat();
    let payload = [&[3, 0, 0, 0, 0, 9], &literal[..], &[0x41, 3, b'/']].concat();
    let sent = [PREFACE, &frame(1, 0x2c, &payload)].concat();
    let come = at_once(&sent);
    assert!(come.ends_with(b"-@-------------------\x41\x03/"), "{come:?}");
    assert_eq!(come.len(), sent.len());
    for broken in [frame(1, 8, &[]), frame(1, 8, &[200, 1]), frame(1, 0x20, &[0, 0])] {
        let sent = [PREFACE, &broken].concat();
        assert_eq!(at_once(&sent), sent);
    }
}

#[test]
fn a_frame_that_is_too_long_is_not_gathered() {
    let (len, none) = (limits::HTTP2_FRAME + 1, Vec::new());
    let head = u32::try_from(len).unwrap().to_be_bytes();
    let mut sent = [PREFACE, &head[1..], &[1, 4, 0, 0, 0, 1], b"\x41\x15http:", &none].concat();
    assert_eq!(Frames::new().pass(&mut sent), sent.len());
}

/// Gives what it has piece by piece.
struct Pieces(Vec<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.0.first_mut() {
            let len = piece.len().min(buf.remaining());
            buf.put_slice(&piece.drain(..len).collect::<Vec<u8>>());
            if piece.is_empty() {
                self.0.remove(0);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What a reader with room for so much at a time is given.
fn read(pieces: Vec<Vec<u8>>, room: usize) -> Vec<u8> {
    let (mut stream, mut reader) = (Pieces(pieces), Reader::new());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut all = Vec::new();
    loop {
        let mut space = vec![0; room];
        let mut buf = ReadBuf::new(&mut space);
        assert!(reader.poll_read(&mut stream, &mut cx, &mut buf).is_ready());
        if buf.filled().is_empty() {
            return all;
        }
        all.extend_from_slice(buf.filled());
    }
}

fn cut(bytes: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for len in lengths.iter().copied().chain(iter::repeat(usize::MAX)) {
        if rest.is_empty() {
            break;
        }
        let (piece, others) = rest.split_at(len.min(rest.len()));
        pieces.push(piece.to_vec());
        rest = others;
    }
    pieces
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let authority =
        prop_oneof![Just(URL.to_vec()), Just(b"a.example:1".to_vec()), vec(any::<u8>(), 0..40)];
    let literal = (prop_oneof![Just(0x41), Just(0x01), Just(0x44)], authority)
        .prop_map(|(head, text)| [vec![0x83, head], plain(&text), vec![0x84]].concat());
    let payload = prop_oneof![literal, vec(any::<u8>(), 0..60)];
    (prop_oneof![Just(1), 0..10_u8], any::<u8>(), payload)
        .prop_map(|(kind, flags, payload)| frame(kind, flags, &payload))
}

proptest! {
    #[test]
    fn it_is_the_same_however_it_comes(
        frames in vec(any_frame(), 0..6),
        lengths in vec(1..30_usize, 0..40),
        room in 1..40_usize,
    ) {
        let sent = [PREFACE.to_vec(), frames.concat()].concat();
        let whole = at_once(&sent);
        prop_assert_eq!(read(cut(&sent, &lengths), room), whole);
    }

    #[test]
    fn garbage_goes_through_as_long_as_it_came(
        garbage in vec(any::<u8>(), 0..300),
        lengths in vec(1..30_usize, 0..40),
        is_http2 in any::<bool>(),
    ) {
        let sent = if is_http2 { [PREFACE, &garbage].concat() } else { garbage };
        let come = read(cut(&sent, &lengths), 50);
        prop_assert_eq!(come.len(), sent.len());
        if !is_http2 {
            prop_assert_eq!(come, sent);
        }
    }

    #[test]
    fn any_block_is_searched_to_an_end(block in vec(any::<u8>(), 0..200)) {
        if let Some(spelled) = fields::authority(&block) {
            prop_assert!(spelled.value.end <= block.len());
            spelled.text(&block);
        }
    }
}

/// What hyper's own client sends goes through as it is, the authority in code or by its number.
#[tokio::test]
async fn a_client_with_good_authorities_is_not_touched() {
    const END: &[u8] = b"that was all";
    let (client, mut server) = tokio::io::duplex(1024 * 1024);
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client));
    let (mut requests, connection) = shaken.await.expect("nothing is waited for");
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for n in 0..40 {
        let long = "x/y?".repeat(if n == 7 { 9000 } else { n });
        let uri: Uri = format!("http://host{}.example:23{n}/a/b", n % 3).parse().expect("a URI");
        let body = if n == 39 { END } else { b"" };
        let request = Request::post(uri).header("x-long", long).header("x-url", "http://a:1");
        let request = request.body(Full::new(Bytes::from_static(body))).expect("a request");
        answers.push(tokio::spawn(requests.send_request(request)));
    }
    let mut sent = Vec::new();
    while !sent.ends_with(END) {
        assert!(server.read_buf(&mut sent).await.expect("read") > 0);
    }
    assert_eq!(at_once(&sent), sent);
}
