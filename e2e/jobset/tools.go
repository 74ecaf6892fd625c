//go:build tools

// Package tools pins the controllers of JobSet and of Kubeflow Trainer. It is a module of its own because they need other library
// versions than the cluster's programs.
package tools

import (
	_ "github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager"
	_ "sigs.k8s.io/jobset"
)
