package kind

import (
	"context"
	"strings"
	"time"
)

const (
	// webhookTries is how often a change is tried whose webhook did not answer.
	webhookTries = 5
	// webhookAgain is the pause between two tries.
	webhookAgain = time.Second
)

// answered makes a change that webhooks are asked about, again where one did not answer. The API server keeps its connections
// to a webhook, and such as Linkerd's policy controller end theirs when they are idle: who asks on one as it ends gets no answer.
func answered(ctx context.Context, change func() error) error {
	for try := 1; ; try++ {
		err := change()
		if err == nil || try == webhookTries || !unanswered(err) {
			return err
		}
		if sleep(ctx, webhookAgain); ctx.Err() != nil {
			return err
		}
	}
}

// unanswered tells a webhook that did not answer from one that refused, in the words of the API server; Helm has no others.
func unanswered(err error) bool {
	return strings.Contains(err.Error(), "failed calling webhook") && strings.Contains(err.Error(), "failed to call webhook: Post ")
}
