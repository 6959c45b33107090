//go:build !race

package loadgen

func ordered(uintptr) {}
