package loadgen

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stampedConn is a connection of TCP on which the kernel notes when it received what is read (SO_TIMESTAMPING, RX_SOFTWARE:
// Documentation/networking/timestamping.rst of the kernel). Of several segments that are read at once it is the last one's
// time.
type stampedConn struct {
	*net.TCPConn
	raw syscall.RawConn

	mu sync.Mutex // guards what follows: one reads at a time
	// For the read that is under way.
	read    func(fd uintptr) bool
	msg     unix.Msghdr
	iov     unix.Iovec
	control [16]uint64 // one message of three times, and room
	n       int
	errno   syscall.Errno

	at int64 // ns of wall time; 0: not known
}

// noteArrivals has the kernel note when it receives what comes on a connection. Where it cannot, that remains as it is.
func noteArrivals(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_RX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE)
	})
	if err != nil || refused != nil {
		return c
	}
	a := &stampedConn{TCPConn: t, raw: raw}
	a.read = a.receive
	return a
}

// Read implements net.Conn.
func (a *stampedConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.iov.Base = &p[0]
	a.iov.SetLen(len(p))
	err := a.raw.Read(a.read)
	a.iov.Base = nil
	switch {
	case err != nil:
		return 0, err
	case a.errno != 0:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: a.LocalAddr(), Addr: a.RemoteAddr(), Err: os.NewSyscallError("recvmsg", a.errno)}
	case a.n == 0:
		return 0, io.EOF
	}
	return a.n, nil
}

// receive reads once. It is false where there is nothing yet.
func (a *stampedConn) receive(fd uintptr) bool {
	for {
		a.msg = unix.Msghdr{Iov: &a.iov, Control: (*byte)(unsafe.Pointer(&a.control))}
		a.msg.SetIovlen(1)
		a.msg.SetControllen(int(unsafe.Sizeof(a.control)))
		n, _, errno := syscall.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&a.msg)), 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		a.n, a.errno, a.at = int(n), errno, 0
		if errno != 0 {
			a.n = 0
			return true
		}
		ordered(fd)
		var h unix.Cmsghdr
		var when unix.Timespec
		if int(a.msg.Controllen) >= unix.CmsgLen(int(unsafe.Sizeof(when))) {
			h = *(*unix.Cmsghdr)(unsafe.Pointer(&a.control))
			when = *(*unix.Timespec)(unsafe.Add(unsafe.Pointer(&a.control), unix.CmsgLen(0)))
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPING {
			a.at = when.Nano()
		}
		return true
	}
}

// age implements stamped.
func (a *stampedConn) age() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == 0 {
		return -1
	}
	return time.Duration(time.Now().UnixNano() - a.at)
}
