module fairway/e2e/jobset

go 1.26.4

require (
	github.com/kubeflow/trainer/v2 v2.3.0
	sigs.k8s.io/jobset v0.12.0
)
