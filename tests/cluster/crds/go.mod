// The modules whose folders hold the CustomResourceDefinitions. They are not in the build's go.mod: what they require
// would raise what Kubernetes is built with. `go mod tidy` would remove them, since nothing imports them.
module polytask.dev/tests/cluster/crds

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.21.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	istio.io/api v1.32.0
	sigs.k8s.io/gateway-api v1.6.3
)
