//go:build !race

package verify

const underRaceDetector = false
