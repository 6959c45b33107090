package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/meshproof/meshproof/evidence"
	"github.com/meshproof/meshproof/internal/workload"
	"github.com/meshproof/meshproof/scenarios"
)

const (
	// settle is how long a pod that is told to end still takes requests: until its address has left the endpoints of
	// Services everywhere.
	settle = time.Second
	// grace is how long what is under way may then take.
	grace = 2 * time.Second
)

// Serve runs the workload of a pod until ctx ends, and then ends as SIGTERM asks a pod to. getenv gives the environment,
// stdout takes the records.
func Serve(ctx context.Context, getenv func(string) string, stdout io.Writer) error {
	s, err := newServer(getenv, stdout)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// server is the process of a pod.
type server struct {
	cfg      workload.Config
	client   *workload.Client
	records  *recorder
	control  *control
	handler  http.Handler
	listen   func(port int) (net.Listener, error)
	settling time.Duration
}

func newServer(getenv func(string) string, stdout io.Writer) (*server, error) {
	own, err := parseConfig(getenv(Env))
	if err != nil {
		return nil, err
	}
	cfg, err := workload.ParseConfig(getenv(workload.Env))
	if err != nil {
		return nil, err
	}
	cfg.Cluster, cfg.Seed = own.Cluster, own.Seed
	if cfg.Tokens != nil {
		cfg.Tokens.Hosts = own.Hosts
	}
	at := evidence.PodRef{Cluster: own.Cluster, Namespace: cfg.Namespace, Service: cfg.Name, Pod: getenv(EnvPod), UID: getenv(EnvUID)}
	if at.Pod == "" || at.UID == "" {
		return nil, fmt.Errorf("environment variables %s and %s say who the pod is: one of them is not set", EnvPod, EnvUID)
	}
	s := &server{
		cfg: cfg, client: workload.NewClient(dialer(getenv(EnvVia))), settling: settle,
		listen: func(port int) (net.Listener, error) { return net.Listen("tcp", ":"+strconv.Itoa(port)) },
	}
	if s.records, err = newRecorder(stdout, uuid.NewString()); err != nil {
		return nil, err
	}
	if s.handler, err = workload.NewHandler(cfg, at, s.records.record, s.client); err != nil {
		return nil, err
	}
	s.control = &control{token: own.Token, uid: at.UID, client: s.client, records: s.records, probes: map[string]*linkProbe{}, worker: worker}
	return s, nil
}

// worker is a process of this program that is a worker.
func worker() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", WorkerCommand) // in a pod its path need not be known
	cmd.Stderr = os.Stderr
	return cmd
}

// dial opens a workload's connections by the pod's own network. The names of Services are whole: with the dot that says
// so, the resolver doesn't try a pod's search domains first (resolv.conf's ndots), which would cost a fresh connection
// four more lookups.
func dial(ctx context.Context, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(host, ".svc."+scenarios.TrustDomain) {
		address = net.JoinHostPort(host+".", port)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// dialer opens connections as dial does, or, where there is a proxy, always to that: it goes by the Host of each request.
func dialer(via string) workload.DialFunc {
	if via == "" {
		return dial
	}
	return func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, via) }
}

// run serves until ctx ends.
func (s *server) run(ctx context.Context) error {
	defer s.client.Close()
	work, err := s.serve(scenarios.WorkloadPort, s.handler)
	if err != nil {
		return err
	}
	defer work.stop(0)
	commands, err := s.serve(ControlPort, s.control.handler())
	if err != nil {
		return err
	}
	defer commands.stop(0)
	defer s.control.close()
	failed := errors.New("the workload's server ended by itself")
	if s.cfg.Role == workload.RoleOutsider {
		stop, err := s.echo()
		if err != nil {
			return err
		}
		defer stop()
	}
	s.control.ready.Store(true)
	select {
	case <-ctx.Done():
	case <-work.ended:
		return failed
	case <-commands.ended:
		return failed
	}
	time.Sleep(s.settling)
	work.stop(grace)
	return s.records.end()
}

// listener is one HTTP server.
type listener struct {
	server *http.Server
	ended  chan struct{}
}

func (s *server) serve(port int, h http.Handler) (*listener, error) {
	ln, err := s.listen(port)
	if err != nil {
		return nil, fmt.Errorf("opening port %d: %w", port, err)
	}
	l := &listener{
		server: &http.Server{Handler: h, Protocols: workload.Protocols(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)},
		ended:  make(chan struct{}),
	}
	go func() {
		defer close(l.ended)
		_ = l.server.Serve(ln)
	}()
	return l, nil
}

// stop ends the server; what is under way may take that long.
func (l *listener) stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = l.server.Shutdown(ctx) // what is still there then is cut off
	_ = l.server.Close()
	<-l.ended
}

// echo runs the far end of the probes of links.
func (s *server) echo() (stop func(), err error) {
	ln, err := s.listen(EchoPort)
	if err != nil {
		return nil, fmt.Errorf("opening port %d: %w", EchoPort, err)
	}
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		open    = map[net.Conn]bool{}
		closed  bool
	)
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if closed {
				mu.Unlock()
				_ = c.Close()
				continue
			}
			open[c] = true
			mu.Unlock()
			running.Go(func() {
				workload.Echo(c)
				_ = c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	return func() {
		_ = ln.Close()
		mu.Lock()
		closed = true
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	}, nil
}
