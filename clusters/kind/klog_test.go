package kind

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestWhatLibrariesSayIsInTheLogLineByLine(t *testing.T) {
	var log bytes.Buffer
	w := saidBy{slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	const text = "E1123 15:00:00.000000 7 reflector.go:1] watch ended\n\n  second line\n"
	if n, err := w.Write([]byte(text)); err != nil || n != len(text) {
		t.Errorf("Write = %d, %v", n, err)
	}
	if got := strings.Count(log.String(), "\n"); got != 2 || !strings.Contains(log.String(), "watch ended") || !strings.Contains(log.String(), `msg="second line"`) {
		t.Errorf("the log has %d lines:\n%s", got, log.String())
	}
}
