package loadgen

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// stamped is a connection that knows how long ago the kernel received what was read from it last.
type stamped interface {
	// age is negative where that is not known.
	age() time.Duration
}

// lowest is the connection below TLS and what this package laid around it.
func lowest(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	for {
		switch n := c.(type) {
		case *counted:
			c = n.Conn
		case *gate:
			c = n.Conn
		default:
			return c
		}
	}
}

// hasBuffer reports whether what is written to a connection goes to a buffer of the kernel's.
func hasBuffer(c net.Conn) bool {
	_, ok := lowest(c).(syscall.Conn)
	return ok
}

// arrived is when the last of what was just read of an answer had come, to a request that was sent at a time: when the
// kernel received it, where that is known, however long it took until somebody here came to read it. That is the
// generator's own delay and no part of a latency. A clock of the kernel's that was set meanwhile says nothing.
func (j job) arrived(from stamped, sent time.Duration) time.Duration {
	now := j.now()
	if from == nil {
		return now
	}
	if age := from.age(); age > 0 && age < now-sent {
		return now - age
	}
	return now
}
