package verify

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets the heap grow further between collections: judging hundreds of records one after the other spends half
// of its time on collecting them otherwise.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
