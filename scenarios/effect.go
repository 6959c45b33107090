package scenarios

import "math"

// What a fault in pods must change at least to have had an effect.
const (
	// slack is by how much what a pod sends may be above its limit, whose bucket has a depth.
	bandwidthSlack = 1.25
	// clearlyFaster is by how much it must be above that limit where there is none.
	clearlyFaster = 1.5
	// stressedCPU is what a pod must use more under cpu-stress: half a processor, in thousandths. On a busy machine more
	// workers than it has processors don't get more.
	stressedCPU = 500
	// memoryShare is how much of what memory-stress takes must show.
	memoryShare = 0.8
	// delayShare is how much of how long a request is held back must show.
	delayShare = 0.8
	// aheadShare is how far from what it was told a clock may be.
	aheadShare = 0.2
)

// Shows tells what one reading of a pod says about a fault in it, given the median of the readings before the fault:
// shows, its effect is there; gone, nothing is left of it. In between are neither. Readings are, by kind:
// network-bandwidth, bits per second that the pod was seen to send; cpu-stress, thousandths of a processor that the
// workload's container uses; memory-stress, bytes that it has; clock-skew, microseconds by which its clock is ahead of the
// host's; mesh-abort, the status of an answer; mesh-delay, microseconds that it took; dns-error, 1 where a name resolved and 0 where it did not.
func (f *Fault) Shows(before, reading int64) (shows, gone bool) {
	more := float64(reading - before)
	switch f.Kind {
	case NetworkBandwidth:
		limit := float64(f.BitsPerSecond)
		return float64(reading) <= bandwidthSlack*limit, float64(reading) >= clearlyFaster*limit
	case CPUStress:
		return more >= stressedCPU, more < stressedCPU/2
	case MemoryStress:
		bytes := float64(f.MemoryMiB) * (1 << 20)
		return more >= memoryShare*bytes, more < (1-memoryShare)*bytes
	case ClockSkew:
		ahead := float64(f.Ahead.D().Microseconds())
		return more >= (1-aheadShare)*ahead && more <= (1+aheadShare)*ahead, more < aheadShare*ahead && more > -aheadShare*ahead
	case DNSError:
		return reading == 0, reading == 1
	case MeshAbort:
		return reading == int64(f.Status), reading < 400
	case MeshDelay:
		delay := float64(f.Delay.D().Microseconds())
		return more >= delayShare*delay, more < delay/2
	}
	return false, false
}

// Unhit is how many requests one after the other must show nothing of a fault of the mesh for it to be gone: so many that
// less than a twentieth of such rows would come by chance, with the fault still there.
func (f *Fault) Unhit() int {
	if f.Share <= 0 {
		return 1
	}
	return int(math.Ceil(3 / f.Share)) // (1-p)^(3/p) < e^-3
}
