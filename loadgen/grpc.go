package loadgen

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
)

// gRPC is sent over HTTP/2, as its protocol says (PROTOCOL-HTTP2.md of the gRPC project): a request is a call of the method
// that its path names, "/package.Service/Method", and counts until the last message of the answer and its status. Unary calls
// are sent, and streams either way: Attack.Messages of them, as fast as the server takes them, while its answers are read. The
// message is the request's body, as it is; without one it is the empty message, which every method's type can be.

// maxMessages bounds the messages of a call, which are in memory at once.
const maxMessages = 10_000

// classGRPC is the class of a call that ended with a status but OK, which follows.
const classGRPC = "grpc-"

// grpcFrame is a message with its prefix: not compressed, and its length.
func grpcFrame(message []byte) []byte { return grpcStream(message, 1) }

// grpcStream is a message so many times, each with its prefix.
func grpcStream(message []byte, times int) []byte {
	b := make([]byte, 5, times*(5+len(message)))
	binary.BigEndian.PutUint32(b[1:], uint32(len(message)))
	b = append(b, message...)
	for one := b; times > 1; times-- {
		b = append(b, one...)
	}
	return b
}

// grpcHeader adds what a call's header has.
func grpcHeader(h http.Header) {
	h.Set("Content-Type", "application/grpc")
	h.Set("Te", "trailers")
}

// grpcBody reads the answer to a call, and says at its end what went wrong. Its errors are those of transport.classOf.
type grpcBody struct {
	io.ReadCloser
	answer *http.Response
	failed func(class string)

	prefix []byte // of the message that is being read, as far as it has come
	rest   uint32 // of that message
}

func (b *grpcBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.follow(p[:n])
	if errors.Is(err, io.EOF) {
		if class := b.class(); class != "" {
			b.failed(class)
		}
	}
	return n, err
}

// follow goes through messages.
func (b *grpcBody) follow(p []byte) {
	for len(p) > 0 {
		if b.rest > 0 {
			n := min(int(b.rest), len(p))
			b.rest -= uint32(n)
			p = p[n:]
			continue
		}
		n := min(5-len(b.prefix), len(p))
		b.prefix = append(b.prefix, p[:n]...)
		p = p[n:]
		if len(b.prefix) == 5 {
			b.rest = binary.BigEndian.Uint32(b.prefix[1:])
			b.prefix = b.prefix[:0]
		}
	}
}

// class is what went wrong with a call whose answer has ended; "" where nothing did. A status of HTTP but 200 speaks for
// itself.
func (b *grpcBody) class() string {
	if b.answer.StatusCode != http.StatusOK {
		return ""
	}
	status := b.answer.Trailer.Get("Grpc-Status")
	if status == "" { // an answer without a message has it in its header
		status = b.answer.Header.Get("Grpc-Status")
	}
	switch {
	case status == "0" && b.rest == 0 && len(b.prefix) == 0 && strings.HasPrefix(b.answer.Header.Get("Content-Type"), "application/grpc"):
		return ""
	case status == "0" || status == "" || len(status) > 2 || strings.Trim(status, "0123456789") != "":
		return classOther // no gRPC, or a message that is cut short
	}
	return classGRPC + status
}
