package loadgen

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/google/go-cmp/cmp"

	"github.com/meshproof/meshproof/scenarios"
)

// calls answers gRPC's own test service by gRPC's own server.
type calls struct {
	testpb.UnimplementedTestServiceServer
}

func (calls) UnaryCall(_ context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: make([]byte, r.ResponseSize)}}, nil
}

func (calls) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, s testpb.TestService_StreamingOutputCallServer) error {
	for range 100 {
		if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 1000)}}); err != nil {
			return err
		}
	}
	return nil
}

// StreamingInputCall wants three messages.
func (calls) StreamingInputCall(s testpb.TestService_StreamingInputCallServer) error {
	for n := 0; ; n++ {
		switch _, err := s.Recv(); {
		case errors.Is(err, io.EOF) && n == 3:
			return s.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: int32(n)})
		case err != nil:
			return status.Errorf(codes.InvalidArgument, "%d messages: %v", n, err)
		}
	}
}

func (calls) FullDuplexCall(s testpb.TestService_FullDuplexCallServer) error {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: r.Payload}); err != nil {
			return err
		}
	}
}

func TestCallsAreAnsweredByARealServerOfGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	testpb.RegisterTestServiceServer(server, calls{})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	defer func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	payload := &testpb.Payload{Body: make([]byte, 5000)}
	for _, tc := range []struct {
		method   string
		message  proto.Message
		messages int
		code     string
	}{
		{"UnaryCall", &testpb.SimpleRequest{ResponseSize: 30_000, Payload: payload}, 1, "200"},
		{"StreamingOutputCall", &testpb.StreamingOutputCallRequest{}, 1, "200"},
		{"StreamingInputCall", &testpb.StreamingInputCallRequest{Payload: payload}, 3, "200"},
		{"StreamingInputCall", &testpb.StreamingInputCallRequest{Payload: payload}, 4, "grpc-3"},
		{"FullDuplexCall", &testpb.StreamingOutputCallRequest{Payload: payload}, 40, "200"}, // more than a stream's window
		{"EmptyCall", &testpb.Empty{}, 1, "grpc-12"},
	} {
		body, err := proto.Marshal(tc.message)
		if err != nil {
			t.Fatal(err)
		}
		a := attack("http://"+l.Addr().String(), constant(50, 200*time.Millisecond))
		a.Protocol, a.Body, a.Messages = GRPC, body, tc.messages
		a.Traffic.Requests = []scenarios.RequestKind{{Path: "/grpc.testing.TestService/" + tc.method}}
		out := &memory{}
		if err := Run(t.Context(), a, out, nil); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(map[string]int{tc.code: 10}, out.phases[0].Codes); d != "" {
			t.Errorf("%s with %d messages (-want +got):\n%s", tc.method, tc.messages, d)
		}
	}
}
