package verify

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/meshproof/meshproof/evidence"
)

// finding is one thing that disproves a claim, or that keeps it from being proved.
type finding struct {
	reason, message string
	used            []evidence.Ref
}

// tally gathers what one line of evidence says about a claim.
type tally struct {
	used     []evidence.Ref // what the claim rests on as long as nothing is found
	disproof []finding
	lack     []finding
}

// use names evidence without which the claim would not stand.
func (t *tally) use(refs ...evidence.Ref) { t.used = append(t.used, refs...) }

// fail notes that evidence disproves the claim.
func (t *tally) fail(reason string, used []evidence.Ref, format string, args ...any) {
	t.disproof = append(t.disproof, finding{reason, fmt.Sprintf(format, args...), used})
}

// invalid notes that evidence is absent or contradicts itself.
func (t *tally) invalid(reason string, used []evidence.Ref, format string, args ...any) {
	t.lack = append(t.lack, finding{reason, fmt.Sprintf(format, args...), used})
}

// add takes over what another tally found.
func (t *tally) add(o *tally) {
	t.used = append(t.used, o.used...)
	t.disproof = append(t.disproof, o.disproof...)
	t.lack = append(t.lack, o.lack...)
}

// lead puts the disproofs of a reason before the others, of which it is the cause.
func (t *tally) lead(reason string) {
	rest := func(f finding) int {
		if f.reason == reason {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(t.disproof, func(a, b finding) int { return rest(a) - rest(b) })
}

// judge is the verdict of the tally with its reason, and the evidence that it rests on. ok is the message where the
// claim is proved.
func (t *tally) judge(ok string) (v Verdict, reason, message string, used []evidence.Ref) {
	found := t.disproof
	v = Fail
	if len(found) == 0 {
		found, v = t.lack, Invalid
	}
	if len(found) == 0 {
		return Pass, "Proved", ok, refs(t.used)
	}
	for _, f := range found {
		used = append(used, f.used...)
	}
	message = found[0].message
	if n := len(found) - 1; n > 0 {
		message += fmt.Sprintf(" (and %d more)", n)
	}
	return v, found[0].reason, message, refs(used)
}

// witness is the tally as one line of evidence of a check.
func (t *tally) witness(name, ok string) Witness {
	v, _, msg, used := t.judge(ok)
	return Witness{Name: name, Verdict: v, Message: msg, Used: used}
}

// refs sorts evidence in the order of streams and lines, and names each piece once.
func refs(list []evidence.Ref) []evidence.Ref {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b evidence.Ref) int {
		return cmp.Or(
			cmp.Compare(slices.Index(evidence.Streams, a.Stream), slices.Index(evidence.Streams, b.Stream)),
			cmp.Compare(a.Line, b.Line),
		)
	})
	return slices.Compact(list)
}

// refsOf lists the places of records.
func refsOf[T interface{ Ref() evidence.Ref }](items ...T) []evidence.Ref {
	out := make([]evidence.Ref, len(items))
	for i, it := range items {
		out[i] = it.Ref()
	}
	return out
}

func itoa[T ~int | ~int64](n T) string { return fmt.Sprint(n) }
