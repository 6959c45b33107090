package kind

import (
	"context"
	"errors"
	"testing"
)

func TestAChangeIsMadeAgainWhereAWebhookDidNotAnswerAndNotWhereItRefused(t *testing.T) {
	lost := errors.New(`Internal error occurred: failed calling webhook "linkerd-policy-validator.linkerd.io": failed to call webhook: Post "https://linkerd-policy-validator.linkerd.svc:443/?timeout=10s": EOF`)
	refused := errors.New(`admission webhook "linkerd-policy-validator.linkerd.io" denied the request: invalid field`)
	for name, tt := range map[string]struct {
		answers []error
		tries   int
		want    error
	}{
		"at once":      {[]error{nil}, 1, nil},
		"lost once":    {[]error{lost, nil}, 2, nil},
		"refused":      {[]error{refused, nil}, 1, refused},
		"lost, denied": {[]error{lost, refused, nil}, 2, refused},
	} {
		tries := 0
		err := answered(t.Context(), func() error {
			tries++
			return tt.answers[tries-1]
		})
		if !errors.Is(err, tt.want) || tries != tt.tries {
			t.Errorf("%s: %d tries, %v", name, tries, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := answered(ctx, func() error { return lost }); !errors.Is(err, lost) {
		t.Errorf("stopped: %v", err)
	}
}
