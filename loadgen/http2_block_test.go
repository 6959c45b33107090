package loadgen

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2/hpack"

	"github.com/meshproof/meshproof/scenarios"
)

// plainFields is what a request's block is to say, in any order.
func plainFields(m *mix, n uint64, length int) map[string][]string {
	k := m.kind(n)
	want := map[string][]string{
		":method": {k.method}, ":scheme": {k.url.Scheme}, ":path": {k.url.RequestURI()}, ":authority": {m.host}, "user-agent": {userAgent},
	}
	if length > 0 || k.method == http.MethodPost {
		want["content-length"] = []string{fmt.Sprint(length)}
	}
	for name, values := range m.header(n) {
		want[strings.ToLower(name)] = values
	}
	return want
}

func FuzzHeaderBlocksSayWhatTheyShould(f *testing.F) {
	f.Add("/items?x=1", "seven", "token", uint32(4096), uint32(0), uint16(10))
	f.Add("/"+strings.Repeat("p", 5000), strings.Repeat("\xc3\xa4", 300), "", uint32(100), uint32(1<<31), uint16(300))
	f.Add("/", "", strings.Repeat("t", 1000), uint32(0), uint32(70), uint16(2))
	f.Fuzz(func(t *testing.T, path, value, token string, size, later uint32, body uint16) {
		a := attack("https://fuzz", constant(100, time.Second))
		a.Header = http.Header{"X-Own": {value}}
		if token != "" {
			a.Tokens = []string{token, token + "2"}
		}
		a.Traffic.Requests = []scenarios.RequestKind{{Path: path}, {Path: path + "2", Method: "POST", Body: &scenarios.Body{Bytes: int(body) + 1}}}
		m, err := newMix(a)
		if err != nil {
			t.Skip()
		}
		b := newBlocks()
		dec := hpack.NewDecoder(maxTable, nil)
		var block []byte
		for n := range uint64(40) {
			switch n {
			case 10:
				b.resize(size)
			case 20:
				b.resize(later)
			}
			k := m.kind(n)
			length := len(m.body(n, &k))
			block = b.append(block[:0], m, n, &k, length)
			got := map[string][]string{}
			regular := false
			fields, err := dec.DecodeFull(block)
			if err != nil {
				t.Fatalf("request %d: %v", n, err)
			}
			for _, field := range fields {
				if field.IsPseudo() && regular {
					t.Fatalf("request %d: %s after other fields", n, field.Name)
				}
				regular = !field.IsPseudo()
				got[field.Name] = append(got[field.Name], field.Value)
			}
			if d := cmp.Diff(plainFields(m, n, length), got); d != "" {
				t.Fatalf("request %d (-want +got):\n%s", n, d)
			}
		}
	})
}

func TestWhatRequestsShareIsSentOnce(t *testing.T) {
	a := attack("https://shop", constant(100, time.Second))
	a.Caller = "shop@east"
	a.Header = http.Header{"X-Long": {strings.Repeat("x", 500)}}
	m, err := newMix(a)
	if err != nil {
		t.Fatal(err)
	}
	b := newBlocks()
	sizes := make([]int, 5)
	for n := range sizes {
		k := m.kind(uint64(n))
		sizes[n] = len(b.append(nil, m, uint64(n), &k, 0))
	}
	// Eight fields of a byte each, or two, and the two that each request has for itself.
	if sizes[0] < 400 || sizes[1] > 70 || sizes[4] > 70 {
		t.Errorf("blocks of %v bytes; want one with all, and then some 60 bytes each", sizes)
	}
	if bytes.Contains(b.append(nil, m, 9, new(m.kind(9)), 0), []byte("xxx")) {
		t.Error("a long field is sent again")
	}
}
