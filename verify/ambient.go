package verify

import "github.com/meshproof/meshproof/evidence"

// reasonAmbient is why nothing is judged where Istio's ambient mode is at work: ztunnel, on the node, carries what goes
// between pods then, and a pod without a sidecar is no sign of anything. Nothing here reads what ztunnel says.
const reasonAmbient = "Ambient"

// ambient says what an event of its kind means.
func ambient(e *evidence.Event) string {
	return "cluster " + e.At.Cluster + " is in Istio's ambient mode, which this version cannot judge: " + e.Message
}
