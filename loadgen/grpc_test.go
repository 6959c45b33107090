package loadgen

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

// grpcServer speaks gRPC as its protocol's text has it, and answers by the method.
func grpcServer(t *testing.T) string {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/shop.Cart/Chat" { // a stream either way: each is answered when it comes
			w.Header().Set("Content-Type", "application/grpc")
			for n := 0; ; n++ {
				one := make([]byte, 5+64)
				switch _, err := io.ReadFull(r.Body, one); {
				case err == io.EOF && n == 300:
					w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
					return
				case err != nil || !bytes.Equal(one[:5], []byte{0, 0, 0, 0, 64}):
					w.Header().Set(http.TrailerPrefix+"Grpc-Status", "3")
					return
				}
				_, _ = w.Write(one)
				w.(http.Flusher).Flush()
			}
		}
		message, err := io.ReadAll(r.Body)
		if err != nil || r.ProtoMajor != 2 || r.Method != http.MethodPost || r.Header.Get("Te") != "trailers" ||
			r.Header.Get("Content-Type") != "application/grpc" || len(message) < 5 || message[0] != 0 ||
			int(binary.BigEndian.Uint32(message[1:])) != len(message)-5 || r.Header.Get(scenarios.HeaderID) == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		say := func(messages ...string) {
			for _, m := range messages {
				_, _ = w.Write(grpcFrame([]byte(m)))
				w.(http.Flusher).Flush()
			}
		}
		end := func(status string) { w.Header().Set(http.TrailerPrefix+"Grpc-Status", status) }
		switch r.URL.Path {
		case "/shop.Cart/Get":
			say("one")
			end("0")
		case "/shop.Cart/Echo":
			say(string(message[5:]))
			if len(message) == 5+64 {
				end("0")
			}
		case "/shop.Cart/Watch":
			say("one", "", string(bytes.Repeat([]byte("x"), 70_000)), "four")
			end("0")
		case "/shop.Cart/Fail":
			say("one")
			end("14")
		case "/shop.Cart/Refuse": // without a message: status in the header
			w.Header().Set("Grpc-Status", "7")
		case "/shop.Cart/Cut":
			_, _ = w.Write([]byte{0, 0, 0, 0, 9, 'x'})
			end("0")
		case "/shop.Cart/Silent":
			say("one")
		case "/shop.Cart/Web":
			w.Header().Set("Content-Type", "text/html")
			end("0")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func TestACallCountsByTheStatusAtItsEnd(t *testing.T) {
	base := grpcServer(t)
	for _, tc := range []struct {
		method   string
		body     int
		messages int
		code     string
	}{
		{method: "Get", code: "200"},
		{method: "Echo", body: 64, code: "200"},
		{method: "Watch", code: "200"},
		{method: "Chat", body: 64, messages: 300, code: "200"},
		{method: "Chat", body: 64, messages: 299, code: "grpc-3"},
		{method: "Fail", code: "grpc-14"},
		{method: "Refuse", code: "grpc-7"},
		{method: "Cut", code: "other"},
		{method: "Silent", code: "other"},
		{method: "Web", code: "other"},
		{method: "Nothing", code: "404"},
	} {
		t.Run(tc.method, func(t *testing.T) {
			t.Parallel()
			a := attack(base, constant(100, 200*time.Millisecond))
			a.Protocol, a.Messages = GRPC, tc.messages
			a.Traffic.Requests = []scenarios.RequestKind{{Path: "/shop.Cart/" + tc.method}}
			if tc.body > 0 {
				a.Traffic.Requests[0].Body = &scenarios.Body{Bytes: tc.body}
			}
			out := &memory{}
			if err := Run(context.Background(), a, out, nil); err != nil {
				t.Fatal(err)
			}
			p := out.phases[0]
			if d := cmp.Diff(map[string]int{tc.code: 20}, p.Codes); d != "" || (p.Errors == 0) != (tc.code == "200") {
				t.Errorf("%d errors; codes (-want +got):\n%s", p.Errors, d)
			}
		})
	}
}

func TestMessagesAreFollowedHoweverTheyCome(t *testing.T) {
	all := append(append(grpcFrame([]byte("hello")), grpcFrame(nil)...), grpcFrame(bytes.Repeat([]byte("y"), 300))...)
	for size := 1; size <= len(all); size++ {
		b := &grpcBody{}
		for rest := all; len(rest) > 0; {
			n := min(size, len(rest))
			b.follow(rest[:n])
			rest = rest[n:]
			if whole := len(rest) == 0 || len(rest) == 305 || len(rest) == 310; whole != (b.rest == 0 && len(b.prefix) == 0) {
				t.Fatalf("in pieces of %d, %d bytes before the end: whole is %v", size, len(rest), !whole)
			}
		}
	}
}
