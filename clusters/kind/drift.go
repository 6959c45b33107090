package kind

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// fingerprint is what clusters are, apart from what changes by itself: what it is about → what it is, in lines. A line
// that begins with digestLine stands for what is too long to keep.
type fingerprint map[string]string

const digestLine = "digest "

// drift says how clusters differ from what they were, one sentence each.
func drift(was, is fingerprint) []string {
	keys := maps.Clone(was)
	maps.Copy(keys, is)
	var all []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, before := was[key]
		b, now := is[key]
		if space := namespaceOf(key); space != "" {
			_, had := was[space]
			if _, has := is[space]; had != has {
				continue // what is in a namespace comes and goes with it
			}
		}
		switch {
		case !now:
			all = append(all, key+" is gone")
		case !before:
			all = append(all, key+" is new"+inBrackets(b))
		case a != b:
			all = append(all, key+" "+changed(a, b))
		}
	}
	return all
}

// namespaceOf is what names the namespace of an object that inventory names; "" where it has none.
func namespaceOf(what string) string {
	cluster, object, ok := strings.Cut(what, ": ")
	_, name, spaced := strings.Cut(object, " ")
	space, _, within := strings.Cut(name, "/")
	if !ok || !spaced || !within || !strings.HasPrefix(cluster, "cluster ") {
		return ""
	}
	return cluster + ": Namespace " + space
}

// inBrackets shows a value that people can read.
func inBrackets(value string) string {
	if value == "" || strings.HasPrefix(value, digestLine) {
		return ""
	}
	return " (" + strings.ReplaceAll(value, "\n", "; ") + ")"
}

// changed says which lines came and went.
func changed(was, is string) string {
	lost, gained := without(was, is), without(is, was)
	if len(lost)+len(gained) == 0 {
		return "is in another order"
	}
	readable := func(lines []string) []string {
		return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, digestLine) })
	}
	lost, gained = readable(lost), readable(gained)
	switch {
	case len(lost)+len(gained) == 0:
		return "has changed"
	case len(gained) == 0:
		return fmt.Sprintf("has lost %q", strings.Join(lost, "; "))
	case len(lost) == 0:
		return fmt.Sprintf("has got %q", strings.Join(gained, "; "))
	}
	return fmt.Sprintf("was %q, is %q", strings.Join(lost, "; "), strings.Join(gained, "; "))
}

// without lists the lines of one text that the other has not, or not as often.
func without(text, other string) []string {
	n := map[string]int{}
	for line := range strings.SplitSeq(other, "\n") {
		n[line]++
	}
	var list []string
	for line := range strings.SplitSeq(text, "\n") {
		if n[line]--; n[line] < 0 {
			list = append(list, line)
		}
	}
	return list
}

// driftShown bounds how many differences a message names.
const driftShown = 5

func shownDrift(all []string) string {
	more := ""
	if n := len(all) - driftShown; n > 0 {
		all, more = all[:driftShown], fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(all, "; ") + more
}
