package loadgen

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzAnswer holds the reading of answers against net/http's: what that takes for an answer is one with the same status and
// the same body, or is refused here.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		answer200,
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nto the end",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"220 smtp ready\r\n\r\n",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, head bool) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		c := &conn{sender: &sender{}, in: bufio.NewReaderSize(strings.NewReader(text), maxHead)}
		code, size, keep, err := c.read(method)
		if err != nil {
			return
		}
		if code < 100 || size < 0 || size > int64(len(text)) {
			t.Fatalf("status %d and %d bytes of %q", code, size, text)
		}
		in := bufio.NewReader(strings.NewReader(text))
		for {
			resp, err := http.ReadResponse(in, &http.Request{Method: method})
			if err != nil {
				return // net/http is stricter
			}
			if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
				continue
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if err != nil {
				return
			}
			if resp.StatusCode == http.StatusSwitchingProtocols {
				n = 0 // what follows is no HTTP
			}
			if resp.StatusCode != code || n != size {
				t.Fatalf("status %d and %d bytes; net/http reads %d and %d in %q", code, size, resp.StatusCode, n, text)
			}
			if keep && resp.Close {
				t.Fatalf("kept, and net/http would close in %q", text)
			}
			return
		}
	})
}
