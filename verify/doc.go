// Package verify turns evidence into verdicts. It has two halves that belong
// together: the probe plan says what must be asked of a mesh to prove
// something about it, and the checks say what the answers prove.
//
// Evaluate is a pure function of a record: the same record gives the same
// result on every machine, and nothing passes on silence. A check is PASS only
// when it names the evidence that proves it (Check.Used); where evidence is
// absent, contradictory or spoiled by something that the run did not journal,
// it is INVALID with the reason.
//
// Meshes differ in what they can give in evidence (see traits). Istio's proxies
// log every request, and their handshakes tell fresh connections from
// established ones. Linkerd's log nothing: what names policy as the cause of a
// refusal is that their counters, by client and kind of refusal, rose by exactly
// as much as clients were refused. Nor can a request ask two of them for a
// connection of its own: established rounds are proved by connections that were
// not opened, and fresh ones are claimed as far as connections were, which the
// check's message says.
//
// Mesh layered speaks Linkerd's words inside and Istio's at the edge (see
// layeredDialect). Mutual TLS holds there whether or not Linkerd balances what
// the gateway sends, so that has a check of its own (see balanced).
package verify
