package loadgen

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"

	"github.com/meshproof/meshproof/scenarios"
)

// maxCookies bounds what a session keeps: a server that gives each answer a cookie of another name fills no memory.
const maxCookies = 50

// checkSessions refuses sessions where nothing of them would be sent as they are meant.
func checkSessions(a Attack, s *Schedule) error {
	n := a.Traffic.Sessions
	switch {
	case n == 0:
		return nil
	case n < 0 || n > scenarios.MaxSessions:
		return fmt.Errorf("%d sessions; want 1 to %d", n, scenarios.MaxSessions)
	case s.Closed():
		return errors.New("its profile is a closed loop, whose users are sessions already")
	case a.Engine == Vegeta, a.Protocol != "" && a.Protocol != HTTP1:
		return fmt.Errorf("its requests are of %d sessions, each with connections of its own, which are sent in %s by engine %s alone", n, HTTP1, Own)
	case len(a.Header.Values("Cookie")) > 0:
		return errors.New("its header has cookies, and its sessions have those that they were given")
	}
	own := Share{Worker: a.Share.Worker, Workers: a.Share.Workers}.before(int64(n))
	if own > int64(a.Traffic.MaxInFlight) {
		return fmt.Errorf("%d sessions have more connections than maxInFlight (%d)", own, a.Traffic.MaxInFlight)
	}
	return nil
}

// dealOf deals the requests of an attack to its sessions; nil where it has none.
func dealOf(a Attack) *scenarios.Deal {
	if a.Traffic.Sessions == 0 {
		return nil
	}
	d := scenarios.NewDeal(a.seed(), a.Traffic.Sessions)
	return &d
}

// jar holds the cookies of one session.
type jar struct {
	mu    sync.Mutex
	jar   *cookiejar.Jar // nil until the first cookie
	names map[string]bool
}

// header is the value of the Cookie field of a request; "" for none.
func (j *jar) header(to *url.URL) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.jar == nil {
		return ""
	}
	var parts []string
	for _, c := range j.jar.Cookies(to) {
		parts = append(parts, c.Name+"="+c.Value)
	}
	return strings.Join(parts, "; ")
}

// take keeps a cookie that came with the answer to a request: a value of a Set-Cookie field. What is no cookie is left.
func (j *jar) take(from *url.URL, text string) {
	c, err := http.ParseSetCookie(text)
	if err != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.jar == nil {
		if j.jar, err = cookiejar.New(nil); err != nil {
			return // never: there are no options that it could refuse
		}
		j.names = map[string]bool{}
	}
	id := c.Name + ";" + c.Domain + ";" + c.Path
	if !j.names[id] && len(j.names) >= maxCookies {
		return
	}
	j.names[id] = true
	j.jar.SetCookies(from, []*http.Cookie{c})
}

// idles are the connections on which nothing is under way.
type idles struct {
	stacks [][]*conn // of each session; one where there are none. The one that became free last is at the end of each
	n      int
}

func newIdles(sessions int) idles { return idles{stacks: make([][]*conn, max(sessions, 1))} }

// add puts a connection aside.
func (i *idles) add(c *conn) {
	i.stacks[c.session] = append(i.stacks[c.session], c)
	i.n++
}

// take gives the connection of a session that became free last; nil where none is.
func (i *idles) take(session int) *conn {
	s := i.stacks[session]
	if len(s) == 0 {
		return nil
	}
	c := s[len(s)-1]
	i.stacks[session] = s[:len(s)-1]
	i.n--
	return c
}

// remove forgets a connection that has ended.
func (i *idles) remove(c *conn) {
	s := i.stacks[c.session]
	for k := range s {
		if s[k] == c {
			i.stacks[c.session] = append(s[:k], s[k+1:]...)
			i.n--
			return
		}
	}
}

// spare takes a connection to be closed in favour of another session's: of the session that has most of them. nil where
// all are at work.
func (i *idles) spare() *conn {
	most := 0
	for s := range i.stacks {
		if len(i.stacks[s]) > len(i.stacks[most]) {
			most = s
		}
	}
	return i.take(most)
}

// clear takes all.
func (i *idles) clear() []*conn {
	var all []*conn
	for s := range i.stacks {
		all = append(all, i.stacks[s]...)
		i.stacks[s] = nil
	}
	i.n = 0
	return all
}
