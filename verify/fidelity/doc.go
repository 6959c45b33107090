// Package fidelity holds two runs of one scenario against each other, cell by
// cell: what was allowed and refused in each proof window and how, who was seen
// as the sender of what, what was proved, and in which order faults were
// recovered from. Where one run was made on models and the other on the real
// thing, a disagreement is a fault of the model or of the evidence.
//
// Times, rates and costs are not compared: they are what differs between
// drivers. What one side did not see is never taken to agree.
package fidelity
