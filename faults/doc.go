// Package faults breaks things on a schedule, and shows that they broke.
//
// An injector's word proves nothing. Each fault is watched by an effect probe
// that sees the target from outside the meshes: samples before the fault are
// the baseline, samples during it show its effect, samples after it show when
// the effect was gone. All of them are evidence; whether they prove anything is
// for package verify to say. A fault whose effect probe cannot run is recorded
// as failed, and is not injected where that is known beforehand. A sample's
// record has the time of its end; Micros earlier it began.
//
// Every change is announced to a Journal before it is made, and settled when
// it is undone.
package faults
