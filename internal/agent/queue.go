package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The kernel's nfnetlink_queue interface (include/uapi/linux/netfilter/nfnetlink_queue.h). Packets that a rule with
// target NFQUEUE sends to a queue wait there, in the kernel, until this process gives its verdict on them.
const (
	msgPacket  = unix.NFNL_SUBSYS_QUEUE << 8
	msgVerdict = unix.NFNL_SUBSYS_QUEUE<<8 | 1
	msgConfig  = unix.NFNL_SUBSYS_QUEUE<<8 | 2

	attrCommand   = 1 // of msgConfig: struct nfqnl_msg_config_cmd
	attrParams    = 2 // struct nfqnl_msg_config_params
	attrMaxLength = 3 // u32
	attrMask      = 4 // u32
	attrFlags     = 5 // u32

	attrPacket  = 1 // of msgPacket: struct nfqnl_msg_packet_hdr
	attrVerdict = 2 // of msgVerdict: struct nfqnl_msg_verdict_hdr

	commandBind = 1
	copyMeta    = 1      // the packet's number and no data
	flagGSO     = 1 << 2 // packets are not cut up before they are queued
	accept      = 1      // NF_ACCEPT

	// queueLength is how many packets may wait in a queue; the kernel's 1024 are few at a long latency.
	queueLength = 1 << 16
	// readBuffer is that of the socket, in bytes: a message that finds no room is a packet that is dropped.
	readBuffer = 8 << 20
)

// queue is one queue of the network namespace that the process is in.
type queue struct {
	number uint16
	conn   *netlink.Conn
}

func openQueue(number uint16) (*queue, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("opening a netfilter socket: %w", err)
	}
	q := &queue{number: number, conn: conn}
	if err := q.configure(); err != nil {
		return nil, errors.Join(fmt.Errorf("taking packet queue %d: %w", number, err), conn.Close())
	}
	return q, nil
}

func (q *queue) configure() error {
	// Without the first the kernel's default is used, which is enough for little load; without the second a full buffer
	// would end the socket instead of losing a packet.
	_ = q.conn.SetReadBuffer(readBuffer)
	_ = q.conn.SetOption(netlink.NoENOBUFS, true)
	for _, attrs := range [][]netlink.Attribute{
		{{Type: attrCommand, Data: []byte{commandBind, 0, 0, unix.AF_INET}}},
		{{Type: attrParams, Data: append(be32(0), copyMeta)}},
		{{Type: attrMaxLength, Data: be32(queueLength)}},
		{{Type: attrFlags, Data: be32(flagGSO)}, {Type: attrMask, Data: be32(flagGSO)}},
	} {
		m, err := q.message(msgConfig, attrs)
		if err != nil {
			return err
		}
		m.Header.Flags = netlink.Request | netlink.Acknowledge
		if _, err := q.conn.Execute(m); err != nil {
			return err
		}
	}
	return nil
}

func (q *queue) message(kind netlink.HeaderType, attrs []netlink.Attribute) (netlink.Message, error) {
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return netlink.Message{}, err
	}
	// struct nfgenmsg: the address family, the version of nfnetlink, and the queue's number.
	head := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, q.number)
	return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request}, Data: append(head, data...)}, nil
}

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// receive waits for packets, until interrupt is called, and returns their numbers.
func (q *queue) receive() ([]uint32, error) {
	msgs, err := q.conn.Receive()
	if err != nil {
		return nil, err
	}
	var ids []uint32
	for _, m := range msgs {
		if m.Header.Type != msgPacket {
			continue
		}
		id, err := packetID(m.Data)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

var errShort = errors.New("the kernel's message about a packet is too short")

// packetID reads the packet's number from the message about it.
func packetID(data []byte) (uint32, error) {
	const genmsg = 4
	if len(data) < genmsg {
		return 0, errShort
	}
	attrs, err := netlink.UnmarshalAttributes(data[genmsg:])
	if err != nil {
		return 0, fmt.Errorf("reading the kernel's message about a packet: %w", err)
	}
	for _, a := range attrs {
		if a.Type&^unix.NLA_F_NESTED&^unix.NLA_F_NET_BYTEORDER == attrPacket && len(a.Data) >= 4 {
			return binary.BigEndian.Uint32(a.Data), nil
		}
	}
	return 0, errShort
}

// release lets a packet go on.
func (q *queue) release(id uint32) error {
	m, err := q.message(msgVerdict, []netlink.Attribute{{Type: attrVerdict, Data: append(be32(accept), be32(id)...)}})
	if err != nil {
		return err
	}
	_, err = q.conn.Send(m)
	return err
}

// interrupt ends a receive that is under way, and every later one, with os.ErrDeadlineExceeded.
func (q *queue) interrupt() { _ = q.conn.SetReadDeadline(time.Unix(1, 0)) }

func interrupted(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

func (q *queue) close() error { return q.conn.Close() }
