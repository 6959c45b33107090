package verify

import (
	"testing"

	"github.com/meshproof/meshproof/scenarios"
)

func TestWhatOneRotationDropsIsNotUsualForTheNext(t *testing.T) {
	s := rotationScenario(scenarios.MeshIstio)
	s.Spec.Faults[1].At = scenarios.Duration(ms(2000))
	s.Spec.Expect.Rotation[0].Dropped = 100
	rec := goodRecord(t, s)
	loseSome(t, rec, ms(500), ms(1500), one)
	expectPass(t, Evaluate(rec), "rotation/leaves")
	expectPass(t, Evaluate(rec), "rotation/issuer")
	loseSome(t, rec, ms(2000), ms(2250), one)
	expectCheck(t, Evaluate(rec), "rotation/issuer", Fail, "Dropped")
}
