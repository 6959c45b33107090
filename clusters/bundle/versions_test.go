package bundle

import (
	"errors"
	"strings"
	"testing"
)

func TestAVersionIsKnownHoweverItsProjectWritesIt(t *testing.T) {
	for version, want := range map[string]string{
		"1.30.3": "1.30.3", "v2.8.4": "2.8.4", "edge-26.6.3": "26.6.3", "2026.6.3": "26.6.3", "26.6.3": "26.6.3", "1.31.0-dev.20260827": "1.31.0-dev.20260827", "2.20.1": "2.20.1",
	} {
		if got := Release(version); got != want {
			t.Errorf("%s is %s, want %s", version, got, want)
		}
	}
}

func TestPartsAreChosenInOneVersion(t *testing.T) {
	list := func(name string, versions ...string) (parts []Part) {
		for _, v := range versions {
			parts = append(parts, Part{Name: name, Version: v})
		}
		return parts
	}
	pinned := Pinned()[Istio]
	for name, tt := range map[string]struct {
		asked string
		lists [][]Part
		want  []string // versions, or what the error says
		fails bool
	}{
		"the only one, whatever it is":     {"", [][]Part{list("chart-istiod", "1.31.0"), list("pilot", "1.31.1")}, []string{"1.31.0", "1.31.1"}, false},
		"the pinned one of several":        {"", [][]Part{list("chart-istiod", "1.29.0", pinned), list("pilot", pinned)}, []string{pinned, pinned}, false},
		"several, and none is pinned":      {"", [][]Part{list("chart-istiod", "1.29.0", "1.31.0"), list("pilot", "1.31.0")}, []string{"chart-istiod", "1.29.0, 1.31.0", "--istio-version"}, true},
		"what is asked for":                {"1.29.0", [][]Part{list("chart-istiod", "1.29.0", pinned), list("pilot", pinned, "1.29.0")}, []string{"1.29.0", "1.29.0"}, false},
		"in its project's other writing":   {"v1.29.0", [][]Part{list("chart-istiod", "1.29.0")}, []string{"1.29.0"}, false},
		"what is not there":                {"1.28.0", [][]Part{list("chart-istiod", "1.29.0", pinned)}, []string{"chart-istiod in version 1.29.0, " + pinned, "not in 1.28.0", "bundle pull --istio-version 1.28.0"}, true},
		"what is there of one part alone":  {"1.29.0", [][]Part{list("chart-istiod", "1.29.0"), list("pilot", pinned)}, []string{"pilot in version " + pinned}, true},
		"nothing is wanted of the project": {"1.29.0", nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Choose(Istio, tt.asked, tt.lists)
			if tt.fails {
				for _, w := range tt.want {
					if !errors.Is(err, ErrNoVersion) || !strings.Contains(err.Error(), w) {
						t.Errorf("%v does not say %q", err, w)
					}
				}
				return
			}
			if err != nil || len(got) != len(tt.want) {
				t.Fatalf("%v, %v", got, err)
			}
			for i := range got {
				if got[i].Version != tt.want[i] || got[i].Name != tt.lists[i][0].Name {
					t.Errorf("%s of version %s, want %s", got[i].Name, got[i].Version, tt.want[i])
				}
			}
		})
	}
}
