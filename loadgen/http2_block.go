package loadgen

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/meshproof/meshproof/scenarios"
)

const (
	// maxTable is the largest dynamic table that header blocks are written for, in bytes (RFC 9113, 6.5.2: the one that
	// servers have unless they say otherwise).
	maxTable = 4096
	// staticTable is how many entries the static table has (RFC 7541, appendix A); the dynamic one begins after it.
	staticTable = 61
	// entryOverhead is what an entry takes beside its text (RFC 7541, 4.1).
	entryOverhead = 32
)

// The fields in which requests differ from each other, as they are in HTTP/2.
var (
	lowerID        = strings.ToLower(scenarios.HeaderID)
	lowerRequestID = strings.ToLower(headerRequestID)
)

// headerAuthorization is where a user's token stands: many requests may share it, and many not.
const headerAuthorization = "Authorization"

// blocks writes the header blocks of the requests of one connection (RFC 7541).
//
// What is the same in many requests is put into the dynamic table once, as long as it fits, and is then a byte or two. What
// each request has for itself never is: hpack's own Encoder would put each request's ID there, which drives out the rest
// and helps nobody. So nothing is ever evicted, and the place of an entry follows from how many came after it.
type blocks struct {
	size    uint32         // of the table, bytes: as large as the server lets it be
	taken   uint32         // of it
	entries int            // in it
	fields  map[string]int // entries by name, a NUL, and value: how many there were before
	names   map[string]int // the same of names alone
	resized bool           // the server is to be told of the table's size
	heads   map[uint64]head
	scratch scratch
	key     []byte
}

// head is what the blocks of a kind of requests begin with, as long as the table does not change.
type head struct {
	text    []byte
	entries int // in the table when it was made
}

func newBlocks() blocks {
	return blocks{size: maxTable, fields: map[string]int{}, names: map[string]int{}, heads: map[uint64]head{}}
}

// resize makes the table as large as the server lets it be. It is emptied, which the next block says.
func (b *blocks) resize(size uint32) {
	fresh := newBlocks()
	fresh.size, fresh.resized, fresh.scratch, fresh.key = min(size, maxTable), true, b.scratch, b.key
	*b = fresh
}

// append appends the block of request n, of kind k, with a body of some length.
func (b *blocks) append(dst []byte, m *mix, n uint64, k *kind, length int) []byte {
	if b.resized {
		b.resized = false
		dst = appendInt(dst, 0x20, 5, 0) // the entries are gone
		dst = appendInt(dst, 0x20, 5, uint64(b.size))
	}
	b.scratch.fields, b.scratch.text = m.fields(b.scratch.fields[:0], b.scratch.text[:0], n)
	fields := b.scratch.fields
	if h, ok := b.heads[k.upTo]; ok && h.entries == b.entries {
		dst = append(dst, h.text...)
	} else {
		from, before := len(dst), b.entries
		dst = b.head(dst, m, k, fields, length)
		if b.entries == before { // else it put some there, which is done once
			b.heads[k.upTo] = head{slices.Clone(dst[from:]), before}
		}
	}
	for _, f := range fields {
		switch f.name {
		case scenarios.HeaderID:
			dst = b.own(dst, lowerID, string(f.value))
		case headerRequestID:
			dst = b.own(dst, lowerRequestID, string(f.value))
		case headerAuthorization:
			dst = b.shared(dst, "authorization", string(f.value))
		}
	}
	if k.body != nil {
		dst = b.own(dst, "content-length", strconv.Itoa(length))
	}
	return dst
}

// head appends what is the same in all requests of a kind.
func (b *blocks) head(dst []byte, m *mix, k *kind, fields []field, length int) []byte {
	host := m.host
	if host == "" {
		host = k.url.Host
	}
	dst = b.shared(dst, ":method", k.method)
	dst = b.shared(dst, ":scheme", k.url.Scheme)
	dst = b.shared(dst, ":path", k.url.RequestURI())
	dst = b.shared(dst, ":authority", host)
	dst = b.shared(dst, "user-agent", userAgent)
	for _, name := range slices.Sorted(maps.Keys(k.header)) {
		dst = b.shared(dst, strings.ToLower(name), k.header.Get(name))
	}
	if k.body == nil && (length > 0 || k.method == http.MethodPost || k.method == http.MethodPut || k.method == http.MethodPatch) {
		dst = b.shared(dst, "content-length", strconv.Itoa(length))
	}
	for _, f := range fields {
		switch f.name {
		case scenarios.HeaderID, headerRequestID, headerAuthorization:
		default:
			dst = b.shared(dst, strings.ToLower(f.name), string(f.value))
		}
	}
	return dst
}

// shared appends a field that other requests have too.
func (b *blocks) shared(dst []byte, name, value string) []byte {
	if at := staticField(name, value); at > 0 {
		return appendInt(dst, 0x80, 7, at)
	}
	b.key = append(append(append(b.key[:0], name...), 0), value...)
	if before, ok := b.fields[string(b.key)]; ok {
		return appendInt(dst, 0x80, 7, b.at(before))
	}
	if b.fits(name, value) {
		return b.enter(dst, name, value)
	}
	return b.literal(dst, name, value)
}

// own appends a field that no other request has. Only its name is put into the table, with the value of the first.
func (b *blocks) own(dst []byte, name, value string) []byte {
	if b.nameAt(name) == 0 && b.fits(name, value) {
		return b.enter(dst, name, value)
	}
	return b.literal(dst, name, value)
}

func (b *blocks) fits(name, value string) bool {
	return uint64(b.taken)+uint64(len(name)+len(value)+entryOverhead) <= uint64(b.size)
}

// enter appends a field, and puts it into the table: a literal with incremental indexing (RFC 7541, 6.2.1).
func (b *blocks) enter(dst []byte, name, value string) []byte {
	dst = b.text(dst, 0x40, 6, name, value)
	b.fields[name+"\x00"+value] = b.entries
	b.names[name] = b.entries
	b.entries++
	b.taken += uint32(len(name) + len(value) + entryOverhead)
	return dst
}

// literal appends a field without indexing (RFC 7541, 6.2.2).
func (b *blocks) literal(dst []byte, name, value string) []byte {
	return b.text(dst, 0, 4, name, value)
}

// text appends a literal: the place of its name, or its name, and its value.
func (b *blocks) text(dst []byte, kind byte, bits uint, name, value string) []byte {
	at := b.nameAt(name)
	dst = appendInt(dst, kind, bits, at)
	if at == 0 {
		dst = appendText(dst, name)
	}
	return appendText(dst, value)
}

// at is the place of the entry that so many were there before: the newest stands first.
func (b *blocks) at(before int) uint64 { return uint64(staticTable + b.entries - before) }

// nameAt is the place of an entry with a name; 0 where there is none.
func (b *blocks) nameAt(name string) uint64 {
	if before, ok := b.names[name]; ok {
		return b.at(before)
	}
	return staticName(name)
}

// appendInt appends an integer behind the first bits of a byte (RFC 7541, 5.1).
func appendInt(dst []byte, first byte, bits uint, v uint64) []byte {
	limit := uint64(1)<<bits - 1
	if v < limit {
		return append(dst, first|byte(v))
	}
	dst = append(dst, first|byte(limit))
	for v -= limit; v >= 0x80; v >>= 7 {
		dst = append(dst, byte(v)|0x80)
	}
	return append(dst, byte(v))
}

// appendText appends a string, in Huffman's code where that is shorter (RFC 7541, 5.2).
func appendText(dst []byte, s string) []byte {
	if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
		return hpack.AppendHuffmanString(appendInt(dst, 0x80, 7, n), s)
	}
	return append(appendInt(dst, 0, 7, uint64(len(s))), s...)
}

// staticField is the place of a field in the static table, of those that requests are likely to have; 0 where it is none
// of them.
func staticField(name, value string) uint64 {
	switch name + " " + value {
	case ":method GET":
		return 2
	case ":method POST":
		return 3
	case ":path /":
		return 4
	case ":scheme http":
		return 6
	case ":scheme https":
		return 7
	}
	return 0
}

// staticName is the place of a name there.
func staticName(name string) uint64 {
	switch name {
	case ":authority":
		return 1
	case ":method":
		return 2
	case ":path":
		return 4
	case "accept":
		return 19
	case "authorization":
		return 23
	case "content-length":
		return 28
	case "content-type":
		return 31
	case "cookie":
		return 32
	case "user-agent":
		return 58
	}
	return 0
}
