package agent

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"
)

// maxPadding bounds what a SelfCommand may ask for, in bytes.
const maxPadding = 16 << 20

// SelfCommand asks a pod about itself: what faults in it change.
type SelfCommand struct {
	Bytes   int           `json:"bytes,omitempty"`   // of padding in the answer, at most 16 MiB
	Resolve string        `json:"resolve,omitempty"` // a name to be resolved
	Timeout time.Duration `json:"timeout"`           // ns
}

// Self is what the pod says.
type Self struct {
	Now      time.Time `json:"now"` // by its own clock
	Resolved bool      `json:"resolved,omitempty"`
	NoName   bool      `json:"noName,omitempty"` // a name server said that the name does not resolve, or none answered
	Error    string    `json:"error,omitempty"`  // why it is not known whether the name resolves
	Padding  string    `json:"padding,omitempty"`
}

func self(ctx context.Context, cmd SelfCommand) Self {
	s := Self{Now: time.Now(), Padding: strings.Repeat("x", min(max(cmd.Bytes, 0), maxPadding))}
	if cmd.Resolve == "" {
		return s
	}
	ctx, cancel := bounded(ctx, cmd.Timeout)
	defer cancel()
	_, err := net.DefaultResolver.LookupHost(ctx, cmd.Resolve)
	var dns *net.DNSError
	switch {
	case err == nil:
		s.Resolved = true
	case errors.As(err, &dns):
		s.NoName = true
	default:
		s.Error = err.Error()
	}
	return s
}
