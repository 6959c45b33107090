package loadgen

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Over TCP a request is a line: its ID, then a space and the body where it has one, then a line feed. Its answer is
// whatever comes until the next line feed, and is counted as 200, for TCP knows no status; a connection that ends before
// is closed. Nothing of HTTP is sent: no method, path, header or token.

// appendTCP appends request n as it goes over the wire.
func (m *mix) appendTCP(b []byte, n uint64, scratch *scratch) []byte {
	b = m.appendID(b, n)
	k := m.kind(n)
	if body := m.body(n, &k); len(body) > 0 {
		b = append(append(b, ' '), body...)
	}
	scratch.body = nil
	return append(b, '\n')
}

// checkTCP refuses what TCP has no place for.
func checkTCP(a Attack, to *url.URL) error {
	if a.Protocol != TCP {
		return nil
	}
	if to.Port() == "" || strings.Trim(to.Path, "/") != "" {
		return fmt.Errorf("the address to send to, %q, has no port, or a path", a.Base)
	}
	if len(a.Tokens) > 0 {
		return errors.New("its requests carry users' tokens, for which TCP has no place")
	}
	if len(a.Header) > 0 || bytes.ContainsRune(a.Body, '\n') {
		return errors.New("its requests have a header, or a body of several lines, for which TCP has no place")
	}
	for i, r := range a.Traffic.Requests {
		if r.Method != "" || strings.Trim(r.Path, "/") != "" || len(r.Headers) > 0 {
			return fmt.Errorf("request %d has a method, a path or headers, for which TCP has no place", i+1)
		}
	}
	return nil
}

// readLine reads the answer to a line, and returns its size.
func readLine(in *bufio.Reader) (int64, error) {
	size := int64(0)
	for {
		part, err := in.ReadSlice('\n')
		size += int64(len(part))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return size, err
		}
	}
}
