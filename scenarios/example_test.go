package scenarios_test

import (
	"fmt"

	"github.com/meshproof/meshproof/scenarios"
)

func ExampleParse() {
	_, err := scenarios.Parse("shop.yaml", []byte(`apiVersion: meshproof/v1alpha1
kind: Scenario
metadata: {name: shop}
spec:
  meshes: [{name: istio}]
  topology:
    clusters: [{name: east}]
    services: [{name: shop, replcas: 2}]
  traffic:
    - {name: buyers, to: shpo, profile: {stages: [{rate: 50, for: 4}]}}
  expect: {mtls: {everywhere: true}}
`))
	fmt.Println(err)
	// Output:
	// shop.yaml:8:29: spec.topology.services[0].replcas: is not a field (did you mean replicas?)
	// shop.yaml:10:26: spec.traffic[0].to: there is no service "shpo" (did you mean shop?)
	// shop.yaml:10:67: spec.traffic[0].profile.stages[0].for: 4 has no unit (give a duration such as 250ms, 4s or 1m30s)
}
