// Package verify turns evidence into verdicts. It has two halves that belong
// together: the probe plan says what must be asked of a mesh to prove
// something about it, and the checks say what the answers prove.
//
// Evaluate is a pure function of a record: the same record gives the same
// result on every machine, and nothing passes on silence. A check is PASS only
// when it names the evidence that proves it (Check.Used); where evidence is
// absent, contradictory or spoiled by something that the run did not journal,
// it is INVALID with the reason.
package verify
