package istio

import "github.com/meshproof/meshproof/clusters"

func check(objs []clusters.Object) error { return nil }
