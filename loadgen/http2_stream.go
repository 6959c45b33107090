package loadgen

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/net/http2"
)

// send sends a request: its header, and as much of its body as the server takes. The caller holds mu.
func (c *conn2) send(st *stream) {
	s := c.sender
	k := s.mix.kind(uint64(st.n))
	body := s.mix.body(uint64(st.n), &k)
	c.block = c.blocks.append(c.block[:0], s.mix, uint64(st.n), &k, len(body))
	st.id, st.head, st.rest, st.window = c.nextID, k.method == http.MethodHead, body, c.initial
	c.nextID += 2
	if c.nextID >= maxWindow {
		c.draining = true // there are no more numbers (RFC 9113, 5.1.1)
	}
	c.streams[st.id] = st
	c.active++
	first, rest := c.block[:min(len(c.block), maxFrame)], c.block[min(len(c.block), maxFrame):]
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: st.id, BlockFragment: first, EndStream: len(body) == 0, EndHeaders: len(rest) == 0})
	for len(rest) > 0 {
		n := min(len(rest), maxFrame)
		_ = c.framer.WriteContinuation(st.id, n == len(rest), rest[:n])
		rest = rest[n:]
	}
	st.sentAt = c.gathered
	if len(body) > 0 {
		c.bodies = append(c.bodies, st)
		c.sendBodies()
	}
}

// free reports whether the server takes one more request. The caller holds mu.
func (c *conn2) free() bool { return c.ready && !c.draining && c.active < c.max }

// sendWaiting sends requests that waited until the server allows more. Those that waited for the connection to be opened
// alone count as sent before. The caller holds mu.
func (c *conn2) sendWaiting(opened bool) {
	for len(c.waiting) > 0 && c.free() {
		st := c.waiting[0]
		c.waiting = slices.Delete(c.waiting, 0, 1)
		if !opened {
			st.sent = c.sender.now()
		}
		c.send(st)
	}
}

// sendBodies sends what the server takes of the bodies that are not sent yet, a frame of each in turn. The caller holds mu.
func (c *conn2) sendBodies() {
	for idle := 0; len(c.bodies) > idle && c.window > 0 && len(c.out) < 4*maxFrame; {
		st := c.bodies[0]
		c.bodies = slices.Delete(c.bodies, 0, 1)
		n := min(int64(len(st.rest)), c.window, st.window, maxFrame)
		if n <= 0 {
			if len(st.rest) > 0 {
				c.bodies = append(c.bodies, st)
				idle++
			}
			continue
		}
		idle = 0
		data := st.rest[:n]
		st.rest = st.rest[n:]
		c.window -= n
		st.window -= n
		_ = c.framer.WriteData(st.id, len(st.rest) == 0, data)
		if len(st.rest) > 0 {
			c.bodies = append(c.bodies, st)
		}
	}
}

// take does what a frame says. An error ends the connection. The caller holds mu.
func (c *conn2) take(f http2.Frame, err error) error {
	var bad http2.StreamError
	switch {
	case errors.As(err, &bad):
		if st := c.streams[bad.StreamID]; st != nil {
			c.reset(st, bad.Code, classOther)
		}
		return nil
	case err != nil:
		return err
	case len(c.out) > maxGathered:
		return fmt.Errorf("%d bytes wait to be written, and the server does not read", len(c.out))
	}
	if _, ok := f.(*http2.SettingsFrame); !ok && !c.ready {
		return http2.ConnectionError(http2.ErrCodeProtocol) // RFC 9113, 3.4
	}
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = c.framer.WritePing(true, f.Data)
		}
		return nil
	case *http2.GoAwayFrame:
		c.goAway(f)
		return nil
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol) // we said that we take none
	case *http2.WindowUpdateFrame:
		if id == 0 {
			if c.window += int64(f.Increment); c.window > maxWindow {
				return http2.ConnectionError(http2.ErrCodeFlowControl)
			}
			c.sendBodies()
			return nil
		}
	case *http2.DataFrame:
		c.receive(int64(f.Length)) // also what is for a request that nobody waits for any more
	case *http2.MetaHeadersFrame, *http2.RSTStreamFrame:
	default:
		return nil // frames that are not known mean nothing (RFC 9113, 4.1); priorities are not a client's
	}
	if id%2 == 0 || id >= c.nextID {
		return http2.ConnectionError(http2.ErrCodeProtocol) // nobody asked (RFC 9113, 5.1)
	}
	if st := c.streams[id]; st != nil {
		c.proved = max(c.proved, st.sentAt)
		c.hear(st, f)
	}
	return nil
}

// hear does what a frame says about a request that is under way.
func (c *conn2) hear(st *stream, f http2.Frame) {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		c.header(st, f)
	case *http2.DataFrame:
		switch n := int64(len(f.Data())); {
		case st.code == 0, st.head && n > 0:
			c.reset(st, http2.ErrCodeProtocol, classOther)
			return
		default:
			st.bytes += n
		}
		if f.StreamEnded() {
			c.answered(st)
			return
		}
		if st.got += int64(f.Length); st.got >= streamWindow/2 {
			_ = c.framer.WriteWindowUpdate(st.id, uint32(st.got))
			st.got = 0
		}
	case *http2.RSTStreamFrame:
		c.end(st, classReset)
		c.sendWaiting(false)
	case *http2.WindowUpdateFrame:
		if st.window += int64(f.Increment); st.window > maxWindow {
			c.reset(st, http2.ErrCodeFlowControl, classOther)
			return
		}
		c.sendBodies()
	}
}

// receive counts data, and tells the server in time that it may send more.
func (c *conn2) receive(n int64) {
	if c.got += n; c.got >= connWindow/2 {
		_ = c.framer.WriteWindowUpdate(0, uint32(c.got))
		c.got = 0
	}
}

// settings is what the server allows, at first or from now on (RFC 9113, 6.5).
func (c *conn2) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		if !c.ready {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil
	}
	opened := !c.ready
	if opened {
		c.ready, c.max = true, maxWindow // unless it says otherwise
	}
	err := f.ForeachSetting(func(set http2.Setting) error {
		if err := set.Valid(); err != nil {
			return err
		}
		switch set.ID {
		case http2.SettingMaxConcurrentStreams:
			c.max = int(min(set.Val, maxWindow))
		case http2.SettingHeaderTableSize:
			c.blocks.resize(set.Val)
		case http2.SettingInitialWindowSize:
			change := int64(set.Val) - c.initial
			c.initial = int64(set.Val)
			for _, st := range c.streams {
				if st.window += change; st.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_ = c.framer.WriteSettingsAck()
	c.sendBodies()
	c.sendWaiting(opened)
	return nil
}

// goAway ends what the server says that it has not begun, and never will. It was on the wire, so it is not sent again: a
// client that does (RFC 9113, 8.7) hides a server that goes away without waiting for what is on its way.
func (c *conn2) goAway(f *http2.GoAwayFrame) {
	c.draining = true
	for st := c.oldest; st != nil; {
		next := st.next
		if st.id == 0 || st.id > f.LastStreamID {
			c.end(st, classGoAway)
		}
		st = next
	}
}

// header is the header of an answer, or what follows its body.
func (c *conn2) header(st *stream, f *http2.MetaHeadersFrame) {
	switch {
	case f.Truncated:
		c.reset(st, http2.ErrCodeCancel, classOther)
		return
	case st.code != 0: // trailers
		if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
			c.reset(st, http2.ErrCodeProtocol, classOther)
			return
		}
		c.answered(st)
		return
	}
	code := statusOf(f.PseudoValue("status"))
	if len(f.PseudoFields()) != 1 || code < 100 || code == http.StatusSwitchingProtocols || code < 200 && f.StreamEnded() {
		c.reset(st, http2.ErrCodeProtocol, classOther)
		return
	}
	if code < 200 {
		return
	}
	st.code = code
	for _, field := range f.RegularFields() {
		if field.Name != "content-length" {
			continue
		}
		n, err := strconv.ParseUint(field.Value, 10, 62)
		if err != nil || st.length >= 0 && st.length != int64(n) {
			c.reset(st, http2.ErrCodeProtocol, classOther)
			return
		}
		st.length = int64(n)
	}
	if f.StreamEnded() {
		c.answered(st)
	}
}

// statusOf reads a status: three digits; 0 where it is something else.
func statusOf(text string) int {
	code, err := strconv.ParseUint(text, 10, 16)
	if err != nil || len(text) != 3 {
		return 0
	}
	return int(code)
}

// answered ends a request whose answer has come to its end.
func (c *conn2) answered(st *stream) {
	if len(st.rest) > 0 { // the server wants no more of it (RFC 9113, 8.1)
		_ = c.framer.WriteRSTStream(st.id, http2.ErrCodeCancel)
	}
	class := ""
	if bodiless := st.head || st.code == http.StatusNoContent || st.code == http.StatusNotModified; st.length >= 0 && !bodiless && st.bytes != st.length {
		class = classOther // RFC 9113, 8.1.1
		if st.bytes < st.length {
			class = classClosed // as where a connection ends too early
		}
	}
	c.end(st, class)
	c.sendWaiting(false)
}

// reset gives a request up, and lets the next one have its place.
func (c *conn2) reset(st *stream, code http2.ErrCode, class string) {
	c.giveUp(st, code, class)
	c.sendWaiting(false)
}

// giveUp ends a request without an answer, and tells the server where it has heard of it.
func (c *conn2) giveUp(st *stream, code http2.ErrCode, class string) {
	if st.id != 0 {
		_ = c.framer.WriteRSTStream(st.id, code)
	}
	c.end(st, class)
}

// end counts a request. class is why it has no answer; "" where it has one.
func (c *conn2) end(st *stream, class string) {
	if st.prev == nil {
		c.oldest = st.next
	} else {
		st.prev.next = st.next
	}
	if st.next == nil {
		c.newest = st.prev
	} else {
		st.next.prev = st.prev
	}
	if st.id == 0 {
		c.waiting = slices.DeleteFunc(c.waiting, func(w *stream) bool { return w == st })
	} else {
		delete(c.streams, st.id)
		c.active--
	}
	if len(st.rest) > 0 {
		c.bodies = slices.DeleteFunc(c.bodies, func(b *stream) bool { return b == st })
		st.rest = nil
	}
	c.freed++
	s := c.sender
	out := result{n: st.n, intended: st.intended, sent: st.sent, code: st.code, class: class, bytes: st.bytes}
	if class == "" {
		out.done = s.arrived(c.stamps, st.sent) // by who reads
	} else {
		out.done = s.now()
	}
	if st.id == 0 && c.ready {
		out.sent = out.done // it waited for a place until the end
		if class == classAborted {
			out.class = classUnsent
		}
	}
	if class != "" {
		out.code = 0
	}
	s.gauge.leave()
	s.recorder.record(c.shard, out)
}
