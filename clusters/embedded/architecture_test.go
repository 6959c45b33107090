package embedded

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshproof/meshproof/clusters/conformance"
)

func TestArchitectureHasEverySentenceOfWhatIsModelled(t *testing.T) {
	section := conformance.Modelled(t)
	sentences := New(nil).Models()
	for _, model := range []string{"istio", "linkerd", "layered"} {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(model, "doc.go"), nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		listed := strings.Split(f.Doc.Text(), "\n  - ")[1:]
		if len(listed) == 0 {
			t.Errorf("%s/doc.go lists nothing", model)
		}
		for _, d := range listed {
			d, _, _ = strings.Cut(d, "\n\n")
			sentences = append(sentences, strings.Join(strings.Fields(d), " "))
		}
	}
	for _, s := range sentences {
		if !strings.Contains(section, "* "+s) {
			t.Errorf("ARCHITECTURE.md, What is modelled, has no item: %s", s)
		}
	}
}

func TestArchitectureListsWhatTheClustersRead(t *testing.T) {
	section := conformance.Modelled(t)
	conformance.Lists(t, section, "Service", serviceFields)
	conformance.Lists(t, section, "Deployment", deploymentFields)
}
