package embedded

import (
	"errors"
	"strings"
	"testing"
)

func TestTooFewOpenFilesAreRefusedWithTheRemedy(t *testing.T) {
	err := enoughFiles(256)
	if !errors.Is(err, errFewFiles) || !strings.Contains(err.Error(), "ulimit -n") {
		t.Fatalf("got %v", err)
	}
	if err := enoughFiles(minFiles); err != nil {
		t.Fatalf("the least that is enough was refused: %v", err)
	}
}
