package loadgen

import (
	"fmt"
	"math"
	"net/http"

	"golang.org/x/net/http/httpguts"

	"github.com/meshproof/meshproof/scenarios"
)

const (
	// maxBody is the largest body, in bytes: what net/http's servers read of one that their handlers do not.
	maxBody = 256 << 10
	// bodyOffsets is in how many places a body may begin in the text that bodies are cut from.
	bodyOffsets = 4096
	// normal99 is the 99th percentile of the normal distribution of mean 0 and variance 1.
	normal99 = 2.3263478740408408
)

// What draws of a request are for, beside its kind.
const (
	drawSize = iota + 1
	drawText
)

// headerOf are the header fields that a scenario gives a kind of requests. None of them can be one that Meshproof sends
// itself: what says which request it is, and whose, is never anybody else's to write.
func headerOf(r scenarios.RequestKind) (http.Header, error) {
	h := http.Header{}
	for name, value := range r.Headers {
		if why := scenarios.HeaderTaken(name); why != "" {
			return nil, fmt.Errorf("header %s %s", name, why)
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("header %q: %q can't be sent", name, value)
		}
		h.Set(name, value)
	}
	if r.Body == nil {
		return h, nil
	}
	if b := r.Body; max(b.Bytes, b.To, b.P50, b.P99) > maxBody || min(b.Bytes, b.To, b.P50, b.P99) < 0 {
		return nil, fmt.Errorf("its body has more than %d bytes, or less than none", maxBody)
	}
	if r.Body.Type != "" {
		if !httpguts.ValidHeaderFieldValue(r.Body.Type) {
			return nil, fmt.Errorf("content type %q can't be sent", r.Body.Type)
		}
		h.Set("Content-Type", r.Body.Type)
	}
	return h, nil
}

// bodyText is what the bodies of requests are cut from: letters and digits, drawn from the seed. All share it, so that
// bodies take no memory of their own.
func bodyText(requests []scenarios.RequestKind, seed uint64) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	size := 0
	for _, r := range requests {
		switch b := r.Body; {
		case b == nil:
		case b.P50 > 0 && b.P99 > b.P50:
			size = maxBody // there is no largest one
		default:
			size = max(size, b.Bytes, b.To, b.P50)
		}
	}
	if size == 0 {
		return nil
	}
	text := make([]byte, size+bodyOffsets)
	d := scenarios.NewDraw(seed, drawText)
	for i := range text {
		text[i] = letters[d.Bits()%uint64(len(letters))]
	}
	return text
}

// body is the body of request n, of kind k: its own, or that of all requests; empty where there is none. It is shared, and
// must not be changed.
func (m *mix) body(n uint64, k *kind) []byte {
	b := k.body
	if b == nil {
		return m.whole
	}
	d := scenarios.NewDraw(m.seed, n, drawSize)
	size := b.Bytes
	switch {
	case b.To > b.Bytes:
		size += int(d.Float() * float64(b.To-b.Bytes+1))
	case b.P50 > 0:
		// Log-normal: the logarithm of the size is normal, with mean ln p50 and a standard deviation that puts its 99th
		// percentile at ln p99.
		sigma := 0.0
		if b.P99 > b.P50 {
			sigma = math.Log(float64(b.P99)/float64(b.P50)) / normal99
		}
		size = int(math.Round(min(float64(b.P50)*math.Exp(sigma*d.Normal()), maxBody)))
	}
	from := int(d.Bits() % bodyOffsets)
	return m.text[from : from+max(size, 1)]
}
