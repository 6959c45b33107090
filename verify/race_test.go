//go:build race

package verify

const underRaceDetector = true
