package loadgen

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/scenarios"
)

// hostile is a server that does what a test says, frame by frame.
type hostile struct {
	*http2.Framer
	net.Conn
	n      int // requests under way
	header bytes.Buffer
	enc    *hpack.Encoder
}

// fields writes a header of names and values.
func (h *hostile) fields(id uint32, end bool, nameValues ...string) {
	_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.encode(nameValues...), EndStream: end, EndHeaders: true})
}

func (h *hostile) encode(nameValues ...string) []byte {
	h.header.Reset()
	for i := 0; i < len(nameValues); i += 2 {
		_ = h.enc.WriteField(hpack.HeaderField{Name: nameValues[i], Value: nameValues[i+1]})
	}
	return h.header.Bytes()
}

func (h *hostile) ok(id uint32) { h.fields(id, true, ":status", "200") }

// script is what a server does: at first, and with each request, the n-th from 1. It ends the connection by returning false.
type script struct {
	first func(h *hostile)                                               // none: empty SETTINGS
	each  func(h *hostile, f *http2.MetaHeadersFrame, n int) (goOn bool) // none: 200
	other func(h *hostile, f http2.Frame)
	body  int // bytes of each request
}

// play lets a server do what a script says, until the connection ends.
func (p script) play(conn net.Conn, count func() int) {
	defer func() { _ = conn.Close() }()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	h := &hostile{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	h.enc = hpack.NewEncoder(&h.header)
	h.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if p.first == nil {
		_ = h.WriteSettings()
	} else {
		p.first(h)
	}
	for {
		f, err := h.ReadFrame()
		if err != nil {
			return
		}
		if m, ok := f.(*http2.MetaHeadersFrame); !ok {
			if p.other != nil {
				p.other(h, f)
			}
		} else if n := count(); p.each == nil {
			h.ok(m.StreamID)
		} else if !p.each(h, m, n) {
			return
		}
	}
}

// meet runs an attack on a server with a script. It returns what was recorded, and the number of connections.
func (p script) meet(t *testing.T, a Attack) (out *memory, conns int) {
	t.Helper()
	var servers sync.WaitGroup
	var mu sync.Mutex
	requests := 0
	a.Dial = func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		conns++
		servers.Go(func() {
			p.play(far, func() int {
				mu.Lock()
				defer mu.Unlock()
				requests++
				return requests
			})
		})
		return near, nil
	}
	out = &memory{}
	err := runBy(t.Context(), a, newTimerAlarm, out, nil)
	servers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return out, conns
}

// against sends 20 requests, one each 25 ms, to a server with a script. It returns their codes, and the number of connections.
func against(t *testing.T, p script, change func(*Attack)) (codes map[string]int, conns int) {
	t.Helper()
	a := attack("http://hostile", constant(40, 500*time.Millisecond))
	a.Protocol = HTTP2
	a.Traffic.Timeout = scenarios.Duration(300 * time.Millisecond)
	if p.body > 0 {
		a.Body = bytes.Repeat([]byte("x"), p.body)
		a.Traffic.Requests = []scenarios.RequestKind{{Method: "POST"}}
	}
	if change != nil {
		change(&a)
	}
	out, conns := p.meet(t, a)
	ph := out.phases[0]
	sum := 0
	for _, n := range ph.Codes {
		sum += n
	}
	if int64(sum) != ph.Offered || ph.Done != ph.Offered {
		t.Errorf("%d requests done, %v, of %d", ph.Done, ph.Codes, ph.Offered)
	}
	h, err := quantileMax(ph.Intended)
	if err != nil || h > 320*time.Millisecond {
		t.Errorf("the longest took %v (%v), and the time-out is 300 ms", h, err)
	}
	return ph.Codes, conns
}

func TestAnHTTP2ServerThatMisbehavesIsClassedAndEndsNothingElse(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for name, tc := range map[string]struct {
		script script
		change func(*Attack)
		want   map[string]int
		conns  int // 0: does not matter
	}{
		"well-behaved": {want: map[string]int{"200": 20}, conns: 1},
		"GOAWAY, and what came after the fifth is not answered": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				if n%6 == 0 {
					_ = h.WriteGoAway(f.StreamID-2, http2.ErrCodeNo, nil)
					return false
				}
				h.ok(f.StreamID)
				return true
			}},
			want: map[string]int{"200": 17, "goaway": 3}, conns: 4,
		},
		"GOAWAY, and all that was begun is answered": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				if n%5 == 0 {
					_ = h.WriteGoAway(maxWindow, http2.ErrCodeNo, nil)
				}
				h.ok(f.StreamID)
				return true
			}},
			want: map[string]int{"200": 20}, conns: 4,
		},
		"GOAWAY, and then silence": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_ = h.WriteGoAway(maxWindow, http2.ErrCodeInternal, nil)
				return true
			}},
			want: map[string]int{"timeout": 20},
		},
		"RST_STREAM": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				if n%2 == 0 {
					_ = h.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
				} else {
					h.ok(f.StreamID)
				}
				return true
			}},
			want: map[string]int{"200": 10, "reset": 10}, conns: 1,
		},
		"RST_STREAM in the body, twice": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, false, ":status", "200")
				_ = h.WriteData(f.StreamID, false, []byte("abc"))
				_ = h.WriteRSTStream(f.StreamID, http2.ErrCodeInternal)
				_ = h.WriteRSTStream(f.StreamID, http2.ErrCodeInternal)
				_ = h.WriteData(f.StreamID, true, []byte("abc"))
				return true
			}},
			want: map[string]int{"reset": 20}, conns: 1,
		},
		"an answer twice": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.ok(f.StreamID)
				h.ok(f.StreamID)
				return true
			}},
			want: map[string]int{"200": 20}, conns: 1,
		},
		"the connection ends after each answer": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.ok(f.StreamID)
				return false
			}},
			want: map[string]int{"200": 20}, conns: 20,
		},
		"the connection ends without an answer": {
			script: script{each: func(*hostile, *http2.MetaHeadersFrame, int) bool { return false }},
			want:   map[string]int{"closed": 20}, conns: 20,
		},
		"the connection ends in a frame": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_, _ = h.Conn.Write([]byte{0, 0, 10, 1, 4, 0, 0})
				return false
			}},
			want: map[string]int{"closed": 20}, conns: 20,
		},
		"a window of 0 that never opens": {
			script: script{body: 10, first: func(h *hostile) {
				_ = h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			}, each: func(*hostile, *http2.MetaHeadersFrame, int) bool { return true }},
			want: map[string]int{"timeout": 20},
		},
		"a window that opens bit by bit": {
			script: script{body: 100, first: func(h *hostile) {
				_ = h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 7})
			}, each: func(*hostile, *http2.MetaHeadersFrame, int) bool { return true }, other: func(h *hostile, f http2.Frame) {
				if d, ok := f.(*http2.DataFrame); !ok {
				} else if d.StreamEnded() {
					h.ok(d.StreamID)
				} else {
					_ = h.WriteWindowUpdate(d.StreamID, 31)
				}
			}},
			want: map[string]int{"200": 20}, conns: 1,
		},
		"a window that becomes negative, and then opens": {
			script: script{body: 100, each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_ = h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				_ = h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100_000})
				return true
			}, other: answerToBody},
			want: map[string]int{"200": 20}, conns: 1,
		},
		"an answer before the body was taken": {
			script: script{body: 100_000, each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, true, ":status", "413")
				return true
			}},
			want: map[string]int{"413": 20}, conns: 1,
		},
		"a window that grows too large": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_ = h.WriteWindowUpdate(f.StreamID, maxWindow)
				return true
			}},
			want: map[string]int{"other": 20}, conns: 1,
		},
		"a window of the connection that grows too large": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_ = h.WriteWindowUpdate(0, maxWindow)
				return true
			}},
			want: map[string]int{"other": 20}, conns: 20,
		},
		"headers of 30 KB": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				fields := []string{":status", "200"}
				for i := range 20 {
					fields = append(fields, "x-"+strconv.Itoa(i), long)
				}
				block := h.encode(fields...)
				_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: block[:maxFrame/2], EndStream: true})
				_ = h.WriteContinuation(f.StreamID, true, block[maxFrame/2:])
				return true
			}},
			want: map[string]int{"other": 20},
		},
		"headers that never end": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: h.encode(":status", "200")})
				for h.WriteContinuation(f.StreamID, false, h.encode("x-more", long)) == nil {
				}
				return true
			}},
			want: map[string]int{"other": 20}, conns: 20,
		},
		"a frame of garbage": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_, _ = h.Conn.Write([]byte("\x00\x00\x05\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff\xff"))
				return true
			}},
			want: map[string]int{"other": 20},
		},
		"a frame that is too large": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_ = h.WriteData(f.StreamID, true, make([]byte, maxFrame+1))
				return true
			}},
			want: map[string]int{"other": 20}, conns: 20,
		},
		"HTTP/1.1": {
			script: script{first: func(h *hostile) {
				_, _ = io.WriteString(h.Conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			}},
			want: map[string]int{"other": 20}, conns: 20,
		},
		"another frame than SETTINGS at first": {
			script: script{first: func(h *hostile) { _ = h.WritePing(false, [8]byte{}) }},
			want:   map[string]int{"other": 20}, conns: 20,
		},
		"silence": {
			script: script{first: func(*hostile) {}},
			want:   map[string]int{"timeout": 20},
		},
		"silence after SETTINGS": {
			script: script{each: func(*hostile, *http2.MetaHeadersFrame, int) bool { return true }},
			want:   map[string]int{"timeout": 20},
		},
		"no reading": {
			script: script{first: func(h *hostile) {
				_ = h.WriteSettings()
				time.Sleep(2 * time.Second)
			}},
			want: map[string]int{"timeout": 20},
		},
		"pings without reading the answers": {
			script: script{first: func(h *hostile) {
				_ = h.WriteSettings()
				ping := []byte("\x00\x00\x08\x06\x00\x00\x00\x00\x00pingping")
				for many := bytes.Repeat(ping, 4000); ; {
					if _, err := h.Conn.Write(many); err != nil {
						return
					}
				}
			}},
			want: map[string]int{"other": 20},
		},
		"no status": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, true, "server", "strange")
				return true
			}},
			want: map[string]int{"other": 20}, conns: 1,
		},
		"a status that is none": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, true, ":status", []string{"20", "+200", "0200", "101", "100", "abc"}[n%6])
				return true
			}},
			want: map[string]int{"other": 20}, conns: 1,
		},
		"fields in upper case": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, true, ":status", "200", "Server", "strange")
				return true
			}},
			want: map[string]int{"other": 20}, conns: 1,
		},
		"a body before the header": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_ = h.WriteData(f.StreamID, true, []byte("abc"))
				return true
			}},
			want: map[string]int{"other": 20}, conns: 1,
		},
		"a body that is shorter than it says": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, false, ":status", "200", "content-length", "4")
				_ = h.WriteData(f.StreamID, true, []byte("abc"))
				return true
			}},
			want: map[string]int{"closed": 20}, conns: 1,
		},
		"a body that is longer than it says": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, false, ":status", "200", "content-length", "2")
				_ = h.WriteData(f.StreamID, true, []byte("abc"))
				return true
			}},
			want: map[string]int{"other": 20}, conns: 1,
		},
		"two lengths": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, false, ":status", "200", "content-length", "3", "content-length", "4")
				return true
			}},
			want: map[string]int{"other": 20}, conns: 1,
		},
		"a body in answer to HEAD": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, n%2 == 0, ":status", "200", "content-length", "3")
				_ = h.WriteData(f.StreamID, true, []byte("abc"))
				return true
			}},
			change: func(a *Attack) { a.Traffic.Requests = []scenarios.RequestKind{{Method: "HEAD"}} },
			want:   map[string]int{"200": 10, "other": 10}, conns: 1,
		},
		"trailers that do not end the answer": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.fields(f.StreamID, false, ":status", "200")
				h.fields(f.StreamID, false, "x-sum", "1")
				return true
			}},
			want: map[string]int{"other": 20}, conns: 1,
		},
		"an answer to nobody": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				h.ok(f.StreamID + 100)
				return true
			}},
			want: map[string]int{"other": 20}, conns: 20,
		},
		"a push": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_ = h.WritePushPromise(http2.PushPromiseParam{StreamID: f.StreamID, PromiseID: 2, BlockFragment: h.encode(":method", "GET"), EndHeaders: true})
				return true
			}},
			want: map[string]int{"other": 20}, conns: 20,
		},
		"no requests allowed": {
			script: script{first: func(h *hostile) {
				_ = h.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
			}},
			want: map[string]int{"timeout": 20},
		},
		"settings that are none": {
			script: script{first: func(h *hostile) {
				_ = h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
			}},
			want: map[string]int{"other": 20}, conns: 20,
		},
		"frames of unknown kinds, padding, and early hints": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				_ = h.WriteRawFrame(0xbe, 0xff, f.StreamID, []byte("what?"))
				_ = h.WritePriority(f.StreamID, http2.PriorityParam{StreamDep: 100})
				h.fields(f.StreamID, false, ":status", "103", "link", "</x>")
				h.fields(f.StreamID, false, ":status", "200", "content-length", "3")
				_ = h.WriteDataPadded(f.StreamID, false, []byte("abc"), make([]byte, 200))
				h.fields(f.StreamID, true, "x-sum", "1")
				return true
			}},
			want: map[string]int{"200": 20}, conns: 1,
		},
		"headers in pieces of a byte": {
			script: script{each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				block := h.encode(":status", "204", "server", "slow")
				_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: block[:1], EndStream: true})
				for i := 1; i < len(block); i++ {
					_ = h.WriteContinuation(f.StreamID, i == len(block)-1, block[i:i+1])
				}
				return true
			}},
			want: map[string]int{"204": 20}, conns: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				codes, conns := against(t, tc.script, tc.change)
				if d := cmp.Diff(tc.want, codes); d != "" {
					t.Errorf("codes (-want +got):\n%s", d)
				}
				if tc.conns > 0 && conns != tc.conns {
					t.Errorf("%d connections, want %d", conns, tc.conns)
				}
			})
		})
	}
}

func answerToBody(h *hostile, f http2.Frame) {
	if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
		h.ok(d.StreamID)
	}
}

func TestAnHTTP2ServerIsAskedForNoMoreAtOnceThanItAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Each connection allows 3 at once, of 200 ms each; 40 a second need 8.
		most := 0
		var mu sync.Mutex
		codes, conns := against(t, script{
			first: func(h *hostile) {
				_ = h.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 3})
			},
			each: func(h *hostile, f *http2.MetaHeadersFrame, _ int) bool {
				mu.Lock()
				defer mu.Unlock()
				h.n++
				most = max(most, h.n)
				id := f.StreamID
				time.AfterFunc(200*time.Millisecond, func() {
					mu.Lock()
					defer mu.Unlock()
					h.n--
					h.ok(id)
				})
				return true
			},
		}, nil)
		if !maps.Equal(codes, map[string]int{"200": 20}) || most != 3 || conns != 3 {
			t.Errorf("codes %v, at most %d at once on %d connections; want 20, 3 on each of 3", codes, most, conns)
		}
	})
}

func TestPingsAreAnsweredInHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pongs := 0
		codes, _ := against(t, script{
			each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				var data [8]byte
				binary.BigEndian.PutUint64(data[:], uint64(n))
				_ = h.WritePing(false, data)
				h.ok(f.StreamID)
				return true
			},
			other: func(h *hostile, f http2.Frame) {
				if p, ok := f.(*http2.PingFrame); ok && p.IsAck() {
					if pongs++; binary.BigEndian.Uint64(p.Data[:]) != uint64(pongs) {
						t.Errorf("pong %d has %x", pongs, p.Data)
					}
				}
			},
		}, nil)
		if codes["200"] != 20 || pongs < 19 { // the last one may be on its way
			t.Errorf("codes %v and %d pongs", codes, pongs)
		}
	})
}

func TestASmallerHeaderTableIsKeptToInHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The server's table changes its size in the middle, twice, to one that holds nothing, and to one that holds little.
		seen := map[string]bool{}
		codes, conns := against(t, script{
			each: func(h *hostile, f *http2.MetaHeadersFrame, n int) bool {
				for _, field := range f.Fields {
					if field.Name == lowerID {
						seen[field.Value] = true
					}
				}
				if f.PseudoValue("authority") != "shop.app.svc.cluster.local" || f.PseudoValue("path") != "/" {
					t.Errorf("request %d has %v", n, f.Fields)
				}
				if size, ok := map[int]uint32{5: 0, 10: 200, 15: 1 << 20}[n]; ok {
					_ = h.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})
					h.ReadMetaHeaders.SetAllowedMaxDynamicTableSize(max(size, 4096))
				}
				h.ok(f.StreamID)
				return true
			},
		}, nil)
		if codes["200"] != 20 || conns != 1 || len(seen) != 20 {
			t.Errorf("codes %v, %d connections, %d requests", codes, conns, len(seen))
		}
	})
}

func quantileMax(encoded string) (time.Duration, error) {
	h, err := evidence.DecodeHistogram(encoded)
	if err != nil {
		return 0, err
	}
	return time.Duration(h.Max()) * time.Microsecond, nil
}
