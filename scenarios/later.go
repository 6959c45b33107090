package scenarios

// laterFields are fields of the language whose checks this version does not have. They are refused by name, so that
// nobody takes a check for made that was not.
var laterFields = map[string]string{
	"metadata.labels":         "labels of a scenario",
	"metadata.annotations":    "annotations of a scenario",
	"spec.identity.trustRoot": "choosing trust roots; there is one root, and an intermediate for each mesh in each cluster",
	"spec.expect.identity":    "checks of identity beyond mutual TLS",
	"spec.expect.promql":      "expectations in PromQL",
}

// laterValues are values of the language that this version does not have, by field=value.
var laterValues = map[string]string{
	"spec.meshes[].name=istio-ambient": "Istio's ambient mode",
	"spec.traffic[].protocol=grpc":     "gRPC: the services of a scenario answer HTTP requests, and the ingress goes on to them in HTTP/1.1, which has no place for a call's status",
	"spec.traffic[].protocol=tcp":      "lines over TCP: the services of a scenario answer HTTP requests, and the ingress goes by their Host",
}

// misplacedFields are fields that one may look for where they are not, and where to find them.
var misplacedFields = map[string]string{
	"spec.seed":             "the seed is given on the command line: --seed",
	"spec.driver":           "the driver is given on the command line: --driver",
	"metadata.namespace":    "a scenario has none; each service has its own: spec.topology.services[].namespace",
	"spec.services":         "write it under spec.topology",
	"spec.clusters":         "write it under spec.topology",
	"spec.network":          "write it under spec.topology",
	"spec.stages":           "write it under spec.traffic[].profile",
	"spec.traffic[].stages": "write it under spec.traffic[].profile",
}

// ReservedMesh says what a mesh's name is reserved for that this version does not have; "" for any other name.
func ReservedMesh(name string) string { return laterValues["spec.meshes[].name="+name] }
